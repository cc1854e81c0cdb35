"""Each result with its call, however clients name them."""

from typing import Any

import pytest

from agent.serving.gateway.history import as_messages, with_distinct_ids
from agent.turn.messages import Message
from toolkit.tool import ToolCall

USER = {"role": "user", "content": "go"}


def asked(*calls: tuple[str, str], arguments: Any = "{}") -> dict[str, Any]:
    made = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name in calls
    ]
    return {"role": "assistant", "content": None, "tool_calls": made}


def result(call_id: str | None, content: str, **more: str) -> dict[str, Any]:
    return {"role": "tool", "content": content, **({"tool_call_id": call_id} if call_id is not None else {}), **more}


def paired(*messages: dict[str, Any]) -> list[tuple[str, Any]]:
    """The results, each with the name of its call; and their ids are those of their calls."""
    found = as_messages([USER, *messages])
    calls = {call.id: call.name for message in found for call in message.tool_calls}
    results = [message.tool_result for message in found if message.tool_result is not None]
    assert [calls[one.call_id] for one in results] == [one.name for one in results]
    assert len({one.call_id for one in results}) == len(results)
    return [(one.name, one.value) for one in results]


TWO = [("first", 1), ("second", 2)]


@pytest.mark.parametrize(
    "messages",
    [
        [asked(("a", "first"), ("b", "second")), result("a", "1"), result("b", "2")],
        [asked(("a", "first"), ("b", "second")), result("b", "2"), result("a", "1")],
        [asked(("x", "first"), ("x", "second")), result("x", "1"), result("x", "2")],
        [asked(("x", "first"), ("x", "second")), result("x", "2", name="second"), result("x", "1", name="first")],
        [asked(("a", "first"), ("b", "second")), result("call_0", "1"), result("call_1", "2")],
        [asked(("a", "first"), ("b", "second")), result(None, "1"), result(None, "2")],
        [asked(("a", "first"), ("b", "second")), result("b", "2"), result("renamed", "1")],
        [asked(("", "first"), ("", "second")), result("", "1"), result("", "2")],
        [asked(("x", "first")), result("x", "1"), asked(("x", "second")), result("x", "2")],
        [asked(("a", "first")), asked(("b", "second")), result("b", "2"), USER, result("a", "1")],
    ],
    ids=["in order", "out of order", "one id", "one id and names", "renamed", "no ids", "one renamed", "empty ids",
         "one id in two messages", "late"],
)  # fmt: skip
def test_each_result_has_its_call(messages: list[dict[str, Any]]) -> None:
    assert sorted(paired(*messages)) == TWO


def test_results_stand_in_the_order_of_their_calls() -> None:
    """Whoever reads calls and results side by side sees pairs."""
    assert paired(asked(("a", "first"), ("b", "second")), result("b", "2"), result("a", "1")) == TWO


@pytest.mark.parametrize(
    ("messages", "calls"),
    [
        ([asked(("x", "first"), ("x", "second")), result("x", "1")], 2),
        ([asked(("a", "first"), ("b", "second")), result("c", "1")], 2),
        ([asked(("a", "first")), result("a", "1"), result("b", "2"), result("a", "3")], 1),
        ([result("a", "1")], 1),
        ([{"role": "function", "name": "first", "content": "1"}], 1),
        ([asked(("x", "first")), USER, asked(("x", "second")), USER, result("x", "1")], 3),
    ],
    ids=["one result for two", "no such id", "more than calls", "no call", "a function's", "either of two"],
)
def test_what_nobody_can_tell_apart_has_fewer_results_than_calls(messages: list[dict[str, Any]], calls: int) -> None:
    found = as_messages([USER, *messages])
    results = [message for message in found if message.tool_result is not None]
    assert sum(len(message.tool_calls) for message in found) == calls
    assert len(results) < calls
    assert sum(message.role == "tool" for message in found) == sum(m["role"] in ("tool", "function") for m in messages)


def test_a_result_that_comes_before_its_call_is_its() -> None:
    assert paired(result("b", "1"), asked(("b", "first"))) == [("first", 1)]


@pytest.mark.parametrize("arguments", ["", None, {}, "{}"])
def test_no_arguments_are_an_empty_object_as_the_model_sees_them(arguments: Any) -> None:
    _, call, answer = as_messages([USER, asked(("a", "first"), arguments=arguments), result("a", "1")])
    assert call.tool_calls[0].arguments == {}
    assert answer.tool_result is not None


@pytest.mark.parametrize(
    "arguments", ['{"a": ', "[1]", '{"a": NaN}', '{"a": "\\ud83d"}', '{"a":' + "[" * 300 + "]" * 300 + "}"]
)
def test_a_call_that_cannot_be_read_is_no_lesson_unless_it_failed(arguments: str) -> None:
    """vLLM shows the model ``{}`` for it, which the model did not write."""
    _, call, answer = as_messages([USER, asked(("a", "first"), arguments=arguments), result("a", "1")])
    assert (call.tool_calls[0].arguments, call.tool_calls[0].raw) == (None, arguments)
    assert (answer.content, answer.tool_result) == ("1", None)
    *_, failed = as_messages([USER, asked(("a", "first"), arguments=arguments), result("a", "Error: not JSON")])
    assert failed.tool_result is not None
    assert not failed.tool_result.ok


@pytest.mark.parametrize("content", ["[" * 300 + "]" * 300, "NaN", "1e999", '"\\ud83d"'])
def test_a_result_that_the_log_cannot_hold_as_a_value_is_text(content: str) -> None:
    *_, answer = as_messages([USER, asked(("a", "first")), result("a", content)])
    assert answer.tool_result is not None
    assert answer.tool_result.value == content
    assert Message.model_validate_json(answer.model_dump_json()) == answer


def test_new_calls_get_ids_of_their_own() -> None:
    calls = tuple(ToolCall(id="x", name=name, arguments={}) for name in ("first", "second"))
    message = with_distinct_ids(Message(role="assistant", tool_calls=calls), ["x"])
    assert [call.id for call in message.tool_calls] == ["x~2", "x~3"]


def test_many_messages_are_read_in_no_time() -> None:
    """Linear: a hundred times as many would take minutes otherwise."""
    said = [one for n in range(5_000) for one in (asked((f"c{n}", "first")), result(f"c{n}", "1"))]
    assert len(paired(*said)) == 5_000
