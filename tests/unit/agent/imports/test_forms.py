"""Every export of the same turn gives the same turn; what is none says why."""

import json
from typing import Any

import pytest

from agent.imports.reading import records
from agent.imports.record import ImportReason
from agent.imports.turns import ImportedTurn, Origin, turn_of
from tests.unit.agent.imports import exports
from tests.unit.agent.imports.exports import ANSWER, ASKED, PARTS, SPOKEN, STEPS, TOOL

LINES = {
    "openai": exports.openai(STEPS, ANSWER),
    "finetuning": exports.finetuning(*STEPS, ANSWER),
    "langfuse": exports.langfuse(STEPS, ANSWER),
    "otel": exports.otel(PARTS, SPOKEN),
}


def read(line: dict[str, Any], form: Any = None, **origin: Any) -> list[ImportedTurn | ImportReason]:
    found = list(records(line, form))
    return [one if isinstance(one, ImportReason) else turn_of(one, Origin(**origin)) for one in found]


def only(line: dict[str, Any], **origin: Any) -> ImportedTurn:
    (turn,) = read(line, **origin)
    assert isinstance(turn, ImportedTurn), turn
    return turn


@pytest.mark.parametrize("form", LINES)
def test_a_turn_is_the_same_from_every_export(form: str) -> None:
    turn = only(LINES[form])
    assert turn.source == f"import:{form}"
    assert [message.role for message in turn.trajectory.messages] == ["user", "assistant", "tool", "assistant"]
    (call,), (result,) = turn.trajectory.calls, turn.trajectory.results
    assert (call.id, call.name, call.arguments) == ("call-1", "weather", {"city": "Oslo"})
    assert (result.call_id, result.name, result.value) == ("call-1", "weather", {"rain": True})
    assert turn.trajectory.answer == "Yes, take an umbrella."
    assert turn.trajectory.tools == ("weather",)
    assert turn.tools[0]["function"]["name"] == "weather"
    assert turn.tools[0]["function"]["parameters"]["required"] == ["city"]


@pytest.mark.parametrize(
    ("form", "own", "adapter"),
    [
        ("openai", False, "upstream:gpt-x-2026"),
        ("openai", True, "imported:gpt-x-2026"),
        ("langfuse", False, "upstream:gpt-x"),
        ("otel", False, "upstream:gpt-x"),
        ("otel", True, "imported:gpt-x"),
        ("finetuning", False, "imported:unknown"),
    ],
)
def test_the_name_of_the_model_says_whether_it_may_be_learned_from(form: str, own: bool, adapter: str) -> None:
    assert only(LINES[form], own=own).trajectory.adapter == adapter


def test_sessions_are_those_of_the_export(form: str = "langfuse") -> None:
    assert only(LINES["langfuse"]).exchange.session == "talk-7"
    assert only(LINES["otel"]).exchange.session == "talk-7"
    assert only(LINES["openai"]).exchange.session.startswith("~")  # as of a client that names none


def test_settings_usage_and_latency_come_along() -> None:
    langfuse, otel = only(LINES["langfuse"]).trajectory, only(LINES["otel"]).trajectory
    assert langfuse.sampling.temperature == only(LINES["openai"]).trajectory.sampling.temperature == 0.5
    assert (langfuse.usage.prompt_tokens, langfuse.usage.completion_tokens) == (11, 7)
    assert otel.usage.prompt_tokens == 11
    assert langfuse.latency_ms == otel.latency_ms == 1500.0


def test_each_turn_of_a_fine_tuning_line_is_one_with_what_was_said_before() -> None:
    line = exports.finetuning({"role": "system", "content": "Be brief."}, *STEPS, ANSWER, ASKED, ANSWER)
    first, second = read(line)
    assert isinstance(first, ImportedTurn)
    assert isinstance(second, ImportedTurn)
    assert [message.role for message in first.trajectory.history] == ["system"]
    assert len(first.trajectory.messages) == 4
    assert len(second.trajectory.history) == 5
    assert [message.role for message in second.trajectory.messages] == ["user", "assistant"]
    assert first.exchange.session == second.exchange.session
    assert first.digest != second.digest


def test_a_turn_that_breaks_off_is_none_and_its_neighbours_are() -> None:
    found = read(exports.finetuning(ASKED, ANSWER, ASKED))
    assert isinstance(found[0], ImportedTurn)
    assert found[1] == ImportReason.NO_ANSWER


def test_functions_of_old_fine_tuning_files_are_tools() -> None:
    call = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"city": "Bonn"}'}}
    turn = only({"messages": [ASKED, call], "functions": [TOOL["function"]]})
    assert turn.trajectory.calls[0].arguments == {"city": "Bonn"}
    assert turn.trajectory.tools == ("weather",)


def test_batch_files_and_stored_completions_are_read() -> None:
    line = LINES["openai"]
    batch = {"request": {"body": line["request"]}, "response": {"status_code": 200, "body": line["response"]}}
    flat = {"messages": STEPS, "tools": [TOOL], **line["response"]}
    for one in (batch, flat):
        assert only(one).trajectory.answer == "Yes, take an umbrella."


def test_langfuse_is_read_in_both_spellings_and_as_a_whole_trace() -> None:
    row = LINES["langfuse"]
    camel = {
        "id": "obs-1",
        "traceId": "trace-1",
        "type": "GENERATION",
        "input": json.loads(row["input"]),
        "output": json.loads(row["output"]),
        "model": "gpt-x",
    }
    assert only(camel).exchange.session == "trace-1"
    whole = {"id": "trace-1", "sessionId": "s9", "observations": [camel, {**camel, "type": "SPAN"}]}
    turn, span = read(whole)
    assert isinstance(turn, ImportedTurn)
    assert turn.exchange.session == "s9"
    assert span == ImportReason.NOT_A_MODEL_CALL
    (paged,) = read({"data": [camel], "meta": {}})
    assert isinstance(paged, ImportedTurn)


def test_langfuse_calls_and_tools_are_found_in_their_own_columns() -> None:
    row = {
        **exports.langfuse([], ANSWER),
        "input": json.dumps([ASKED]),
        "output": json.dumps({"role": "assistant", "content": ""}),
        "tool_calls": [json.dumps({"id": "c", "name": "weather", "arguments": '{"city": "Oslo"}'})],
        "tool_definitions": {"weather": json.dumps({"description": "Weather now.", "parameters": PARAMETERS_TEXT})},
    }
    turn = only(row)
    assert turn.trajectory.calls[0].arguments == {"city": "Oslo"}
    assert turn.tools[0]["function"]["parameters"]["required"] == ["city"]


PARAMETERS_TEXT = json.dumps(exports.PARAMETERS)


def test_structured_attributes_and_older_results_of_otel_are_read() -> None:
    text = {"kvlistValue": {"values": [attribute("type", "text"), attribute("content", "Is it raining in Oslo?")]}}
    parts = {"key": "parts", "value": {"arrayValue": {"values": [text]}}}
    asked = {"kvlistValue": {"values": [attribute("role", "user"), parts]}}
    line = exports.otel(PARTS, SPOKEN, **{"gen_ai.input.messages": None, "gen_ai.system_instructions": None})
    span = line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["attributes"].append({"key": "gen_ai.input.messages", "value": {"arrayValue": {"values": [asked]}}})
    assert only(line).trajectory.messages[0].content == "Is it raining in Oslo?"
    older = json.loads(json.dumps(PARTS).replace('"response"', '"result"'))
    assert only(exports.otel(older, SPOKEN)).trajectory.results[0].value == {"rain": True}


def attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def test_otel_system_instructions_stand_first() -> None:
    told = json.dumps([{"type": "text", "content": "Be brief."}])
    turn = only(exports.otel(PARTS, SPOKEN, **{"gen_ai.system_instructions": told}))
    assert turn.trajectory.history[0].content == "Be brief."


BAD_TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": 7}}}
FAILED = {"request": {"messages": STEPS}, "response": {"error": {"message": "overloaded"}}}
REFUSED: list[tuple[dict[str, Any], ImportReason]] = [
    ({"text": "hello"}, ImportReason.UNKNOWN_FORMAT),
    ({"messages": "hello"}, ImportReason.NO_CONVERSATION),
    ({"messages": [{"role": "user", "content": 7}, ANSWER]}, ImportReason.NO_CONVERSATION),
    ({"messages": [{"role": "wizard", "content": "x"}, ASKED, ANSWER]}, ImportReason.NO_CONVERSATION),
    ({"messages": [ASKED, ANSWER], "tools": [BAD_TOOL]}, ImportReason.BAD_TOOLS),
    ({"messages": [ASKED, ANSWER], "tools": [{"type": "function"}]}, ImportReason.BAD_TOOLS),
    ({"messages": [ANSWER]}, ImportReason.NO_REQUEST),
    ({"messages": [ASKED, {"role": "assistant", "content": ""}]}, ImportReason.NO_ANSWER),
    (FAILED, ImportReason.FAILED),
    ({"request": {"messages": STEPS}, "response": {"choices": []}}, ImportReason.NO_ANSWER),
    ({"request": {}, "response": {"choices": []}}, ImportReason.NO_MESSAGES),
    ({**exports.langfuse(STEPS, ANSWER), "level": "ERROR"}, ImportReason.FAILED),
    ({**exports.langfuse(STEPS, ANSWER), "type": "TOOL"}, ImportReason.NOT_A_MODEL_CALL),
    ({**exports.langfuse(STEPS, ANSWER), "input": ""}, ImportReason.NO_MESSAGES),
    ({**exports.langfuse(STEPS, ANSWER), "output": ""}, ImportReason.NO_ANSWER),
    (exports.otel(PARTS, SPOKEN, **{"gen_ai.operation.name": "execute_tool"}), ImportReason.NOT_A_MODEL_CALL),
    (exports.otel(PARTS, SPOKEN, **{"gen_ai.input.messages": None}), ImportReason.NO_MESSAGES),
    (exports.otel(PARTS, SPOKEN, **{"gen_ai.output.messages": None}), ImportReason.NO_ANSWER),
    (exports.otel(PARTS, SPOKEN, **{"error.type": "timeout"}), ImportReason.FAILED),
]


@pytest.mark.parametrize(("line", "reason"), REFUSED)
def test_what_is_no_turn_says_why(line: dict[str, Any], reason: ImportReason) -> None:
    assert read(line) == [reason]


def test_a_given_format_holds_all_lines_to_it() -> None:
    assert read(LINES["openai"], "langfuse") == [ImportReason.UNKNOWN_FORMAT]
    assert isinstance(read(LINES["openai"], "openai")[0], ImportedTurn)


@pytest.mark.parametrize("more", [{"model": "gpt-4o"}, {"temperature": 0.5}, {"stream": False}, {"usage": {}}])
def test_the_body_of_a_request_is_no_fine_tuning_line(more: dict[str, Any]) -> None:
    """Its answers are another model's, until the owner says otherwise."""
    line = {**exports.finetuning(*STEPS, ANSWER, ASKED), **more}
    model = more.get("model", "unknown")
    turn, unanswered = read(line)
    assert isinstance(turn, ImportedTurn)
    assert turn.trajectory.adapter == f"upstream:{model}"
    assert unanswered == ImportReason.NO_ANSWER
    own = read(line, own=True)[0]
    assert isinstance(own, ImportedTurn)
    assert own.trajectory.adapter == f"imported:{model}"


def test_lessons_that_were_exported_are_ones_own_again() -> None:
    line = {**exports.finetuning(*STEPS, ANSWER), "parallel_tool_calls": False, "metadata": {"lesson": "x"}}
    assert only(line).trajectory.adapter == "imported:unknown"
