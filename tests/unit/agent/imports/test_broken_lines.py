"""No line ends an import, whatever stands in it: it is a turn, or says why it is none."""

import copy
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.imports.import_log import ImportLog
from agent.imports.reading import objects
from agent.imports.record import ImportReason
from agent.imports.run import _Run, _Target
from agent.imports.turns import Origin
from agent.turn.messages import Trajectory
from tests.unit.agent.imports import exports
from tests.unit.agent.imports.exports import ANSWER, PARTS, SPOKEN, STEPS, TOOL, as_lines


def structured(value: Any) -> dict[str, Any]:
    """Return a value as OTLP JSON has it where it is no text."""
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": key, "value": structured(item)} for key, item in value.items()]}}
    if isinstance(value, list):
        return {"arrayValue": {"values": [structured(item) for item in value]}}
    return {"boolValue": value} if isinstance(value, bool) else {"stringValue": value}


def otel_structured() -> dict[str, Any]:
    line = exports.otel(PARTS, SPOKEN)
    for attribute in line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]:
        text = attribute["value"].get("stringValue", "")
        if text.startswith(("[", "{")):
            attribute["value"] = structured(json.loads(text))
    return line


def langfuse_structured() -> dict[str, Any]:
    line = exports.langfuse(STEPS, ANSWER)
    inner = {name: json.loads(line[name]) for name in ("input", "output", "model_parameters")}
    calls = [{"id": "c", "name": "weather", "arguments": "{}"}]
    one = {**line, **inner, "tool_calls": calls, "tool_definitions": {"weather": TOOL["function"]}}
    return {"id": "trace-1", "sessionId": "s9", "observations": [one]}


LINES = {
    "openai": exports.openai(STEPS, ANSWER),
    "batch": {"request": {"body": exports.openai(STEPS, ANSWER)["request"]},
              "response": {"body": exports.openai(STEPS, ANSWER)["response"]}},
    "finetuning": exports.finetuning(*STEPS, ANSWER, *STEPS, ANSWER),
    "langfuse": exports.langfuse(STEPS, ANSWER),
    "langfuse as objects": langfuse_structured(),
    "otel": exports.otel(PARTS, SPOKEN),
    "otel as objects": otel_structured(),
}  # fmt: skip
WRONG = st.sampled_from([
    None, True, 0, -1, 1.5, 1e308, 10**400, "", "z", "9" * 5000, "\u0661", "{", "[1]", "\ud800", {}, [],
    [7], [[]], [None], {"a": {"b": []}}, {"key": 7}, {"role": "user"}, {"body": 7}, {"choices": [7]},
]).map(copy.deepcopy)  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a JSON value: what holds it, and its name or number there."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(item, dict | list):
            yield from places(item)


@st.composite
def broken(draw: st.DrawFn, line: dict[str, Any]) -> dict[str, Any]:
    """Return the line with one to three of its values changed, taken away, put into a list or there twice."""
    changed = copy.deepcopy(line)
    for _ in range(draw(st.integers(1, 3))):
        if not (found := list(places(changed))):
            break
        holder, key = draw(st.sampled_from(found))
        match draw(st.integers(0, 4)):
            case 0:
                del holder[key]
            case 1:
                holder[key] = [holder[key], draw(WRONG)]
            case 2 if isinstance(holder, list):
                holder.insert(0, draw(WRONG))
            case _:
                holder[key] = draw(WRONG)
    return changed


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImportLog]:
    with ImportLog.open_readonly(tmp_path_factory.mktemp("log") / "none.db") as opened:
        yield opened


def read(line: dict[str, Any], log: ImportLog) -> tuple[list[Trajectory], list[ImportReason]]:
    """Return the turns of a line as the log gives them back, and the reasons of what is none."""
    run = _Run(_Target(log), Origin(), None)
    turns = list(run.prepared(objects(io.BytesIO(as_lines(line)), limit=1 << 20)))
    for _, (turn, _) in turns:
        run._continues(turn)
        run._remember(turn, "1")
    stored = [Trajectory.model_validate_json(entry.trajectory) for _, (_, entry) in turns]
    return stored, list(run.report.left_out.elements())


@pytest.mark.parametrize("form", LINES)
def test_a_whole_line_is_read(form: str, log: ImportLog) -> None:
    turns, reasons = read(LINES[form], log)
    assert (len(turns), reasons) == (2 if form == "finetuning" else 1, [])


MESSAGE = {"choices": [{"index": "z"}, {"index": 1, "message": ANSWER}]}
SPAN: dict[str, Any] = exports.otel(PARTS, SPOKEN)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
NO_OBJECT = {"key": "gen_ai.input.messages", "value": {"kvlistValue": {"values": [7]}}}


def span(**changed: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": [{**SPAN, **changed}]}]}]}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({**LINES["openai"], "response": MESSAGE}, ImportReason.NO_CONVERSATION),
        (span(attributes=[*SPAN["attributes"], NO_OBJECT]), ImportReason.NO_MESSAGES),
    ],
)
def test_a_wrong_type_deep_inside_is_a_reason(line: dict[str, Any], reason: ImportReason, log: ImportLog) -> None:
    assert read(line, log) == ([], [reason])


@pytest.mark.parametrize(
    ("line", "latency_ms"),
    [
        ({**LINES["langfuse"], "latency": 10**400}, 0.0),
        ({**LINES["langfuse"], "latency": 1e308}, 0.0),
        (span(startTimeUnixNano="9" * 5000), 2500.0),
        (span(startTimeUnixNano=10**400), 2500.0),
        (span(startTimeUnixNano="1764460800000000000", endTimeUnixNano="1764460800250000000"), 250.0),
    ],
)
def test_a_number_beyond_all_measure_is_none(line: dict[str, Any], latency_ms: float, log: ImportLog) -> None:
    (turn,), reasons = read(line, log)
    assert (turn.latency_ms, reasons) == (latency_ms, [])


@settings(max_examples=100, deadline=None)
@given(line=st.sampled_from(list(LINES.values())).flatmap(broken))
def test_no_broken_line_raises(log: ImportLog, line: dict[str, Any]) -> None:
    turns, reasons = read(line, log)
    assert turns or reasons or "resourceSpans" in line or line.keys() & {"observations", "data"}
