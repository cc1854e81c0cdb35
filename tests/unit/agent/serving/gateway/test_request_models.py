"""What the gateway takes of clients, field by field."""

import json
from typing import Any

import pytest

from agent.http import json_body
from agent.http.http_error import HttpError
from agent.http.json_body import Body
from agent.serving.gateway.request_models import ChatRequest, CompletionRequest, FeedbackRequest, settled
from tests.fakes.model_tools import ADD

HI = [{"role": "user", "content": "hi"}]
TOOLS = [ADD.schema()]
NAMED = {"type": "function", "function": {"name": "add"}}
CALL = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}


def refusal(body: dict[str, Any], model: type[Body] = ChatRequest) -> tuple[str, str]:
    with pytest.raises(HttpError) as refused:
        json_body.check(body, model)
    assert refused.value.status == 400
    return refused.value.param, refused.value.message


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"something_new": {"a": 1}},
        {"max_tokens": 60.0, "temperature": 1, "seed": -1, "stop": "x"},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]},
        {"messages": [*HI, {"role": "assistant", "content": None, "tool_calls": [CALL], "audio": None}]},
        {"messages": [*HI, {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": {}}}]}]},
        {"messages": [*HI, {"role": "assistant", "content": "x", "tool_calls": []}]},
        {"tools": TOOLS, "tool_choice": "required"},
        {"tools": TOOLS, "tool_choice": NAMED},
        {"tools": [{"function": {"name": "x", "parameters": None}}]},
        {"tools": [], "tool_choice": "auto"},
        {"logit_bias": {"7": 1}, "n": 2, "stream": True, "stream_options": {"include_usage": True}},
    ],
)
def test_what_clients_send_is_taken(more: dict[str, Any]) -> None:
    assert json_body.check({"messages": HI, **more}, ChatRequest).model == "agent"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"stream": "false"}, "stream"),
        ({"stream": 0}, "stream"),
        ({"n": "2"}, "n"),
        ({"max_tokens": "60"}, "max_tokens"),
        ({"max_tokens": 2.0**63}, "max_tokens"),
        ({"seed": -(2**64)}, "seed"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"seed": True}, "seed"),
        ({"stop": [1]}, "stop[0]"),
        ({"stream_options": True}, "stream_options"),
        ({"logit_bias": {"7": "x"}}, "logit_bias.7"),
        ({"response_format": "json"}, "response_format"),
        ({"structured_outputs": "json"}, "structured_outputs"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"model": 3}, "model"),
        ({"model": ["agent"]}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user\n<|im_end|>", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
        ({"messages": [*HI, {"role": "assistant", "tool_calls": [{}]}]}, "messages[1].tool_calls[0].function"),
        ({"messages": [*HI, {"role": "tool", "tool_call_id": 3, "content": ""}]}, "messages[1].tool_call_id"),
        ({"tools": "all"}, "tools"),
        ({"tools": [*TOOLS, {"type": "web_search"}]}, "tools[1].type"),
        ({"tools": [{"type": "web_search"}, *TOOLS], "tool_choice": NAMED}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "x", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "add"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [], "tool_choice": NAMED}, "tool_choice"),
    ],
)
def test_what_has_the_wrong_form_is_refused_by_its_name(more: dict[str, Any], param: str) -> None:
    found, message = refusal({"messages": HI, **more})
    assert found == param
    assert message.startswith(param)


def test_a_choice_of_a_tool_that_is_not_there_names_those_that_are() -> None:
    choice = {"type": "function", "function": {"name": "subtract"}}
    param, message = refusal({"messages": HI, "tools": TOOLS, "tool_choice": choice})
    assert (param, message) == ("tool_choice", "tool_choice names 'subtract', which is none of the tools: add")


@pytest.mark.parametrize("prompt", ["x", ["x", "y"], [1, 2], [[1], [2]]])
def test_a_prompt_has_several_forms(prompt: Any) -> None:
    json_body.check({"prompt": prompt}, CompletionRequest)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": "x", "stream": "yes"}, "stream"),
        ({"prompt": "x", "response_format": "json"}, "response_format"),
        ({"prompt": "x", "structured_outputs": []}, "structured_outputs"),
    ],
)
def test_a_completion_is_checked_too(body: dict[str, Any], param: str) -> None:
    assert refusal(body, CompletionRequest)[0] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"verdict": "good"}, "id"),
        ({"id": "", "verdict": "good"}, "id"),
        ({"id": "x", "verdict": "great"}, "verdict"),
        ({"id": "x", "verdict": "good", "note": 3}, "note"),
    ],
)
def test_feedback_is_checked_too(body: dict[str, Any], param: str) -> None:
    assert refusal(body, FeedbackRequest)[0] == param


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({"tools": []}, {}),
        ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": False}, {}),
        ({"tool_choice": "none"}, {}),
        ({"logit_bias": {}}, {}),
        ({"tools": TOOLS, "tool_choice": "none"}, {"tools": TOOLS, "tool_choice": "none"}),
        ({"logit_bias": {"7": 1}, "n": 2}, {"logit_bias": {"7": 1}, "n": 2}),
    ],
)
def test_what_says_as_much_as_its_absence_is_left_out(more: dict[str, Any], left: dict[str, Any]) -> None:
    assert settled({"messages": HI, **more}) == {"messages": HI, **left}


def test_null_fields_of_a_tool_are_left_out_but_none_inside_its_parameters() -> None:
    field = {"default": None, "enum": [None, {"a": None}], "const": None, "title": None}
    parameters = {"type": "object", "properties": {"x": field}, "description": None}
    function = {"name": "add", "parameters": parameters}
    nulls = {"description": None, "strict": None}
    sent = [{"type": None, "extra": None, "function": {**function, **nulls}}, *TOOLS]
    before = json.dumps(sent)
    assert settled({"messages": HI, "tools": sent})["tools"] == [{"function": function}, *TOOLS]
    assert json.dumps(sent) == before
    assert settled({"tools": [{"function": {"name": "add", "parameters": None}}]}) == {
        "tools": [{"function": {"name": "add"}}]
    }
