"""What the model is asked."""

import hashlib
import json

from agent.turn.messages import Message, Sampling
from agent.turn.prompt import PROMPT_VERSION, TEMPLATE, request, to_openai
from tests.fakes.model_tools import ADD
from toolkit.tool import ToolCall, ToolResult


def test_version_names_the_bytes_of_the_template() -> None:
    assert hashlib.sha256(TEMPLATE.read_bytes()).hexdigest().startswith(PROMPT_VERSION)


def test_conversation_with_a_call() -> None:
    call = ToolCall(id="1", name="add", arguments={"a": "ü", "b": [1, None]}, raw="ignored")
    messages = [
        Message(role="user", content="add"),
        Message(role="assistant", content="Let me see.", tool_calls=(call,)),
        Message(role="tool", content="3", tool_result=ToolResult(call_id="1", name="add", value=3)),
        Message(role="assistant", content="3."),
    ]
    function = {"name": "add", "arguments": '{"a": "ü", "b": [1, null]}'}
    assert to_openai(messages) == [
        {"role": "user", "content": "add"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [{"id": "1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "3"},
        {"role": "assistant", "content": "3."},
    ]


def test_a_broken_call_goes_back_as_the_text_that_the_model_wrote() -> None:
    calls = (
        ToolCall(id="1", name="", arguments=None, raw='{"name": oops'),
        ToolCall(id="2", name="add", arguments=None, raw='{"a": 1'),
        ToolCall(id="3", name="add", arguments={}),
    )
    (sent,) = to_openai([Message(role="assistant", content="Sure.", tool_calls=calls)])
    assert sent["content"] == (
        'Sure.\n<tool_call>\n{"name": oops\n</tool_call>\n'
        '<tool_call>\n{"name": "add", "arguments": {"a": 1}\n</tool_call>'
    )
    assert [call["id"] for call in sent["tool_calls"]] == ["3"]
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in sent["tool_calls"])


def test_request() -> None:
    body = request("agent", [Message(role="user", content="hi")], [ADD], Sampling(max_tokens=7, seed=3))
    assert body == {
        "model": "agent",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": 7,
        "seed": 3,
        "tools": [ADD.schema()],
    }
    bare = request("base", [], [], Sampling())
    assert "tools" not in bare
    assert "seed" not in bare
