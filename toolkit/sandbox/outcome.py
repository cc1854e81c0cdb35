"""Conversion of a keeper's reply into an ExecResult. The claim inside is the call's own and is trusted in nothing."""

import errno
import os
import signal
from typing import Any

from toolkit.sandbox import ExecResult, Status
from toolkit.sandbox.frames import BadFrame, parse_strict
from toolkit.sandbox.replies import Ended

GRACE_SECONDS = 4.0
"""Seconds after its deadline in which a call's end may reach the host, on a machine that is busy."""
_OUT_OF = {
    errno.ENOSPC: "the scratch folder is full",
    errno.EDQUOT: "the scratch folder is full",
    errno.EFBIG: "a file is too large",
    errno.EMFILE: "too many open files",
    errno.ENOMEM: "out of memory",
}
_LIMIT_SIGNALS = {signal.SIGXCPU: "used up its processor time", signal.SIGXFSZ: "wrote too large a file"}


def outcome_of(reply: Ended, *, timeout_seconds: float, elapsed_seconds: float, output_kib: int) -> ExecResult:
    """Return the outcome of a call. ``reply`` is as the keeper wrote it; ``elapsed_seconds`` by the host's clock
    decides whether it was in time."""
    printed = {
        "stdout": reply.stdout,
        "stderr": reply.stderr,
        "duration_ms": round(elapsed_seconds * 1000, 3),
    }
    if reply.killed == "deadline" or elapsed_seconds > timeout_seconds + GRACE_SECONDS:
        return ExecResult(Status.TIMEOUT, message=f"no result within {timeout_seconds:g} s", **printed)
    if reply.killed == "claim" or len(reply.claim) > output_kib * 1024 + 64:
        message = f"the result is larger than {output_kib} KiB; ask for less"
        return ExecResult(Status.BAD_RESULT, message=message, **printed)
    status = reply.wait_status
    if os.WIFSIGNALED(status):
        return _signalled(os.WTERMSIG(status), printed)
    if not reply.claim or os.WEXITSTATUS(status) != 0:
        return ExecResult(Status.CRASHED, message="the tool ended without a result", **printed)
    try:
        return _claimed(parse_strict(reply.claim), printed)
    except BadFrame as error:
        return ExecResult(Status.BAD_RESULT, message=f"the result is {error}", **printed)


def _signalled(number: int, printed: dict[str, Any]) -> ExecResult:
    name = signal.Signals(number).name if number in signal.Signals.__members__.values() else str(number)
    if number in _LIMIT_SIGNALS:
        return ExecResult(
            Status.RESOURCE_LIMIT, message=f"the tool {_LIMIT_SIGNALS[signal.Signals(number)]}", **printed
        )
    if number == signal.SIGKILL:
        return ExecResult(Status.RESOURCE_LIMIT, message="the tool was killed: processor time or memory", **printed)
    if number == signal.SIGSYS:
        return ExecResult(Status.CRASHED, message="the tool made a forbidden system call", **printed)
    return ExecResult(Status.CRASHED, message=f"the tool crashed ({name})", **printed)


def _claimed(claim: Any, printed: dict[str, Any]) -> ExecResult:
    if not isinstance(claim, dict) or len(claim) != 1:
        raise BadFrame("no result")
    if "value" in claim:
        return ExecResult(Status.OK, value=claim["value"], **printed)
    error = claim.get("error")
    if not isinstance(error, dict):
        raise BadFrame("no result")
    kind, message, number = error.get("type"), error.get("message"), error.get("errno")
    if not isinstance(kind, str) or not isinstance(message, str):
        raise BadFrame("no result")
    reason = "out of memory" if kind == "MemoryError" else _OUT_OF.get(number) if isinstance(number, int) else None
    if reason is not None:
        return ExecResult(Status.RESOURCE_LIMIT, error_type=kind, message=reason, **printed)
    return ExecResult(Status.TOOL_FAILED, error_type=kind, message=message or kind, **printed)
