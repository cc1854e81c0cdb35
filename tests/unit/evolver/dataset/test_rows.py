"""What a lesson shows, and on which of its messages the loss is."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evolver.dataset.rows import NO_TOOL, call_row, declined_row, repaired_row, spoken_row
from evolver.types import Call, Failure, Trace, TraceKind
from tests.fakes.evolution import trace, turn
from toolkit.tool import ToolError, ToolErrorKind

ADD = trace("add 21 and 34", "add", {"a": 21, "b": 34}, 55, answer="It is 55.")
WRONG = Failure(
    call=Call(name="add", arguments={"a": 21}),
    error=ToolError(kind=ToolErrorKind.INVALID_ARGUMENTS, message="'b' is required; add it"),
)


def steps(row: dict[str, Any]) -> list[str]:
    """The row as words: who speaks, what is called or said, ! on loss."""
    told = []
    for n, message in enumerate(row["messages"]):
        calls = [
            f"{c['function']['name']}{json.loads(c['function']['arguments'])}" for c in message.get("tool_calls", ())
        ]
        told.append(
            f"{'!' if n in row['targets'] else ''}{message['role']}: {' '.join(calls) or message.get('content')}"
        )
    return told


def test_a_call_with_its_answer() -> None:
    assert steps(call_row("0", ADD, ())) == [
        "user: add 21 and 34",
        "!assistant: add{'a': 21, 'b': 34}",
        "tool: 55",
        "!assistant: It is 55.",
    ]


def test_what_was_said_before_is_shown_and_not_learned() -> None:
    before = turn("add 1 and 2", ("add", {"a": 1, "b": 2}, 3), answer="It is 3.").messages
    assert steps(call_row("0", ADD.model_copy(update={"history": before}), ())) == [
        "user: add 1 and 2",
        "assistant: add{'a': 1, 'b': 2}",
        "tool: 3",
        "assistant: It is 3.",
        *steps(call_row("0", ADD, ())),
    ]


def test_after_a_failure_only_what_repaired_it_is_learned() -> None:
    row = repaired_row("0", ADD.model_copy(update={"failures": (WRONG,)}), ())
    assert steps(row) == [
        "user: add 21 and 34",
        "assistant: add{'a': 21}",
        "tool: error (invalid_arguments): 'b' is required; add it",
        "!assistant: add{'a': 21, 'b': 34}",
    ]
    assert row["decision"] is None


def test_declining_and_talking_call_nothing() -> None:
    assert steps(declined_row("0", ADD, ())) == ["user: add 21 and 34", f"!assistant: {NO_TOOL}"]
    assert steps(spoken_row("0", trace("hello there"), ())) == ["user: hello there", "!assistant: Well, well."]


@given(st.lists(st.integers(0, 99), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_loss_is_on_every_message_of_the_assistant_and_on_no_other(
    values: list[int], sequential: bool, answered: bool
) -> None:
    calls = tuple(Call(name="add", arguments={"a": value}) for value in values)
    made = Trace(
        id="x",
        kind=TraceKind.LOGGED,
        request="r",
        calls=calls,
        results=tuple(values),
        answer=f"They are {', '.join(map(str, values))}." if answered else "",
        sequential=sequential,
    )
    row = call_row("0", made, ())
    roles = [message["role"] for message in row["messages"]]
    assert row["targets"] == [n for n, role in enumerate(roles) if role == "assistant"]
    assert roles[-1] == "assistant"
    called = [len(message.get("tool_calls", ())) for message in row["messages"] if message.get("tool_calls")]
    assert called == ([1] * len(values) if sequential else [len(values)])
    assert (len(row["targets"]) > len(called)) is answered
