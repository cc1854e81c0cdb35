"""Tools with optional parameters where the real ones have none, for lessons: what is asked for is filled in although it
need not be, and what nobody speaks of is left out. Pure.

A model that saw required parameters only passes over optional ones that are asked for, or fills in every one
(docs/decisions/0046).
"""

import random
from collections.abc import Sequence
from typing import Any

from toolkit.tool import Tool


def loosened(tools: Sequence[Tool], others: Sequence[Tool], chooser: random.Random) -> list[Tool]:
    """``tools``, each with one of its parameters optional, where it has several, or with an optional one of ``others``
    beside its own. Calls that were right stay so, because a request states its call's arguments and no others."""
    return [_loosened(tool, others, chooser) for tool in tools]


def _loosened(tool: Tool, others: Sequence[Tool], chooser: random.Random) -> Tool:
    required: Any = tool.parameters.get("required", [])
    if len(required) > 1 and chooser.random() < 0.5:
        free = chooser.choice(required)
        return _with(tool, required=[name for name in required if name != free])
    properties: Any = tool.parameters.get("properties", {})
    theirs: list[Any] = [other.parameters.get("properties", {}) for other in others]
    strange = {name: field for fields in theirs for name, field in fields.items() if name not in properties}
    if not strange:
        return tool
    name = chooser.choice(sorted(strange))
    return _with(tool, properties={**properties, name: strange[name]})


def _with(tool: Tool, **changes: Any) -> Tool:
    return tool.model_copy(update={"parameters": {**tool.parameters, **changes}})
