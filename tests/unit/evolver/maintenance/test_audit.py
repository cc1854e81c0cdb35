"""What a person can read back of a cycle: traces with their verdicts, and what the model was asked."""

import json
from collections import Counter
from pathlib import Path

import pytest

from evolver.cli.show import cycle_details_text, request_text, verdict_text
from evolver.maintenance.audit import audit, read_verdicts
from evolver.model.client import Generator, Prompt
from evolver.model.request_log import NAME, RequestLog, read_requests
from evolver.store.cycle_folder import COMPOSED, UNFIT_VARIANTS
from evolver.store.jsonl import append_lines
from evolver.types import TraceVerdict, Verdict
from tests.fakes.evolution import trace, turn
from tests.fakes.model_server import Says, serving
from toolkit.errors import UserError

REASONS = {"grounding": 30, "duplicate": 8, "rare": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cycle = tmp_path / "0007"
    traces = [trace(f"request {n}", "add", {"a": n}, n) for n in range(60)]
    reasons = [reason for reason, count in REASONS.items() for _ in range(count)]
    verdicts = [
        Verdict(trace_id=one.id, kept=n >= len(reasons), reason=reasons[n] if n < len(reasons) else "")
        for n, one in enumerate(traces)
    ]
    append_lines(cycle / "traces.jsonl", traces)
    append_lines(cycle / "verdicts.jsonl", verdicts)
    return cycle


@pytest.mark.parametrize(("sample", "kept"), [(20, 10), (40, 20), (60, 21), (500, 21), (1, 0)])
def test_half_of_a_sample_was_kept_as_far_as_there_are_so_many(folder: Path, sample: int, kept: int) -> None:
    found = audit(folder, sample=sample)
    assert len(found) == min(sample, 60)
    assert sum(one.verdict.kept for one in found) == kept
    assert all(one.trace.id == one.verdict.trace_id for one in found)


def test_a_rare_reason_is_seen(folder: Path) -> None:
    reasons = Counter(one.verdict.reason for one in audit(folder, sample=20) if not one.verdict.kept)
    assert reasons["rare"] == 1
    assert reasons["duplicate"] >= 4


def test_what_was_varied_and_composed_has_a_verdict_too(folder: Path) -> None:
    made = [trace(f"varied {n}", "add", {"a": n}, n) for n in range(4)]
    append_lines(folder / "varied.jsonl", made[:2])
    append_lines(folder / UNFIT_VARIANTS, [TraceVerdict.of(made[2], "result_changes")])
    append_lines(folder / COMPOSED, [TraceVerdict.of(made[3]), TraceVerdict.of(made[0], "held_out")])
    later = [(one.trace.request, one.verdict.reason) for one in read_verdicts(folder)][60:]
    assert later == [
        ("varied 0", ""),
        ("varied 1", ""),
        ("varied 2", "result_changes"),
        ("varied 3", ""),
        ("varied 0", "held_out"),
    ]


def test_a_kept_correction_shows_what_its_call_returned(tmp_path: Path) -> None:
    """It comes from a person without results, and is executed before it is kept."""
    written = trace("add 1 and 2", "add", {"a": 1}, 3).model_copy(update={"results": ()})
    append_lines(tmp_path / "traces.jsonl", [written])
    append_lines(tmp_path / "kept.jsonl", [written.model_copy(update={"results": (3,)})])
    append_lines(tmp_path / "verdicts.jsonl", [Verdict(trace_id=written.id, kept=True, reason="")])
    assert '  call     add {"a": 1} -> 3' in verdict_text(read_verdicts(tmp_path)[0])


def test_another_seed_draws_others(folder: Path) -> None:
    assert audit(folder, sample=20) == audit(folder, sample=20)
    assert audit(folder, sample=20) != audit(folder, sample=20, seed=1)


def test_a_cycle_that_judged_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cycle 3 has judged no trace"):
        audit(tmp_path / "0003", sample=5)


def test_what_was_said_before_is_read_with_a_trace() -> None:
    before = turn("add 1 and 2", ("add", {"a": 1}, 3), answer="It is 3.").messages
    judged = TraceVerdict.of(trace("now add 4", "add", {"a": 4}, 7).model_copy(update={"history": before}))
    assert verdict_text(judged).splitlines()[1:6] == [
        "  before   user: add 1 and 2",
        '  before   assistant: add {"a": 1}',
        "  before   tool: 3",
        "  before   assistant: It is 3.",
        "  request  now add 4",
    ]


def test_a_trace_as_a_person_reads_it(folder: Path) -> None:
    shown = verdict_text(read_verdicts(folder)[0])
    assert shown.splitlines() == [
        "dropped: grounding  (back_translation request 0)",
        "  request  request 0",
        '  call     add {"a": 0} -> 0',
    ]


def test_what_the_model_was_asked_can_be_read_back(tmp_path: Path) -> None:
    choice = {"text": "seven", "finish_reason": "stop", "logprobs": {"token_logprobs": [-0.1]}}
    with (
        serving(Says(raw=json.dumps({"choices": [choice]}).encode()), Says("Hello!")) as server,
        Generator(server.url, record=RequestLog(tmp_path / NAME)) as generator,
    ):
        generator.complete(Prompt(text="3 and 4 make"))
        generator.reply("hi", max_tokens=5)
    with (tmp_path / NAME).open("a") as file:
        file.write('{"cut')
    first, second = read_requests(tmp_path)
    assert (first["prompt"], first["answers"]) == ("3 and 4 make", ["seven"])
    assert second["messages"][0]["content"] == "hi"
    assert "3 and 4 make\n  -> seven" in request_text(first)
    assert "Hello!" in request_text(second)


def test_the_reasons_of_a_cycle_by_kind(folder: Path) -> None:
    shown = cycle_details_text(folder)
    assert "back_translation grounding: 30" in shown
    assert "--show requests (0), kept (21), dropped (39)" in shown
