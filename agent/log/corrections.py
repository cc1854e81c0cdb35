"""A person's words on what would have been right: checked before they are stored, and read again."""

import json
from typing import Any

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from toolkit.errors import UserError
from toolkit.frozen import Frozen

_LONGEST = 10_000
_FORM = 'write [{"name": "tool", "arguments": {"key": "value"}}], or a plain text'


class ExpectedCall(Frozen):
    """A call that would have been right."""

    name: str = Field(min_length=1)
    arguments: dict[str, JsonValue]


Expected = tuple[ExpectedCall, ...] | str

_CALLS = TypeAdapter(tuple[ExpectedCall, ...])


def checked(text: str) -> str:
    """Return ``text`` as it is stored: calls as a JSON list, anything else as it is. Raises UserError for JSON that
    holds no call."""
    text = text.strip()
    if len(text) > _LONGEST:
        raise UserError(f"what would have been right has more than {_LONGEST} characters; shorten it")
    if not text.startswith(("{", "[")):
        return text
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(f"what would have been right is no JSON ({error}); {_FORM}") from error
    calls = value if isinstance(value, list) else [value]
    if not calls or not all(map(_is_call, calls)):
        raise UserError(f"what would have been right holds no call; {_FORM}")
    return json.dumps(calls, ensure_ascii=False)


def stored(expected: str | list[Any], verdict: str) -> str:
    """Return a client's correction in its stored form. Raises UserError, also for a correction of a good answer."""
    text = expected if isinstance(expected, str) else json.dumps(expected, ensure_ascii=False)
    if text and verdict == "good":
        raise UserError("what would have been right goes with bad: a good answer needs no other")
    return checked(text)


def _is_call(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"name", "arguments"}:
        return False
    return isinstance(value["name"], str) and isinstance(value["arguments"], dict)


def of_stored(expected: str) -> Expected | None:
    """Parse a stored correction: calls or a text; None if it is empty."""
    try:
        calls = _CALLS.validate_json(expected) if expected.startswith("[") else ()
    except ValidationError:
        calls = ()
    return calls or expected.strip() or None
