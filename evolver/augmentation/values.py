"""Values for the parameters of tools: the model's own, known ones, and invented ones of the parameter's kind."""

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pydantic import JsonValue

from evolver.model.argument_values import candidates, kind_of
from evolver.types import Trace
from toolkit.registry import ToolRegistry
from toolkit.tool import Tool

_FRESH = 0.5
"""Probability that a value gets other digits."""
_DRAWN = 40
"""Values that are drawn for a parameter of a known kind."""


@dataclass(frozen=True)
class Values:
    """Values for the parameters of tools, by tool and parameter: ``whole`` ones that the model gave it, and ``drawn``
    ones that are known or of its kind. Of ``drawn`` ones a list takes several."""

    whole: dict[tuple[str, str], list[JsonValue]]
    drawn: dict[tuple[str, str], list[JsonValue]]

    def of(self, tool: str) -> "Values":
        """Return the values for ``tool`` alone."""
        whole, drawn = ({key: v for key, v in of.items() if key[0] == tool} for of in (self.whole, self.drawn))
        return Values(whole, drawn)

    def other(self, tool: str, name: str, value: JsonValue, rng: random.Random) -> JsonValue:
        """Return another value for a parameter that has ``value``; this one where there is none."""
        elements = self.drawn.get((tool, name))
        if elements and isinstance(value, list):
            return rng.sample(elements, min(len(value), len(elements)))
        if elements:
            return rng.choice(elements)
        found = rng.choice(self.whole.get((tool, name)) or [value])
        return fresh(found, rng) if rng.random() < _FRESH else found


def _is_ours(trace: Trace) -> bool:
    return not trace.provenance.interaction_id and trace.client_turn is None


def values_for(made: Iterable[Trace], tools: ToolRegistry, rng: random.Random) -> Values:
    """Return the values for the tools that ``made`` calls; people's own values stay with their requests."""
    whole: defaultdict[tuple[str, str], dict[str, JsonValue]] = defaultdict(dict)
    for call in (call for trace in made if _is_ours(trace) for call in trace.calls):
        for name, value in call.arguments.items():
            whole[call.name, name][json.dumps(value)] = value
    drawn: dict[tuple[str, str], list[JsonValue]] = {}
    for tool in filter(None, map(tools.get, dict.fromkeys(name for name, _ in whole))):
        drawn |= {(tool.name, name): values for name, values in _by_kind(tool, rng).items()}
    return Values({key: list(values.values()) for key, values in whole.items()}, drawn)


def _by_kind(tool: Tool, rng: random.Random) -> dict[str, list[JsonValue]]:
    """Return values for each parameter of ``tool`` whose kind is known; those of one kind have the same."""
    properties: Any = tool.parameters.get("properties", {})
    kinds = {name: kind for name in properties if (kind := kind_of(tool, name))}
    drawn = {kind: list(candidates(tool, name, rng, _DRAWN)) for name, kind in kinds.items()}
    return {name: drawn[kind] for name, kind in kinds.items() if drawn[kind]}


def fresh(value: JsonValue, rng: random.Random) -> JsonValue:
    """Return ``value`` in the same form with other digits; texts with letters stay as they are."""
    if isinstance(value, list):
        return [fresh(item, rng) for item in value]
    if isinstance(value, str):
        return _fresh_text(value, rng)
    if isinstance(value, bool) or not isinstance(value, int | float) or "e" in repr(value):
        return value
    return type(value)(_other_digits(repr(value), rng))


def _fresh_text(text: str, rng: random.Random) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return (date(1930, 1, 1) + timedelta(days=rng.randrange(40_000))).isoformat()
    if re.fullmatch(r"\d\d?:\d\d", text):
        return f"{rng.randrange(24):02d}:{rng.randrange(60):02d}"
    return text if re.search(r"[^\W\d]", text) else _other_digits(text, rng)


def _other_digits(text: str, rng: random.Random) -> str:
    def other(match: re.Match[str]) -> str:
        digits = match.group()
        first = rng.choice("123456789") if digits[0] != "0" else "0"
        return first + "".join(rng.choice("0123456789") for _ in digits[1:])

    return re.sub(r"\d+", other, text)
