"""Kept traces -> more of them: the model's own wording with other values that the model made for the same tool, and
asking for an optional parameter that the call leaves out (evolver.options).

A small model that sees each wording with one set of values learns the values (its first lessons copied dates and
numbers of the training set into answers). Values are those of other calls of the tool; half of the numbers, dates and
times get fresh digits. Every varied call is executed twice. A varied request must pass the checks that its source
passed, except the round trip, which judged the wording (docs/decisions/0007).
"""

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from evolver import checks, rerun, safety
from evolver.config import VaryConfig
from evolver.jsonl import write_lines
from evolver.markers import UNFIT_VARIANTS
from evolver.options import left_out, with_option
from evolver.places import is_spoken, places, replaced, retold, said
from evolver.text import normalised
from evolver.types import Call, Judged, Trace, Varied
from toolkit.execute import Executor

_TRIES = 4
"""Draws of other values for each variant that is wanted."""
_FRESH = 0.5
"""How often a value gets other digits."""
Values = dict[tuple[str, str], list[JsonValue]]


def vary(
    config: VaryConfig,
    kept: Sequence[Trace],
    made: Iterable[Trace],
    executor: Executor,
    file: Path,
    *,
    earlier: Iterable[Trace] = (),
    held_out: Callable[[str], bool] = lambda request: False,
    seed: int,
    personal_data: bool = True,
    on_progress: Callable[[float, int], None] = lambda share, more: None,
) -> Varied:
    """Write variants of the kept single calls to ``file``: of each up to ``per_value`` for each value that it states,
    because the more it states, the more there is to confuse, and up to ``per_option`` for each optional parameter that
    it leaves out, which ask for that too. Values come from ``made``.

    ``earlier`` is what earlier cycles kept; ``held_out`` says whether a request stands in a suite; with
    ``personal_data`` False that may be learned. What was dropped goes with its verdict to a file beside that one.
    Raises SandboxUnavailable.
    """
    chooser = random.Random(seed)
    pool = _values(made)
    seen = {normalised(trace.request) for trace in chain(earlier, kept)}
    judge = partial(_judged, seen=seen, held_out=held_out, executor=executor, personal_data=personal_data)
    varied: list[Trace] = []
    unfit: list[Judged] = []
    sources = [trace for trace in kept if len(trace.calls) == 1 and not trace.origin]
    for done, source in enumerate(sources, 1):
        batches = [
            (config.per_value * _spoken(source), _drafts(source, pool, chooser)),
            *(
                (config.per_option, _asking_for(name, source, pool, executor, chooser))
                for name in _left_out(source, executor)
            ),
        ]
        number = 0
        for wanted, drafts in batches:
            found = 0
            for request, call in islice(drafts, wanted * _TRIES):
                draft, reason = judge(_variant(source, number, request, call), source)
                if reason:
                    unfit.append(Judged.of(draft, reason))
                    continue
                seen.add(normalised(request))
                varied.append(draft)
                number, found = number + 1, found + 1
                if found == wanted:
                    break
        on_progress(done / len(sources), len(varied))
    write_lines(file, varied)
    write_lines(file.with_name(UNFIT_VARIANTS), unfit)
    return Varied(file=file, traces=len(varied), dropped=dict(Counter(one.verdict.reason for one in unfit)))


def _values(made: Iterable[Trace]) -> Values:
    """The distinct values that the model gave each parameter of each tool; people's own stay with their requests."""
    found: defaultdict[tuple[str, str], dict[str, JsonValue]] = defaultdict(dict)
    for call in (call for trace in made if not trace.origin for call in trace.calls):
        for name, value in call.arguments.items():
            found[call.name, name][json.dumps(value)] = value
    return {key: list(values.values()) for key, values in found.items()}


def _spoken(source: Trace) -> int:
    return sum(map(is_spoken, source.calls[0].arguments.values()))


def _left_out(source: Trace, executor: Executor) -> list[str]:
    tool = executor.registry.get(source.calls[0].name)
    return left_out(tool, source.calls[0]) if tool else []


def _variant(source: Trace, number: int, request: str, call: Call) -> Trace:
    changed = {"id": f"{source.id}-v{number + 1}", "source": source.source or source.id}
    return source.model_copy(update={**changed, "request": request, "calls": (call,)})


def _drafts(source: Trace, pool: Values, chooser: random.Random) -> Iterator[tuple[str, Call]]:
    """The request of ``source`` with other values in place, and the call that states them, again and again; none where
    the values cannot be told apart in it."""
    (call,) = source.calls
    spoken = {name: value for name, value in call.arguments.items() if is_spoken(value)}
    found_at = places(source.request, spoken)
    if not found_at or len(found_at) < len(spoken):
        return
    while True:
        arguments = dict(call.arguments)
        for name in spoken:
            value = chooser.choice(pool.get((call.name, name)) or [call.arguments[name]])
            arguments[name] = fresh(value, chooser) if chooser.random() < _FRESH else value
        texts = {name: _written(arguments[name], source.request, i, j, chooser) for i, j, name in found_at}
        yield replaced(source.request, found_at, texts), Call(name=call.name, arguments=arguments)


def _written(value: JsonValue, request: str, start: int, stop: int, chooser: random.Random) -> str:
    """Nobody writes "four%"."""
    return said(value, None if request[stop:].startswith("%") else chooser, like=request[start:stop])


def _asking_for(
    name: str, source: Trace, pool: Values, executor: Executor, chooser: random.Random
) -> Iterator[tuple[str, Call]]:
    """``source``, first as it is and then with other values, asking for the parameter ``name`` too."""
    (own,) = source.calls
    tool = executor.registry.get(own.name)
    properties: Any = tool.parameters.get("properties", {}) if tool else {}
    field, own_values = properties.get(name), pool.get((own.name, name), [])
    if not isinstance(field, dict):
        return
    for request, call in chain([(source.request, own)], _drafts(source, pool, chooser)):
        values = [fresh(value, chooser) if chooser.random() < _FRESH else value for value in own_values]
        asked = with_option(request, call, name, field, values, chooser)
        if asked is None:
            return
        yield asked


def fresh(value: JsonValue, chooser: random.Random) -> JsonValue:
    """``value`` in the same form with other digits; texts with letters stay as they are."""
    if isinstance(value, list):
        return [fresh(item, chooser) for item in value]
    if isinstance(value, str):
        return _fresh_text(value, chooser)
    if isinstance(value, bool) or not isinstance(value, int | float) or "e" in repr(value):
        return value
    return type(value)(_other_digits(repr(value), chooser))


def _fresh_text(text: str, chooser: random.Random) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return (date(1930, 1, 1) + timedelta(days=chooser.randrange(40_000))).isoformat()
    if re.fullmatch(r"\d\d?:\d\d", text):
        return f"{chooser.randrange(24):02d}:{chooser.randrange(60):02d}"
    return text if re.search(r"[^\W\d]", text) else _other_digits(text, chooser)


def _other_digits(text: str, chooser: random.Random) -> str:
    def other(match: re.Match[str]) -> str:
        digits = match.group()
        first = chooser.choice("123456789") if digits[0] != "0" else "0"
        return first + "".join(chooser.choice("0123456789") for _ in digits[1:])

    return re.sub(r"\d+", other, text)


def _judged(
    draft: Trace,
    source: Trace,
    *,
    seen: Collection[str],
    held_out: Callable[[str], bool],
    executor: Executor,
    personal_data: bool,
) -> tuple[Trace, str]:
    # Only equal words are too much: "two" for "2", and "a, b and c" for "a, b, c", are lessons in copying.
    known = "duplicate" if normalised(draft.request) in seen else "held_out" if held_out(draft.request) else ""
    if reason := checks.wording(draft) or known:
        return draft, reason
    (call,) = draft.calls
    first = rerun.run(call, executor)
    if reason := rerun.again(call, executor, (first.value,)):
        return draft, reason
    answer = retold(source, call, first.value) if source.answer and first.ok else ""
    draft = draft.model_copy(update={"results": (first.value,) if first.ok else (), "answer": answer})
    reason = checks.grounding(draft) or checks.options(draft, executor.registry.get)
    return draft, reason or safety.unsafe(draft, personal_data=personal_data)
