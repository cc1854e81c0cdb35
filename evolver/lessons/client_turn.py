"""Checks of lessons from turns of clients that run their own tools. Nothing is executed: the log is the witness.

The absence of an error proves little. A call must fit its schema and follow from what was said, and something must
speak for it (docs/decisions/0103).
"""

import json
from collections.abc import Mapping
from typing import Any

from agent.text.matching import states
from evolver.lessons.drop_reason import DropReason
from evolver.types import Call, ClientTurn, Trace, TraceKind
from toolkit.tool import Tool

LONGEST = 2000
"""Characters of a client's request; of whatever form it is, people and programs wrote it."""


def wording(trace: Trace) -> DropReason | None:
    """Return NO_SENTENCE for a request that is too long to be one, or empty."""
    return None if 0 < len(trace.request) <= LONGEST else DropReason.NO_SENTENCE


def outcome(trace: Trace) -> DropReason | None:
    """Return the reason to doubt the calls of a served trace, or None. A correction is a person's word."""
    served = trace.client_turn
    if served is None or trace.kind == TraceKind.CORRECTED:
        return None
    if served.doubt:
        return DropReason(served.doubt)
    logged = bool(trace.provenance.interaction_id)
    return DropReason.NO_SIGN_OF_SUCCESS if logged and not served.signs else None


def problem(tool: Tool | None, arguments: Mapping[str, Any]) -> DropReason | None:
    """Return the reason for which a call cannot be one of ``tool``, or None."""
    from jsonschema import Draft202012Validator

    if tool is None:
        return DropReason.CALL_UNKNOWN_TOOL
    # A parameter that the schema does not name is the model's own, whether the schema closes itself or not.
    closed = {"additionalProperties": False} if "properties" in tool.parameters else {}
    fits = Draft202012Validator({**closed, **tool.parameters}).is_valid(dict(arguments))
    return None if fits else DropReason.CALL_INVALID_ARGUMENTS


def all_stated(trace: Trace, client_turn: ClientTurn, tools: Mapping[str, Tool]) -> bool:
    """Return whether what was said and shown before each call states its arguments, or they are the schema's own. A
    call that ends the turn with the answer is none of the trace's, and the answer may be in any words."""
    known = [message.content for message in trace.history]
    for place, message in enumerate(client_turn.messages):
        if place in client_turn.targets:
            text = "\n".join(known)
            for call in message.tool_calls:
                if Call(name=call.name, arguments=call.arguments or {}) not in trace.calls:
                    continue
                defaults = _defaults(tools.get(call.name))
                for name, value in (call.arguments or {}).items():
                    if not states(text, value) and json.dumps(value) not in defaults.get(name, ()):
                        return False
        if message.role != "assistant":
            known.append(message.content)
    return True


def _defaults(tool: Tool | None) -> dict[str, set[str]]:
    """Return the values, as JSON, that parameters have when nobody says anything."""
    properties = tool.parameters.get("properties") if tool is not None else None
    found = properties.items() if isinstance(properties, dict) else ()
    return {
        name: {json.dumps(field[key]) for key in ("default", "const") if key in field}
        for name, field in found
        if isinstance(field, dict)
    }
