"""Whether people fare worse with what serves now."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.turn.messages import Interaction
from evolver.config import MonitorConfig
from evolver.release.monitor import watch
from tests.fakes.evolution import interaction, turn
from toolkit.tool import ToolErrorKind

CONFIG = MonitorConfig(minimum_interactions=10, error_margin=0.1)
OLD, NEW = "adapter-0001", "adapter-0002"


def lived(adapter: str, troubled: int, of: int, kind: str = "bad") -> list[Interaction]:
    """Each turn in a session of its own."""
    good = interaction(turn("q", ("t", {}, 1), adapter=adapter), 1, verdict="good")
    trouble = {
        "bad": interaction(turn("q", adapter=adapter), 1, verdict="bad"),
        "call": interaction(turn("q", ("t", {}, ToolErrorKind.TIMEOUT), adapter=adapter), 1),
        "stop": interaction(turn("q", adapter=adapter, stop_reason="step_limit"), 1),
    }[kind]
    turns = [trouble] * troubled + [good] * (of - troubled)
    return [made.model_copy(update={"session": f"{adapter} {n}"}) for n, made in enumerate(turns)]


@pytest.mark.parametrize(
    ("kind", "named"), [("bad", "called bad"), ("call", "with a failed call"), ("stop", "not answered")]
)
def test_every_kind_of_trouble_counts(kind: str, named: str) -> None:
    log = lived(OLD, 0, 20) + lived(NEW, 14, 20, kind)
    finding = watch(CONFIG, log, current=NEW, previous=OLD)
    assert finding is not None
    assert finding.adapter == NEW
    assert finding.reason == f"turns {named}: 14 of 20 with {NEW}, 0 of 20 with {OLD}"


def repaired(adapter: str, number: int) -> Interaction:
    """A failed call, and another that worked."""
    made = turn("q", ("t", {}, ToolErrorKind.TIMEOUT), ("t", {}, 1), adapter=adapter)
    return interaction(made, 1, session=f"{adapter} {number}")


def test_repairs_are_a_figure_of_their_own() -> None:
    """As many failed calls, but now the model tries again."""
    log = lived(OLD, 20, 20, "call") + [repaired(NEW, n) for n in range(20)]
    finding = watch(CONFIG, log, current=NEW, previous=OLD)
    assert finding is not None
    assert "with a repair: 20 of 20" in finding.reason


@pytest.mark.parametrize(
    ("again", "seconds", "found"),
    [("Where is my parcel now?", 60, True), ("Thank you!", 60, False), ("Where is my parcel now?", 3600, False)],
)
def test_asking_the_same_again_soon_counts(again: str, seconds: float, found: bool) -> None:
    log = lived(OLD, 0, 20)
    for n in range(20):
        for request, at in (("Where is my parcel?", 0.0), (again, seconds)):
            made = interaction(turn(request, adapter=NEW), 2 * n + (at > 0), session=f"s{n}")
            log.append(made.model_copy(update={"created_at": at}))
    finding = watch(CONFIG, log, current=NEW, previous=OLD)
    assert (finding is not None) == found
    assert finding is None or "asked again: 20 of 40" in finding.reason


def timed(adapter: str, latency_ms: float, of: int) -> list[Interaction]:
    return [
        made.model_copy(
            update={"trajectory": made.trajectory.model_copy(update={"latency_ms": latency_ms * (1 + n / of)})}
        )
        for n, made in enumerate(lived(adapter, 0, of))
    ]


@pytest.mark.parametrize(("now", "found"), [(1000, False), (1400, False), (4000, True)])
def test_turns_that_take_much_longer_count(now: float, found: bool) -> None:
    finding = watch(CONFIG, timed(OLD, 1000, 30) + timed(NEW, now, 30), current=NEW, previous=OLD)
    assert (finding is not None) == found
    assert finding is None or finding.reason.startswith("a turn takes 5")


def test_the_base_model_is_not_watched() -> None:
    assert watch(CONFIG, lived("base", 20, 20) + lived(NEW, 0, 20), current="base", previous=NEW) is None


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.data())
def test_a_finding_needs_enough_turns_and_a_clear_difference(n_old: int, n_new: int, data: st.DataObject) -> None:
    old, new = data.draw(st.integers(0, n_old)), data.draw(st.integers(0, n_new))
    found = watch(CONFIG, lived(OLD, old, n_old) + lived(NEW, new, n_new), current=NEW, previous=OLD)
    if min(n_old, n_new) < 10 or new / n_new <= old / n_old + 0.1:
        assert found is None
    if min(n_old, n_new) >= 10 and new == n_new and old == 0:
        assert found is not None


def test_turns_of_other_adapters_do_not_count() -> None:
    log = lived("adapter-0009", 30, 30) + lived(OLD, 0, 20) + lived(NEW, 0, 20)
    assert watch(CONFIG, log, current=NEW, previous=OLD) is None
