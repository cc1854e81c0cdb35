"""A sandbox for callers to whom every result is a verdict, as to the evolver: a broken one must not pass for one."""

from toolkit.errors import SandboxUnavailable
from toolkit.sandbox import ExecResult, Invocation, Sandbox, Status

HARMLESS = Invocation("operator", "index", {})
"""A call of a function that every worker has; without its argument it fails at once."""


class Insistent(Sandbox):
    """``inner``, but a call whose worker was lost is made again: nothing of the first is left. Closing it closes
    ``inner``.

    Lost twice, a harmless call is made. Where that is lost too, the sandbox is broken (SandboxUnavailable); where it is
    not, and the call is lost a third time, the call does it: a result that is LOST says so of the call.
    """

    def __init__(self, inner: Sandbox) -> None:
        self._inner = inner

    def run(self, invocation: Invocation) -> ExecResult:
        result = self._inner.run(invocation)
        if result.status is Status.LOST:
            result = self._inner.run(invocation)
        if result.status is Status.LOST:
            if self._inner.run(HARMLESS).status is Status.LOST:
                raise SandboxUnavailable(
                    f"a call of {invocation.function} was lost twice, a harmless one after it too: {result.message}"
                )
            result = self._inner.run(invocation)
        return result

    def close(self) -> None:
        self._inner.close()
