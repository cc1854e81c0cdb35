"""The filter of system calls, which needs no isolation to be tested."""

import errno
import struct

import pytest

from toolkit.sandbox import seccomp
from toolkit.sandbox.seccomp import UnknownArchitecture, build_filter, build_server_filter

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS


X86, ARM = 0xC000003E, 0xC00000B7


def _decide(program: bytes, number: int, arch: int, *arguments: int) -> int:
    """Run the BPF program as the kernel would."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    accumulator, at = 0, 0
    steps = [struct.unpack_from("<HBBI", program, offset) for offset in range(0, len(program), 8)]
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        if code == 0x06:
            return operand
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, operand)[0]
            continue
        taken = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: bool(accumulator & operand)}[code]
        at += if_true if taken else if_false


@pytest.mark.parametrize(
    ("number", "arguments", "verdict"),
    [
        (0, (), ALLOW), (1, (), ALLOW), (202, (), ALLOW), (231, (), ALLOW), (257, (), ALLOW),
        (41, (), EPERM), (42, (), EPERM), (57, (), EPERM), (58, (), EPERM), (59, (), EPERM), (101, (), EPERM),
        (165, (), EPERM), (250, (), EPERM), (272, (), EPERM), (317, (), EPERM), (319, (), EPERM), (321, (), EPERM),
        (322, (), EPERM), (323, (), EPERM), (425, (), EPERM), (435, (), ENOSYS), (450, (), EPERM), (100000, (), EPERM),
        (56, (0x11,), EPERM), (56, (0x3D0F00,), ALLOW), (440, (), EPERM),
        (56, (0x7D0F00 | 0x10000000,), EPERM), (53, (1, 1), ALLOW), (53, (2, 1), EPERM),
        (16, (0, 0x5401), ALLOW), (16, (0, 0x5412), EPERM), (16, (0, 0x541C), EPERM), (16, (0, 0x5451), ALLOW),
        (157, (15,), ALLOW), (157, (4,), EPERM), (157, (22,), EPERM), (0x40000000, (), KILL), (0x40000039, (), KILL),
    ],
)  # fmt: skip
def test_the_filter_on_x86_64(number: int, arguments: tuple[int, ...], verdict: int) -> None:
    assert _decide(build_filter("x86_64"), number, X86, *arguments) == verdict


@pytest.mark.parametrize(
    ("number", "arguments", "verdict"),
    [
        (0, (), ALLOW), (1, (), ALLOW), (9, (), ALLOW), (257, (), ALLOW), (302, (), ALLOW), (231, (), ALLOW),
        (16, (0, 0x5401), ALLOW), (16, (0, 0x5412), EPERM), (56, (0x3D0F00,), EPERM), (53, (1, 1), EPERM),
        (86, (), EPERM), (88, (), EPERM), (62, (), EPERM), (291, (), EPERM), (45, (), EPERM), (435, (), ENOSYS),
        (41, (), EPERM), (57, (), EPERM), (0x40000000, (), KILL),
    ],
)  # fmt: skip
def test_the_strict_filter_gives_less(number: int, arguments: tuple[int, ...], verdict: int) -> None:
    assert _decide(build_filter("x86_64", strict=True), number, X86, *arguments) == verdict


def test_what_strict_goes_without_is_in_the_table() -> None:
    known = {entry.split()[0] for entry in seccomp._TABLE.replace("\n", " ").split(";") if entry.strip()}
    assert set(seccomp._NOT_IN_STRICT.split()) <= known


@pytest.mark.parametrize(
    ("number", "verdict"),
    [(63, ALLOW), (64, ALLOW), (56, ALLOW), (98, ALLOW), (198, EPERM), (221, EPERM), (117, EPERM), (435, ENOSYS)],
)
def test_the_filter_on_aarch64(number: int, verdict: int) -> None:
    assert _decide(build_filter("aarch64"), number, ARM) == verdict


@pytest.mark.parametrize(
    ("number", "arguments", "verdict"),
    [
        (0, (), ALLOW), (57, (), ALLOW), (58, (), ALLOW), (59, (), ALLOW), (434, (), ALLOW), (444, (), ALLOW),
        (101, (), EPERM), (165, (), EPERM), (272, (), EPERM), (321, (), EPERM), (425, (), EPERM), (250, (), EPERM),
        (323, (), EPERM), (246, (), EPERM), (313, (), EPERM), (438, (), EPERM), (435, (), ENOSYS), (466, (), ALLOW),
        (467, (), ENOSYS), (100000, (), ENOSYS), (56, (0x11,), ALLOW), (56, (0x3D0F00,), ALLOW),
        (56, (0x10000011,), EPERM), (56, (0x00020011,), EPERM), (56, (0x40000011,), EPERM), (53, (1, 1), ALLOW),
        (16, (0, 0x5401), ALLOW), (16, (0, 0x5412), EPERM), (16, (0, 0x541C), EPERM), (16, (0, 0x1_0000_5412), EPERM),
        (0x40000000, (), KILL),
    ],
)  # fmt: skip
@pytest.mark.parametrize("network", [False, True])
def test_the_filter_of_a_server(number: int, arguments: tuple[int, ...], verdict: int, network: bool) -> None:
    assert _decide(build_server_filter(network=network, machine="x86_64"), number, X86, *arguments) == verdict


@pytest.mark.parametrize(
    ("family", "protocol", "alone", "in_the_network"),
    [
        (1, 0, ALLOW, EPERM), (2, 6, EPERM, ALLOW), (10, 17, EPERM, ALLOW), (16, 0, EPERM, ALLOW),
        (16, 12, EPERM, EPERM), (17, 0, EPERM, EPERM), (38, 0, EPERM, EPERM), (40, 0, EPERM, EPERM),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("machine", "number", "arch"), [("x86_64", 41, X86), ("aarch64", 198, ARM)])
def test_the_sockets_of_a_server(
    family: int, protocol: int, alone: int, in_the_network: int, machine: str, number: int, arch: int
) -> None:
    for network, verdict in ((False, alone), (True, in_the_network)):
        program = build_server_filter(network=network, machine=machine)
        assert _decide(program, number, arch, family, 1, protocol) == verdict


def test_calls_of_another_architecture_are_killed() -> None:
    assert _decide(build_server_filter(network=True, machine="x86_64"), 1, 0x40000003) == KILL
    assert _decide(build_filter("x86_64"), 1, 0x40000003) == KILL
    assert _decide(build_filter("aarch64"), 64, X86) == KILL
    with pytest.raises(UnknownArchitecture, match="riscv64"):
        build_filter("riscv64")


def test_the_filter_is_small_and_its_jumps_fit() -> None:
    assert len(build_filter("x86_64")) // 8 < 512
    assert len(build_server_filter(network=True, machine="x86_64")) // 8 < 512
