"""The sandbox of a started MCP server: it may start programs and threads, and sees little else.

Read-only system and interpreter, an empty home, no environment but what the configuration names, no network unless the
configuration says so, and a filter of system calls (``toolkit.mcp.entry``). A server is a program that the user chose,
so it is held less tightly than a call.
"""

import json
import os
import shutil
import site
import sys
from pathlib import Path

from toolkit.config import McpServerConfig
from toolkit.errors import ConfigError
from toolkit.sandbox.binds import PACKAGE_FOLDER, bwrap_parents, interpreter, package_bind
from toolkit.sandbox.isolation import bwrap_command, user_inside

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
_FILE_BYTES = 64 << 20
_SCRATCH_FILES = 8192
_LIMITS = {
    "RLIMIT_CORE": 1,
    "RLIMIT_NPROC": 256,
    "RLIMIT_NOFILE": 1024,
    "RLIMIT_FSIZE": _FILE_BYTES,
    "RLIMIT_DATA": 4 << 30,
}
"""A limit of 1 also keeps a crash from the host's program for core dumps, which a limit of 0 does not."""
GROUP_BYTES, GROUP_PROCESSES = 4 << 30, 256
"""Limits of the control group of a server, where there is one."""


def isolated(name: str, config: McpServerConfig) -> list[str]:
    """Return the command line that runs ``config.command`` in its sandbox. Raises PrerequisiteError, and ConfigError
    for a program or folder that does not exist."""
    program = _program(name, config.command[0])
    variables = {"PATH": f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin", "HOME": "/tmp"}
    variables |= {key: os.environ[key] for key in config.environment if key in os.environ}
    size = str(_FILE_BYTES)
    binds = _binds(name, config, program)
    setup = {
        "package": PACKAGE_FOLDER,
        "user": user_inside(),
        "network": config.network,
        "limits": _LIMITS,
        "scratch": {folder: _bound_below(folder, binds) for folder in ("/tmp", "/dev/shm")},
        "scratch_bytes": _FILE_BYTES,
        "scratch_files": _SCRATCH_FILES,
    }
    return [
        *bwrap_command(network=config.network),
        *(part for key, value in variables.items() for part in ("--setenv", key, value)),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--perms", "1777", "--size", size, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),
        *("--perms", "1777", "--size", size, "--tmpfs", "/tmp"),
        *bwrap_parents(binds),
        *binds,
        *("--remount-ro", "/", "--chdir", "/tmp", "--"),
        *(str(interpreter()), "-I", "-S", "-B", f"{PACKAGE_FOLDER}/toolkit/mcp/entry.py", json.dumps(setup)),
        *(program, *config.command[1:]),
    ]


def _bound_below(folder: str, binds: list[str]) -> list[str]:
    """Return the paths that must stay when a tmpfs is mounted over ``folder``, as bwrap's own has no bound on the
    number of files."""
    targets = [target for flag, target in zip(binds, binds[2:], strict=False) if flag.startswith("--ro-bind")]
    return [target for target in targets if Path(target).is_relative_to(folder) and Path(target).exists()]


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
    arguments = package_bind()
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
