"""Values that earlier versions stored are read; what never was a value is an error."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from evolver.store.stored_value import parse
from evolver.types import Invented, Made, Mined, Provenance, Trace, TraceKind, TraceVerdict

OLD: dict[str, Any] = {
    "id": "box_count-0-0?eggs",
    "maker": "asking",
    "request": "Count the boxes that eggs fill.",
    "calls": [{"name": "box_count", "arguments": {"box_size": 342}}],
    "results": [],
    "answer": "Which value should I use for eggs?",
    "open_end": False,
    "likelihood": -0.5,
    "made_by": "maker-0002",
    "origin": "",
    "session": "",
    "source": "box_count-0-0",
    "also_from": [],
    "calls_from": "",
    "history": [],
    "sequential": False,
    "failures": [],
    "missing": "eggs",
}
"""A trace as commit 1b3f705 wrote it."""


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_trace_of_an_earlier_version_is_one_wherever_it_stands() -> None:
    trace = parse(Trace, text(OLD))
    assert (trace.kind, trace.answer, trace.mean_logprob) == ("asking", OLD["answer"], -0.5)
    verdict = {"trace_id": OLD["id"], "kept": False, "reason": "cut_reads_badly"}
    judged = parse(TraceVerdict, text({"trace": OLD, "verdict": verdict}))
    assert (judged.trace, judged.verdict.reason) == (trace, "cut_reads_badly")
    mined = parse(Mined, text({"interactions": 1, "last_interaction_id": "1-0", "worked": [OLD]}))
    assert mined.worked == (trace,)


@pytest.mark.parametrize(
    ("maker", "links", "calls_of"),
    [
        ("log", {"calls_from": "1-0", "also_from": ["0-0"]}, "1-0"),
        ("repaired", {"calls_from": "2-0", "also_from": ["2-0"]}, "2-0"),
        ("log", {}, "1-0"),
        ("repaired", {"also_from": ["2-0"]}, "2-0"),
        ("question_first", {}, ""),
    ],
)
def test_the_sources_of_a_trace_of_an_earlier_version(maker: str, links: dict[str, Any], calls_of: str) -> None:
    old = {**OLD, "maker": maker, "made_by": "base", "origin": "1-0", "session": "chat/s", "source": "x", **links}
    assert parse(Trace, text(old)).provenance == Provenance(
        model="base",
        interaction_id="1-0",
        session="chat/s",
        calls_interaction_id=calls_of,
        other_interaction_ids=tuple(links.get("also_from", ())),
        derived_from="x",
    )


def test_counts_by_kind_of_an_earlier_version() -> None:
    counts = {"answer_first": 3, "small_talk": 2, "log": 1}
    dropped = {"question_first no_majority": 1, "answer_first out_of_time": 2}
    made = parse(Made, text({"file": "f", "traces": 6, "by_maker": counts, "dropped": dropped}))
    assert made.by_kind == {TraceKind.BACK_TRANSLATION: 3, TraceKind.NO_TOOL: 2, TraceKind.LOGGED: 1}
    assert made.dropped == {"self_consistency no_majority": 1, "back_translation out_of_time": 2}


def test_the_tools_of_a_cycle_that_had_definitions_written_too() -> None:
    old = {"defined": {"tried": 5, "right": 2, "dropped": {"cut_off": 3}}, "invented": {"tried": 9, "defined": 7}}
    assert parse(Invented, text(old)) == Invented(tried=9, defined=7)
    assert parse(Invented, text({"tried": 9, "defined": 7})) == Invented(tried=9, defined=7)


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"id": "x"}', text({**OLD, "unknown": 1})])
def test_what_no_version_wrote_is_an_error(damaged: bytes) -> None:
    with pytest.raises(ValidationError):
        parse(Trace, damaged)
