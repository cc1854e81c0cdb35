"""The system calls that a tool call may make: a seccomp filter, assembled here.

Allowed is what Python needs to compute, use its scratch folder and run threads. New processes, programs, sockets (but
``socketpair``), mounts, namespaces, tracing, keys, BPF, io_uring and the rest end in EPERM; another architecture's
calls kill the process. Standard library only: the worker imports it.

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

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 1, "aarch64": 2}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = {"x86_64": 435, "aarch64": 435}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_PRCTL = {"x86_64": 157, "aarch64": 167}
_SOCKETPAIR = {"x86_64": 53, "aarch64": 199}

_CLONE_THREAD = 0x00010000
_AF_UNIX = 1
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX"""
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
    """From call number ``start`` on, ``code`` decides."""

    start: int
    code: bytes


def build_filter(machine: str | None = None) -> bytes:
    """The program (an array of ``struct sock_filter``) for ``machine`` (default: this one).

    Raises UnknownArchitecture for any but x86_64 and aarch64.
    """
    machine = machine or os.uname().machine
    if machine not in _AUDIT_ARCH:
        raise UnknownArchitecture(f"no system call table for {machine}")
    head = _op(_LOAD, 4) + _op(_EQUAL, _AUDIT_ARCH[machine], 1, 0) + _op(_RETURN, _KILL) + _op(_LOAD, 0)
    if machine == "x86_64":
        head += _op(_AT_LEAST, _X32_BIT, 0, 1) + _op(_RETURN, _KILL)
    return head + _search(_spans(machine))


def _spans(machine: str) -> list[_Span]:
    column = _COLUMN[machine]
    entries = [entry.split() for entry in _TABLE.replace("\n", " ").split(";") if entry.strip()]
    rules = {int(entry[column]): _op(_RETURN, _ALLOW) for entry in entries if entry[column] != "-"}
    rules[_CLONE[machine]] = _op(_LOAD, 16) + _op(_ANY_BIT, _CLONE_THREAD, 0, 1) + _verdicts()
    rules[_CLONE3[machine]] = _op(_RETURN, _MISSING)
    rules[_SOCKETPAIR[machine]] = _op(_LOAD, 16) + _op(_EQUAL, _AF_UNIX, 0, 1) + _verdicts()
    rules[_IOCTL[machine]] = _op(_LOAD, 24) + _one_of(_IOCTLS)
    rules[_PRCTL[machine]] = _op(_LOAD, 16) + _one_of(_PRCTLS)
    deny = _op(_RETURN, _DENY)
    spans = [_Span(0, rules.get(0, deny))]
    for number in range(1, max(rules) + 2):
        code = rules.get(number, deny)
        if code != spans[-1].code:
            spans.append(_Span(number, code))
    return spans


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


def _verdicts() -> bytes:
    return _op(_RETURN, _ALLOW) + _op(_RETURN, _DENY)


def _op(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, operand)
