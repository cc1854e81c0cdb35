"""Whether people fare worse with what serves now."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.messages import Interaction
from evolver.config import MonitorConfig
from evolver.evaluate import rate
from evolver.monitor import watch
from tests.fakes.evolution import interaction, turn
from toolkit.tool import ToolErrorKind

CONFIG = MonitorConfig(minimum_interactions=10, error_margin=0.1)
OLD, NEW = "adapter-0001", "adapter-0002"


def lived(adapter: str, troubled: int, of: int, kind: str = "bad") -> list[Interaction]:
    good = interaction(turn("q", ("t", {}, 1), adapter=adapter), 1, verdict="good")
    trouble = {
        "bad": interaction(turn("q", adapter=adapter), 1, verdict="bad"),
        "call": interaction(turn("q", ("t", {}, ToolErrorKind.TIMEOUT), adapter=adapter), 1),
        "stop": interaction(turn("q", adapter=adapter, stop_reason="step_limit"), 1),
    }[kind]
    return [trouble] * troubled + [good] * (of - troubled)


@pytest.mark.parametrize("kind", ["bad", "call", "stop"])
def test_every_kind_of_trouble_counts(kind: str) -> None:
    log = lived(OLD, 0, 20) + lived(NEW, 12, 20, kind)
    finding = watch(CONFIG, log, current=NEW, previous=OLD)
    assert finding is not None
    assert finding.adapter == NEW
    assert "12 of 20" in finding.reason
    assert "0 of 20" in finding.reason


def test_the_base_model_is_not_watched() -> None:
    assert watch(CONFIG, lived("base", 20, 20) + lived(NEW, 0, 20), current="base", previous=NEW) is None


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.data())
def test_a_finding_needs_enough_turns_and_a_clear_difference(n_old: int, n_new: int, data: st.DataObject) -> None:
    old, new = data.draw(st.integers(0, n_old)), data.draw(st.integers(0, n_new))
    found = watch(CONFIG, lived(OLD, old, n_old) + lived(NEW, new, n_new), current=NEW, previous=OLD)
    enough = min(n_old, n_new) >= 10
    assert (found is not None) == (enough and rate(new, n_new).low > rate(old, n_old).value + 0.1)


def test_turns_of_other_adapters_do_not_count() -> None:
    log = lived("adapter-0009", 30, 30) + lived(OLD, 0, 20) + lived(NEW, 0, 20)
    assert watch(CONFIG, log, current=NEW, previous=OLD) is None
