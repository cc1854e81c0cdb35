"""What a person reads of the evolver's values."""

import sys
import time
from pathlib import Path

import pytest

from agent.adapters import package
from agent.adapters.manifest import Calibration, Environment
from evolver.cli.past_tables import adapters_text, evaluations_text, history_text
from evolver.cli.show import ProgressBars, cycle_text, report_text, scores_text, tools_text
from evolver.cycle.report import CycleReport
from evolver.scores import GateDecision
from evolver.statistics import rate
from evolver.store.ledger_rows import AdapterRow, CycleRow, Evaluation, Release
from evolver.types import Invented, Verified
from tests.fakes.evolution import eval_report, publish_adapter

EVIL = "\x1b[2Jevil"


def row(number: int = 1, *, reason: str = "", ended_at: float | None = 700.0) -> CycleRow:
    return CycleRow(
        number=number,
        started_at=100.0,
        ended_at=ended_at,
        status="rejected",
        stage="make",
        reason=reason,
        last_interaction_id="",
        summary={"make": {"traces": 3, "note": EVIL}},
    )


def test_scores_side_by_side_with_their_intervals() -> None:
    before, after = (
        eval_report([False] * 10, [True] * 4),
        eval_report([True] * 7 + [False] * 3, [True] * 4, model="new"),
    )
    heading, exact, *_ = scores_text(before, after).splitlines()
    assert heading.split() == ["m", "new"]
    interval = rate(7, 10)
    assert exact.startswith("call accuracy")
    assert "0.0% (0/10, 0–28)" in exact
    assert f"70.0% (7/10, {100 * interval.low:.0f}–{100 * interval.high:.0f})" in exact
    assert len(scores_text(before, after).splitlines()) == 6
    assert "irrelevance accuracy" in report_text(after)


def test_a_report_without_requests_is_shown_too() -> None:
    assert report_text(eval_report()) == "m on tiny: 0 requests, 0 could not be judged"


def test_what_training_took_is_said_and_why_it_took_longer(tmp_path: Path) -> None:
    adapter = publish_adapter(tmp_path, "adapter-0001")
    learned = "learned   1.0 epochs in 1 s, loss 2.00 to 1.00; 1 tokens computed, 0 saved"
    assert learned in cycle_text(CycleReport(row(), {"train": adapter})).splitlines()
    manifest = package.read_manifest(adapter.folder)
    alone = Environment(device="cpu", threads=2, processes=1, deterministic=True, unshared="it has convolutions")
    (adapter.folder / package.MANIFEST).write_text(manifest.model_copy(update={"environment": alone}).model_dump_json())
    reason = f"{learned}; prefixes were not shared: it has convolutions"
    assert reason in cycle_text(CycleReport(row(), {"train": adapter})).splitlines()


def test_rows_that_the_template_does_not_take_are_counted(tmp_path: Path) -> None:
    adapter = publish_adapter(tmp_path, "adapter-0001")
    manifest = package.read_manifest(adapter.folder)
    metrics = manifest.metrics.model_copy(update={"rows_refused": 3})
    (adapter.folder / package.MANIFEST).write_text(manifest.model_copy(update={"metrics": metrics}).model_dump_json())
    text = cycle_text(CycleReport(row(), {"train": adapter}))
    assert "0 saved; 3 rows left out that the model's chat template does not take" in text


def test_a_cycle_on_one_screen() -> None:
    verified = Verified.model_validate(
        {
            "file": "kept.jsonl",
            "verdicts_file": "verdicts.jsonl",
            "kept": 2,
            "kept_by_kind": {"logged": 2},
            "dropped": {"no_sentence": 3, "held_out": 1},
        }
    )
    decision = GateDecision(promote=False, reasons=("failed: call accuracy", "passed: invalid-call rate"))
    lines = cycle_text(CycleReport(row(), {"verify": verified, "gate": decision})).splitlines()
    assert lines[0] == "cycle 1: rejected"
    assert "kept      2 traces by verification (logged 2)" in lines
    assert "dropped   by verification: no sentence 3, held out 1" in lines
    assert lines[-2:] == ["gate      failed: call accuracy", "gate      passed: invalid-call rate"]


def test_what_others_wrote_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in cycle_text(CycleReport(cycle=row(reason=EVIL)))
    release = Release(number=1, by="person", at=1.0, adapter="adapter-0001", previous="base", reason=EVIL)
    for detailed in (True, False):
        assert "\x1b" not in history_text([row(reason=EVIL)], [release], detailed=detailed)
    assert "evil" in history_text([row(reason=EVIL)], [release], detailed=False)


def test_history_says_how_long_a_cycle_took_or_where_it_is() -> None:
    shown = history_text([row(2, ended_at=None), row(1)], [], detailed=False).splitlines()
    assert "at make" in shown[0]
    assert "10 min" in shown[1]
    assert "traces 3" in history_text([row()], [], detailed=True)


def test_adapters_without_scores() -> None:
    bare = AdapterRow(
        name="adapter-0001",
        cycle=1,
        parent="base",
        sha256="",
        dataset_sha256="",
        created_at=0.0,
        state="candidate",
        scores={},
    )
    empty = bare.model_copy(update={"scores": {"call_accuracy": {"hits": 0, "n": 0}}})
    assert adapters_text([bare], "base", {}, {}, {}).startswith("  adapter-0001  candidate")
    assert adapters_text([bare], "adapter-0001", {}, {}, {}).startswith("* adapter-0001")
    assert "call accuracy –" in adapters_text([empty], "base", {}, {}, {})


SCORED = rate(7, 10).model_dump()
SOFT = {"value": -0.5, "n": 10, "low": -0.7, "high": -0.3}


def measured() -> Evaluation:
    return Evaluation(
        at=0.0,
        model="adapter-0001",
        suite="heldout",
        suite_sha256="",
        scores={"call_accuracy": SCORED, "soft_score": SOFT},
    )


def test_each_score_is_a_row_with_its_interval() -> None:
    rows = [line.split("  ") for line in evaluations_text([measured()]).splitlines()]
    low, high = (f"{100 * rate(7, 10).low:.0f}", f"{100 * rate(7, 10).high:.0f}")
    assert [[cell.strip() for cell in row if cell.strip()][1:] for row in rows] == [
        ["adapter-0001", "heldout", "call accuracy", f"70.0% (7/10, {low}–{high})"],
        ["adapter-0001", "heldout", "soft score", "-0.50 nats (-0.70 to -0.30)"],
    ]


def test_on_a_terminal_scores_and_yields_have_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    assert "█████▒▒▒▒▒▒· 70.0% (7/10, 40–89)" in evaluations_text([measured()])
    verified = row().model_copy(update={"summary": {"verify": {"kept": 3, "dropped": {"no_sentence": 9}}}})
    heading, shown = history_text([verified], [], detailed=False).splitlines()
    assert heading.split()[:2] == ["CYCLE", "BEGAN"]
    assert "███········· 3 of 12 kept" in shown
    adapter = AdapterRow(
        name="adapter-0001",
        cycle=1,
        parent="base",
        sha256="",
        dataset_sha256="",
        created_at=0.0,
        state="candidate",
        scores={"call_accuracy": SCORED},
    )
    assert "█████▒▒▒▒▒▒· 70% (40–89)" in adapters_text([adapter], "base", {}, {}, {})


def test_without_a_terminal_a_stage_is_one_line_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBars() as bars:
        for share, remark in ((0.0, ""), (0.5, "12 traces"), (1.0, "24 traces"), (1.0, "")):
            bars("make", share, remark)
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("make ")
    assert line.endswith(" s")


def test_without_a_terminal_a_long_stage_says_each_minute_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with ProgressBars() as bars:
        for moment, share, remark in (
            (0, 0.0, ""), (40, 0.1, "5 traces"), (80, 0.2, "9 traces"), (120, 0.3, ""), (150, 0.5, ""), (300, 1.0, "")
        ):  # fmt: skip
            now[0] = float(moment)
            bars("make", share, remark)
    assert [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()] == [
        "make 20%, 320 s to go 9 traces",
        "make 50%, 150 s to go",
        "make 300.0 s",
    ]


def test_what_became_of_new_tools_is_said_step_by_step() -> None:
    invented = Invented(tried=9, defined=7, written=4, ran=2, kept=1, dropped={"code_no_python": 8})
    new, word = tools_text(invented)
    assert "9 tried: 7 defined, 4 written, 2 ran, 1 kept (code no python 8)" in new
    assert "evolver tools list" in word
    assert tools_text(Invented()) == []


def test_how_well_it_tells_a_call_from_none_is_said(tmp_path: Path) -> None:
    adapter = publish_adapter(tmp_path, "adapter-0001")
    manifest = package.read_manifest(adapter.folder)
    fit = Calibration(
        token_id=1, bias=-0.43, auc=0.978, call_accuracy=0.914, no_call_accuracy=0.957, n_call=70, n_no_call=93
    )
    told = manifest.model_copy(update={"calibration": fit}).model_dump_json()
    (adapter.folder / package.MANIFEST).write_text(told)
    text = cycle_text(CycleReport(row(), {"train": adapter}))
    assert (
        "bias      -0.4 on the first token of a call, fitted on 70 validation rows with a call and 93 without" in text
    )
    assert "with it, 91% of the calls and 96% of the others are decided rightly (AUC 0.98)" in text
