"""Kept single calls -> requests that leave out a value that the tool needs; what follows is a question for it. Pure.

The question has one form: a small model that must choose among several openings calls instead (docs/decisions/0004).
"""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evolver import checks
from evolver.places import is_spoken, places
from evolver.text import states
from evolver.types import Composed, Judged, Trace
from toolkit.tool import Tool

_TRIES = 4
"""Cuts tried for each question that is wanted."""
_LINK = r"(?:of|to|from|with|by|for|in|into|on|at|and|than|as)"
_BEFORE = re.compile(rf",? {_LINK} [\"'$]?$")
_AFTER = re.compile(rf"[\"'%]?(?=[.?!,]|$| {_LINK}\b)")
_PAIRED = re.compile(r"[\"'%]? and (?=\S)")
"""A value goes with the word that ties it to the rest; one that stands first in "A and B" goes with the "and"."""


def ask(traces: Sequence[Trace], tools: Sequence[Tool], share: float, chooser: random.Random) -> Composed:
    """Traces whose answer asks for what is missing, at most ``share`` as many as there are traces with one call."""
    required = {tool.name: set(_required(tool)) for tool in tools}
    singles = [trace for trace in traces if len(trace.calls) == 1 and not trace.origin and not trace.missing]
    wanted = round(share * len(singles))
    made: dict[str, Trace] = {}
    dropped: Counter[str] = Counter()
    unfit: list[Judged] = []
    for _ in range(wanted * _TRIES):
        if len(made) == wanted:
            break
        draft, reason = _cut(chooser.choice(singles), required, chooser)
        if reason or draft is None:
            dropped[reason] += 1
            unfit += [Judged.of(draft, reason)] if draft else []
        else:
            made[draft.id] = draft
    return Composed(traces=tuple(made.values()), dropped=dict(dropped), unfit=tuple(unfit))


def question(parameter: str) -> str:
    """The one question for a missing value."""
    return f"Which value should I use for {parameter.replace('_', ' ').strip()}?"


def _cut(trace: Trace, required: Mapping[str, set[str]], chooser: random.Random) -> tuple[Trace | None, str]:
    """``trace`` with one required value cut out of its request, or why that cannot be."""
    (call,) = trace.calls
    spoken = {name: value for name, value in call.arguments.items() if is_spoken(value)}
    found = [place for place in places(trace.request, spoken) or () if place[2] in required.get(call.name, ())]
    if not found:
        return None, "no_value_to_cut"
    start, end, name = chooser.choice(found)
    request = _without(trace.request, start, end)
    if request is None:
        return None, "cut_reads_badly"
    rest = {key: value for key, value in call.arguments.items() if key != name}
    draft = trace.model_copy(
        update={
            "id": f"{trace.id}?{name}",
            "maker": "asking",
            "request": request,
            "calls": (call.model_copy(update={"arguments": rest}),),
            "results": (),
            "answer": question(name),
            "source": trace.source or trace.id,
            "missing": name,
        }
    )
    if states(request, call.arguments[name]):
        return None, "value_still_there"
    return draft, checks.wording(draft) or checks.grounding(draft)


def _without(text: str, start: int, end: int) -> str | None:
    before, after = _BEFORE.search(text, 0, start), _AFTER.match(text, end)
    if before and after:
        return text[: before.start()] + text[after.end() :]
    paired = _PAIRED.match(text, end)
    return text[:start] + text[paired.end() :] if paired else None


def _required(tool: Tool) -> Sequence[str]:
    names: Any = tool.parameters.get("required", [])
    return names if isinstance(names, list) else []
