"""Requests to the desks: wordings in the TOML file of each, filled with values of its tables.

Half of all records and choices, and half of the wordings, are for the requests that are learned from; the fresh ones
have the other half.
"""

import random
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from agent.text.matching import normalised
from benchmarks.clients.desk import Record, Tables
from evolver.types import Call
from toolkit.errors import UserError
from toolkit.frozen import Frozen

Half = Literal["learned", "fresh"]
HALVES: tuple[Half, ...] = ("learned", "fresh")
MOST_SHARED = 0.5
"""Words that a fresh request and one that is learned from may share, by all words of both."""
_IN_VAIN = 500
"""Drawn requests that were drawn before, until there are too few values."""
_TALK = 10
"""One request in so many needs no tool."""


class Request(Frozen):
    """A request, and the calls of a person who knows the tools; () where none is needed."""

    text: str
    expected: tuple[Call, ...] = ()


def requests(desk: str, tables: Tables, half: Half, count: int, *, talk_from: int = 0, seed: int = 7) -> list[Request]:
    """Return ``count`` requests to ``desk``, tool by tool in turn, a tenth of them without need of a tool.

    ``talk_from`` is the first of those in the list of all desks. Raises UserError where there are too few values.
    """
    rng = random.Random(f"{desk} {half} {seed}")
    found, known = _read(desk), set[str]()
    talk = [Request(text=text) for text in _read("talk")[half][talk_from : talk_from + count // _TALK]]
    made: list[Request] = []
    for number in range(count + _IN_VAIN):
        if len(made) == count - len(talk):
            return _mixed(made, talk)
        one = _filled(found["tools"][number % len(found["tools"])], found["choices"], tables, half, number, rng)
        if one.text not in known:
            known.add(one.text)
            made.append(one)
    raise UserError(f"there are too few values for {count} requests to {desk}; ask for fewer")


def most_shared(learned: Sequence[Request], fresh: Sequence[Request]) -> tuple[float, str, str]:
    """Return the largest share of words that a request of each list have in common, and the two."""
    words, others = ([(set(normalised(one.text).split()), one.text) for one in each] for each in (learned, fresh))
    pairs = ((len(a & b) / len(a | b), one, other) for a, one in words for b, other in others)
    return max(pairs, default=(0.0, "", ""))


def check_apart(learned: Sequence[Request], fresh: Sequence[Request]) -> None:
    """Raise UserError where a fresh request has the words, or a call the values, of one that is learned from."""
    share, one, other = most_shared(learned, fresh)
    if share > MOST_SHARED:
        raise UserError(f"{one!r} and {other!r} share {share:.0%} of their words; write one of them anew")
    calls = {call.model_dump_json() for request in learned for call in request.expected}
    both = [request.text for request in fresh for call in request.expected if call.model_dump_json() in calls]
    if both:
        raise UserError(f"{both[0]!r} needs a call that a learned request needs; give it other values")


def _mixed(made: Sequence[Request], talk: Sequence[Request]) -> list[Request]:
    """Return ``made`` with one of ``talk`` after each few."""
    step = len(made) // len(talk) if talk else len(made)
    mixed = [[*made[n * step : (n + 1) * step], one] for n, one in enumerate(talk)]
    return [*(one for part in mixed for one in part), *made[len(talk) * step if talk else 0 :]]


def _filled(
    tool: Mapping[str, Any],
    choices: Mapping[str, Sequence[Any]],
    tables: Tables,
    half: Half,
    number: int,
    rng: random.Random,
) -> Request:
    """Return a request for ``tool`` with the next of its wordings, and values drawn by ``rng``."""
    records: dict[str, Record] = {}
    arguments: dict[str, Any] = {}
    for name, source in tool["arguments"].items():
        table, _, field = source.partition(".")
        if not field:
            arguments[name] = rng.choice(_half(choices[source], half))
            continue
        if table not in records:
            fits = [row for row in _half(tables[table], half) if tool.get("where", {}).items() <= row.items()]
            records[table] = rng.choice(fits)
        arguments[name] = records[table][field]
    wordings = tool[half]
    text = wordings[number // 10 % len(wordings)].format(**arguments)
    return Request(text=text[0].upper() + text[1:], expected=(Call(name=tool["name"], arguments=arguments),))


def _half(values: Sequence[Any], half: Half) -> Sequence[Any]:
    return values[HALVES.index(half) :: 2]


@cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((files("benchmarks.clients") / f"{name}.toml").read_text(encoding="utf-8"))
