"""Tools that clients bring and run themselves: which are none of ours, and how lessons of them look up a tool."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import JsonValue

from agent.tools.schemas import BadTool, prepared
from agent.turn.messages import Message
from evolver.store.seen_tools import signature
from evolver.types import Frozen, Trace
from toolkit.search import ToolIndex
from toolkit.tool import Tool

SOURCE = "client"
"""The source of such a tool."""

Schema = Mapping[str, Any]


class ClientTool(Frozen):
    """A client's tool for which lessons are made up, as a request of the client showed it: among its ``tools``, after
    the ``history``, its system text. ``values`` are those that the client's own calls gave its parameters;
    ``interactions`` those that all this is of, the one with the tools first."""

    identity: str
    tool: Tool
    tools: tuple[dict[str, Any], ...]
    history: tuple[Message, ...]
    values: dict[str, tuple[JsonValue, ...]]
    interactions: tuple[str, ...]


class OwnTools:
    """The tools of this machine, as they look when a client sends them."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self.names: set[str] = set()
        self._signatures: set[str] = set()
        for tool in tools:
            self.names.add(tool.name)
            try:
                (schema,) = prepared([tool.schema()])
            except BadTool:
                continue  # no client can send it
            self._signatures.add(_signature(schema))

    def has(self, schema: Schema) -> bool:
        """Return whether a tool of a request has name and parameters of one of these."""
        return _signature(schema) in self._signatures


def tool_of(schema: Schema) -> Tool:
    """Return the tool that a client's ``schema`` describes."""
    function = schema["function"]
    return Tool(
        name=function["name"],
        description=function.get("description") or "",
        parameters=function.get("parameters") or {},
        source=SOURCE,
    )


def tools_of(trace: Trace) -> dict[str, Tool]:
    """Return the client's tools of a served trace by name."""
    assert trace.client_turn is not None
    return {tool.name: tool for tool in map(tool_of, trace.client_turn.tools)}


def index_of(trace: Trace) -> ToolIndex:
    """Return the search over the client's tools of a served trace."""
    assert trace.client_turn is not None
    return _index(json.dumps(trace.client_turn.tools))


def signatures(schemas: Iterable[Schema]) -> set[str]:
    """Return the hashes of versions of tools, as the catalogue has them."""
    return set(map(_signature, schemas))


def called_schemas(trace: Trace) -> list[Schema]:
    """Return the schemas of the tools that a served trace calls."""
    assert trace.client_turn is not None
    names = {call.name for call in trace.calls}
    return [schema for schema in trace.client_turn.tools if schema["function"]["name"] in names]


def _signature(schema: Schema) -> str:
    function = schema.get("function") or {}
    return signature(str(function.get("name")), function.get("parameters") or {})


@lru_cache(maxsize=32)
def _index(tools: str) -> ToolIndex:
    schemas: Sequence[Schema] = json.loads(tools)
    return ToolIndex(list(map(tool_of, schemas)))
