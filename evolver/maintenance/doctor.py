"""Everything that a cycle needs, checked."""

import importlib.util
import shutil
from collections.abc import Callable
from contextlib import closing

from agent.database import Migrations, check_sqlite_version, open_readonly
from agent.messages import BASE
from agent.serving import active_adapter, state
from evolver import adapter_files, release
from evolver.config import Config
from evolver.errors import StageError
from evolver.types import Frozen
from toolkit.errors import SandboxUnavailable, UserError

_PACKAGES = ("torch", "transformers", "peft", "vllm")
_LEAST_DISK_GIB = 4


class Check(Frozen):
    """One finding; ``found`` says what is there, or what is wrong and the fix."""

    name: str
    ok: bool
    found: str


def examine(config: Config) -> list[Check]:
    """All checks, in the order in which a cycle would need them."""
    return [
        _check("sqlite", _sqlite),
        _check("packages", _packages),
        _check("disk", lambda: _disk(config)),
        _check("sandbox", lambda: _sandbox(config)),
        _check("ledger", lambda: _ledger(config)),
        _check("server", lambda: _server(config)),
    ]


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, found=look())
    except (UserError, SandboxUnavailable) as error:
        return Check(name=name, ok=False, found=str(error))


def _sqlite() -> str:
    check_sqlite_version()
    return "new enough"


def _packages() -> str:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"missing: {', '.join(missing)}; install them with: make -B setup")
    return ", ".join(_PACKAGES)


def _disk(config: Config) -> str:
    folder = config.data_folder if config.data_folder.exists() else config.data_folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    if free < _LEAST_DISK_GIB:
        raise UserError(f"{free:.1f} GiB free, a cycle needs {_LEAST_DISK_GIB}; free some space")
    return f"{free:.0f} GiB free"


def _sandbox(config: Config) -> str:
    from toolkit.execute import open_executor
    from toolkit.tool import ToolCall

    with open_executor(config.toolkit) as executor:
        tool = next(iter(executor.registry), None)
        if tool is None:
            raise UserError("there are no tools; name some in [toolkit.tools] of config.toml")
        executor.execute(ToolCall(id="doctor", name=tool.name, arguments={}))
        return f"isolates; {len(executor.registry)} tools"


def _ledger(config: Config) -> str:
    """The databases are whole, and what serves is what was registered."""
    for name in ("evolution.db", "interactions.db"):
        with (
            closing(open_readonly(config.data_folder / name, Migrations("none"))) as db,
            db.transaction("BEGIN") as raw,
        ):
            problems = [row[0] for row in raw.execute("PRAGMA integrity_check").fetchall() if row[0] != "ok"]
            if problems or raw.execute("PRAGMA foreign_key_check").fetchall():
                raise UserError(f"{name} is damaged; restore a backup (evolver backup makes them)")
    pointer = active_adapter.read(config.data_folder)
    if pointer.name != BASE:
        folder = release.adapters_folder(config.data_folder) / pointer.name
        try:
            adapter_files.verify(folder)
            found = adapter_files.manifest_sha256(folder)
        except StageError as error:
            raise UserError(f"{error}; serve another one with: evolver rollback") from error
        if found != pointer.sha256:
            raise UserError(f"{pointer.name} is not what was promoted; serve another one with: evolver rollback")
    return f"whole; {pointer.name} serves"


def _server(config: Config) -> str:
    running = state.read(config.data_folder)
    if running is None:
        raise UserError("not running; start it with: agent serve")
    return running.gateway_url
