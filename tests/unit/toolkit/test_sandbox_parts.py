"""The parts of the sandbox that need no isolation to be tested."""

import base64
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.sandbox import ExecResult, Status, self_check, workspace
from toolkit.sandbox.frames import MAX_DEPTH, BadFrame, Late, parse_strict, read_frame, write_frame
from toolkit.sandbox.outcome import outcome_of
from toolkit.sandbox.plain import encode_result
from toolkit.sandbox.replies import Broken, Ended, ImportFailed, Ready, Unfit, read_hello, read_reply

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


@given(st.lists(st.sampled_from(['"', "\\", "[", "]", "x"])).map("".join))
def test_whatever_a_string_holds_depth_is_counted_outside_of_it(text: str) -> None:
    padding = ["["] * MAX_DEPTH  # brackets enough to be counted at all
    deepest = json.dumps([text, padding]).encode()
    for _ in range(MAX_DEPTH - 2):
        deepest = b"[" + deepest + b"]"
    assert parse_strict(deepest)
    with pytest.raises(BadFrame, match="nested deeper"):
        parse_strict(b"[" + deepest + b"]")


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


def test_a_frame_that_is_not_taken_in_time_is_given_up() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(Late):
        write_frame(writer, bytes(200_000), time.monotonic() + 0.05)
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        write_frame(writer, bytes(200_000), time.monotonic() + 60)
    os.close(writer)


@pytest.mark.parametrize("begun", [b"", b"\x00\x00", b"\x00\x00\x00\x05", b"\x00\x00\x00\x05abc"])
def test_a_frame_that_does_not_come_in_time_is_given_up(begun: bytes) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.write(writer, begun)
    with pytest.raises(Late):
        read_frame(reader, 100, time.monotonic() + 0.05)
    os.write(writer, b"\x00\x00\x00\x00")
    with pytest.raises(Late):
        read_frame(reader, 100, time.monotonic())
    os.close(reader)
    os.close(writer)


def test_a_large_frame_comes_whole_with_a_deadline() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    content, end = os.urandom(3 << 20), time.monotonic() + 60
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write_frame, writer, content, end)
        assert read_frame(reader, 4 << 20, end) == content
        written.result()
    os.close(reader)
    os.close(writer)


_ENDED = {
    "wait_status": 0, "killed": "", "claim": "e30=", "stdout": "", "stderr": "", "files": {"a": "YQ=="},
    "cpu_seconds": 0.1,
}  # fmt: skip


def test_replies_have_a_shape() -> None:
    assert read_hello(b'{"ready": true}') == Ready(ready=True)
    assert read_hello(b'{"failed": "m", "message": "no"}') == ImportFailed(failed="m", message="no")
    assert read_reply(b'{"broken": "x"}') == Broken(broken="x")
    assert read_reply(b'{"unfit": "x"}') == Unfit(unfit="x")
    ended = read_reply(json.dumps(_ENDED).encode())
    assert isinstance(ended, Ended)
    assert (ended.claim, ended.files) == (b"{}", {"a": "YQ=="})
    assert read_reply(json.dumps({**_ENDED, "cpu_seconds": 1, "files": None}).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b"{}", b'"x"', b'{"ready": true}', b'{"broken": 1}', b'{"broken": "x", "unfit": "y"}',
        b"[" * 100_000, b'{"a":' * 100_000, b'{"broken": "' + b"x" * 10_000 + b'"}', b'{"broken": "\\ud800"}',
    ],
)  # fmt: skip
def test_a_reply_of_another_shape_is_refused(content: bytes) -> None:
    with pytest.raises(BadFrame):
        read_reply(content)


@pytest.mark.parametrize(
    "change",
    [
        {"wait_status": "0"}, {"wait_status": True}, {"wait_status": 1 << 40}, {"wait_status": -1}, {"killed": "x"},
        {"killed": None}, {"claim": "?"}, {"claim": "YQ="}, {"claim": 5}, {"claim": "ä"}, {"stdout": 5},
        {"stderr": None},
        {"files": []}, {"files": {"a": 1}}, {"files": {"a": "YQ="}}, {"files": {"a": "ä"}}, {"cpu_seconds": "1"},
        {"cpu_seconds": -1}, {"more": 1},
    ],
)  # fmt: skip
def test_an_end_of_another_shape_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadFrame, match="a frame of another shape"):
        read_reply(json.dumps({**_ENDED, **change}).encode())
    (name,) = change
    missing = {key: value for key, value in _ENDED.items() if key != name}
    if missing != _ENDED:
        with pytest.raises(BadFrame, match="a frame of another shape"):
            read_reply(json.dumps(missing).encode())


def _reply(claim: bytes = b"", status: int = 0, killed: str = "") -> Ended:
    encoded = base64.b64encode(claim).decode()
    return Ended.model_validate({**_ENDED, "wait_status": status, "killed": killed, "claim": encoded, "files": None})


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
def test_the_host_judges(reply: Ended, elapsed: float, status: Status) -> None:
    assert outcome_of(reply, timeout_seconds=2, elapsed_seconds=elapsed, output_kib=1).status is status


def test_the_hosts_environment_is_told_from_a_modules_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "PATH"):
        monkeypatch.setenv(name, f"/our/{name}")
        (attempt,) = [each for each in self_check._ATTEMPTS if each.name == "see the environment"]
        assert attempt.holds(ExecResult(Status.OK, value={}))
        assert attempt.holds(ExecResult(Status.OK, value={"SHOP": "open", "PATH": "/its/own"}))
        assert not attempt.holds(ExecResult(Status.OK, value={name: f"/our/{name}"}))
        assert not attempt.holds(ExecResult(Status.TOOL_FAILED))


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


def test_a_file_may_take_the_name_of_a_folder_and_back(tmp_path: Path) -> None:
    workspace.store(tmp_path, {}, {"a/b/c": "YQ=="})
    workspace.store(tmp_path, {"a/b/c": "YQ=="}, _files(a=b"now a file"))
    assert (tmp_path / "a").read_bytes() == b"now a file"
    workspace.store(tmp_path, _files(a=b"now a file"), {"a/b": "YQ=="})
    assert (tmp_path / "a" / "b").read_bytes() == b"a"


def test_what_is_no_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe/x"):
        with pytest.raises(workspace.BadWorkspace, match="the workspace holds a"):
            workspace.store(tmp_path, {}, {name: "YQ=="})


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
