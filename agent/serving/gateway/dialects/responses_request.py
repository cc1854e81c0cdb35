"""The body of ``POST /v1/responses``, and the chat request that says the same.

Source: OpenAI's API reference. Unknown fields pass. Known ones that this server cannot honour are refused.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from agent.http.json_body import Body
from agent.serving.gateway.model_routing import ALIAS
from agent.serving.gateway.request_models import Text, Whole

_NEEDS = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "mcp_call": ("id", "name", "arguments"),
}
_CHOICES = 'must be "none", "auto", "required" or {"type": "function", "name": "…"}'
_NOT_KEPT = "is not kept here; send previous_response_id, or the whole conversation in input"

HostedTool = Literal[
    "custom",
    "web_search",
    "web_search_preview",
    "file_search",
    "code_interpreter",
    "image_generation",
    "computer_use_preview",
    "mcp",
    "local_shell",
    "shell",
    "apply_patch",
]
"""Tools that OpenAI runs, or whose calls are no JSON: nothing here can call them, so the model is not shown them."""


class InputPart(Body):
    """A piece of a message's content, or of a result."""

    type: Literal["input_text", "output_text", "text", "refusal", "input_image"]
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None


class InputItem(Body):
    """An item of the conversation. Reasoning is accepted, and not shown to the model."""

    type: Literal["message", "function_call", "function_call_output", "mcp_call", "reasoning"] = "message"
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[InputPart] | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[InputPart] | None = None
    error: Any = None

    @model_validator(mode="before")
    @classmethod
    def _without_thoughts(cls, value: Any) -> Any:
        return {"type": "reasoning"} if isinstance(value, dict) and value.get("type") == "reasoning" else value

    @model_validator(mode="after")
    def _is_complete(self) -> "InputItem":
        for name in _NEEDS.get(self.type, ()):
            if getattr(self, name) is None:
                raise ValueError(f"has no {name}, which a {self.type} needs")
        return self


class ResponseTool(Body):
    """A tool of the client."""

    type: Literal["function"] | HostedTool
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _has_a_name(self) -> "ResponseTool":
        if self.type == "function" and not self.name:
            raise ValueError("has no name, which a function needs")
        return self


class TextFormat(Body):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    json_schema: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class TextConfig(Body):
    """Settings of the answer's text."""

    format: TextFormat | None = None


class ResponsesRequest(Body):
    """The body of ``POST /v1/responses``."""

    model: str = ALIAS
    input: str | Annotated[list[InputItem], Field(min_length=1)]
    instructions: str | None = None
    previous_response_id: Text | None = None
    conversation: Any = None
    prompt: Any = None
    background: bool = False
    stream: bool = False
    tools: list[ResponseTool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: Whole | None = None
    temperature: float | None = None
    top_p: float | None = None
    text: TextConfig | None = None
    user: str | None = None

    @field_validator("conversation", "prompt")
    @classmethod
    def _is_not_kept(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError(_NOT_KEPT)
        return value

    @field_validator("background")
    @classmethod
    def _is_answered_at_once(cls, value: bool) -> bool:
        if value:
            raise ValueError("must be false: answers are given at once; send stream to see them grow")
        return value

    @field_validator("tool_choice")
    @classmethod
    def _is_offered(cls, choice: Any, info: ValidationInfo) -> Any:
        if choice in ("none", "auto", "required"):
            return choice
        if not isinstance(choice, dict) or choice.get("type") != "function" or not isinstance(choice.get("name"), str):
            raise ValueError(_CHOICES)
        offered = [tool.name for tool in info.data.get("tools") or () if tool.type == "function"]
        if "tools" in info.data and choice["name"] not in offered:
            raise ValueError(f"names {choice['name']!r}, which is none of the functions in tools")
        return choice


def chat_request(asked: ResponsesRequest, before: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return the chat request. ``before``: the messages of the response that it goes on from; its instructions are not
    carried over where there are new ones."""
    messages = list(before)
    if asked.instructions is not None:
        if messages and messages[0]["role"] == "system":
            messages = messages[1:]
        messages.insert(0, {"role": "system", "content": asked.instructions})
    add_items(messages, asked.input)
    tools = [_tool(tool) for tool in asked.tools or () if tool.type == "function"]
    body = {
        "model": asked.model,
        "messages": messages,
        "stream": asked.stream,
        "stream_options": {"include_usage": True} if asked.stream else None,
        "tools": tools or None,
        "tool_choice": _choice(asked.tool_choice),
        "parallel_tool_calls": asked.parallel_tool_calls if tools else None,
        "max_tokens": asked.max_output_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "response_format": _format(asked.text.format) if asked.text is not None else None,
        "user": asked.user,
    }
    return {name: value for name, value in body.items() if value is not None}


def add_items(messages: list[dict[str, Any]], items: str | Iterable[InputItem]) -> None:
    """Add the items of an input to chat messages. Calls that follow each other become one message."""
    if isinstance(items, str):
        messages.append({"role": "user", "content": items})
        return
    for item in items:
        match item.type:
            case "message":
                role = "system" if item.role == "developer" else item.role
                messages.append({"role": role, "content": _content(item.content or "")})
            case "function_call":
                _add_call(messages, item.call_id or "", item)
            case "function_call_output":
                messages.append({"role": "tool", "tool_call_id": item.call_id, "content": text_of(item.output or "")})
            case "mcp_call":
                _add_call(messages, item.id or "", item)
                messages.append({"role": "tool", "tool_call_id": item.id, "content": text_of(item.output or "")})
            case "reasoning":
                pass


def text_of(content: str | list[InputPart]) -> str:
    """Return the text of a content; parts that are none are named in brackets."""
    if isinstance(content, str):
        return content
    return "\n".join(part.text or part.refusal or f"[{part.type}]" for part in content)


def _add_call(messages: list[dict[str, Any]], identity: str, item: InputItem) -> None:
    call = {"id": identity, "type": "function", "function": {"name": item.name, "arguments": item.arguments}}
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ""})
    messages[-1] = {**messages[-1], "tool_calls": [*messages[-1].get("tool_calls", ()), call]}


def _content(content: str | list[InputPart]) -> str | list[dict[str, Any]]:
    if isinstance(content, str) or not any(part.type == "input_image" for part in content):
        return text_of(content)
    return [
        {"type": "image_url", "image_url": {"url": part.image_url}}
        if part.type == "input_image"
        else {"type": "text", "text": text_of([part])}
        for part in content
    ]


def _tool(tool: ResponseTool) -> dict[str, Any]:
    named = {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    return {"type": "function", "function": {name: value for name, value in named.items() if value is not None}}


def _choice(choice: Any) -> Any:
    return {"type": "function", "function": {"name": choice["name"]}} if isinstance(choice, dict) else choice


def _format(wanted: TextFormat | None) -> dict[str, Any] | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "json_object"}
    named = {"name": wanted.name or "answer", "schema": wanted.json_schema, "strict": wanted.strict}
    return {"type": "json_schema", "json_schema": {name: value for name, value in named.items() if value is not None}}
