"""Turns of the agent as chat completions: its calls and results as lines of a quotation, in front of the answer.

A chunk with such a line also has the call or the result as values, in its field ``apprentice``; other protocols make
items of it.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

from agent.turn.messages import Message, Trajectory
from agent.turn.shown import short, show_call
from toolkit.tool import ToolCall, ToolResult, neutral, render_result

MODEL = "apprentice"
"""The name under which the agent itself answers."""
FIELD = "apprentice"

_QUOTED = re.compile(r"^> [→←■] .*(?:\n|$)", re.MULTILINE)


def spoken(text: str) -> str:
    """Return the agent's words in a text of ``Chunks``, without the lines of its calls and results."""
    return _QUOTED.sub("", text).strip()


class Chunks:
    """Makes the chunks of one streamed answer."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._created = int(time.time())
        self._written = False
        self._quoting = False

    def opening(self) -> dict[str, Any]:
        return self._chunk({"role": "assistant", "content": ""})

    def token(self, text: str) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a piece of the agent's text, which ends a quotation."""
        if self._quoting:
            yield self._chunk({"content": "\n"}, {})
        self._quoting = False
        self._written = self._written or bool(text)
        yield self._chunk({"content": text})

    def message(self, message: Message) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a message's calls, or of its result; its text came as tokens."""
        for call in message.tool_calls:
            yield self._chunk({"content": self._quoted("→", show_call(call))}, {"call": as_call(call)})
        if message.tool_result is not None:
            line = self._quoted("←", short(render_result(message.tool_result)))
            yield self._chunk({"content": line}, {"result": as_result(message.tool_result)})

    def ending(self, trajectory: Trajectory, session: str) -> Iterator[dict[str, Any]]:
        stopped = trajectory.stop_reason
        if stopped not in ("answered", "token_limit"):
            line = self._quoted("■", f"stopped: {stopped.replace('_', ' ')}")
            yield self._chunk({"content": line}, {})
        yield self._chunk({}, ending(trajectory, session), finish_of(trajectory))

    def usage(self, trajectory: Trajectory) -> dict[str, Any]:
        return {**self._chunk({}), "choices": [], "usage": usage_of(trajectory)}

    def _quoted(self, sign: str, line: str) -> str:
        """Return a line of a quotation, which begins a paragraph; two blanks keep it a line of its own."""
        begins = "" if self._quoting or not self._written else "\n\n"
        self._quoting = True
        self._written = True
        one = neutral(line).replace("\n", " ")
        return f"{begins}> {sign} {one}  \n"

    def _chunk(
        self, delta: dict[str, Any], told: dict[str, Any] | None = None, finish_reason: str | None = None
    ) -> dict[str, Any]:
        return {
            "id": self._identity,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": MODEL,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
            **({FIELD: told} if told is not None else {}),
        }


def completion(identity: str, trajectory: Trajectory, session: str) -> dict[str, Any]:
    """Return the whole turn as one chat completion: the answer alone is its text, the calls are in ``apprentice``."""
    message = {"role": "assistant", "content": trajectory.answer}
    calls = [as_call(call) for call in trajectory.calls]
    results = [as_result(result) for result in trajectory.results]
    return {
        "id": identity,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_of(trajectory)}],
        "usage": usage_of(trajectory),
        FIELD: {**ending(trajectory, session), "calls": calls, "results": results},
    }


def ending(trajectory: Trajectory, session: str) -> dict[str, Any]:
    """Return session, stop reason and adapter of a turn that ended, for the client."""
    return {"session": session, "stop_reason": trajectory.stop_reason, "adapter": trajectory.adapter}


def as_call(call: ToolCall) -> dict[str, Any]:
    arguments = call.raw if call.arguments is None else json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id, "name": call.name, "arguments": arguments}


def as_result(result: ToolResult) -> dict[str, Any]:
    """Return a result by the id of its call; ``output`` is the text that the model read."""
    return {"id": result.call_id, "name": result.name, "output": render_result(result), "ok": result.ok}


def finish_of(trajectory: Trajectory) -> str:
    """Return OpenAI's word for how a turn ended: "length" for every limit."""
    return "stop" if trajectory.stop_reason == "answered" else "length"


def usage_of(trajectory: Trajectory) -> dict[str, int]:
    used = trajectory.usage
    total = used.prompt_tokens + used.completion_tokens
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": total,
    }
