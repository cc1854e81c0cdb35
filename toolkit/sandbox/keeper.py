"""Inside the sandbox: the process that watches over one call. Standard library only.

It makes the call's namespaces and process ahead of time, takes one request, kills the call at its deadline, and answers
the host with one frame: how the process ended, what it printed, and its claim. It runs nothing of the call itself.
"""

import base64
import contextlib
import json
import os
import select
import signal
import stat
import time
from typing import Any, NoReturn

from toolkit.sandbox import frames, kernel
from toolkit.sandbox.call import ISOLATED, MESSAGE_LIMIT, SCRATCH, TEMPORARY, WORKSPACE, Bounds, run_call

REQUESTS, REPLIES = 10, 11
"""The descriptors on which the worker talks with the host."""
TAKEN = b"t"
_CLAIM_OVERHEAD = 64
_INODES = 2048


def answer(content: dict[str, Any]) -> None:
    """Send one frame to the host. Raises OSError when it has gone."""
    frames.write_frame(REPLIES, json.dumps(content).encode())


def keep(bounds: Bounds, program: bytes, take: int) -> NoReturn:
    """Prepare one call, serve one request, end. Says TAKEN on the descriptor ``take`` when it has a request."""
    try:
        kernel.fresh_keyring()
        kernel.new_namespaces()
        kernel.mount_tmpfs(SCRATCH, size_bytes=bounds.workspace_bytes, inodes=_INODES)
        kernel.mount_tmpfs("/proc", size_bytes=4096, inodes=1, read_only=True)
        for folder in (WORKSPACE, TEMPORARY):
            os.mkdir(folder, 0o700)  # noqa: PTH102 - pathlib is not needed in the hot path
    except OSError as error:
        answer({"broken": f"a call cannot be isolated: {error}"})
        os._exit(71)
    child, to_call, readers = _start(bounds, program)
    content = frames.read_frame(REQUESTS, frames.request_limit(bounds.workspace_bytes))
    if content is None:
        os._exit(0)
    started = time.monotonic()
    os.write(take, TAKEN)
    os.close(take)
    request = json.loads(content)
    files = request.pop("files")
    try:
        for name, text in (files or {}).items():
            _store(name, base64.b64decode(text))
    except OSError as error:
        answer({"unfit": f"the workspace does not fit into workspace_mib: {error.strerror}; remove files"})
        os._exit(0)
    _send(to_call, request)
    limits = [bounds.output_bytes, bounds.output_bytes, bounds.output_bytes + _CLAIM_OVERHEAD]
    outputs, killed = _watch(child, readers, limits, started + request["timeout_seconds"])
    _, status, usage = os.wait4(child, 0)
    reply = _reply(outputs, killed, status)
    reply["cpu_seconds"] = usage.ru_utime + usage.ru_stime
    if files is not None and not killed and status == 0:
        reply["files"] = _collect(bounds.workspace_bytes)
    with contextlib.suppress(OSError):
        answer(reply)
    os._exit(0)


def _start(bounds: Bounds, program: bytes) -> tuple[int, int, list[int]]:
    """Fork the call. Returns its id, where its request goes, and where output, complaints and claim come from."""
    request, to_call = os.pipe()
    pipes = [os.pipe() for _ in range(3)]
    child = os.fork()
    if child == 0:
        try:
            run_call(bounds, program, request, *(writer for _, writer in pipes))
        except BaseException as error:  # noqa: BLE001 - only locking in can raise here, and the host must hear of it
            os.write(2, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(72)
    for descriptor in (request, *(writer for _, writer in pipes)):
        os.close(descriptor)
    return child, to_call, [reader for reader, _ in pipes]


def _send(to_call: int, request: dict[str, Any]) -> None:
    view = memoryview(json.dumps(request).encode())
    with contextlib.suppress(BrokenPipeError):
        while view:
            view = view[os.write(to_call, view) :]
    os.close(to_call)


def _reply(outputs: tuple[bytes, bytes, bytes], killed: str, status: int) -> dict[str, Any]:
    printed, complained, claim = outputs
    if not claim.startswith(ISOLATED) and not killed:
        reason = complained.decode("utf-8", "replace")[:MESSAGE_LIMIT]
        return {"broken": f"a call cannot be isolated: {reason or status}"}
    return {
        "wait_status": status,
        "killed": killed,
        "claim": base64.b64encode(claim[1:]).decode(),
        "stdout": printed.decode("utf-8", "replace"),
        "stderr": complained.decode("utf-8", "replace"),
        "files": None,
    }


def _watch(
    child: int, readers: list[int], limits: list[int], deadline: float
) -> tuple[tuple[bytes, bytes, bytes], str]:
    """Read all three pipes until the call has ended; kill it at the deadline, when its claim is too long, or when
    the host has gone. Returns what was read, each cut at its limit, and the reason for the kill ("" for none)."""
    buffers = [bytearray(), bytearray(), bytearray()]
    end = os.pidfd_open(child)
    poller = select.poll()
    poller.register(end, select.POLLIN)
    poller.register(REQUESTS, select.POLLHUP)
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
        if len(buffers[2]) > limits[2]:
            killed = "claim"
        if ended:
            break
        if not killed and REQUESTS in events:
            killed = "host"
        elif not killed and time.monotonic() >= deadline:
            killed = "deadline"
        if killed:
            os.kill(child, signal.SIGKILL)
            break
    os.close(end)
    return (bytes(buffers[0][: limits[0]]), bytes(buffers[1][: limits[1]]), bytes(buffers[2])), killed


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
    """The regular files that the call left; no links, devices, pipes. None: more than ``limit`` bytes, nested deeper
    than this process can go, or with a name that is no UTF-8, which a frame cannot hold."""
    try:
        return _regular_files(limit)
    except (OSError, RecursionError, UnicodeEncodeError):
        return None


def _regular_files(limit: int) -> dict[str, str] | None:
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
                path = os.path.relpath(f"{folder}/{name}", WORKSPACE)
                path.encode()
                found[path] = base64.b64encode(file.read()).decode()
    return found
