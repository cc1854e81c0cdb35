"""Tools as a chat template gets them in serving, for those who render without a server."""

from collections.abc import Sequence
from typing import Any

from agent.tools.schemas import prepared


def shown_tools(tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ``tools`` of a request as vLLM hands them to a chat template: prepared as the gateway does it, with vLLM's
    fields in vLLM's order. A template that prints them as JSON prints the same bytes. Raises BadTool."""
    return [{"type": "function", "function": _function(tool["function"])} for tool in prepared(list(tools))]


def _function(function: dict[str, Any]) -> dict[str, Any]:
    shown = {name: function.get(name) for name in ("name", "description", "parameters")}
    return shown if function.get("strict") is None else {**shown, "strict": function["strict"]}
