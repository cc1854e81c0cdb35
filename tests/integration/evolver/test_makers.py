"""Who makes in a cycle: the base model, what serves, or an adapter that learned to make."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.serving import active_adapter
from evolver import own_maker
from evolver.cycle_report import CycleReport
from evolver.errors import TrainError
from evolver.retention import sweep
from evolver.show import cycle_text
from tests.fakes.evolver_world import World, lines, world

NAME = "adapter-0001"
MAKER = "maker-0002"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(own_maker, "FEWEST_LESSONS", 4)
    with world(tmp_path, monkeypatch) as made:
        yield made


def set_maker(here: World, maker: str) -> None:
    make = here.config.evolver.make.model_copy(update={"maker": maker})
    evolver = here.config.evolver.model_copy(update={"make": make})
    here.config = here.config.model_copy(update={"evolver": evolver})


def makers(here: World) -> set[tuple[str, bool]]:
    """Who was asked to continue a text, and who for an answer without tools; proofs only read one."""
    asked = [request for request in here.server.requests if "prompt_logprobs" not in request]
    asked = [request for request in asked if "prompt" in request or not request.get("tools")]
    here.server.requests.clear()
    return {(request["model"], "prompt" in request) for request in asked}


def second_cycle(here: World) -> CycleReport:
    here.server.requests.clear()
    here.log("add 5 and 9 to prices, please", ("add_prices", {"first": 5, "second": 9}, 14))
    return here.run()


@pytest.mark.parametrize(("maker", "second"), [("base", "base"), ("solver", NAME)])
def test_who_makes_is_the_base_model_or_what_serves(here: World, maker: str, second: str) -> None:
    set_maker(here, maker)
    assert here.run().cycle.status == "promoted"
    assert makers(here) == {("base", True), ("base", False)}
    second_cycle(here)
    assert makers(here) == {(second, True), ("base", False)}


def test_an_own_maker_learns_from_what_was_kept_and_makes_where_it_yields_more(here: World) -> None:
    set_maker(here, "own")
    first = here.run()
    assert first.maker is not None
    assert (first.maker.lessons, first.maker.adapter) == (0, None)
    assert "0 lessons are too few" in cycle_text(first)
    here.learner.clumsy.add("base")
    report = second_cycle(here)
    assert report.maker is not None
    assert report.maker.adapter is not None
    assert report.maker.makes
    assert report.maker.base is not None
    assert report.maker.own is not None
    assert report.maker.base.hits < report.maker.own.hits <= report.maker.own.n
    assert f"maker     {MAKER}: {report.maker.own.hits} of " in cycle_text(report)
    rows = lines(here.data / "cycles/0002/maker/lessons/train.jsonl")
    assert {set(row) == {"id", "prompt", "completion"} for row in rows} == {True}
    logged = "add 3 and 4 to prices, please"
    assert logged in (here.data / "cycles/0001/kept.jsonl").read_text()
    assert all(logged not in row["completion"] for row in rows)
    assert report.made is not None
    assert report.made.by_maker["answer_first"] > 0
    assert makers(here) == {("base", True), (MAKER, True), ("base", False)}


def test_it_serves_nobody_and_goes_with_its_cycle(here: World) -> None:
    set_maker(here, "own")
    here.run()
    here.learner.clumsy.add("base")
    seen: list[list[str]] = []
    here.run(lambda stage, share, _: seen.append(list(here.server.models)) if (stage, share) == ("make", 0.0) else None)
    assert MAKER in seen[-1]
    assert MAKER not in here.server.models
    with here.ledger() as ledger:
        assert ledger.adapter(MAKER) is None
        assert active_adapter.read(here.data).name != MAKER
        assert (here.data / "adapters" / MAKER).exists()
        sweep(here.data, ledger)
    assert not (here.data / "adapters" / MAKER).exists()
    assert (here.data / "adapters" / NAME).exists()


def test_the_base_model_goes_on_making_where_its_own_maker_yields_no_more(here: World) -> None:
    set_maker(here, "own")
    here.run()
    report = second_cycle(here)
    assert report.maker is not None
    assert not report.maker.makes
    assert report.maker.base == report.maker.own
    assert "maker     base: " in cycle_text(report)
    made = [r for r in here.server.requests if "prompt" in r and "prompt_logprobs" not in r]
    last_trial = max(n for n, request in enumerate(made) if request["model"] == MAKER)
    assert {request["model"] for request in made[last_trial + 1 :]} == {"base"}


@pytest.mark.parametrize("stage", ["maker", "make", "train"])
def test_a_cycle_that_was_cut_off_has_the_same_maker(here: World, stage: str) -> None:
    set_maker(here, "own")
    here.run()
    here.learner.clumsy.add("base")

    def kill(said: str, share: float, _: str) -> None:
        if (said, share) == (stage, 1.0 if stage == "maker" else 0.0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        here.run(kill)
    report = here.run()
    assert report.cycle.number == 2
    assert report.maker is not None
    assert report.maker.makes
    assert here.training.trained == [NAME, MAKER, "adapter-0002"]
    assert MAKER not in here.server.models


def test_where_its_own_maker_cannot_be_trained_the_base_model_makes(here: World) -> None:
    set_maker(here, "own")
    here.run()
    here.training.fails = TrainError("memory", "out of memory")

    def recover(stage: str, share: float, _: str) -> None:
        if (stage, share) == ("make", 0.0):
            here.training.fails = None

    report = here.run(recover)
    assert report.maker is not None
    assert (report.maker.adapter, report.maker.makes) == (None, False)
    assert "out of memory" in report.maker.problem
    assert "maker     base: the adapter of its own failed" in cycle_text(report)
    assert report.cycle.status != "failed"
    assert report.made is not None
    assert report.made.by_maker["answer_first"] > 0
    assert here.training.trained[-1] == "adapter-0002"


def test_calls_that_a_tool_no_longer_takes_teach_nobody(here: World) -> None:
    """People rename parameters; what was learned before is not learned again under the new schema."""
    set_maker(here, "own")
    here.run()
    kept = here.data / "cycles/0001/kept.jsonl"
    kept.write_text(kept.read_text().replace('"box_size"', '"size_of_box"'))
    report = second_cycle(here)
    assert report.maker is not None
    taught = (here.data / "cycles/0002/maker/lessons/train.jsonl").read_text()
    learned = (here.data / "cycles/0002/dataset/train.jsonl").read_text()
    assert "box_size" in learned
    assert "size_of_box" not in taught + learned
