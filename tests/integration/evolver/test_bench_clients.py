"""The benchmark of client applications in miniature: real frameworks and gateway, a model at the wire."""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import BaseModel

from agent.errors import ModelUnavailable
from agent.log.interaction_log import InteractionLog
from agent.serving import serving_state
from agent.turn.messages import Interaction
from benchmarks.clients import asking
from benchmarks.clients.applications import APPLICATIONS, Application
from benchmarks.clients.asking import request_of, session_name
from benchmarks.clients.frameworks import Door, ask
from benchmarks.clients.outcomes import Forgetting, Outcome
from benchmarks.clients.page import section
from benchmarks.clients.run import Run, Setup, read_results
from evolver.cli.show import ProgressBars
from evolver.store.jsonl import append_lines, read_lines
from tests.fakes import evolver_world
from tests.fakes.desk_clerk import Clerk
from tests.fakes.evolver_world import World, lines, world

pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's packages
SETUP = Setup(traffic=60, fresh=10, together=4, at_once=2)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    monkeypatch.setattr(evolver_world, "Learner", Clerk)
    logging.getLogger("smolagents").setLevel(logging.ERROR)
    with world(tmp_path, monkeypatch, logs=True) as made:
        yield made


def run(here: World, *, cut_off_after: int = 99) -> list[int]:
    """Run to the end, or be cut off after so many parts; returns the number of outcomes after each."""
    folder, seen = here.data.parent / "run", list[int]()

    def published() -> None:
        seen.append(len(read_lines(folder / "outcomes.jsonl", Outcome)))
        if len(seen) == cut_off_after:
            raise KeyboardInterrupt

    with here.ledger() as ledger, ProgressBars() as bars:
        serving = serving_state.running(here.data)
        Run(folder, SETUP, here.config, serving, ledger, bars).to_the_end(published)
    return seen


def fails_at(number: int) -> Callable[..., None]:
    """Appends lines, but not at one time: the turn was answered and logged, and its outcome is lost."""
    times = itertools.count(1)

    def append(path: Path, values: Iterable[BaseModel]) -> None:
        if next(times) == number:
            raise KeyboardInterrupt
        append_lines(path, values)

    return append


def test_the_applications_are_asked_a_cycle_learns_and_one_session_is_forgotten(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(asking, "append_lines", fails_at(45))
        with pytest.raises(KeyboardInterrupt):
            run(here)
    with pytest.raises(KeyboardInterrupt):
        run(here, cut_off_after=4)
    assert run(here) == [90, 90, 90, 90, 90, 120, 128, 128, 128]
    found = read_results(here.data.parent / "run", SETUP)
    fresh = [one for one in found.outcomes if one.phase in ("before", "after")]
    assert [one for one in fresh if one.problem] == []
    for name in (one.name for one in APPLICATIONS):
        mine = [one for one in fresh if one.application == name and one.tool]
        assert [one.exact for one in mine if one.phase == "before"] == [False] * 9
        assert [(one.exact, one.success) for one in mine if one.phase == "after"] == [(True, True)] * 9
    assert found.cycle is not None
    assert found.cycle.model == "adapter-0001", found.cycle.reason
    for one in found.cycle.learned:
        assert 0 < one.right <= one.logged, one
        assert 0 < one.planned >= one.logged, one
        assert one.made == 0
        assert sum(one.tasks.values()) + one.quarantined <= one.turns, one
    assert found.tenancy is not None
    assert found.tenancy.mixed == ()
    assert found.tenancy.answers == {"shop": 44, "clinic": 44, "building": 40}
    assert found.tenancy.lines.keys() == found.tenancy.interactions.keys() == {one.name for one in APPLICATIONS}
    assert found.forgetting is not None
    check_what_is_left(found.forgetting)
    check_the_log(here, found.forgetting.session)
    assert found.forgetting.values > 0
    assert found.forgetting.adapters == ("adapter-0001",)
    assert f"--session {found.forgetting.session} --owner shop`" in section(found)


def check_what_is_left(found: Forgetting) -> None:
    """The ledger alone has something: it names what was deleted in the adapter's mark."""
    assert {one.partition(": ")[0] for one in found.left} <= {"evolution.db", "evolution.db-wal"}, found.left


def check_the_log(here: World, forgotten: str) -> None:
    """The fresh requests are neither logged nor learned; each turn has key and tenant of its application."""
    fresh = {request.text for one in APPLICATIONS for request in one.requests("fresh", SETUP.fresh)}
    with InteractionLog.open_readonly(here.data / "interactions.db") as log:
        turns = [turn for turn in log.read() if turn.source == "gateway"]
    logged = {turn.trajectory.messages[0].content.removeprefix("New task:\n") for turn in turns}
    rows = [
        row for folder in (here.data / "cycles").iterdir() for side in ("train", "valid")
        for row in lines(folder / "dataset" / f"{side}.jsonl")
    ]  # fmt: skip
    learned = {message["content"] for row in rows for message in row["messages"]}
    assert fresh.isdisjoint(logged | learned)
    assert len(logged) > SETUP.traffic / 2
    check_the_traffic(turns, forgotten)
    assert {(turn.owner, turn.tenant) for turn in turns} == {(one.name, one.name) for one in APPLICATIONS}


def check_the_traffic(turns: Sequence[Interaction], forgotten: str) -> None:
    """Each turn was put once, whole and in its conversation, and words were said of some."""
    begun = Counter((one.owner, one.session, one.trajectory.messages[0].content) for one in turns if not one.continues)
    assert set(begun.values()) == {1}
    wanted = {
        (one.name, session_name("traffic", one, turn), turn.request.text, k)
        for one in APPLICATIONS for talk in one.traffic(SETUP.learned) for k, turn in enumerate(talk)
    }  # fmt: skip
    served = {(one.owner, one.session, request_of(one), _earlier(one)) for one in turns}
    assert {session for _, session, *_ in wanted - served} == {forgotten}
    assert Counter(word.verdict for one in turns for word in one.feedback).total() == 3 * (SETUP.learned // 10)


def _earlier(turn: Interaction) -> int:
    return sum(message.role == "user" for message in turn.trajectory.history)


@pytest.mark.parametrize("application", APPLICATIONS, ids=lambda one: one.name)
def test_a_gateway_that_is_not_there_is_no_wrong_answer(application: Application) -> None:
    door = Door(url="http://127.0.0.1:9", key="none", model="agent", retries=0)
    with pytest.raises(ModelUnavailable, match="run the same again"):
        ask(application.framework, application.opened(), "hello", door)
