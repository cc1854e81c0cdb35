"""Inside the sandbox: the process that runs one tool function. Standard library only.

It is forked and locked in before there is anything to do, waits for its request, and ends with its claim of a result.
It holds /dev/null, two pipes for what it prints, and one for the claim.
"""

import contextlib
import fcntl
import gc
import importlib
import json
import os
import random
import resource
import sys
import types
from dataclasses import dataclass
from typing import Any, NoReturn

from toolkit.sandbox import kernel, plain

SCRATCH = "/scratch"
WORKSPACE = "/scratch/workspace"
TEMPORARY = "/scratch/tmp"
ISOLATED = b"+"
"""First byte on the claim pipe: isolation was complete before anything of the tool ran."""
MESSAGE_LIMIT = 2000
_CLAIM, _REQUEST = 3, 4
_DESCRIPTORS = 64
_THREADS = 32


@dataclass(frozen=True, slots=True)
class Bounds:
    """Resource limits of a call; ``base_bytes`` is the address space that its process has before it begins."""

    base_bytes: int
    memory_bytes: int
    workspace_bytes: int
    output_bytes: int


def run_call(bounds: Bounds, program: bytes, request: int, printed: int, complained: int, claim: int) -> NoReturn:
    """Lock this process in, read its request from the descriptor ``request``, run it, write the claim, end.

    Raises OSError only while locking in: then the mark ISOLATED was not written.
    """
    os.setsid()  # kill(0) reaches the whole process group, also beyond the PID namespace
    null = os.open("/dev/null", os.O_RDONLY)
    high = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in (null, printed, complained, claim, request)]
    for target, source in enumerate(high):
        os.dup2(source, target)
    os.closerange(_REQUEST + 1, 4096)
    kernel.limit_resources(
        memory_bytes=bounds.base_bytes + bounds.memory_bytes,
        file_bytes=bounds.workspace_bytes,
        descriptors=_DESCRIPTORS,
        threads=_THREADS,
    )
    kernel.drop_capabilities()
    kernel.restrict_files(writable=SCRATCH)
    os.chdir(WORKSPACE)
    os.umask(0o077)
    random.seed()
    kernel.filter_system_calls(program)
    os.write(_CLAIM, ISOLATED)
    gc.enable()
    content = _answer(_read_request())
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a tool may have closed or replaced it
            stream.flush()
    view = memoryview(content)
    while view:
        view = view[os.write(_CLAIM, view) :]
    os._exit(0)


def _read_request() -> dict[str, Any]:
    parts = []
    while part := os.read(_REQUEST, 1 << 20):
        parts.append(part)
    os.close(_REQUEST)
    if not parts:
        os._exit(0)
    return json.loads(b"".join(parts))


def _answer(request: dict[str, Any]) -> bytes:
    seconds = int(request["timeout_seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    try:
        function = _find(request)
        return b'{"value":' + plain.encode_result(function(**request["arguments"])) + b"}"
    except BaseException as error:  # noqa: BLE001 - whatever the tool raises is its result
        return _describe_failure(error)


def _find(request: dict[str, Any]) -> Any:
    if request["source"] is not None:
        module = types.ModuleType("made")
        sys.modules["made"] = module
        exec(compile(request["source"], "<made>", "exec"), module.__dict__)
        return getattr(module, request["function"])
    found: Any = importlib.import_module(request["module"])
    for part in request["function"].split("."):
        if part.startswith("_"):
            raise AttributeError(f"{part} is no public name")
        found = getattr(found, part)
    return found


def _describe_failure(error: BaseException) -> bytes:
    try:
        message = str(error)[:MESSAGE_LIMIT]
    except BaseException:  # noqa: BLE001 - a tool's own __str__ may raise anything
        message = ""
    found = {"type": type(error).__name__, "message": message, "errno": getattr(error, "errno", None)}
    if not isinstance(found["errno"], int):
        found["errno"] = None
    return json.dumps({"error": found}).encode()
