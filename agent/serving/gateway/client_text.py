"""Chat requests as they may reach a model: text of clients stays text, and forges no turn."""

from typing import Any

from agent.http.http_error import HttpError
from agent.models.template_markers import Markers

_SHOWN = ("messages", "tools", "functions", "documents", "chat_template_kwargs")
"""The fields that a chat template writes into the prompt."""


_UNREPEATABLE = (
    "holds a marker of the model's chat template, which a call could not repeat; rename it, or set "
    "literal_markers = true in [agent.serving] of config.toml"
)


def literal_chat(body: dict[str, Any], markers: Markers) -> dict[str, Any]:
    """Return a chat request without ``markers`` in what the model is shown; all else of it stays as it is.

    Raises HttpError that names the field at fault.
    """
    if place := markers.unrepeatable(body.get("tools")):
        raise HttpError(400, f"{place} {_UNREPEATABLE}", param=place)
    shown = {name: body[name] for name in _SHOWN if name in body}
    if isinstance(messages := shown.get("messages"), list):
        shown["messages"] = [_with_joined_text(message) for message in messages]
    return body | {name: _literal(name, value, markers) for name, value in shown.items()}


def _with_joined_text(message: Any) -> Any:
    """Return ``message`` with neighbouring text parts in one, by line breaks: else two halves could form a marker."""
    if not isinstance(message, dict) or not isinstance(parts := message.get("content"), list):
        return message
    joined: list[Any] = []
    for part in parts:
        if _is_text(part) and joined and _is_text(joined[-1]):
            joined[-1] = joined[-1] | {"text": f"{joined[-1]['text']}\n{part['text']}"}
        else:
            joined.append(part)
    return message | {"content": joined}


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _literal(name: str, value: Any, markers: Markers) -> Any:
    try:
        return markers.literal_tools(value) if name in ("tools", "functions") else markers.literal_json(value)
    except RecursionError:
        raise HttpError(400, f"{name} has lists or objects nested too deeply", param=name) from None
