"""Attack 70: a started MCP server against the machine it runs on. In its real sandbox."""

import os
from pathlib import Path

import pytest

from agent.serving.socket_folder import VLLM, bound, socket_folder
from tests.adversarial.conftest import CALLS
from tests.adversarial.test_mcp import SERVER, opened
from toolkit.config import McpServerConfig
from toolkit.mcp.servers import McpServers
from toolkit.registry import ToolRegistry
from toolkit.sandbox import Invocation


def test_70_a_started_server_sees_nothing_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_SECRET", "tweet")
    monkeypatch.setenv("CANARY_GIVEN", "yes")
    with opened("plain", environment=("CANARY_GIVEN",)) as (servers, _):
        assert set(servers.run(Invocation("raw", "echo", {"text": "environment"})).value) <= {
            "CANARY_GIVEN", "HOME", "LC_CTYPE", "PATH", "PWD"
        }  # fmt: skip
        assert servers.run(Invocation("raw", "echo", {"text": "files"})).value == []
        assert servers.run(Invocation("raw", "echo", {"text": "network"})).value == []
        assert servers.run(Invocation("raw", "echo", {"text": "user"})).value != [0]


def _found(servers: McpServers, code: str) -> object:
    """What ``code`` finds as ``found`` when the server runs it."""
    result = servers.run(Invocation("raw", "echo", {"text": f"run:{code}"}))
    assert result.ok, result
    return result.value["found"]


DENIED = (
    "ptrace", "process_vm_readv", "pidfd_getfd", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns",
    "fsopen", "open_tree", "open_by_handle_at", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "keyctl",
    "add_key", "request_key", "kexec_load", "init_module", "personality", "swapon", "reboot", "settimeofday",
    "quotactl",
)  # fmt: skip


def test_70_a_started_server_cannot_reach_the_kernels_back_doors() -> None:
    with opened("plain") as (servers, _):
        found = _found(servers, f"{CALLS}\nfound = {{name: call(name) for name in {DENIED!r}}}")
        assert found == dict.fromkeys(DENIED, "EPERM")
        assert _found(servers, f"{CALLS}\nfound = [call('clone3'), libc.syscall(500), ctypes.get_errno()]") == [
            "ENOSYS", -1, 38
        ]  # fmt: skip
        typing = "libc.ioctl(0, 0x5412, b'x'), ctypes.get_errno(), libc.ioctl(0, 0x541C, b'x'), ctypes.get_errno()"
        assert _found(servers, f"{CALLS}\nfound = [{typing}]") == [-1, 1, -1, 1]
        number = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
        cloned = f"libc.syscall({number}, 0x10000000 | 17, 0, 0, 0, 0), ctypes.get_errno()"
        assert _found(servers, f"{CALLS}\nfound = [{cloned}]") == [-1, 1]


def test_70_a_started_server_can_do_its_work() -> None:
    code = """
import os, socket, subprocess, sys, threading
a, b = socket.socketpair()
listening = socket.socket(socket.AF_UNIX)
listening.bind('/tmp/own')
thread = threading.Thread(target=lambda: None)
thread.start()
thread.join()
open('/dev/shm/x', 'w').write('x')
found = subprocess.run([sys.executable, '-S', '-c', 'print(6 * 7)'], capture_output=True, text=True).stdout
"""
    with opened("plain") as (servers, _):
        assert _found(servers, code) == "42\n"


SOCKETS = """
import socket
found = []
for family, protocol in (('AF_UNIX', 0), ('AF_INET', 0), ('AF_INET6', 0), ('AF_NETLINK', 0), ('AF_NETLINK', 16),
        ('AF_VSOCK', 0), ('AF_ALG', 0), ('AF_PACKET', 0)):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try: socket.socket(getattr(socket, family), kind, protocol).close()
        except PermissionError: continue
        except OSError: pass
        found.append(f'{family} {protocol}')
found = sorted(set(found))
"""


def test_70_sockets_of_a_started_server() -> None:
    with opened("plain") as (servers, _):
        assert _found(servers, SOCKETS) == ["AF_UNIX 0"]
    with opened("plain", network=True) as (servers, _):
        assert _found(servers, SOCKETS) == ["AF_INET 0", "AF_INET6 0", "AF_NETLINK 0"]


@pytest.mark.parametrize("folder", ["/dev/shm", "/tmp"])
def test_70_a_started_server_cannot_fill_the_memory(folder: str) -> None:
    code = f"""
import os
found = 0
try:
    for number in range(1000):
        open('{folder}/%d' % number, 'wb').write(bytes(1 << 20))
        found += 1
except OSError: pass
for number in range(found + 1): os.path.exists('{folder}/%d' % number) and os.unlink('{folder}/%d' % number)
for elsewhere in ('/', '/dev', '/run', '/var', '/opt'):
    try: open(elsewhere + '/x', 'w'); found += 10000
    except OSError: pass
"""
    with opened("plain") as (servers, _):
        filled = _found(servers, code)
        assert isinstance(filled, int)
        assert 32 <= filled <= 64


@pytest.mark.parametrize("folder", ["/dev/shm", "/tmp"])
def test_70_a_started_server_cannot_make_files_without_end(folder: str) -> None:
    code = f"""
import os
found = 0
try:
    for number in range(100_000):
        os.mkdir('{folder}/%d' % number)
        found += 1
except OSError: pass
for number in range(found): os.rmdir('{folder}/%d' % number)
"""
    with opened("plain") as (servers, _):
        made = _found(servers, code)
        assert isinstance(made, int)
        assert 4000 <= made <= 8192


def test_70_a_started_server_holds_no_capability() -> None:
    code = "found = [line.split()[1] for line in open('/proc/self/status') if line.startswith('Cap')]"
    with opened("plain") as (servers, _):
        assert _found(servers, code) == ["0" * 16] * 5


def test_70_what_is_bound_below_tmp_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data.txt").write_text("here")
    (tmp_path / "single.txt").write_text("this too")
    code = f"""
found = []
for name in ('folder/data.txt', 'single.txt'):
    path = {str(tmp_path)!r} + '/' + name
    found.append(open(path).read())
    try: open(path, 'w')
    except OSError as error: found.append(error.errno)
"""
    config = McpServerConfig(
        command=("python", "-S", str(SERVER), "plain"),
        bind=(SERVER, tmp_path / "folder", tmp_path / "single.txt"),
        timeout_seconds=60,
    )
    with McpServers({"raw": config}, output_kib=64) as servers:
        servers.add_to(ToolRegistry())
        assert _found(servers, code) == ["here", 30, "this too", 30]


@pytest.mark.parametrize("network", [False, True])
def test_70_a_started_server_cannot_reach_vllm(tmp_path: Path, network: bool) -> None:
    with socket_folder(tmp_path) as folder, bound(folder / VLLM) as listening:
        listening.listen()
        code = f"""
import socket
try:
    socket.socket(socket.AF_UNIX).connect('{folder / VLLM}')
    found = 'connected'
except OSError as error: found = type(error).__name__
"""
        with opened("plain", network=network) as (servers, _):
            assert _found(servers, code) == ("PermissionError" if network else "FileNotFoundError")
