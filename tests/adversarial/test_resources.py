"""Attacks 1 to 19 of the list in docs/sandbox.md: resources."""

import resource

import pytest

from tests.adversarial.conftest import Target
from toolkit.sandbox import Status

LIMITED = Status.RESOURCE_LIMIT


def test_01_fork_bomb(target: Target) -> None:
    result = target.attack("import os\nwhile True: os.fork()")
    assert (result.status, result.error_type) == (Status.TOOL_FAILED, "PermissionError")


def test_02_thread_bomb(target: Target) -> None:
    body = """
import threading, time
started = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(60,)).start()
        started += 1
except RuntimeError:
    return started
"""
    result = target.attack(body)
    assert result.ok or result.status is LIMITED
    assert result.value is None or result.value <= 32


@pytest.mark.parametrize(
    "body",
    [
        "return len(bytearray(1 << 34))",
        "kept = []\nwhile True: kept.append(bytearray(1 << 20))",
        "import mmap\nreturn len(mmap.mmap(-1, 1 << 34))",
        "import mmap\nkept = []\nwhile True: kept.append(mmap.mmap(-1, 1 << 22))",
        "return 'x' * (1 << 34)",
        "kept = []\nwhile True: kept.append([None] * 100_000)",
    ],
)
def test_03_memory_bomb(target: Target, body: str) -> None:
    assert target.attack(body).status is LIMITED


def test_03_memory_file(target: Target) -> None:
    assert target.attack("return call('memfd_create', b'x', 0)", calls=True).value == "EPERM"


def test_04_address_space_times_processes(target: Target) -> None:
    body = """
import mmap, os
held = []
try:
    while True: held.append(mmap.mmap(-1, 1 << 20))
except OSError: pass
try: os.fork()
except OSError as error: return [len(held), error.errno]
"""
    mapped, number = target.attack(body).value
    assert mapped <= 64
    assert number == 1


@pytest.mark.parametrize("folder", ["/scratch", "/scratch/tmp", "/workspace"])
def test_05_filling_the_scratch_folder(target: Target, folder: str) -> None:
    body = """
for number in range(1000):
    with open(f'{folder}/{number}', 'wb') as file: file.write(bytes(1 << 20))
"""
    assert target.attack(body, folder=folder).status is LIMITED


@pytest.mark.parametrize("folder", ["/", "/dev", "/dev/shm", "/run", "/var/tmp", "/usr", "/opt"])
def test_05_filling_other_folders(target: Target, folder: str) -> None:
    result = target.attack("open(f'{folder}/x', 'wb').write(bytes(1 << 20))", folder=folder)
    assert (result.status, result.error_type) in [
        (Status.TOOL_FAILED, kind) for kind in ("OSError", "PermissionError", "FileNotFoundError")
    ]


def test_06_inode_flood(target: Target) -> None:
    body = "for number in range(10**6): open(f'/scratch/tmp/{number}', 'w').close()"
    assert target.attack(body).status is LIMITED


@pytest.mark.parametrize("depth", [900, 1900])
@pytest.mark.tools_only("a workspace")
def test_06_folders_in_folders(target: Target, tmp_path_factory: pytest.TempPathFactory, depth: int) -> None:
    """Deeper than what carries the workspace out can go: the call is refused, its worker lives."""
    folder = tmp_path_factory.mktemp("work")
    body = "import os\nfor _ in range(depth):\n    os.mkdir('d')\n    os.chdir('d')\nopen('x', 'w').close()"
    assert target.attack(body, workspace=folder, depth=depth).status is LIMITED
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_07_descriptor_exhaustion(target: Target) -> None:
    body = "import os\nkept = []\nwhile True: kept.append(os.open('/dev/null', 0))"
    assert target.attack(body).status is LIMITED


@pytest.mark.parametrize(
    "body",
    [
        "import os\nfile = open('/workspace/x', 'wb')\nos.truncate(file.fileno(), 1 << 40)",
        "import os\nfile = open('/workspace/x', 'wb')\nos.posix_fallocate(file.fileno(), 0, 1 << 40)",
        "file = open('/workspace/x', 'wb')\nfile.seek(1 << 40)\nfile.write(b'x')\nfile.flush()",
    ],
)
def test_08_sparse_file(target: Target, body: str) -> None:
    result = target.attack(body)
    assert target.denies(result) or result.status is LIMITED


@pytest.mark.tools_only("a workspace")
def test_08_many_sparse_files_do_not_swell_the_host(target: Target, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("work")
    body = """
import os
for number in range(500):
    with open(f'/workspace/{number}', 'wb') as file: os.truncate(file.fileno(), 4 << 20)
"""
    result = target.attack(body, workspace=folder)
    assert result.status is LIMITED
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_09_endless_output(target: Target) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = target.attack("while True: print('x' * 1000)", seconds=0.5)
    assert result.status is Status.TIMEOUT
    assert len(result.stdout) <= 16 * 1024
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_10_a_line_of_a_gigabyte(target: Target) -> None:
    result = target.attack("import sys\nfor _ in range(1024): sys.stdout.write('x' * (1 << 20))\nreturn 7")
    assert (result.value, len(result.stdout)) == (7, 16 * 1024)
    assert target.attack("print('x' * (1 << 30))").status is LIMITED


def test_11_closed_output(target: Target) -> None:
    assert target.attack("import os\nos.close(1)\nos.close(2)\nos.close(0)\nreturn 5").value == 5
    assert target.attack("import sys\nsys.stdout.close()\nsys.stderr = None\nreturn 6").value == 6


@pytest.mark.tools_only("threads")
def test_11_output_held_by_another_thread(target: Target) -> None:
    body = "import os, threading, time\nthreading.Thread(target=lambda: (os.dup(1), time.sleep(60))).start()\nreturn 5"
    assert target.attack(body, seconds=50).value == 5, "the thread was waited for"


def test_12_a_number_too_large_to_compute(target: Target) -> None:
    assert target.attack("return 10**10**8 > 1", seconds=0.3).status in (Status.TIMEOUT, LIMITED)


def test_13_catastrophic_expression(target: Target) -> None:
    body = "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')"
    assert target.attack(body, seconds=0.3).status is Status.TIMEOUT


@pytest.mark.parametrize(
    "body",
    [
        "def deep(): deep()\ndeep()",
        "import sys\nsys.setrecursionlimit(10**9)\ndef deep(): deep()\ndeep()",
        "import json\njson.loads('[' * 10**6)",
        "import sys, json\nsys.setrecursionlimit(10**9)\njson.loads('[' * 10**6)",
        "import ast\nast.parse('(' * 10**5 + ')' * 10**5)",
        "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6): x = [x]\nrepr(x)",
        "x = []\nfor _ in range(10**5): x = [x]\nreturn x",
    ],
)
def test_14_deep_recursion(target: Target, body: str) -> None:
    assert target.attack(body).status in (Status.TOOL_FAILED, Status.CRASHED, LIMITED)


def test_15_spin_that_ignores_signals(target: Target) -> None:
    body = """
import signal
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(number, signal.SIG_IGN)
while True: pass
"""
    assert target.attack(body, seconds=0.3).status is Status.TIMEOUT


@pytest.mark.parametrize(
    "body",
    [
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nsignal.pause()",
        "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))\ntime.sleep(600)",
        "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
        "import os\nreader, writer = os.pipe()\nos.read(reader, 1)",
    ],
)
def test_16_sleep(target: Target, body: str) -> None:
    result = target.attack(body, seconds=0.3)
    assert target.denies(result) or result.status is Status.TIMEOUT


def test_17_inotify_is_closed(target: Target) -> None:
    body = "return [call('inotify_init1', 0), call('fanotify_init', 0, 0)]"
    assert target.attack(body, calls=True).value == ["EPERM", "EPERM"]


@pytest.mark.parametrize("make", ["os.pipe()", "select.epoll()", "os.eventfd(0)"])
def test_17_epoll_and_pipes_run_out(target: Target, make: str) -> None:
    if make == "os.eventfd(0)":
        make = "__import__('ctypes').CDLL(None).eventfd(0, 0) < 0 and open('/dev/null')"
    body = f"import os, select\nkept = []\nwhile True: kept.append({make})"
    result = target.attack(body)
    assert target.denies(result) or result.status is LIMITED


def test_18_core_dumps(target: Target) -> None:
    body = "import resource\nreturn resource.getrlimit(resource.RLIMIT_CORE)"
    assert target.attack(body).value == [0, 0]
    result = target.attack("import os\nos.abort()")
    assert result.status is Status.CRASHED


def test_19_decompression_bomb(target: Target) -> None:
    body = """
import zlib
packed = b''.join([(c := zlib.compressobj(9)).compress(bytes(1 << 26)), c.flush()])
return len(zlib.decompress(packed)) and zlib.decompress(packed).decode()
"""
    assert target.attack(body).status is LIMITED
    assert target.attack("return 'x' * (10 << 20)").status is Status.BAD_RESULT
