"""``agent init``: a folder with settings and a tools module of one's own, and a look at what is still missing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from toolkit import durable_file
from toolkit.errors import UserError

CONFIG, TOOLS = "config.toml", "my_tools.py"
_SHIPPED = Path(__file__).parent / "starting"
_NO_MODULES = "modules = []          "


def write_files(folder: Path) -> tuple[Path, Path]:
    """Write config.toml and my_tools.py into ``folder``, made if it does not exist, and return their paths.

    Raises UserError, and writes nothing, where one of them is there already.
    """
    config, tools = folder / CONFIG, folder / TOOLS
    for path in (config, tools):
        if path.exists() or path.is_symlink():
            raise UserError(f"{path} is there already and stays as it is; name another folder: agent init FOLDER")
    settings = (_SHIPPED / CONFIG).read_text(encoding="utf-8")
    settings = settings.replace(_NO_MODULES, f'modules = ["{tools.stem}"]', 1)
    with durable_file.writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in ((tools, (_SHIPPED / TOOLS).read_text(encoding="utf-8")), (config, settings)):
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    return config, tools


def examine(config: Path) -> list[dict[str, Any]]:
    """Return the findings of ``evolver doctor`` on ``config``, without the one on the server, which nobody started yet.

    It runs in a process of its own: nothing here depends on the evolver. Raises UserError with its words when it ends
    without findings.
    """
    command = [sys.executable, "-P", "-m", "evolver.cli.main", "doctor", "--json", "--config", str(config)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        words = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise UserError(f"the checks did not run: {words[-1]}; try again with: evolver doctor") from None
    return [check for check in found if check["name"] != "server"]


def next_steps(folder: Path) -> list[str]:
    """Return the commands that one enters next."""
    entered = [] if folder.resolve() == Path.cwd() else [f"cd {folder}"]
    return [
        *entered,
        """toolkit call shipping_days '{"country": "Norway"}'""",
        "agent serve --detach",
        'agent chat --message "How many days does a parcel take to Norway?"',
    ]
