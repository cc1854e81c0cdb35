"""The benchmark of continual learning on a small world: tools come, are learned, and a run that was cut off goes on."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.log.interaction_log import InteractionLog
from benchmarks import continual
from benchmarks.ablations import FULL, snapshot
from benchmarks.continual import Run, publish
from benchmarks.continual_batches import Plan, plan
from benchmarks.continual_page import END, ContinualRound
from benchmarks.continual_round import Setup
from evolver.evaluation.suites import Item
from evolver.store.jsonl import read_lines
from evolver.types import Call
from tests.fakes.evolver_world import ITEMS, World, lines, world
from tests.fakes.shop_tools import add_prices, box_count, heaviest_parcel, shout_label
from toolkit import execute
from toolkit.config import ToolkitConfig

FAMILIES: dict[str, tuple[Callable[..., Any], ...]] = {
    "shop": (add_prices, box_count),
    "shelf": (heaviest_parcel, shout_label),
}
SHELF = [
    Item(
        id=f"parcel-{n}",
        request=f"Which parcel of {n}, 3 and 5 is the heaviest?",
        expected=(Call(name="heaviest_parcel", arguments={"weights": [n, 3, 5]}),),
    )
    for n in range(60, 66)
]
TALK = [
    Item(id=f"chat-{n}", request=text)
    for n, text in enumerate(("Who are you?", "Sing a song for us", "I am bored today"))
]
SETTINGS = """
[agent.serving]
model = "{model}"
[agent.prompt]
tools_in_prompt = 2
[evolver.make]
calls_per_tool = 4
requests_per_call = 1
no_tool_requests = 8
concurrency = 2
[evolver.evaluate]
concurrency = 2
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(tmp_path / FULL, monkeypatch) as made:
        made.learner.calls |= {item.request: item.expected for item in SHELF}
        made.source = "module:shop"
        (tmp_path / FULL / "suites" / "develop.jsonl").write_text(
            "".join(item.model_dump_json() + "\n" for item in [*SHELF, *TALK])
        )

        @contextmanager
        def offered(config: ToolkitConfig, **options: Any) -> Iterator[Any]:
            made.tools = [tool for module in config.tools.modules for tool in FAMILIES[module]]
            with made.executor(config, **options) as executor:
                yield executor

        @contextmanager
        def serving(*_: Any) -> Iterator[Any]:
            from agent.serving import serving_state

            yield serving_state.running(made.data)

        monkeypatch.setattr(continual, "server", serving)
        monkeypatch.setattr(execute, "open_executor", offered)
        yield made


def planned() -> Plan:
    names = {module: [tool.__name__ for tool in tools] for module, tools in FAMILIES.items()}
    return plan(names, {"heldout": ITEMS, "develop": [*SHELF, *TALK]}, count=2, size=2, seed=7)


def a_run(here: World) -> Run:
    folder = here.data.parent
    file = folder.parent / "config.toml"
    file.write_text(SETTINGS.format(model=folder / "model"))
    return Run(FULL, folder.parent, file, Setup(batches=2, cycles=2, tools=2, unlabelled=6), planned())


def rounds(here: World) -> list[ContinualRound]:
    return read_lines(here.data.parent / "rounds.jsonl", ContinualRound)


def test_each_cycle_learns_the_tools_that_came_and_keeps_the_old_ones(here: World) -> None:
    published: list[int] = []
    a_run(here).to_the_end(lambda: published.append(len(rounds(here))))
    base, first, second = rounds(here)
    assert published == [1, 2, 3]
    assert [sorted(one.batches) for one in (base, first, second)] == [[1], [1], [1, 2]]
    assert base.whole.hits == 0
    assert [arrival.batch for arrival in second.arrived] == [2]
    assert all(one.batches[n].exact.value == 1 for one in (first, second) for n in one.batches)
    assert first.batches[1].logprobs.keys() == second.batches[1].logprobs.keys() != set()
    assert (base.abstention.hits, base.abstention.n) == (2, 2)
    assert first.lessons > 0
    assert first.status in ("promoted", "rejected")
    assert snapshot(here.data.parent).exists()
    check_what_was_learned(here)


def check_what_was_learned(here: World) -> None:
    """No request that scores is learned or logged; what the log got is."""
    made = planned()
    scoring = {item.request for batch in made.batches for item in batch.scored} | {item.request for item in made.silent}
    with InteractionLog.open_readonly(here.data / "interactions.db") as log:
        logged = {turn.trajectory.messages[0].content for turn in log.read()}
    assert set(made.free) <= logged
    learned = {
        row["messages"][0]["content"]
        for folder in sorted((here.data / "cycles").iterdir())
        for side in ("train", "valid")
        for row in lines(folder / "dataset" / f"{side}.jsonl")
    }
    assert scoring.isdisjoint(logged | learned)


def test_a_run_that_was_cut_off_goes_on_and_asks_no_log_twice(here: World) -> None:
    def cut_off() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        a_run(here).to_the_end(cut_off)
    assert [one.number for one in rounds(here)] == [0]
    with InteractionLog.open_readonly(here.data / "interactions.db") as log:
        before = len(log.read())
    here.training.fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        a_run(here).to_the_end(lambda: None)
    here.training.fails = None
    with InteractionLog.open_readonly(here.data / "interactions.db") as log:
        assert len(log.read()) == before
    a_run(here).to_the_end(lambda: None)
    assert [one.number for one in rounds(here)] == [0, 1, 2]
    with here.ledger() as ledger:
        assert [row.number for row in ledger.cycles()] == [2, 1]
    a_run(here).to_the_end(lambda: pytest.fail("everything is done"))


class CutOff(BaseException):
    """Nothing catches it: the run ends where a kill would end it."""


def test_a_run_that_is_cut_off_after_any_durable_step_goes_on_to_the_same_end(
    here: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each try is cut off one durable step later than the one before it, where it stands by then."""
    flush, left = os.fsync, [0]

    def counted(descriptor: int) -> None:
        flush(descriptor)
        if threading.current_thread() is threading.main_thread():
            left[0] -= 1
            if not left[0]:
                raise CutOff

    page, drawn = tmp_path / "results" / "results.md", tmp_path / "results" / "continual.svg"
    setup = Setup(batches=2, cycles=2, tools=2, unlabelled=6)
    monkeypatch.setattr(os, "fsync", counted)
    tries = 0
    for steps in range(1, 60):
        left[0], tries = steps, tries + 1
        try:
            a_run(here).to_the_end(lambda: publish(tmp_path, setup, page, drawn))
            break
        except CutOff:
            assert not page.exists() or page.read_text().count(END) == 1
    monkeypatch.setattr(os, "fsync", flush)
    assert 5 < tries < 59
    publish(tmp_path, setup, page, drawn)
    assert [one.number for one in rounds(here)] == [0, 1, 2]
    assert all(one.batches[n].exact.value == 1 for one in rounds(here)[1:] for n in one.batches)
    assert [arrival.batch for arrival in rounds(here)[2].arrived] == [2]
    assert snapshot(here.data.parent).exists()
    with InteractionLog.open_readonly(here.data / "interactions.db") as log:
        texts = [turn.trajectory.messages[0].content for turn in log.read()]
    assert len(texts) == len(set(texts)), "no request was asked twice"
    with here.ledger() as ledger:
        assert {row.number: row.status in ("promoted", "rejected") for row in ledger.cycles()} == {1: True, 2: True}
