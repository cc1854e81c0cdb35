"""Attacks 44 to 52: network and kernel."""

import os
import socket
from pathlib import Path

import pytest

from tests.adversarial.conftest import Target
from toolkit.sandbox import Status


@pytest.mark.parametrize(
    ("family", "kind", "number"),
    [
        ("TCP", "AF_INET, socket.SOCK_STREAM", 44), ("TCP6", "AF_INET6, socket.SOCK_STREAM", 44),
        ("UDP", "AF_INET, socket.SOCK_DGRAM", 44), ("raw", "AF_INET, socket.SOCK_RAW", 44),
        ("packet", "AF_PACKET, socket.SOCK_RAW", 44), ("netlink", "AF_NETLINK, socket.SOCK_RAW", 44),
        ("unix", "AF_UNIX, socket.SOCK_STREAM", 47), ("vsock", "AF_VSOCK, socket.SOCK_STREAM", 49),
        ("alg", "AF_ALG, socket.SOCK_SEQPACKET", 49), ("can", "AF_CAN, socket.SOCK_RAW", 49),
    ],
)  # fmt: skip
def test_44_47_49_sockets(target: Target, family: str, kind: str, number: int) -> None:
    result = target.attack(f"import socket\nsocket.socket(socket.{kind})")
    assert (result.status, result.error_type) == (Status.TOOL_FAILED, "PermissionError"), (family, number)


@pytest.mark.tools_only("pairs of sockets")
def test_44_a_pair_of_sockets_is_allowed_within_the_call(target: Target) -> None:
    body = "import socket\na, b = socket.socketpair()\na.send(b'x')\nreturn b.recv(1).decode()"
    assert target.attack(body).value == "x"


def test_45_names(target: Target) -> None:
    assert target.attack("import socket\nreturn socket.getaddrinfo('example.org', 80)").error_type == "gaierror"


def test_46_loopback_servers_of_the_host(target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        body = "import socket\nsocket.create_connection(('127.0.0.1', port), timeout=1)"
        assert target.attack(body, port=port).error_type == "PermissionError"
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.tools_only("a workspace")
def test_47_48_unix_sockets_of_the_host(target: Target, tmp_path: Path) -> None:
    for address in (str(tmp_path / "s"), "\0apprentice-test-abstract"):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(address)
            server.listen()
            body = "import socket\nsocket.socket(socket.AF_UNIX).connect(address)"
            assert target.attack(body, address=address, workspace=tmp_path).error_type == "PermissionError"


def test_48_a_datagram_pair_cannot_reach_an_abstract_socket(target: Target) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind("\0apprentice-test-datagram")
        server.settimeout(0.2)
        body = """
import socket
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
a.sendto(b'x', chr(0) + 'apprentice-test-datagram')
"""
        assert target.attack(body).status is Status.TOOL_FAILED
        with pytest.raises(TimeoutError):
            server.recv(1)


@pytest.mark.parametrize(
    "call",
    [
        "io_uring_setup", "userfaultfd", "bpf", "perf_event_open", "keyctl", "add_key", "request_key", "kexec_load",
        "init_module", "personality", "swapon", "reboot", "settimeofday", "execveat",
    ],
)  # fmt: skip
def test_50_kernel_interfaces(target: Target, call: str) -> None:
    assert target.attack(f"return call('{call}')", calls=True).value == "EPERM"


def test_50_keys_do_not_pass_between_calls(target: Target) -> None:
    body = "return [call('keyctl', 0, -3, 0, 0, 0), call('keyctl', 11, -3, 0, 0, 0)]"
    assert target.attack(body, calls=True).value == ["EPERM", "EPERM"]


def test_51_clone3(target: Target) -> None:
    assert target.attack("return call('clone3')", calls=True).value == "ENOSYS"


if os.uname().machine == "x86_64":  # other machines have no second table of calls; docs/sandbox.md says so

    @pytest.mark.parametrize("number", [0x40000000 + 39, 0x40000000 + 520])
    def test_51_x32_calls(target: Target, number: int) -> None:
        result = target.attack("import ctypes\nctypes.CDLL(None).syscall(number)", number=number)
        assert (result.status, "forbidden system call" in result.message) == (Status.CRASHED, True)

    def test_51_32_bit_calls(target: Target) -> None:
        """``int 0x80`` in anonymous memory; a kernel without 32-bit emulation sends SIGSEGV, seccomp SIGSYS."""
        body = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex('b814000000cd80c3'))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
return ctypes.CFUNCTYPE(ctypes.c_long)(address)()
"""
        assert target.attack(body).status is Status.CRASHED


@pytest.mark.parametrize("request_number", [0x5412, 0x541C, 0x5403, 0x540E])
def test_52_typing_into_a_terminal(target: Target, request_number: int) -> None:
    body = "import fcntl\nfcntl.ioctl(0, number, b'x')"
    assert target.attack(body, number=request_number).error_type == "PermissionError"


def test_52_there_is_no_terminal(target: Target) -> None:
    body = "import os\nopen('/dev/tty')"
    assert target.attack(body).error_type == "FileNotFoundError"
