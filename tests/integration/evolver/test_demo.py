"""What ``make demo`` does once the server runs, and the screen at its end."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.log.interaction_log import InteractionLog
from agent.serving import serving_state
from evolver.demo import run
from evolver.demo.run import Beats, the_job
from evolver.evaluation.suites import HELD_OUT, read_suite
from tests.fakes.evolver_world import ITEMS, World, world
from tests.fakes.waiting import wait_until


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(tmp_path, monkeypatch) as made:
        monkeypatch.setattr(run, "open_executor", made.executor)
        monkeypatch.setattr(run, "_PULSE_SECONDS", 0.01)
        yield made


def screen(here: World) -> str:
    serving = serving_state.read(here.data)
    assert serving is not None
    report, answered, beats = the_job(here.config, serving)
    return run.result_text(report, answered, beats, serving, serving_state.read(here.data), 60.0)


def test_every_shipped_request_is_answered_and_logged_before_the_cycle(here: World) -> None:
    text = screen(here)
    shipped = (Path(run.__file__).parent / "demo_requests.jsonl").read_text(encoding="utf-8").count("\n")
    assert f"requests  {shipped} answered and logged" in text
    with InteractionLog.open_readonly(here.data / "interactions.db") as log:
        logged = log.read()
    assert sum(interaction.source == "demo" for interaction in logged) == shipped > 20
    assert {interaction.trajectory.adapter for interaction in logged if interaction.source == "demo"} == {"base"}


def test_the_base_is_scored_once_and_before_anything_is_made(here: World) -> None:
    screen(here)
    first_made = next(place for place, request in enumerate(here.server.requests) if "prompt" in request)
    held_out = {item.request for item in read_suite(HELD_OUT).items}
    asked = [
        (place, request["model"])
        for place, request in enumerate(here.server.requests)
        if request.get("messages", [{}])[0].get("content") in held_out and request.get("tools")
        if request.get("tool_choice") != "none"  # the soft score reads the answer that is expected
    ]
    of_base = [place for place, model in asked if model == "base"]
    assert len(of_base) == len(ITEMS)
    assert max(of_base) < first_made


def test_a_promoted_adapter_can_be_undone(here: World) -> None:
    text = screen(here)
    assert "cycle 1: promoted" in text
    assert "undo      evolver rollback" in text
    assert "never restarted: vLLM is still process 4711" in text
    assert " 0 failed" in text


def test_a_rejected_adapter_can_be_tried(here: World) -> None:
    here.learner.unskilled.add("adapter-0001")
    text = screen(here)
    assert "cycle 1: rejected" in text
    assert "try it    evolver promote adapter-0001" in text
    assert "evolver rollback" not in text


def test_a_server_that_was_started_anew_is_said(here: World) -> None:
    serving = serving_state.read(here.data)
    assert serving is not None
    report = here.run()
    other = serving.model_copy(update={"vllm_pid": 4712})
    assert "RESTARTED: vLLM was process 4711" in run.result_text(report, 0, Beats(), serving, other, 1.0)


def test_the_pulse_counts_what_fails(here: World) -> None:
    serving = serving_state.read(here.data)
    assert serving is not None
    gone = serving.model_copy(update={"gateway_url": "http://127.0.0.1:9"})
    with run.pulse(gone) as beats:
        wait_until(lambda: beats.failed)
    assert beats.answered == 0


def test_the_program_that_make_demo_runs_reads_its_config(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[evolver.make]\nminutes = 5\n", encoding="utf-8")
    demo = subprocess.run(
        [sys.executable, "-m", "evolver.demo.run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(run.__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (demo.returncode, demo.stdout) == (2, "")
    assert demo.stderr.startswith("demo: ") and demo.stderr.count("\n") == 1, demo.stderr
    assert "unknown key evolver.make.minutes" in demo.stderr
