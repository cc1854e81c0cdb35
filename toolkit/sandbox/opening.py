"""Starting the real sandbox, and proving that it holds."""

from collections.abc import Sequence
from pathlib import Path

from toolkit.config import SandboxConfig
from toolkit.errors import PrerequisiteError
from toolkit.sandbox.bubblewrap import BubblewrapSandbox
from toolkit.sandbox.self_check import require_sound
from toolkit.sandbox.worker_process import NamespacesForbidden


def open_sandbox(
    config: SandboxConfig,
    modules: Sequence[str] = (),
    *,
    check: bool = True,
    name: str = "builtin",
    folder: Path = Path(),
    strict: bool = False,
) -> BubblewrapSandbox:
    """Start the sandbox with ``modules`` imported in its workers, and try to escape from it (``check``).

    A module outside the standard library, site-packages and this package is looked for in ``folder`` first, and a copy
    of its file or package folder is bound read-only. ``name`` names the trust class in messages. ``strict`` is for code
    that nobody has looked at: no installed packages, no threads, fewer system calls. Use as a context manager. Raises
    PrerequisiteError (bubblewrap missing, user namespaces forbidden), SandboxUnavailable (an escape succeeded),
    ConfigError (a module fails to import).
    """
    sandbox = BubblewrapSandbox(config, modules, name=name, folder=folder, strict=strict)
    try:
        if check:
            require_sound(sandbox)
        else:
            sandbox.warm()
    except NamespacesForbidden as error:
        sandbox.close()
        raise PrerequisiteError(str(error)) from error
    except BaseException:
        sandbox.close()
        raise
    return sandbox
