"""The parts of the sandbox that need no isolation to be tested."""

import base64
import errno
import json
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.sandbox import Status, workspace
from toolkit.sandbox.frames import BadFrame, parse_strict, read_frame, write_frame
from toolkit.sandbox.judge import judge
from toolkit.sandbox.plain import encode_result
from toolkit.sandbox.seccomp import UnknownArchitecture, build_filter

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
        (56, (0x11,), EPERM), (56, (0x3D0F00,), ALLOW), (53, (1, 1), ALLOW), (53, (2, 1), EPERM),
        (16, (0, 0x5401), ALLOW), (16, (0, 0x5412), EPERM), (16, (0, 0x541C), EPERM), (16, (0, 0x5451), ALLOW),
        (157, (15,), ALLOW), (157, (4,), EPERM), (157, (22,), EPERM), (0x40000000, (), KILL), (0x40000039, (), KILL),
    ],
)  # fmt: skip
def test_the_filter_on_x86_64(number: int, arguments: tuple[int, ...], verdict: int) -> None:
    assert _decide(build_filter("x86_64"), number, X86, *arguments) == verdict


@pytest.mark.parametrize(
    ("number", "verdict"),
    [(63, ALLOW), (64, ALLOW), (56, ALLOW), (98, ALLOW), (198, EPERM), (221, EPERM), (117, EPERM), (435, ENOSYS)],
)
def test_the_filter_on_aarch64(number: int, verdict: int) -> None:
    assert _decide(build_filter("aarch64"), number, ARM) == verdict


def test_calls_of_another_architecture_are_killed() -> None:
    assert _decide(build_filter("x86_64"), 1, 0x40000003) == KILL
    assert _decide(build_filter("aarch64"), 64, X86) == KILL
    with pytest.raises(UnknownArchitecture, match="riscv64"):
        build_filter("riscv64")


def test_the_filter_is_small_and_its_jumps_fit() -> None:
    assert len(build_filter("x86_64")) // 8 < 512


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_json)
def test_json_survives_the_way_out(value: object) -> None:
    try:
        content = encode_result(value)
    except UnicodeEncodeError:
        return
    try:
        assert parse_strict(content) == value
    except BadFrame as error:
        assert "surrogate" in str(error)


@pytest.mark.parametrize(
    "content",
    [
        b"NaN", b"[Infinity]", b'{"a":1,"a":2}', b"[" * 100_000, b'{"a":' * 1000, b"\xff", b'"\\ud800"', b"", b"1 2",
        b'"\x00"', b"9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_strict_json_is_refused(content: bytes) -> None:
    with pytest.raises(BadFrame):
        parse_strict(content)


def test_brackets_in_strings_do_not_count_as_depth() -> None:
    text = "[" * 500 + '\\"]'
    assert parse_strict(json.dumps([text]).encode()) == [text]


def _through_pipe(content: bytes, limit: int) -> bytes | None:
    reader, writer = os.pipe()
    try:
        os.write(writer, content)
        os.close(writer)
        return read_frame(reader, limit)
    finally:
        os.close(reader)


def test_frames_are_whole_or_refused() -> None:
    reader, writer = os.pipe()
    write_frame(writer, b"ab")
    write_frame(writer, b"")
    os.close(writer)
    assert [read_frame(reader, 10) for _ in range(3)] == [b"ab", b"", None]
    os.close(reader)
    for bad in (b"\x00\x00", b"\x00\x00\x00\x05abc", b"\xff\xff\xff\xffabc"):
        with pytest.raises(BadFrame):
            _through_pipe(bad, 100)


def _reply(claim: bytes = b"", status: int = 0, killed: str = "") -> dict[str, object]:
    encoded = base64.b64encode(claim).decode()
    return {"wait_status": status, "killed": killed, "claim": encoded, "stdout": "", "stderr": "", "files": None}


@pytest.mark.parametrize(
    ("reply", "elapsed", "status"),
    [
        (_reply(b'{"value":1}'), 0.1, Status.OK),
        (_reply(b'{"value":1}'), 9.0, Status.TIMEOUT),
        (_reply(b'{"value":1}', killed="deadline"), 0.1, Status.TIMEOUT),
        (_reply(b'{"value":1}', killed="claim"), 0.1, Status.BAD_RESULT),
        (_reply(b'{"value":1}', status=9), 0.1, Status.RESOURCE_LIMIT),
        (_reply(b'{"value":1}', status=11), 0.1, Status.CRASHED),
        (_reply(b'{"value":1}', status=31), 0.1, Status.CRASHED),
        (_reply(b'{"value":1}', status=24), 0.1, Status.RESOURCE_LIMIT),
        (_reply(b'{"value":1}', status=3 << 8), 0.1, Status.CRASHED),
        (_reply(b""), 0.1, Status.CRASHED),
        (_reply(b'{"value":1}{"value":2}'), 0.1, Status.BAD_RESULT),
        (_reply(b'{"value":1,"error":{}}'), 0.1, Status.BAD_RESULT),
        (_reply(b'{"valu'), 0.1, Status.BAD_RESULT),
        (_reply(b"[]"), 0.1, Status.BAD_RESULT),
        (_reply(b'{"error":{"type":1,"message":"x"}}'), 0.1, Status.BAD_RESULT),
        (_reply(b'{"error":"x"}'), 0.1, Status.BAD_RESULT),
        (_reply(b'{"error":{"type":"MemoryError","message":""}}'), 0.1, Status.RESOURCE_LIMIT),
        (_reply(b'{"error":{"type":"OSError","message":"","errno":28}}'), 0.1, Status.RESOURCE_LIMIT),
        (_reply(b'{"error":{"type":"ValueError","message":"no"}}'), 0.1, Status.TOOL_FAILED),
        (_reply(b'{"error":{"type":"E","message":"no","errno":[]}}'), 0.1, Status.TOOL_FAILED),
    ],
)  # fmt: skip
def test_the_host_judges(reply: dict[str, object], elapsed: float, status: Status) -> None:
    assert judge(reply, timeout_seconds=2, elapsed_seconds=elapsed, output_kib=1).status is status


def _files(**content: bytes) -> dict[str, str]:
    return {name: base64.b64encode(text).decode() for name, text in content.items()}


def test_a_workspace_is_read_as_regular_files_only(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_bytes(b"a")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "linked").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    assert workspace.read(tmp_path, 100) == {"notes/a.txt": "YQ=="}
    with pytest.raises(workspace.BadWorkspace, match="larger"):
        workspace.read(tmp_path, 0)


def test_a_workspace_stores_what_changed(tmp_path: Path) -> None:
    before = _files(a=b"1", b=b"2")
    workspace.store(tmp_path, {}, before)
    workspace.store(tmp_path, before, _files(b=b"2", c=b"3"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"b": b"2", "c": b"3"}


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", ".", "a//b", "a\nb", "n" * 300, ".lock", "a\x1b"])
def test_a_name_that_leads_out_is_refused_before_anything_changes(tmp_path: Path, name: str) -> None:
    with pytest.raises(workspace.BadWorkspace):
        workspace.store(tmp_path, {}, {"fine": "YQ==", name: "YQ=="})
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_workspace_is_not_followed_when_writing(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (inside / "out").symlink_to(outside)
    with pytest.raises(workspace.BadWorkspace, match="leads out"):
        workspace.store(inside, {}, {"out/x": "YQ=="})
    assert list(outside.iterdir()) == []
