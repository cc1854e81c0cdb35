"""Cycles and their traces: what is shown is what the stages stored."""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from dashboard.report import html
from evolver.cli.main import main
from evolver.cli.score_words import NAMES
from evolver.config import Config
from evolver.cycle import training_log
from evolver.lessons.drop_reason import DropReason
from evolver.maintenance.audit import read_verdicts
from evolver.store.ledger import Ledger
from tests.fakes.dashboard_world import Visitor


def test_the_list_has_every_cycle_with_its_counts(data: Path, visitor: Visitor) -> None:
    rows = visitor.get("/cycles").rows("cycles")
    with Ledger(data / "evolution.db") as ledger:
        cycles = ledger.cycles()
    assert [row[0] for row in rows] == [str(cycle.number) for cycle in cycles]
    for row, cycle in zip(rows, cycles, strict=True):
        summary = cycle.summary
        assert row[3] == cycle.status
        counts = summary["make"]["traces"], summary["verify"]["kept"], summary["dataset"]["train"]
        assert row[4:7] == [str(count) for count in counts]
        assert row[7] == cycle.reason


@pytest.mark.parametrize("number", [1, 2])
def test_the_yield_is_that_of_the_verdicts(data: Path, visitor: Visitor, number: int) -> None:
    judged = read_verdicts(data / "cycles" / f"{number:04d}")
    kept = sum(one.verdict.kept for one in judged)
    seen = visitor.get(f"/cycles/{number}")
    assert seen.of("yield").startswith(
        f"Of {len(judged)} candidates, {kept} were kept and {len(judged) - kept} dropped"
    )
    variants = [one for one in judged if one.trace.provenance.derived_from]
    assert 0 < len(variants) < len(judged)
    first, later = len(judged) - len(variants), sum(one.verdict.kept for one in variants)
    assert f"Verification judged {first} traces and kept {kept - later}." in seen.of("yield")
    assert f"made {len(variants)} variants of kept traces" in seen.of("yield")
    assert f"and kept {later}." in seen.of("yield")
    for row in seen.rows("reasons"):
        if row[2] != "–":
            assert int(row[0]) == int(row[2]) + int(row[3])
    assert sum(int(row[3]) for row in seen.rows("reasons") if row[3] != "–") == len(variants) - later
    wanted = Counter(one.verdict.reason for one in judged if not one.verdict.kept)
    shown = {row[1].split(" (")[0]: int(row[0]) for row in seen.rows("reasons")}
    for reason, count in wanted.items():
        assert any(text.startswith(reason.replace("_", " ")) and found == count for text, found in shown.items()), (
            reason
        )
    drawn = visitor.json(f"/cycles/{number}/flow.json")["series"][0]
    links = drawn["links"]
    colours = {node["name"]: node["itemStyle"]["color"] for node in drawn["data"] if "itemStyle" in node}
    assert set(colours) == {link["target"] for link in links}
    assert colours.pop("kept") not in colours.values()
    assert sum(link["value"] for link in links) == len(judged)
    assert sum(link["value"] for link in links if link["target"] == "kept") == kept


def test_small_reasons_are_joined_in_the_flow(data: Path, visitor: Visitor) -> None:
    file = data / "cycles" / "0002" / "verdicts.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for reason, line in zip(list(DropReason)[:12], lines, strict=False):
        line |= {"kept": False, "reason": reason.value}
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    targets = {link["target"] for link in visitor.json("/cycles/2/flow.json")["series"][0]["links"]}
    assert "other reasons" in targets
    assert len(targets) == 8


def test_the_scores_and_the_gate_are_those_of_the_markers(data: Path, visitor: Visitor) -> None:
    folder = data / "cycles" / "0002"
    decision = json.loads((folder / "gate.json").read_text())
    before, after = (json.loads((folder / f"{name}.json").read_text()) for name in ("incumbent", "evaluate"))
    seen = visitor.get("/cycles/2")
    rows = {row[0]: row[1:] for row in seen.rows("scores")}
    for shown, report in zip(rows["call accuracy"], (before, after), strict=True):
        assert f"({report['exact']['hits']}/{report['exact']['n']}" in shown
    assert list(rows) == list(NAMES.values())
    assert rows["soft score"] == ["–", "–"]  # an earlier version measured none
    for reason in decision["reasons"]:
        assert reason.partition(": ")[2] in seen.of("gate")
    assert seen.of("gate").count("failed") == sum(reason.startswith("failed") for reason in decision["reasons"])
    assert "it may not serve" in seen.text


def test_the_training_is_shown_step_by_step(data: Path, visitor: Visitor) -> None:
    folder = data / "cycles" / "0002"
    assert visitor.json("/cycles/2/loss.json")["series"] == []
    pace = {"tokens_per_second": 5.0, "saved_ratio": 1.0, "eta_seconds": 1.0, "steps": 3}
    for step, loss in ((1, 2.0), (2, 9.0), (2, 1.5)):  # a run that went on from its checkpoint
        training_log.note(folder, {"event": "step", "step": step, "loss": loss, **pace})
    training_log.note(folder, {"event": "validated", "step": 2, "loss": 1.7, "best": 1.7})
    training_log.note(folder, {"event": "checkpoint", "step": 2})
    option = visitor.json("/cycles/2/loss.json")
    assert option["xAxis"]["data"] == [1, 2]
    assert (option["xAxis"]["name"], option["yAxis"]["name"]) == ("training step", "loss, nats per token")
    assert {one["name"]: one["data"] for one in option["series"]} == {"training": [2.0, 1.5], "validation": [None, 1.7]}


STAGES = ["mine", "make", "verify", "vary", "dataset", "train", "load", "incumbent", "evaluate", "gate"]


def test_the_stages_are_in_order_with_the_times_of_the_ledger(data: Path, visitor: Visitor) -> None:
    """However old the files are: a folder that was copied or restored shows the same."""
    times = iter((100.0, 130.0, 200.0, 290.0))
    with Ledger(data / "evolution.db", now=lambda: next(times)) as ledger:
        for stage in ("make", "train"):
            ledger.stage_begins(1, stage)
            ledger.stage_ends(1, stage, {})
    for marker in (data / "cycles" / "0001").glob("*.json"):
        os.utime(marker, (0, 0))
    seen = visitor.get("/cycles/1")
    rows = seen.rows("stages")
    assert [row[0] for row in rows] == STAGES
    told = "10 of the 13 stages have stored a result. Without one: tools, select."
    assert seen.of("stage-count").startswith(told)
    assert [row[1] for row in rows if row[0] in ("make", "train")] == ["30 s", "1 min 30 s"]


def test_a_cycle_of_before_these_times_were_kept_shows_none(visitor: Visitor) -> None:
    rows = visitor.get("/cycles/1").rows("stages")
    assert [row[:2] for row in rows] == [[stage, "–"] for stage in STAGES]


@pytest.mark.parametrize(
    "query", ["verdict=dropped", "verdict=kept", "verdict=duplicate", "tool=box_count", "text=EGGS", "kind="]
)
def test_candidates_are_chosen_by_verdict_tool_and_text(data: Path, visitor: Visitor, query: str) -> None:
    name, _, value = query.partition("=")
    matches = {
        "verdict": lambda one: value in (one.verdict.reason, "kept" if one.verdict.kept else "dropped"),
        "tool": lambda one: value in [call.name for call in one.trace.calls],
        "text": lambda one: value.lower() in (one.trace.request + one.trace.answer).lower(),
        "kind": lambda one: True,
    }[name]
    wanted = [one for one in read_verdicts(data / "cycles" / "0002") if matches(one)]
    assert wanted
    seen = visitor.get(f"/cycles/2/traces?{query}")
    assert f"of {len(wanted)}" in seen.text
    assert [row[0] for row in seen.rows("traces")] == [" ".join(one.trace.request.split()) for one in wanted[:50]]


def test_a_dropped_trace_says_why_with_all_that_belongs_to_it(data: Path, visitor: Visitor) -> None:
    judged = read_verdicts(data / "cycles" / "0002")
    place, one = next((place, one) for place, one in enumerate(judged) if one.verdict.reason == "duplicate")
    seen = visitor.get(f"/cycles/2/traces/{place}")
    assert seen.of("verdict") == f"dropped duplicate {DropReason.DUPLICATE.sentence}"
    assert seen.of("request") == one.trace.request
    facts = {row[0]: row[1] for row in seen.rows("facts")}
    assert facts["Log-probability of the request"].startswith(f"{one.trace.mean_logprob:.3f}")
    assert facts["Variant of"] == one.trace.id.rpartition("-v")[0]
    source = next(n for n, other in enumerate(judged) if other.trace.id == facts["Variant of"])
    assert f"/ui/cycles/2/traces/{source}" in seen.answer.text
    assert one.trace.request in visitor.get(f"/cycles/2/traces/{source}").of("variants")


@pytest.mark.parametrize(
    "path", ["/cycles/9", "/cycles/9/traces", "/cycles/1/traces/9999", "/cycles/1/traces/-1", "/cycles/9/loss.json"]
)
def test_what_is_not_there_is_a_404(visitor: Visitor, path: str) -> None:
    assert visitor.client.get(f"/ui{path}").status_code == 404


def test_a_report_is_one_page_that_needs_no_other(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "cycle.html"
    with Ledger(data / "evolution.db") as ledger:
        file.write_text(html(Config(data_folder=data), ledger, 2))
    text = file.read_text()
    judged = read_verdicts(data / "cycles" / "0002")
    assert f"Of {len(judged)} candidates" in text
    assert "it may not serve" in text
    for part in ("<script", " src=", "<link", "href="):
        assert part not in text, part


def test_the_command_writes_the_report(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('data_folder = "data"\n')
    for arguments, code in ((["2", "--html", "c.html"], 0), (["2"], 0), (["9"], 2), (["2", "--html", "none/c"], 2)):
        monkeypatch.setattr(sys, "argv", ["evolver", "report", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code or 0) == code, arguments
    assert "What did cycle 2 learn from?" in (tmp_path / "c.html").read_text()
