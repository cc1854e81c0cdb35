"""Check a call against the request, before it is run. Pure.

The rules are those by which lessons are judged, and looser: people say things in other words than a lesson may.
"""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import JsonValue

from agent.text.flags import speaks_of_flag
from agent.text.matching import SMALL_NUMBERS, states
from toolkit.frozen import Frozen
from toolkit.tool import Tool, ToolCall

_PART = re.compile(r"[^\W\d_]+|\d+")
_STEM = 4
"""Letters by which a word is known in another form."""
_LONGEST_CODE = 5
"""Letters of a code in capitals, which stands for what people call by its name: USD, CA."""


class CallCheck(Frozen):
    """Findings about one call. ``call`` is as the model wrote it; ``dropped`` names the options that nobody asked for,
    ``unfounded`` the required texts of which nothing was said."""

    call: ToolCall
    dropped: tuple[str, ...] = ()
    unfounded: tuple[str, ...] = ()

    @property
    def kept(self) -> ToolCall:
        """The call without what was dropped."""
        if not self.dropped or self.call.arguments is None:
            return self.call
        kept = {name: value for name, value in self.call.arguments.items() if name not in self.dropped}
        return self.call.model_copy(update={"arguments": kept})


def check(call: ToolCall, tool: Tool, said: str) -> CallCheck:
    """Check ``call`` of ``tool`` against what was ``said``: the request, and what came before it."""
    properties: Any = tool.parameters.get("properties", {})
    required: Any = tool.parameters.get("required", [])
    arguments = call.arguments or {}
    options = [name for name in arguments if name in properties and name not in required]
    texts = [name for name in arguments if name in required and _is_free_text(properties.get(name), arguments[name])]
    return CallCheck(
        call=call,
        dropped=tuple(name for name in options if not _asked_for(said, name, arguments[name])),
        unfounded=tuple(name for name in texts if not _hinted(said, arguments[name])),
    )


def _is_free_text(field: Any, value: JsonValue) -> bool:
    """Return whether ``value`` is a text that people say as it is: no choice, no given form, no code."""
    if (
        not isinstance(value, str)
        or not isinstance(field, dict)
        or field.keys() & {"enum", "const", "pattern", "format"}
    ):
        return False
    return not (value.isupper() and len(value) <= _LONGEST_CODE)


def _asked_for(said: str, name: str, value: JsonValue) -> bool:
    if isinstance(value, bool):
        return value == speaks_of_flag(said, name)
    return states(said, value) or _hinted(said, value)


def _hinted(said: str, value: JsonValue) -> bool:
    """Return whether a word or a number of ``value`` is among those ``said``, in whatever form. Nothing is said of an
    empty one."""
    heard = set(_parts(said))
    whole = said.lower()
    return any(part in heard or (not part.isascii() and part in whole) for part in _parts(value))


def _parts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _parts(inner)
        return
    if isinstance(value, int | float) and (word := SMALL_NUMBERS.get(value)):
        yield word[:_STEM]
    for part in _PART.findall(str(value).lower()):
        if part.isdigit():
            yield part.lstrip("0") or "0"
        else:
            yield part[:_STEM] if part.isascii() else part
