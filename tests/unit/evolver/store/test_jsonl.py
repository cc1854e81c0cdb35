"""Lines survive what a crash leaves behind."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from evolver.store.jsonl import append_lines, read_lines
from evolver.types import Call, Trace, TraceKind, Verdict

QUICK = settings(max_examples=40, deadline=None)

VERDICTS = st.lists(st.builds(Verdict, trace_id=st.text(), kept=st.booleans(), reason=st.text()), max_size=6)


def test_a_file_that_does_not_exist_reads_as_empty(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none.jsonl", Verdict) == []
    append_lines(tmp_path / "none.jsonl", [])
    assert not (tmp_path / "none.jsonl").exists()


@QUICK
@given(VERDICTS, VERDICTS)
def test_what_is_appended_is_read(first: list[Verdict], second: list[Verdict]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deeper" / "values.jsonl"
        append_lines(path, first)
        append_lines(path, second)
        assert read_lines(path, Verdict) == first + second
        assert read_lines(path, Verdict, key=lambda verdict: verdict.trace_id) == [v.trace_id for v in first + second]


@QUICK
@given(VERDICTS.filter(bool), VERDICTS.filter(bool), st.data())
def test_a_last_line_that_was_cut_off_is_left_out_and_harms_no_later_one(
    before: list[Verdict], after: list[Verdict], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.jsonl"
        append_lines(path, before)
        whole = path.read_bytes()
        last = whole[:-1].rfind(b"\n") + 1
        path.write_bytes(whole[: data.draw(st.integers(last, len(whole) - 2))])
        assert read_lines(path, Verdict) == before[:-1]
        append_lines(path, after)
        assert read_lines(path, Verdict) == before[:-1] + after


def test_a_whole_last_line_without_its_line_break_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "values.jsonl"
    verdicts = [Verdict(trace_id="a", kept=True), Verdict(trace_id="b", kept=False)]
    append_lines(path, verdicts)
    path.write_bytes(path.read_bytes()[:-1])
    append_lines(path, verdicts)
    assert read_lines(path, Verdict) == verdicts * 2


def test_lines_of_another_kind_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "values.jsonl"
    append_lines(path, [Verdict(trace_id="a", kept=True)])
    append_lines(path, [Trace(id="t", kind=TraceKind.LOGGED, request="r", calls=(Call(name="c", arguments={}),))])
    assert [verdict.trace_id for verdict in read_lines(path, Verdict)] == ["a"]
    assert read_lines(path, Trace)[0].calls[0].name == "c"
