"""The system calls that a tool call, and a started MCP server, may make: seccomp filters, assembled here.

A call may do what Python needs to compute, use its scratch folder and run threads; all else ends in EPERM: new
processes, programs, sockets (but ``socketpair``), mounts, namespaces, tracing, keys, BPF, io_uring and the rest. A
server may be any program, so for it those that no server needs are listed, and the others allowed. Another
architecture's calls kill the process. Standard library only: the worker imports it.

Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux.
"""

import errno
import os
import struct
from dataclasses import dataclass

_TABLE = """
read 0 63; write 1 64; close 3 57; fstat 5 80; newfstatat 262 79; stat 4 -; lstat 6 -; statx 332 291; poll 7 -;
ppoll 271 73; lseek 8 62; mmap 9 222; mprotect 10 226; munmap 11 215; brk 12 214; mremap 25 216;
madvise 28 233; msync 26 227; mincore 27 232; rt_sigaction 13 134; rt_sigprocmask 14 135; rt_sigreturn 15 139;
rt_sigpending 127 136; rt_sigtimedwait 128 137; rt_sigsuspend 130 133; sigaltstack 131 132; pread64 17 67;
pwrite64 18 68; readv 19 65; writev 20 66; preadv 295 69; pwritev 296 70; access 21 -; faccessat 269 48;
faccessat2 439 439; pipe 22 -; pipe2 293 59; select 23 -; pselect6 270 72; sched_yield 24 124; dup 32 23;
dup2 33 -; dup3 292 24; nanosleep 35 101; clock_nanosleep 230 115; clock_gettime 228 113; clock_getres 229 114;
gettimeofday 96 169; time 201 -; alarm 37 -; getitimer 36 102; setitimer 38 103; pause 34 -; getpid 39 172;
getppid 110 173; gettid 186 178; getuid 102 174; geteuid 107 175; getgid 104 176; getegid 108 177;
getresuid 118 148; getresgid 120 150; getgroups 115 158; getpgid 121 155; getpgrp 111 -; getsid 124 156;
exit 60 93; exit_group 231 94; wait4 61 260; waitid 247 95; kill 62 129; tgkill 234 131; tkill 200 130;
uname 63 160; fcntl 72 25; flock 73 32; fsync 74 82; fdatasync 75 83; truncate 76 45; ftruncate 77 46;
getdents 78 -; getdents64 217 61; getcwd 79 17; chdir 80 49; fchdir 81 50; rename 82 -; renameat 264 38;
renameat2 316 276; mkdir 83 -; mkdirat 258 34; rmdir 84 -; unlink 87 -; unlinkat 263 35; link 86 -;
linkat 265 37; symlink 88 -; symlinkat 266 36; readlink 89 -; readlinkat 267 78; chmod 90 -; fchmod 91 52;
fchmodat 268 53; umask 95 166; utimensat 280 88; open 2 -; openat 257 56; creat 85 -; statfs 137 43;
fstatfs 138 44; sysinfo 99 179; times 100 153; getrlimit 97 163; setrlimit 160 164; prlimit64 302 261;
getrusage 98 165; arch_prctl 158 -; futex 202 98; set_tid_address 218 96; set_robust_list 273 99;
get_robust_list 274 100; rseq 334 293; membarrier 324 283; getrandom 318 278; getcpu 309 168;
sched_getaffinity 204 123; sched_getparam 143 121; sched_getscheduler 145 120; restart_syscall 219 128;
fadvise64 221 223; fallocate 285 47; epoll_create 213 -; epoll_create1 291 20; epoll_ctl 233 21;
epoll_wait 232 -; epoll_pwait 281 22; eventfd 284 -; eventfd2 290 19; copy_file_range 326 285; sendfile 40 71;
close_range 436 436; timerfd_create 283 85; timerfd_settime 286 86; timerfd_gettime 287 87;
sync_file_range 277 84; recvfrom 45 207; sendto 44 206; recvmsg 47 212; shutdown 48 210;
"""
"""``name x86_64 aarch64``; ``-`` where the architecture lacks the call."""

_NOT_IN_STRICT = """
link linkat symlink symlinkat flock truncate chmod fchmod fchmodat utimensat fsync fdatasync sync_file_range fallocate
copy_file_range sendfile readv preadv pwritev msync mincore epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
eventfd eventfd2 timerfd_create timerfd_settime timerfd_gettime recvfrom sendto recvmsg shutdown kill tkill wait4 waitid
pause alarm setitimer getitimer membarrier sysinfo statfs fstatfs get_robust_list rt_sigsuspend rt_sigtimedwait
rt_sigpending
"""
"""Calls of the table that code which only computes can do without; strict denies them, threads and sockets too."""

_SERVER_DENIED = """
ptrace 101 117; process_vm_readv 310 270; process_vm_writev 311 271; process_madvise 440 440; pidfd_getfd 438 438;
kcmp 312 272; mount 165 40; umount2 166 39; pivot_root 155 41; chroot 161 51; open_tree 428 428; move_mount 429 429;
fsopen 430 430; fsconfig 431 431; fsmount 432 432; fspick 433 433; mount_setattr 442 442; unshare 272 97;
setns 308 268; open_by_handle_at 304 265; swapon 167 224; swapoff 168 225; reboot 169 142; kexec_load 246 104;
kexec_file_load 320 294; init_module 175 105; finit_module 313 273; delete_module 176 106; bpf 321 280;
perf_event_open 298 241; userfaultfd 323 282; io_uring_setup 425 425; io_uring_enter 426 426;
io_uring_register 427 427; keyctl 250 219; add_key 248 217; request_key 249 218; acct 163 89; quotactl 179 60;
quotactl_fd 443 443; settimeofday 164 170; clock_settime 227 112; adjtimex 159 171; clock_adjtime 305 266;
sethostname 170 161; setdomainname 171 162; iopl 172 -; ioperm 173 -; modify_ldt 154 -; uselib 134 -;
personality 135 92; vhangup 153 58; syslog 103 116; fanotify_init 300 262; fanotify_mark 301 263;
lookup_dcookie 212 18; nfsservctl 180 42; mbind 237 235; move_pages 279 239; migrate_pages 256 238;
memfd_secret 447 447;
"""
_LAST_KNOWN = 466
"""Calls that came to Linux after 6.14 are unknown to the list above, so that a server gets ENOSYS."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 1, "aarch64": 2}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = {"x86_64": 435, "aarch64": 435}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_PRCTL = {"x86_64": 157, "aarch64": 167}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_SOCKETPAIR = {"x86_64": 53, "aarch64": 199}

_CLONE_THREAD = 0x00010000
_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET"""
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _NETLINK_ROUTE = 1, 2, 10, 16, 0
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX"""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PRCTLS = (3, 15, 16, 39)
"""PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_GET_NO_NEW_PRIVS"""

_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_DENY = 0x00050000 | errno.EPERM
_MISSING = 0x00050000 | errno.ENOSYS
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_X32_BIT = 0x40000000


class UnknownArchitecture(OSError):
    """There is no table of system calls for this machine."""


@dataclass(frozen=True, slots=True)
class _Span:
    """Span of system call numbers from ``start`` on, for which ``code`` decides."""

    start: int
    code: bytes


def build_filter(machine: str | None = None, *, strict: bool = False) -> bytes:
    """Return the program (an array of ``struct sock_filter``) for a tool call on ``machine`` (default: this one).

    ``strict``: for code that nobody has looked at, which gets less.

    Raises UnknownArchitecture for any but x86_64 and aarch64.
    """
    machine = _known(machine)
    without = frozenset(_NOT_IN_STRICT.split() if strict else ())
    rules = dict.fromkeys(_numbers(_TABLE, machine, without), _op(_RETURN, _ALLOW))
    rules[_IOCTL[machine]] = _op(_LOAD, 24) + _one_of(_IOCTLS)
    rules[_PRCTL[machine]] = _op(_LOAD, 16) + _one_of(_PRCTLS)
    rules[_CLONE3[machine]] = _op(_RETURN, _MISSING)
    if strict:
        return _program(machine, rules, otherwise=_DENY, last=max(rules), beyond=_DENY)
    rules[_CLONE[machine]] = (
        _op(_LOAD, 16) + _op(_ANY_BIT, _NEW_NAMESPACES, 2, 0) + _op(_ANY_BIT, _CLONE_THREAD, 0, 1) + _verdicts()
    )
    rules[_SOCKETPAIR[machine]] = _op(_LOAD, 16) + _op(_EQUAL, _AF_UNIX, 0, 1) + _verdicts()
    return _program(machine, rules, otherwise=_DENY, last=max(rules), beyond=_DENY)


def build_server_filter(*, network: bool, machine: str | None = None) -> bytes:
    """Return the program for a started MCP server: it may start programs, but not trace, mount, or reach the kernel's
    less used parts; and use the internet only with ``network``. Raises UnknownArchitecture.

    Local sockets are for a server without network: with it, it shares the host's abstract ones.
    """
    machine = _known(machine)
    rules = dict.fromkeys(_numbers(_SERVER_DENIED, machine), _op(_RETURN, _DENY))
    rules[_CLONE[machine]] = _op(_LOAD, 16) + _op(_ANY_BIT, _NEW_NAMESPACES, 1, 0) + _verdicts()
    rules[_CLONE3[machine]] = _op(_RETURN, _MISSING)
    rules[_IOCTL[machine]] = _op(_LOAD, 24) + _op(_EQUAL, _TIOCSTI, 2, 0) + _op(_EQUAL, _TIOCLINUX, 1, 0) + _verdicts()
    rules[_SOCKET[machine]] = _op(_LOAD, 16) + (_internet() if network else _one_of((_AF_UNIX,)))
    return _program(machine, rules, otherwise=_ALLOW, last=_LAST_KNOWN, beyond=_MISSING)


def _known(machine: str | None) -> str:
    machine = machine or os.uname().machine
    if machine not in _AUDIT_ARCH:
        raise UnknownArchitecture(f"no system call table for {machine}")
    return machine


def _numbers(table: str, machine: str, without: frozenset[str] = frozenset()) -> list[int]:
    entries = [entry.split() for entry in table.replace("\n", " ").split(";") if entry.strip()]
    kept = [entry for entry in entries if entry[0] not in without]
    return [int(entry[_COLUMN[machine]]) for entry in kept if entry[_COLUMN[machine]] != "-"]


def _program(machine: str, rules: dict[int, bytes], *, otherwise: int, last: int, beyond: int) -> bytes:
    """``rules`` says what decides on a call number, up to ``last``; ``otherwise`` and ``beyond`` are for the others."""
    head = _op(_LOAD, 4) + _op(_EQUAL, _AUDIT_ARCH[machine], 1, 0) + _op(_RETURN, _KILL) + _op(_LOAD, 0)
    if machine == "x86_64":
        head += _op(_AT_LEAST, _X32_BIT, 0, 1) + _op(_RETURN, _KILL)
    default = _op(_RETURN, otherwise)
    spans = [_Span(0, rules.get(0, default))]
    for number in range(1, last + 1):
        code = rules.get(number, default)
        if code != spans[-1].code:
            spans.append(_Span(number, code))
    spans.append(_Span(last + 1, _op(_RETURN, beyond)))
    return head + _search(spans)


def _search(spans: list[_Span]) -> bytes:
    """A binary decision tree over the call numbers: few steps for each call, all jumps short."""
    if len(spans) == 1:
        return spans[0].code
    middle = len(spans) // 2
    lower, upper = _search(spans[:middle]), _search(spans[middle:])
    return _op(_AT_LEAST, spans[middle].start, len(lower) // 8, 0) + lower + upper


def _one_of(values: tuple[int, ...]) -> bytes:
    tests = b"".join(_op(_EQUAL, value, len(values) - index - 1, 0) for index, value in enumerate(values[:-1]))
    return tests + _op(_EQUAL, values[-1], 0, 1) + _verdicts()


def _internet() -> bytes:
    """Internet addresses, and the route table, which looking up a name reads."""
    families = _op(_EQUAL, _AF_INET, 4, 0) + _op(_EQUAL, _AF_INET6, 3, 0) + _op(_EQUAL, _AF_NETLINK, 0, 3)
    return families + _op(_LOAD, 32) + _op(_EQUAL, _NETLINK_ROUTE, 0, 1) + _verdicts()


def _verdicts() -> bytes:
    return _op(_RETURN, _ALLOW) + _op(_RETURN, _DENY)


def _op(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, operand)
