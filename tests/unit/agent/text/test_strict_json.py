"""JSON that the log can hold, and that its readers can read back."""

import json

import pytest

from agent.text import strict_json
from agent.turn.messages import Message
from toolkit.tool import ToolResult


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", "-1e999", '"\\ud83d"', "{", "", "[" * 101 + "]" * 101, "[" * 5000]
)
def test_what_cannot_be_stored_is_no_value(text: str) -> None:
    with pytest.raises(ValueError):
        strict_json.loads(text)


@pytest.mark.parametrize("text", ["1.5", '{"a": [1, null]}', '"\\ud83d\\ude00"', "[" * 100 + "]" * 100, '"[[[["'])
def test_what_can_be_stored_is_read_back(text: str) -> None:
    value = strict_json.loads(text)
    assert value == json.loads(text)
    message = Message(role="tool", tool_result=ToolResult(call_id="c", name="n", value=value))
    assert Message.model_validate_json(json.dumps(message.model_dump(mode="json"))) == message


def test_depth_counts_objects_and_lists() -> None:
    assert not strict_json.is_deeper(3, 0)
    assert strict_json.is_deeper([], 0)
    assert not strict_json.is_deeper([{"a": 1}, []], 2)
    assert strict_json.is_deeper([{"a": []}], 2)
