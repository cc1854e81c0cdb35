"""The agreement of two answers to one request, tool by tool. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.tool import ToolCall

NO_CALL = ""
"""Stands for the tool where neither answer calls one."""


@dataclass(frozen=True)
class Comparison:
    """The agreement of two answers about one tool. ``same_call``: both call it equally often; ``same_arguments``: with
    the same arguments, too. ``ours`` and ``theirs`` are the calls where each makes one."""

    tool: str
    same_call: bool
    same_arguments: bool
    ours: ToolCall | None = None
    theirs: ToolCall | None = None


def compare(theirs: Sequence[ToolCall], ours: Sequence[ToolCall]) -> list[Comparison]:
    """Return a comparison for each tool that either answer calls; one for ``NO_CALL`` where none does."""
    tools = dict.fromkeys(call.name for call in (*theirs, *ours))
    if not tools:
        return [Comparison(NO_CALL, same_call=True, same_arguments=True)]
    return [
        _of_tool(tool, *([call for call in calls if call.name == tool] for calls in (theirs, ours))) for tool in tools
    ]


def arguments_key(call: ToolCall) -> str:
    """Return a text that is equal for equal arguments, whatever the order of their names."""
    return call.raw if call.arguments is None else json.dumps(call.arguments, sort_keys=True)


def _of_tool(tool: str, theirs: Sequence[ToolCall], ours: Sequence[ToolCall]) -> Comparison:
    same_call = len(theirs) == len(ours)
    same_arguments = same_call and sorted(map(arguments_key, theirs)) == sorted(map(arguments_key, ours))
    single = len(theirs) == len(ours) == 1
    return Comparison(tool, same_call, same_arguments, ours[0] if single else None, theirs[0] if single else None)
