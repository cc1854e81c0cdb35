"""The pool for code that a model wrote: workers of its own, held more tightly than those of tools that somebody chose.

Such code sees the standard library and nothing else, starts no thread, has no workspace, and has tighter limits
(``[toolkit.sandbox.made_code]``) and fewer system calls.
"""

import threading

from toolkit.config import SandboxConfig
from toolkit.errors import SandboxUnavailable
from toolkit.sandbox import ExecResult, Invocation, Runner, Sandbox
from toolkit.sandbox.insistent import Insistent
from toolkit.sandbox.opening import open_sandbox

_NAME = "model-made"
_SCRATCH_MIB = 1


def made_code_limits(config: SandboxConfig) -> SandboxConfig:
    """Return ``[toolkit.sandbox.made_code]`` as the limits of a sandbox."""
    return SandboxConfig(**config.made_code.model_dump(), workspace_mib=_SCRATCH_MIB)


class ModelMadePool(Runner):
    """Opened, and tried by the self-check, at the first call; an owner that never calls it pays nothing.

    ``insist``: see toolkit.sandbox.insistent.
    """

    def __init__(self, config: SandboxConfig, *, insist: bool = False) -> None:
        self._config = made_code_limits(config)
        self._insist = insist
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None
        self._closed = False

    def run(self, invocation: Invocation) -> ExecResult:
        """Run a call as Runner says. Raises ValueError for an invocation of a module; the first call raises like
        open_sandbox."""
        if invocation.source is None:
            raise ValueError("the pool for code that a model wrote runs source only")
        return self._opened().run(invocation)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._sandbox is not None:
                self._sandbox.close()

    def _opened(self) -> Sandbox:
        with self._lock:
            if self._closed:
                raise SandboxUnavailable(f"sandbox {_NAME} is closed")
            if self._sandbox is None:
                opened = open_sandbox(self._config, name=_NAME, strict=True)
                self._sandbox = Insistent(opened) if self._insist else opened
            return self._sandbox
