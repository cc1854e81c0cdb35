"""The kernel's isolation calls, through libc: namespaces, mounts, capabilities, keyring, seccomp.

Standard library only: the worker imports it.
"""

import ctypes
import errno
import os
import resource
import stat
import struct
import time

from toolkit.sandbox import seccomp

_libc = ctypes.CDLL(None, use_errno=True)

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC = 1, 2, 4, 8, 4096, 16384
_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
_PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 28, 47, 4
_SECUREBITS_LOCKED = 0xFF
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_FILES_READ = 1 | 4 | 8
"""EXECUTE, READ_FILE, READ_DIR"""
_FILES_READ_WRITE = 2 | 4
"""WRITE_FILE, READ_FILE"""
_FILES_MAKE_SPECIAL = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11
"""MAKE_CHAR, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK"""
_TCP_BIND_CONNECT = 3
_SCOPE_ALL = 3
"""ABSTRACT_UNIX_SOCKET, SIGNAL"""
_KEYCTL_JOIN_SESSION_KEYRING = 1
_KEYRING_SECONDS = 2.0
_KEYCTL = {"x86_64": 250, "aarch64": 219}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def become(user: int) -> None:
    """Give up root for ``user`` (also as group), for good, keeping /proc/self writable for its own uid map."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def be_first_to_go() -> None:
    """Let the kernel end this process, and those that it starts, before any other when memory is short."""
    with open("/proc/self/oom_score_adj", "wb") as file:  # noqa: PTH123 - the worker does without pathlib
        file.write(b"1000")


def limit_files(size_bytes: int) -> None:
    """Allow no file of more than ``size_bytes``; the standard error of a worker is one on the host."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def new_namespaces() -> None:
    """Enter an own user, mount, IPC and, for the next child, PID namespace; the uid stays the same inside."""
    _unshare(_NEWUSER | _NEWNS | _NEWIPC | _NEWPID)


def new_mounts() -> None:
    """Enter an own user and mount namespace; the uid stays the same inside."""
    _unshare(_NEWUSER | _NEWNS)


def _unshare(namespaces: int) -> None:
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(namespaces), "unshare")
    for name, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
        try:
            os.write(descriptor, content.encode())
        finally:
            os.close(descriptor)


def mount_tmpfs(target: str, *, size_bytes: int, inodes: int, read_only: bool = False, programs: bool = False) -> None:
    """Mount a fresh, bounded tmpfs over ``target``; what lies in it can be executed only with ``programs``."""
    flags = _MS_NOSUID | _MS_NODEV | (0 if programs else _MS_NOEXEC) | (_MS_RDONLY if read_only else 0)
    options = f"size={size_bytes},nr_inodes={inodes},mode=700".encode()
    _check(_libc.mount(b"tmpfs", target.encode(), b"tmpfs", flags, options), f"mount {target}")


def mount_over(target: str, *, size_bytes: int, inodes: int, keep: list[str]) -> None:
    """Mount as ``mount_tmpfs`` does, but what is mounted at the paths ``keep`` below ``target`` stays where it is."""
    held = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in keep}
    folders = {path: stat.S_ISDIR(os.fstat(descriptor).st_mode) for path, descriptor in held.items()}
    mount_tmpfs(target, size_bytes=size_bytes, inodes=inodes, programs=True)
    for path, descriptor in held.items():
        os.makedirs(path if folders[path] else os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - no pathlib
        if not folders[path]:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        source = f"/proc/self/fd/{descriptor}".encode()
        _check(_libc.mount(source, path.encode(), None, _MS_BIND | _MS_REC, None), f"mount {path}")
        os.close(descriptor)


def fresh_keyring() -> None:
    """Join an empty session keyring, so that keys do not pass between calls; nothing where the kernel has no keys.

    A user may have few keyrings, and those of ended calls go a moment after them: so it waits for one. Raises OSError.
    """
    number = _KEYCTL.get(os.uname().machine)
    end = time.monotonic() + _KEYRING_SECONDS
    while number is not None and _libc.syscall(number, _KEYCTL_JOIN_SESSION_KEYRING, None, 0, 0, 0) < 0:
        refusal = ctypes.get_errno()
        if refusal == errno.ENOSYS:
            return
        if refusal != errno.EDQUOT or time.monotonic() > end:
            _check(-1, "keyctl(KEYCTL_JOIN_SESSION_KEYRING)")
        time.sleep(0.01)


def drop_capabilities() -> None:
    """Give up every capability, so that none is had again; allow no new privileges through exec."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    _check(_libc.prctl(_PR_SET_SECUREBITS, _SECUREBITS_LOCKED, 0, 0, 0), "prctl(PR_SET_SECUREBITS)")
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, bytes(24)), "capset")
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def address_space() -> int:
    """Return the bytes of address space that this process has."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - the worker does without pathlib
        return int(file.read().split()[0]) * resource.getpagesize()


def limit_resources(*, memory_bytes: int, file_bytes: int, descriptors: int, threads: int) -> None:
    """Limit this process; ``memory_bytes`` bounds its whole address space."""
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: descriptors,
        resource.RLIMIT_NPROC: threads,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_STACK: 8 << 20,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def filter_system_calls(program: bytes) -> None:
    """Install a seccomp program (toolkit.sandbox.seccomp); there is no way back."""
    filled = _Program(len(program) // 8, program)
    _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filled), 0, 0), "prctl(PR_SET_SECCOMP)")


def landlock_version() -> int:
    """Return the Landlock ABI of this kernel; 0 where there is none."""
    return max(0, _libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, 1))


def restrict_files(*, writable: str) -> None:
    """Restrict this process with Landlock, where the kernel has it: read anywhere, write below ``writable`` and to
    devices, no TCP, no signals or abstract sockets out of here. Needs no_new_privs. What the mounts already forbid is
    forbidden twice."""
    version = landlock_version()
    if version < 1:
        return
    handled = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    sizes = 8 if version < 4 else 16 if version < 6 else 24
    attributes = struct.pack("<QQQ", handled, _TCP_BIND_CONNECT, _SCOPE_ALL)[:sizes]
    ruleset = _libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, sizes, 0)
    if ruleset < 0:
        _check(-1, "landlock_create_ruleset")
    for path, access in (("/", _FILES_READ), (writable, handled & ~_FILES_MAKE_SPECIAL), ("/dev", _FILES_READ_WRITE)):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("<Qi", access, descriptor)
        _check(_libc.syscall(_LANDLOCK_ADD_RULE, ruleset, 1, rule, 0), f"landlock_add_rule {path}")
        os.close(descriptor)
    _check(_libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def prepare_filter(*, strict: bool) -> bytes:
    """Return the seccomp program for this machine."""
    return seccomp.build_filter(strict=strict)
