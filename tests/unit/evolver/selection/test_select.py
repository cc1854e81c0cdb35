"""What serves is asked about kept traces; what it does well is set aside."""

import math
from pathlib import Path
from typing import Any

import pytest

from agent.turn.messages import BASE, Message
from evolver.config import SelectConfig
from evolver.crew.workshop import Workshop
from evolver.selection.select import select
from evolver.store.jsonl import read_lines
from evolver.types import Call, Failure, Selected, Trace, TraceKind
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.stages import context
from toolkit.tool import ToolError, ToolErrorKind

SURE, UNSURE = math.log(0.9), math.log(0.7)


def adding(first: int, **changes: Any) -> Trace:
    made = trace(f"Add {first} and 2.", "add_prices", {"first": first, "second": 2}, first + 2)
    return made.model_copy(update=changes)


class Asked:
    """Gives each trace the log-probability in ``known``; notes whom it was asked about."""

    def __init__(self, known: dict[str, float | None]) -> None:
        self.known, self.traces = known, list[str]()

    def __call__(self, workshop: Workshop, one: Trace) -> float | None:
        self.traces.append(one.id)
        return self.known[one.id]


def selected(
    folder: Path, kept: list[Trace], likelihood: Any, model: str = "adapter-0001", probability: float = 0.8
) -> tuple[Selected, list[Trace]]:
    stage = context(folder, shop_tools.executor(), at_once=1)
    found = select(stage, SelectConfig(known_probability=probability), kept, model=model, likelihood=likelihood)
    return found, read_lines(found.file, Trace)


def test_a_trace_that_is_done_with_a_wide_margin_is_set_aside(tmp_path: Path) -> None:
    kept = [adding(3), adding(4), adding(5), trace("Tell me about foxes, please.")]
    asked = Asked({"Add 3 and 2.": SURE, "Add 4 and 2.": UNSURE, "Add 5 and 2.": None})
    found, chosen = selected(tmp_path, kept, asked)
    assert chosen == kept[1:]
    assert (found.model, found.asked, found.known) == ("adapter-0001", 3, 1)
    assert found.by_kind == {TraceKind.BACK_TRANSLATION: 2, TraceKind.NO_TOOL: 1}


def test_the_base_model_is_not_asked(tmp_path: Path) -> None:
    asked = Asked({})
    found, chosen = selected(tmp_path, [adding(3)], asked, model=BASE)
    assert (chosen, asked.traces, found.asked) == ([adding(3)], [], 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"history": (Message(role="user", content="Hello"), Message(role="assistant", content="Hello!"))},
        {
            "failures": (
                Failure(
                    call=Call(name="add_prices", arguments={}),
                    error=ToolError(kind=ToolErrorKind.INVALID_ARGUMENTS, message="no"),
                ),
            )
        },
    ],
    ids=["history", "failures"],
)
def test_what_its_request_alone_does_not_say_is_learned_in_any_case(tmp_path: Path, changes: dict[str, Any]) -> None:
    asked = Asked({})
    kept = [adding(3, **changes)]
    assert selected(tmp_path, kept, asked)[1] == kept
    assert asked.traces == []


def test_with_the_probability_1_all_are_learned(tmp_path: Path) -> None:
    asked = Asked({"Add 3 and 2.": 0.0})
    assert selected(tmp_path, [adding(3)], asked, probability=1.0)[1] == [adding(3)]


def test_a_stage_that_was_cut_off_asks_only_what_is_missing(tmp_path: Path) -> None:
    kept = [adding(3), adding(4)]
    broken = Asked({"Add 3 and 2.": SURE})
    with pytest.raises(KeyError):
        selected(tmp_path, kept, broken)
    asked = Asked({"Add 4 and 2.": SURE})
    found, chosen = selected(tmp_path, kept, asked)
    assert asked.traces == ["Add 4 and 2."]
    assert (chosen, found.known) == ([], 2)
    other = Asked({trace.id: UNSURE for trace in kept})
    assert selected(tmp_path, kept, other, model="adapter-0002")[1] == kept
