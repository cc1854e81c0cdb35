"""A person's words on what would have been right: checked before they are stored, and read again."""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from agent.turn.messages import Interaction
from toolkit.argument_check import ArgumentCheck, no_tool
from toolkit.config import ToolkitConfig
from toolkit.errors import SandboxUnavailable, UserError
from toolkit.frozen import Frozen
from toolkit.registry import ToolRegistry

_LONGEST, _MOST_NAMED = 10_000, 5
_REMEMBERED_SECONDS = 60.0
_FORM = 'write [{"name": "tool", "arguments": {"key": "value"}}], or a plain text'


class ExpectedCall(Frozen):
    """A call that would have been right."""

    name: str = Field(min_length=1)
    arguments: dict[str, JsonValue]


Expected = tuple[ExpectedCall, ...] | str

_CALLS = TypeAdapter(tuple[ExpectedCall, ...])


class NoSuchCall(UserError):
    """A call that would have been right cannot be made; the message names the tool or argument and the fix."""


class OwnTools(NamedTuple):
    """The tools of this machine. ``all_known``: False where some could not be asked for, or are nobody's to know."""

    tools: ToolRegistry
    all_known: bool


def unknown_tools() -> OwnTools:
    """Return what is known of this machine's tools where nothing is."""
    return OwnTools(ToolRegistry(), all_known=False)


def own_tools(config: ToolkitConfig) -> OwnTools:
    """Return the tools that ``config`` describes, also those of MCP servers, which are started and ended for it."""
    from toolkit.sources import load_tools

    try:
        registry = load_tools(config)
    except (UserError, SandboxUnavailable):
        return unknown_tools()
    return OwnTools(registry, all_known=not registry.lost_servers())


class OwnToolsSource:
    """The tools of this machine, as a function; safe to share by threads. They are loaded again after a minute, so that
    nobody's corrections start tool servers over and over."""

    def __init__(self, config: ToolkitConfig, *, now: Callable[[], float] = time.monotonic) -> None:
        self._config, self._now = config, now
        self._lock = threading.Lock()
        self._loaded: OwnTools | None = None
        self._stale_at = 0.0

    def __call__(self) -> OwnTools:
        with self._lock:
            if self._loaded is None or self._now() >= self._stale_at:
                self._loaded = own_tools(self._config)
                self._stale_at = self._now() + _REMEMBERED_SECONDS
            return self._loaded


def check_calls(expected: str, turn: Interaction, own: Callable[[], OwnTools], *, clients: bool) -> None:
    """Raise NoSuchCall where a call in a stored correction of ``turn`` cannot be made.

    Known are the tools that the turn was shown, and this machine's ``own``, which are asked for only where a call is of
    none of the former. ``clients``: the tools of the turn may be a client's, whose schemas need not close themselves.
    What cannot be known is accepted.
    """
    calls = of_stored(expected)
    if not isinstance(calls, tuple):
        return
    shown = {schema["function"]["name"]: schema["function"].get("parameters") or {} for schema in turn.tool_schemas}
    there: OwnTools | None = None
    for call in calls:
        if call.name in shown:
            closed = {"additionalProperties": False} if clients and "properties" in shown[call.name] else {}
            _check_arguments(call, {**closed, **shown[call.name]})
            continue
        there = there or own()
        tool = there.tools.get(call.name)
        if tool is not None:
            _check_arguments(call, tool.parameters)
        elif there.all_known and not _had_others(turn, {*shown, *there.tools.names()}):
            names = ", ".join([*list(shown)[:_MOST_NAMED], *(["..."] if len(shown) > _MOST_NAMED else [])])
            these = f"the turn was shown {names}" if names else "the turn was shown none"
            others = f"{these}; see this machine's with: toolkit list"
            raise NoSuchCall(no_tool(call.name, [*shown, *there.tools.names()], otherwise=others))


def _check_arguments(call: ExpectedCall, parameters: Mapping[str, Any]) -> None:
    from jsonschema.exceptions import UnknownType
    from referencing.exceptions import Unresolvable

    try:
        problem = ArgumentCheck(parameters)(call.arguments)
    except (UnknownType, Unresolvable, re.error):  # an old log may hold a schema that nobody checked
        return
    if problem is not None:
        raise NoSuchCall(f"{call.name}: {problem}")


def _had_others(turn: Interaction, known: set[str]) -> bool:
    """Return whether the turn had tools of which the log has no schema."""
    trajectory = turn.trajectory
    said = (*trajectory.history, *trajectory.messages)
    named = {*trajectory.tools, *(call.name for message in said for call in message.tool_calls if call.name)}
    return not named <= known


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
