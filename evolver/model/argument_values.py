"""Values that a person would give a parameter: those that are known to work, and invented ones of its kind.

A small model writes numbers for names and the same five towns for every town. It still chooses: it is given a few.
"""

import random
import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from toolkit.tool import Tool

if TYPE_CHECKING:
    from faker import Faker

_WORD = re.compile(r"[a-z]+")
_DATE = re.compile(r"\bYYYY-MM-DD\b")
_TIME = re.compile(r"\bHH:MM\b")
_FIRST_DAY, _DAYS = date(2023, 1, 1), 1826
_LONGEST = 40
"""Characters of an invented value: longer ones, and those with a comma, make requests that nobody would say."""

_KINDS = {
    "person": "person people attendee attendees assignee author colleague contact customer employee friend guest "
    "guests member owner passenger patient recipient sender student teacher traveler visitor",
    "company": "company employer firm manufacturer merchant organization supplier vendor",
    "town": "city destination origin town",
    "street": "address street",
    "country": "country nation",
    "job": "job occupation position profession role",
}
"""Words in the name of a parameter that tell its kind."""
_FAKER_IS_SHARED = Lock()
_KIND_OF_WORD = {word: kind for kind, words in _KINDS.items() for word in words.split()}


def kind_of(tool: Tool, name: str) -> str | None:
    """Return the kind of texts that the parameter ``name`` of ``tool`` takes, or None where nothing tells it.

    A parameter with known values is of the kind of all others with the same ones.
    """
    field = _text_field(tool, name)
    if field is None:
        return None
    if name in tool.known:
        return f"known:{hash(tool.known[name])}"
    description = str(field.get("description", ""))
    if _DATE.search(description):
        return "date"
    if _TIME.search(description):
        return "time"
    words = _WORD.findall(name.lower())
    return _KIND_OF_WORD.get(words[-1]) if words else None


def candidates(tool: Tool, name: str, rng: random.Random, count: int) -> Sequence[JsonValue]:
    """Return up to ``count`` distinct values for the parameter ``name`` of ``tool``, or for each element of its list.

    Known values come first. Empty where neither its known values nor its kind say what it takes.
    """
    known = tool.known.get(name)
    if known:
        return list(rng.sample(known, min(count, len(known))))
    kind = kind_of(tool, name)
    if kind is None:
        return []
    write = _writers()[kind]
    with _FAKER_IS_SHARED:
        _faker().seed_instance(rng.getrandbits(32))
        found = [write(rng) for _ in range(2 * count)]
    return [*dict.fromkeys(value for value in found if len(value) <= _LONGEST and "," not in value)][:count]


def _text_field(tool: Tool, name: str) -> dict[str, Any] | None:
    """Return the schema of the texts that a parameter, or each element of it, takes; None where it takes others."""
    properties: Any = tool.parameters.get("properties", {})
    field = properties.get(name)
    described = field
    while isinstance(field, dict):
        if field.get("type") == "array":
            field = field.get("items")
        elif "anyOf" in field:
            field = next((one for one in field["anyOf"] if one.get("type") not in ("null", None)), None)
        elif "enum" in field or "const" in field or (field.get("type") != "string" and name not in tool.known):
            return None
        else:
            return {**field, "description": described.get("description", "")}
    return None


@cache
def _faker() -> "Faker":
    from faker import Faker  # 0.3 s, which commands that make nothing need not wait for

    return Faker("en_US")


@cache
def _writers() -> dict[str, Callable[[random.Random], str]]:
    fake = _faker()
    return {
        "person": lambda rng: fake.name_nonbinary() if rng.random() < 0.5 else fake.first_name(),
        "company": lambda rng: fake.company(),
        "town": lambda rng: fake.city(),
        "street": lambda rng: fake.street_address(),
        "country": lambda rng: fake.country(),
        "job": lambda rng: fake.job().lower(),
        "date": lambda rng: (_FIRST_DAY + timedelta(days=rng.randrange(_DAYS))).isoformat(),
        "time": lambda rng: f"{rng.randrange(6, 23):02d}:{rng.choice(('00', '15', '30', '45'))}",
    }
