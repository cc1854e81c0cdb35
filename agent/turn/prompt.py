"""Conversation and tools -> what the model is asked, the same in serving, evaluation and training.

The text itself is made by one chat template: vLLM renders requests with it, the training worker lessons.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.tools.formats import CALL_TAGS
from agent.turn.messages import Message, Sampling
from toolkit.tool import Tool, ToolCall

TEMPLATE = Path(__file__).with_name("chat_template.jinja")

PROMPT_VERSION = hashlib.sha256(TEMPLATE.read_bytes()).hexdigest()[:16]
"""Names the template's bytes; recorded with every turn."""

FURTHER = "further_tools"
"""Field of a chat request for apprentice's gateway: candidates for the choice of a tool, beside ``tools``."""


def to_openai(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the messages as OpenAI chat dicts; arguments are JSON strings.

    A call that does not parse stays in the text, as the model wrote it: servers refuse arguments that are no JSON.
    """
    return [_to_openai(message) for message in messages]


def request(
    model: str,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    sampling: Sampling,
    *,
    further: Sequence[Tool] = (),
) -> dict[str, Any]:
    """Return the body of a chat request. ``tools`` empty: no tools are named, and none can be called.

    ``further``: candidates beside ``tools`` where the gateway lets the model choose; else the model does not see them.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": to_openai(messages),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if tools:
        body["tools"] = [tool.schema() for tool in tools]
    if further:
        body[FURTHER] = [tool.schema() for tool in further]
    return body


def _to_openai(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        call_id = message.tool_result.call_id if message.tool_result else ""
        return {"role": "tool", "tool_call_id": call_id, "content": message.content}
    if not message.tool_calls:
        return {"role": message.role, "content": message.content}
    broken = [_as_text(call) for call in message.tool_calls if call.arguments is None]
    calls = [_call(call) for call in message.tool_calls if call.arguments is not None]
    content = "\n".join([message.content, *broken] if message.content else broken)
    return {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _as_text(call: ToolCall) -> str:
    if not call.name and call.raw.startswith(CALL_TAGS):
        return call.raw
    body = f'{{"name": {json.dumps(call.name)}, "arguments": {call.raw}}}' if call.name else call.raw
    return f"<tool_call>\n{body}\n</tool_call>"
