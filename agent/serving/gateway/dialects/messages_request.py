"""The body of ``POST /v1/messages``, and the chat request that says the same.

Source: Anthropic's API reference. Unknown fields pass. Known ones that this server cannot honour are refused.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from agent.http.json_body import Body
from agent.serving.gateway.history import is_tool_error
from agent.serving.gateway.model_routing import ALIAS
from agent.serving.gateway.request_models import Text, Whole

_NEEDS = {
    "text": ("text",),
    "image": ("source",),
    "tool_use": ("id", "name", "input"),
    "tool_result": ("tool_use_id",),
}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class TextBlock(Body):
    """A piece of the system prompt."""

    type: Literal["text"]
    text: str


class ResultPart(Body):
    """A piece of a tool's result."""

    type: str
    text: str | None = None


class Block(Body):
    """A piece of a message. Thoughts are accepted, and not shown to the model."""

    type: Literal["text", "image", "tool_use", "tool_result", "thinking", "redacted_thinking"]
    text: str | None = None
    source: dict[str, Any] | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | list[ResultPart] | None = None
    is_error: bool | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> "Block":
        for name in _NEEDS.get(self.type, ()):
            if getattr(self, name) is None:
                raise ValueError(f"has no {name}, which a block of the type {self.type} needs")
        return self


class SentMessage(Body):
    """A message of the conversation."""

    role: Literal["user", "assistant"]
    content: str | list[Block]

    @property
    def blocks(self) -> Sequence[Block]:
        return [Block(type="text", text=self.content)] if isinstance(self.content, str) else self.content


class MessagesTool(Body):
    """A tool of the client. Those that Anthropic defines by their ``type`` are not known here."""

    type: Literal["custom"] | None = None
    name: Text
    description: str | None = None
    input_schema: dict[str, Any]


class ToolChoice(Body):
    """The client's wish for a call."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class MessagesRequest(Body):
    """The body of ``POST /v1/messages``."""

    model: str = ALIAS
    messages: Annotated[list[SentMessage], Field(min_length=1)]
    max_tokens: Whole
    system: str | list[TextBlock] | None = None
    stream: bool = False
    tools: list[MessagesTool] | None = None
    tool_choice: ToolChoice | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Whole | None = None
    stop_sequences: list[str] | None = None

    @field_validator("tool_choice")
    @classmethod
    def _is_offered(cls, choice: ToolChoice | None, info: ValidationInfo) -> ToolChoice | None:
        if choice is None or "tools" not in info.data:
            return choice
        offered = [tool.name for tool in info.data["tools"] or ()]
        if choice.type == "any" and not offered:
            raise ValueError("wants a call, and there are no tools; send them in tools")
        if choice.type == "tool" and choice.name not in offered:
            raise ValueError(f"names {choice.name!r}, which is none of the tools")
        return choice


def chat_request(asked: MessagesRequest) -> dict[str, Any]:
    """Return the chat request."""
    messages: list[dict[str, Any]] = []
    if asked.system:
        messages.append({"role": "system", "content": _system(asked.system)})
    for message in asked.messages:
        messages += _assistant(message.blocks) if message.role == "assistant" else _user(message.blocks)
    choice = asked.tool_choice
    body = {
        "model": asked.model,
        "messages": messages,
        "max_tokens": asked.max_tokens,
        "stream": asked.stream,
        "stream_options": {"include_usage": True} if asked.stream else None,
        "tools": [_tool(tool) for tool in asked.tools or ()] or None,
        "tool_choice": _choice(choice) if choice is not None else None,
        "parallel_tool_calls": False if choice is not None and choice.disable_parallel_tool_use else None,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "stop": asked.stop_sequences or None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _system(system: str | list[TextBlock]) -> str:
    return system if isinstance(system, str) else "\n".join(block.text for block in system)


def _assistant(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    blocks = list(blocks)
    text = "\n".join(block.text or "" for block in blocks if block.type == "text")
    calls = [
        {
            "id": block.id,
            "type": "function",
            "function": {"name": block.name, "arguments": json.dumps(block.input, ensure_ascii=False)},
        }
        for block in blocks
        if block.type == "tool_use"
    ]
    return [{"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}]


def _user(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    """Return the results of tools, and then what else the user says: results follow their calls."""
    blocks = list(blocks)
    found = [
        {"role": "tool", "tool_call_id": block.tool_use_id, "content": _result(block)}
        for block in blocks
        if block.type == "tool_result"
    ]
    said = [block for block in blocks if block.type in ("text", "image")]
    if said and all(block.type == "text" for block in said):
        found.append({"role": "user", "content": "\n".join(block.text or "" for block in said)})
    elif said:
        found.append({"role": "user", "content": [_part(block) for block in said]})
    return found


def _result(block: Block) -> str:
    """Return the text of a result. One that failed says so first, as results in the log do."""
    content = block.content or ""
    text = content if isinstance(content, str) else "\n".join(part.text or f"[{part.type}]" for part in content)
    return f"error: {text}" if block.is_error and not is_tool_error(text) else text


def _part(block: Block) -> dict[str, Any]:
    if block.type == "text":
        return {"type": "text", "text": block.text}
    source = block.source or {}
    url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
    return {"type": "image_url", "image_url": {"url": url}}


def _tool(tool: MessagesTool) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description is not None else {}
    return {"type": "function", "function": {"name": tool.name, **described, "parameters": tool.input_schema}}


def _choice(choice: ToolChoice) -> Any:
    if choice.type == "tool":
        return {"type": "function", "function": {"name": choice.name}}
    return _CHOICES[choice.type]
