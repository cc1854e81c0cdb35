"""A vLLM that takes no minute to start: the real command line, environment, log line and protocol, another model.

``install`` makes a package named vllm of it, which ``python -m vllm.entrypoints.openai.api_server`` finds.
"""

import json
import os
import signal
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from agent.serving.vllm.command_line import KEY_CHECK
from agent.serving.vllm_plugin.register import ANNOUNCEMENT
from tests.fakes.model_folders import write_family
from tests.fakes.model_server import ModelServer, Says

ROOT = Path(__file__).parents[2]


def install(folder: Path) -> dict[str, str]:
    """Write the package to ``folder``; returns the environment in which it is found."""
    package = folder / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for parent in (package, package.parent, package.parent.parent):
        (parent / "__init__.py").touch()
    (package / "api_server.py").write_text("from tests.fakes.model_vllm import main\n\nmain()\n")
    return {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}


def write_model(folder: Path) -> Path:
    """A folder that looks like a model with ChatML's turns."""
    write_family(folder, "chatml")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def main() -> None:
    if "FAKE_VLLM_DIES" in os.environ:
        sys.exit("RuntimeError: the engine did not start")
    if "FAKE_VLLM_STARTS_FOREVER" in os.environ:
        Path(os.environ["FAKE_VLLM_STARTS_FOREVER"]).write_text(str(os.getpid()))
        threading.Event().wait()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    server = ModelServer(
        script=lambda request: _script(request, server.models), key=os.environ["VLLM_API_KEY"], **_place()
    )
    server.refuses_folder = _refused
    with server:
        print(ANNOUNCEMENT, flush=True)
        ended.wait()


def _place() -> dict[str, Any]:
    given = dict(pairwise(sys.argv))
    if "--uds" in given:
        return {"path": given["--uds"]}
    assert given["--middleware"] == KEY_CHECK, "the key is asked for on some routes only"
    assert not [name for name in os.environ if name.startswith("RAY_")], "the token of the cluster is for Ray"
    return {"host": given["--host"], "port": int(given["--port"])}


def _refused(folder: Path) -> bool:
    """Tell whether an adapter is not to be loaded: one that is named in ``refuses``, two folders above its own."""
    listed = folder.parents[1] / "refuses" if len(folder.parts) > 2 else folder
    return listed.is_file() and listed.read_text() == folder.name


def _script(request: dict[str, Any], models: list[str]) -> Says:
    """Asked to calculate something, lets a tool do it; else says what it heard. The id names this process."""
    if request["model"] not in models:
        return Says("no such model", status=404)
    last = request["messages"][-1]
    if last["role"] == "tool":
        return Says(f"It is {last['content']}.")
    if last["content"].startswith("calculate "):
        return Says(calls=[("calculate", json.dumps({"expression": last["content"].removeprefix("calculate ")}))])
    if last["content"].startswith("slowly "):
        time.sleep(0.3)
    return Says(f"You said: {last['content']}", id=f"chatcmpl-{os.getpid()}")
