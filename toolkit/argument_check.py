"""Calls that cannot be run as they are: what is wrong with the name or the arguments, and the fix."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from toolkit.near_names import did_you_mean

_SHOWN = 60
_FORMS = {
    "string": "in double quotes",
    "integer": "as digits, without quotes",
    "number": "as digits, without quotes",
    "boolean": "as true or false, without quotes",
    "array": "as a list in [ ]",
    "object": "as an object in { }",
    "null": "as null, without quotes",
}


def no_tool(name: str, known: Iterable[str], *, otherwise: str = "use one of the tools listed") -> str:
    """Return the line that says that there is no tool ``name``, with the near ones of the ``known`` names.

    ``otherwise`` is the fix where none is near.
    """
    return f"there is no tool named {_short(name)}; {did_you_mean(name, known, otherwise=otherwise)}"


class ArgumentCheck:
    """Checks arguments against the schema ``parameters`` of a tool, which is read once."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        from jsonschema import Draft202012Validator

        self._parameters = parameters
        self._validator = Draft202012Validator(dict(parameters))

    def __call__(self, arguments: Mapping[str, Any]) -> str | None:
        """Return the problem with ``arguments`` and its fix; None when they fit the schema."""
        from jsonschema.exceptions import best_match

        errors = list(self._validator.iter_errors(dict(arguments)))
        # An argument that is spelt wrongly is the cause where a required one is missing.
        unknown = (each for each in errors if each.validator == "additionalProperties" and not each.absolute_path)
        error = next(unknown, None) or best_match(errors)
        return None if error is None else _explained(error, self._parameters)


def _explained(error: Any, parameters: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error.absolute_path)
    properties = parameters.get("properties") or {}
    if error.validator == "required" and not error.absolute_path:
        missing = [name for name in error.validator_value if name not in error.instance]
        several = len(missing) > 1
        return f"{' and '.join(map(repr, missing))} {'are required; add them' if several else 'is required; add it'}"
    if error.validator == "additionalProperties" and not error.absolute_path and isinstance(properties, dict):
        unknown = next((name for name in sorted(error.instance) if name not in properties), "")
        question = did_you_mean(unknown, properties)
        allowed = f"allowed: {', '.join(properties) or 'none'}"
        return f"unknown argument {_short(unknown)}; {f'{question} ' if question else ''}{allowed}"
    if error.validator == "type":
        kinds = [error.validator_value] if isinstance(error.validator_value, str) else list(error.validator_value)
        form = f"; write it {_FORMS[kinds[0]]}" if kinds[0] in _FORMS else ""
        return f"{where!r} must be {' or '.join(kinds)}, got {_show(error.instance)}{form}"
    if error.validator in ("enum", "const"):
        options = error.validator_value if error.validator == "enum" else [error.validator_value]
        return f"{where!r} must be one of {', '.join(_show(option) for option in options)}, got {_show(error.instance)}"
    return f"{where!r}: {_short(error.message, 200)}"


def _show(value: Any) -> str:
    return _short(json.dumps(value, ensure_ascii=False))


def _short(text: str, limit: int = _SHOWN) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
