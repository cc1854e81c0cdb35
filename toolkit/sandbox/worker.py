"""Inside bubblewrap: the server. It imports the tool modules once and forks a keeper for each call ahead of time.

    server   never runs a call; forks a keeper, waits until it has taken a request, forks the next one
    keeper   toolkit.sandbox.keeper: watches over one call
    call     toolkit.sandbox.call: runs one tool function

Standard library only, but for what the tool modules import.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
from typing import Any, NoReturn

_MOST_ENDING = 50
"""Keepers that may still be ending: taking namespaces down waits for the kernel, long where it is starved."""


def main() -> NoReturn:
    setup = json.loads(sys.argv[1])
    sys.argv = [""]
    sys.path[:] = setup["path"]
    from toolkit.sandbox import kernel
    from toolkit.sandbox.call import MESSAGE_LIMIT, Bounds
    from toolkit.sandbox.keeper import REPLIES, REQUESTS, answer

    for number, target in ((0, REQUESTS), (1, REPLIES)):
        os.dup2(number, target, inheritable=False)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.environ.clear()
    if setup["become"] is not None:
        kernel.become(setup["become"])
    kernel.be_first_to_go()
    kernel.limit_files(setup["bounds"]["workspace_bytes"])
    for module in setup["modules"]:
        try:
            importlib.import_module(module)
        except BaseException as error:  # noqa: BLE001 - a user's module may raise anything; the host names it to the user
            message = f"{type(error).__name__}: {error}"[:MESSAGE_LIMIT]
            answer({"failed": module, "message": message.encode("utf-8", "replace").decode()})
            os._exit(1)
    program = kernel.prepare_filter(strict=setup["strict"])
    gc.collect()
    gc.freeze()
    gc.disable()
    bounds = Bounds(base_bytes=kernel.address_space(), **setup["bounds"])
    answer({"ready": True})
    _serve(bounds, program)


def _serve(bounds: Any, program: bytes) -> NoReturn:
    from toolkit.sandbox.keeper import TAKEN, keep

    forked = reaped = 0

    def reap(*_: object) -> None:
        nonlocal reaped
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                reaped += 1

    signal.signal(signal.SIGCHLD, reap)
    while True:
        while forked - reaped > _MOST_ENDING:
            signal.sigtimedwait((), 0.01)
        taken, take = os.pipe()
        forked += 1
        if os.fork() == 0:
            os.close(taken)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                keep(bounds, program, take)
            finally:
                os._exit(70)
        os.close(take)
        went_well = os.read(taken, 1) == TAKEN
        os.close(taken)
        if not went_well:
            os._exit(0)


if __name__ == "__main__":
    main()
