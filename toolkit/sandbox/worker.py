"""Inside bubblewrap: import the tool modules once, then one throw-away process tree per call.

    server   never runs a call; forks a keeper, waits until it has taken a request, forks the next one
    keeper   own user, mount, IPC and PID namespace with a fresh scratch tmpfs; reads one request, watches the call,
             kills it at its deadline, answers with one frame, ends
    call     process 1 of the keeper's PID namespace: no capabilities, limits, seccomp; runs the tool function

The call holds three pipes and nothing else: what it prints, and its claim of a result. Standard library only.
"""

import base64
import contextlib
import fcntl
import importlib
import json
import os
import random
import select
import signal
import stat
import sys
import time
import types
from typing import Any, NoReturn

SCRATCH = "/scratch"
WORKSPACE = "/scratch/workspace"
TEMPORARY = "/scratch/tmp"
_REQUESTS, _REPLIES = 10, 11
_ISOLATED = b"+"
"""First byte on the claim pipe: isolation was complete before anything of the tool ran."""
_CLAIM_OVERHEAD = 64
_MESSAGE_LIMIT = 2000
_DESCRIPTORS = 64
_THREADS = 32
_INODES = 2048


def main() -> NoReturn:
    setup = json.loads(sys.argv[1])
    sys.argv = [""]
    sys.path[:] = setup["path"]
    from toolkit.sandbox import frames, kernel, plain  # noqa: F401 - plain is loaded here for the calls

    for number, target in ((0, _REQUESTS), (1, _REPLIES)):
        os.dup2(number, target, inheritable=False)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.environ.clear()
    if setup["become"] is not None:
        kernel.become(setup["become"])
    for module in setup["modules"]:
        try:
            importlib.import_module(module)
        except BaseException as error:  # noqa: BLE001 - a user's module may raise anything; the host names it to the user
            _answer(frames, {"failed": module, "message": f"{type(error).__name__}: {error}"[:_MESSAGE_LIMIT]})
            os._exit(1)
    program = kernel.prepare_filter()
    _answer(frames, {"ready": True})
    _serve(setup, program)


def _serve(setup: dict[str, Any], program: bytes) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        taken, take = os.pipe()
        if os.fork() == 0:
            os.close(taken)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                _keep(setup, program, take)
            finally:
                os._exit(70)
        os.close(take)
        went_well = os.read(taken, 1) == b"t"
        os.close(taken)
        if not went_well:
            os._exit(0)


def _answer(frames: types.ModuleType, content: dict[str, Any]) -> None:
    frames.write_frame(_REPLIES, json.dumps(content).encode())


def _keep(setup: dict[str, Any], program: bytes, take: int) -> NoReturn:
    from toolkit.sandbox import frames, kernel

    try:
        kernel.fresh_keyring()
        kernel.new_namespaces()
        size = setup["workspace_bytes"]
        kernel.mount_tmpfs(SCRATCH, size_bytes=size, inodes=_INODES)
        for folder in (WORKSPACE, TEMPORARY):
            os.mkdir(folder, 0o700)  # noqa: PTH102 - pathlib is not needed in the hot path
    except OSError as error:
        _answer(frames, {"broken": f"a call cannot be isolated: {error}"})
        os._exit(71)
    content = frames.read_frame(_REQUESTS, frames.REQUEST_LIMIT)
    if content is None:
        os._exit(0)
    started = time.monotonic()
    os.write(take, b"t")
    os.close(take)
    request = json.loads(content)
    files = request.pop("files")
    for name, text in (files or {}).items():
        _store(name, base64.b64decode(text))
    pipes = [os.pipe() for _ in range(3)]
    child = os.fork()
    if child == 0:
        try:
            _call(setup, program, request, [writer for _, writer in pipes])
        except BaseException as error:  # noqa: BLE001 - only isolating can raise here, and the host must hear of it
            with contextlib.suppress(OSError):
                os.write(pipes[2][1], b".")
                os.dup2(pipes[2][1], 2)
            os.write(2, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(72)
    for _, writer in pipes:
        os.close(writer)
    limits = [setup["output_bytes"] + _CLAIM_OVERHEAD, setup["output_bytes"], setup["output_bytes"]]
    outputs, killed = _watch(child, [reader for reader, _ in pipes], limits, started + request["timeout_seconds"])
    _, status, usage = os.wait4(child, 0)
    claim, printed, complained = outputs
    if not claim.startswith(_ISOLATED) and not killed:
        reason = complained.decode("utf-8", "replace")[:_MESSAGE_LIMIT]
        _answer(frames, {"broken": f"a call cannot be isolated: {reason or status}"})
        os._exit(0)
    reply = {
        "wait_status": status,
        "killed": killed,
        "claim": base64.b64encode(claim[1:]).decode(),
        "stdout": printed.decode("utf-8", "replace"),
        "stderr": complained.decode("utf-8", "replace"),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "files": None,
    }
    if files is not None and not killed and status == 0:
        reply["files"] = _collect(setup["workspace_bytes"])
    with contextlib.suppress(OSError):
        _answer(frames, reply)
    os._exit(0)


def _watch(
    child: int, readers: list[int], limits: list[int], deadline: float
) -> tuple[tuple[bytes, bytes, bytes], str]:
    """Read all three pipes until the call has ended; kill it at the deadline, when its claim is too long, or when
    the host has gone. Returns what was read, each cut at its limit, and the reason for the kill ("" for none)."""
    buffers = [bytearray(), bytearray(), bytearray()]
    end = os.pidfd_open(child)
    poller = select.poll()
    poller.register(end, select.POLLIN)
    poller.register(_REQUESTS, select.POLLHUP)
    for reader in readers:
        os.set_blocking(reader, False)
        poller.register(reader, select.POLLIN)
    killed = ""
    ended = False
    while not ended:
        left = deadline - time.monotonic()
        events = dict(poller.poll(max(0, left) * 1000 + 1)) if left > 0 else {}
        ended = end in events
        for index, reader in enumerate(readers):
            if (ended or reader in events) and not _drain(reader, buffers[index], limits[index]) and not ended:
                poller.unregister(reader)
        if ended:
            break
        if len(buffers[0]) > limits[0]:
            killed = "claim"
        elif _REQUESTS in events:
            killed = "host"
        elif time.monotonic() >= deadline:
            killed = "deadline"
        if killed:
            os.kill(child, signal.SIGKILL)
            break
    os.close(end)
    return (bytes(buffers[0]), bytes(buffers[1][: limits[1]]), bytes(buffers[2][: limits[2]])), killed


def _drain(reader: int, buffer: bytearray, limit: int) -> bool:
    """Read what is there, keep up to just over ``limit``; False when the pipe has ended."""
    for _ in range(16):
        try:
            part = os.read(reader, 65536)
        except BlockingIOError:
            return True
        if not part:
            return False
        buffer += part[: max(0, limit + 1 - len(buffer))]
    return True


def _store(name: str, content: bytes) -> None:
    path = f"{WORKSPACE}/{name}"
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 - worker, no pathlib
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _collect(limit: int) -> dict[str, str] | None:
    """The regular files that the call left; no links, devices, pipes. None: more than ``limit`` bytes."""
    found: dict[str, str] = {}
    total = 0
    for folder, _, names, top in os.fwalk(WORKSPACE, follow_symlinks=False):
        for name in names:
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=top)
            except OSError:
                continue
            with os.fdopen(descriptor, "rb") as file:
                about = os.fstat(descriptor)
                if not stat.S_ISREG(about.st_mode):
                    continue
                total += about.st_size
                if total > limit:
                    return None
                found[os.path.relpath(f"{folder}/{name}", WORKSPACE)] = base64.b64encode(file.read()).decode()
    return found


def _call(setup: dict[str, Any], program: bytes, request: dict[str, Any], writers: list[int]) -> NoReturn:
    from toolkit.sandbox import kernel, plain

    null = os.open("/dev/null", os.O_RDONLY)
    high = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in (null, *writers)]
    for target, source in zip((0, 3, 1, 2), high, strict=True):
        os.dup2(source, target)
    os.closerange(4, 4096)
    kernel.limit_resources(
        memory_bytes=setup["memory_bytes"],
        file_bytes=setup["workspace_bytes"],
        cpu_seconds=int(request["timeout_seconds"]) + 1,
        descriptors=_DESCRIPTORS,
        threads=_THREADS,
    )
    kernel.mount_tmpfs("/proc", size_bytes=4096, inodes=1, read_only=True)
    kernel.drop_capabilities()
    kernel.restrict_files(writable=SCRATCH)
    os.chdir(WORKSPACE)
    os.umask(0o077)
    random.seed()
    kernel.filter_system_calls(program)
    os.write(3, _ISOLATED)
    try:
        function = _find(request)
        content = b'{"value":' + plain.encode_result(function(**request["arguments"])) + b"}"
    except BaseException as error:  # noqa: BLE001 - whatever the tool raises is its result
        content = _describe_failure(error)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a tool may have closed or replaced it
            stream.flush()
    view = memoryview(content)
    while view:
        view = view[os.write(3, view) :]
    os._exit(0)


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
        message = str(error)[:_MESSAGE_LIMIT]
    except BaseException:  # noqa: BLE001 - a tool's own __str__ may raise anything
        message = ""
    found = {"type": type(error).__name__, "message": message, "errno": getattr(error, "errno", None)}
    if not isinstance(found["errno"], int):
        found["errno"] = None
    return json.dumps({"error": found}).encode()


if __name__ == "__main__":
    main()
