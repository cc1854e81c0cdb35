"""The sandbox of a started MCP server: it may start programs and threads, and sees little else.

Read-only system and interpreter, an empty home, no environment but what the configuration names, and no network unless
the configuration says so. A server is a program that the user chose, so it is held less tightly than a call.
"""

import os
import shutil
import site
import sys
from pathlib import Path

from toolkit.config import McpServerConfig
from toolkit.errors import ConfigError, PrerequisiteError
from toolkit.sandbox.binds import bwrap_parents, interpreter
from toolkit.sandbox.bubblewrap import SANDBOX_USER

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/mime.types", "/etc/localtime")
_NETWORK_FILES = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/ssl",
    "/etc/ca-certificates",
    "/etc/pki",
)
_PROCESSES = 256
_FILE_BYTES = 64 << 20
_DATA_BYTES = 4 << 30

_ENTRY = f"""
import os, resource, sys
user, program = int(sys.argv[1]), sys.argv[2:]
for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NPROC, {_PROCESSES}), (resource.RLIMIT_NOFILE, 1024),
        (resource.RLIMIT_FSIZE, {_FILE_BYTES}), (resource.RLIMIT_DATA, {_DATA_BYTES})):
    hard = resource.getrlimit(limit)[1]
    value = value if hard < 0 else min(value, hard)
    resource.setrlimit(limit, (value, value))
if user:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
os.execvp(program[0], program)
"""


def isolated(name: str, config: McpServerConfig) -> list[str]:
    """The command line that runs ``config.command`` in its sandbox. Raises PrerequisiteError, and ConfigError for a
    program or folder that does not exist."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise PrerequisiteError("bubblewrap is missing; install it (Debian, Ubuntu: apt-get install bubblewrap)")
    root = os.geteuid() == 0
    program = _program(name, config.command[0])
    isolation = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent"]
    isolation += ["--new-session", "--hostname", "sandbox", "--cap-drop", "ALL"]
    isolation += [] if config.network else ["--unshare-net"]
    isolation += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if root else ["--unshare-user"]
    home = ["--perms", "1777", "--size", str(_FILE_BYTES), "--tmpfs", "/tmp", "--setenv", "HOME", "/tmp"]
    variables = [part for key in config.environment if key in os.environ for part in ("--setenv", key, os.environ[key])]
    search = f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin"
    binds = _binds(name, config, program)
    return [
        bwrap,
        *isolation,
        "--clearenv",
        *("--setenv", "PATH", search, *variables),
        *("--proc", "/proc", "--dev", "/dev"),
        *home,
        *bwrap_parents(binds),
        *binds,
        *("--remount-ro", "/", "--chdir", "/tmp", "--"),
        *(str(interpreter()), "-I", "-S", "-c", _ENTRY, str(SANDBOX_USER if root else 0)),
        *(program, *config.command[1:]),
    ]


def _program(name: str, command: str) -> str:
    """``python`` is the interpreter of this installation, with the packages installed beside this one."""
    if command in ("python", "python3"):
        return sys.executable
    found = shutil.which(command) or shutil.which(command, path=str(Path(sys.prefix) / "bin"))
    if found is None:
        raise ConfigError(f"toolkit.mcp.{name}.command: there is no program {command}; install it or give its path")
    return found


def _binds(name: str, config: McpServerConfig, program: str) -> list[str]:
    wanted = [Path(sys.prefix), Path(sys.base_prefix), interpreter(), *map(Path, site.getsitepackages())]
    wanted += [Path(program), Path(program).resolve()]
    for path in config.bind:
        if not path.exists():
            raise ConfigError(f"toolkit.mcp.{name}.bind: {path} does not exist; correct the path")
        wanted.append(path.absolute())
    arguments: list[str] = []
    for folder in map(Path, _SYSTEM):
        if folder.is_symlink():
            arguments += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            arguments += ["--ro-bind", str(folder), str(folder)]
    for file in (*_FILES, *(_NETWORK_FILES if config.network else ())):
        arguments += ["--ro-bind-try", file, file]
    covered: list[Path] = [Path(folder) for folder in _SYSTEM]
    for path in sorted(set(wanted)):
        if path.exists() and not any(path.is_relative_to(each) for each in covered):
            arguments += ["--ro-bind", str(path), str(path)]
            covered.append(path)
    return arguments
