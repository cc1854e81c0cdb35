"""Turns as people and programs are shown them: lines of a terminal, and JSON."""

import json
from itertools import zip_longest
from typing import Any

from agent.turn.call_check import CallCheck
from agent.turn.messages import Message, Trajectory
from agent.turn.terminal import Told
from toolkit.tool import ToolCall, render_result

_SHOWN_CHARACTERS = 400


def message_lines(message: Message) -> list[str] | None:
    """Return the lines of a message, none for an answer without calls; None for a message that is not shown.

    The text of an answer is shown as it comes.
    """
    if message.role == "assistant":
        return [f"→ {show_call(call)}" for call in message.tool_calls]
    if message.tool_result is not None:
        return [f"← {short(render_result(message.tool_result))}"]
    return None


def show_call(call: ToolCall) -> str:
    if call.arguments is None:
        return short(f"{call.name or 'a call'} that does not parse: {call.raw}")
    arguments = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
    return short(f"{call.name}({arguments})")


def show_check(found: CallCheck) -> str:
    """Return the findings about a call in one line."""
    if found.unfounded:
        return f"not run: {show_call(found.call)}; the request says nothing of {', '.join(found.unfounded)}"
    return f"left out of {found.call.name}: {', '.join(found.dropped)}; nobody asked for it"


def summary(identity: str, trajectory: Trajectory) -> str:
    how = "" if trajectory.stop_reason == "answered" else f", stopped: {trajectory.stop_reason.replace('_', ' ')}"
    error = f" ({trajectory.error})" if trajectory.error else ""
    return f"{identity}, {trajectory.adapter}, {trajectory.latency_ms / 1000:.1f} s{how}{error}"


def told(identity: str, session: str, trajectory: Trajectory) -> Told:
    """Return how a turn ended, for the one who asked."""
    answered = trajectory.stop_reason in ("answered", "token_limit")
    return Told(summary(identity, trajectory), as_json(identity, session, trajectory), answered)


def as_json(identity: str, session: str, trajectory: Trajectory) -> dict[str, Any]:
    """Return one turn in the form that programs read."""
    calls = []
    # Every call is answered in turn, unless the infrastructure broke on the way.
    for call, result in zip_longest(trajectory.calls, trajectory.results):
        entry: dict[str, Any] = {"name": call.name, "arguments": call.arguments}
        if result is not None and result.error is not None:
            entry["error"] = result.error.model_dump(mode="json")
        elif result is not None:
            entry["value"] = result.value
        calls.append(entry)
    return {
        "id": identity,
        "session": session,
        "answer": trajectory.answer,
        "calls": calls,
        "stop_reason": trajectory.stop_reason,
        "error": trajectory.error,
        "adapter": trajectory.adapter,
        "usage": trajectory.usage.model_dump(),
        "latency_ms": round(trajectory.latency_ms, 1),
    }


def short(text: str) -> str:
    """Return ``text``, cut where it is too long to be shown."""
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
