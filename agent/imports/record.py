"""The common form of what is read from exports: one exchange with a model, or the reason why it is none."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from agent.text import strict_json
from toolkit.explained import Explained

_MOST = 2**63
_DIGITS = len(str(_MOST))

Form = Literal["openai", "finetuning", "langfuse", "otel"]
"""A format that can be imported."""


class ImportReason(Explained):
    """Reason for which a line, or one of its turns, was not imported."""

    NOT_JSON = "not_json", "The line is no JSON object."
    TOO_LONG = "too_long", "The line is longer than a request to the gateway may be."
    UNKNOWN_FORMAT = "unknown_format", "The object has none of the known formats."
    NOT_A_MODEL_CALL = "not_a_model_call", "The span or observation is no call of a chat model."
    NO_MESSAGES = "no_messages", "The export was made without the messages."
    NO_CONVERSATION = "no_conversation", "The messages are none that a client could send to the gateway."
    BAD_TOOLS = "bad_tools", "The schema of a tool cannot be used."
    NO_REQUEST = "no_request", "No message is from a user."
    NO_ANSWER = "no_answer", "The turn has no answer."
    FAILED = "failed", "The call of the model ended with an error."
    KNOWN = "known", "The turn was imported before."
    FORGOTTEN = "forgotten", "The turn was imported before and deleted since."


@dataclass(frozen=True)
class Record:
    """A request in OpenAI's form and its ``reply``, an assistant's message.

    ``identity`` is the exchange's name in the export ("" for none), ``session`` that of its conversation.
    ``whole``: the request has all steps of the turn, and no other record goes on with it. ``own``: it is written to be
    learned from.
    """

    form: Form
    request: dict[str, Any]
    reply: dict[str, Any]
    finish_reason: str = ""
    identity: str = ""
    session: str = ""
    model: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    latency_ms: float = 0.0
    whole: bool = False
    own: bool = False


class Digest(NamedTuple):
    """Hashes by which a turn is known again: ``turn`` of all that it holds, ``content`` without owner and tenant."""

    turn: bytes
    content: bytes


Read = Record | ImportReason
Records = Iterator[Read]


def parsed(value: Any) -> Any:
    """Return the value of a JSON text; any other value unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return strict_json.loads(value)
    except ValueError:
        return value


def as_dict(value: Any) -> dict[str, Any]:
    """Return ``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """Return ``value`` if it is a text, else ""."""
    return value if isinstance(value, str) else ""


def number(value: Any) -> float:
    """Return ``value`` if it is a number below 2**63, else 0.0. Counts and durations are."""
    return float(value) if isinstance(value, int | float) and abs(value) < _MOST else 0.0


def whole_number(value: Any) -> int:
    """Return ``value`` if it is a whole number below 2**63, also as a text, else 0."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= _DIGITS:
        value = int(value)
    return value if isinstance(value, int) and abs(value) < _MOST else 0


def as_text(value: Any) -> str:
    """Return a text as it is, and any other JSON value as a text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def message_of(value: Any) -> Any:
    """Return a message with its calls in OpenAI's form, also where an exporter wrote them flat."""
    if not isinstance(value, dict):
        return value
    message = {name: item for name, item in value.items() if item is not None}
    if isinstance(calls := message.get("tool_calls"), list):
        message["tool_calls"] = [call_of(call) for call in calls]
    elif isinstance(legacy := message.pop("function_call", None), dict):
        message["tool_calls"] = [call_of(legacy)]
    return message


def call_of(value: Any) -> Any:
    """Return a call in OpenAI's form: ``{"id", "type", "function": {"name", "arguments"}}``, arguments as a text."""
    if not isinstance(value, dict):
        return value
    function = value.get("function")
    inner = function if isinstance(function, dict) else value
    arguments = inner.get("arguments", inner.get("args", {}))
    called = {"name": inner.get("name"), "arguments": as_text({} if arguments is None else arguments)}
    identity = value.get("id")
    return {"type": "function", "function": called, **({"id": identity} if isinstance(identity, str) else {})}


def tool_of(value: Any) -> Any:
    """Return a tool in OpenAI's form: ``{"type", "function": {"name", "description", "parameters"}}``."""
    value = parsed(value)
    if not isinstance(value, dict) or isinstance(value.get("function"), dict):
        return value
    known = {name: value[name] for name in ("name", "description", "parameters") if value.get(name) is not None}
    known["parameters"] = parsed(known.get("parameters", {}))
    return {"type": "function", "function": known}
