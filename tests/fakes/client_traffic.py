"""Turns of clients that bring tools of their own and run them, as the gateway logs them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.history import as_messages
from agent.tools.schemas import prepared
from agent.turn.messages import Interaction, Sampling, Trajectory
from evolver.mining import client_turns
from evolver.types import Sign, Trace, TraceKind


def tool(name: str, description: str = "", **properties: Any) -> dict[str, Any]:
    """A tool as a client sends it; all of its ``properties`` are required."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
WEATHER = tool("get_weather", "Weather of a city.", city=TEXT)
REFUND = tool("refund_order", "Refund an order.", order=TEXT, amount=WHOLE)
TOOLS = (WEATHER, REFUND)


def asked(request: str, *steps: Any, history: Sequence[Mapping[str, Any]] = (), answer: str = "") -> Trajectory:
    """A whole turn: each of the ``steps`` is a list of (name, arguments, text of the result), called at once."""
    sent: list[Any] = [*history, {"role": "user", "content": request}]
    for number, step in enumerate(steps):
        calls = step if isinstance(step, list) else [step]
        made = [
            {
                "id": f"call_{number}_{n}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for n, (name, arguments, _) in enumerate(calls)
        ]
        sent.append({"role": "assistant", "content": None, "tool_calls": made})
        sent += [
            {"role": "tool", "tool_call_id": call["id"], "content": text}
            for call, (_, _, text) in zip(made, calls, strict=True)
            if text is not None
        ]
    if answer:
        sent.append({"role": "assistant", "content": answer})
    messages = as_messages(sent)
    return Trajectory(
        history=messages[: len(history)],
        messages=messages[len(history) :],
        tools=(),
        adapter="base",
        prompt_version="v",
        sampling=Sampling(),
        stop_reason="answered",
    )


def log_turn(
    log: InteractionLog,
    turn: Trajectory,
    *,
    tools: Sequence[Mapping[str, Any]] = TOOLS,
    session: str = "s",
    owner: str = "",
    tenant: str = "",
    source: str = "gateway",
) -> str:
    """Log ``turn`` as the exchanges that it takes; returns the id of the last one, which stands for it."""
    schemas = prepared([dict(one) for one in tools])
    names = tuple(one["function"]["name"] for one in schemas)
    identity = ""
    for end, message in enumerate(turn.messages, 1):
        if message.role == "assistant":
            part = turn.model_copy(update={"messages": turn.messages[:end], "tools": names})
            identity = log.append(
                part, session=session, source=source, tool_schemas=schemas, owner=owner, tenant=tenant,
                continues=identity,
            )  # fmt: skip
    return identity


def said(*pairs: tuple[str, str], system: str = "") -> list[dict[str, str]]:
    """Earlier messages: a system text, and questions with their answers."""
    found = [{"role": "system", "content": system}] if system else []
    for question, answer in pairs:
        found += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return found


def client_trace(
    turn: Trajectory, *, tools: Sequence[Mapping[str, Any]] = TOOLS, signs: Sequence[Sign] | None = None
) -> Trace | None:
    """The trace of a turn that was logged alone."""
    logged = Interaction(
        id="000000000001-0000", session="s", source="gateway", created_at=1.0, trajectory=turn, owner="shop"
    )
    found = client_turns.client_trace(
        client_turns.with_failures(logged),
        prepared([dict(one) for one in tools]),
        (),
        (),
        kind=TraceKind.LOGGED,
        agreement=client_turns.Agreement(),
    )
    if found is None or found.client_turn is None or signs is None:
        return found
    return found.model_copy(update={"client_turn": found.client_turn.model_copy(update={"signs": tuple(signs)})})
