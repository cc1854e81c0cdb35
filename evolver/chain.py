"""Kept single calls -> requests whose second call needs the first one's result, without asking the model.

In the second request a value gives way to "the result", where that reads well; in its call, to the first call's result.
The new call is executed, twice, and judged as every lesson is. The two wordings were judged with their own values.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence

from pydantic import JsonValue

from evolver import checks, rerun, safety
from evolver.compose import lowered
from evolver.places import is_spoken, places, retold
from evolver.types import Call, Composed, Judged, Trace
from toolkit.execute import Executor

_TRIES = 4
"""Pairs tried for each chain that is wanted."""
_REFERENCES = ("the result", "that result", "the answer")
_BEFORE = frozenset({"of", "to", "from", "with", "by", "for", "and", "than", "in", "into", "is", "are", "on", "at"})
_AFTER = re.compile(r"[.?!,]|$| (?:and|to|in|into|from|with|by|of|for|on|at|as|up|is|are)\b")
"""What stands around a value that a reference may replace; elsewhere ("the number 7", "7 eggs") it would not read."""

Slot = tuple[Trace, str, int, int]
"""A request, and the parameter whose value stands in it from begin to end."""


def chain(
    traces: Sequence[Trace],
    share: float,
    chooser: random.Random,
    executor: Executor,
    *,
    personal_data: bool = True,
) -> Composed:
    """Chained traces, at most ``share`` as many as there are traces with one call; none with ``personal_data``, unless
    that is False. Raises SandboxUnavailable."""
    singles = [trace for trace in traces if trace.single and not trace.missing]
    slots = [slot for trace in singles for slot in _slots(trace)]
    wanted = round(share * len(singles))
    made: dict[str, Trace] = {}
    dropped: Counter[str] = Counter()
    unfit: list[Judged] = []
    for _ in range(wanted * _TRIES if slots else 0):
        if len(made) == wanted:
            break
        slot = chooser.choice(slots)
        firsts = [first for first in singles if _fits(first, slot)]
        if not firsts:
            dropped["no_result_fits"] += 1
            continue
        draft, reason = _judged(_linked(chooser.choice(firsts), slot, chooser), slot, executor, personal_data)
        if reason:
            dropped[reason] += 1
            unfit.append(Judged.of(draft, reason))
        else:
            made[draft.id] = draft
    return Composed(traces=tuple(made.values()), dropped=dict(dropped), unfit=tuple(unfit))


def _slots(trace: Trace) -> list[Slot]:
    """The places of ``trace``'s request where a reference reads as well as the value."""
    arguments = {name: value for name, value in trace.calls[0].arguments.items() if is_spoken(value)}
    found = []
    for start, end, name in places(trace.request, arguments) or ():
        if trace.request[start - 1 : start] in ("'", '"') and trace.request[start - 1] == trace.request[end : end + 1]:
            start, end = start - 1, end + 1  # noqa: PLW2901  # the quotation marks go with the value
        words = trace.request[:start].split()
        verb = len(words) == 1
        if words and (verb or words[-1].lower() in _BEFORE) and _AFTER.match(trace.request, end):
            found.append((trace, name, start, end))
    return found


def _fits(first: Trace, slot: Slot) -> bool:
    """Whether the result of ``first`` may be the slot's value: of its kind, from another tool, and another one."""
    second, name, _, _ = slot
    result, value = first.results[0], second.calls[0].arguments[name]
    if first.calls[0].name == second.calls[0].name or not is_spoken(result) or result == value:
        return False
    return _kind(result) == _kind(value)


def _kind(value: JsonValue) -> str:
    if isinstance(value, list):
        return f"list of {', '.join(sorted({_kind(item) for item in value}))}"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def _linked(first: Trace, slot: Slot, chooser: random.Random) -> Trace:
    second, name, start, end = slot
    asked = f"{second.request[:start]}{chooser.choice(_REFERENCES)}{second.request[end:]}"
    if chooser.random() < 0.5:
        request = f"{first.request} Then {lowered(asked)}"
    else:
        request = f"{first.request.rstrip('.?!')}, then {lowered(asked)}"
    arguments = {**second.calls[0].arguments, name: first.results[0]}
    return Trace(
        id=f"{first.id}>{second.id}:{name}",
        maker="chained",
        request=request,
        calls=(*first.calls, Call(name=second.calls[0].name, arguments=arguments)),
        results=first.results,
        likelihood=min(first.likelihood, second.likelihood),
        made_by=first.made_by,
        source=first.source or first.id,
        sequential=True,
    )


def _judged(draft: Trace, slot: Slot, executor: Executor, personal_data: bool) -> tuple[Trace, str]:
    """``draft`` with its second result and the answer that tells it, and why it is unfit, or ""."""
    second, call = slot[0], draft.calls[1]
    first = rerun.run(call, executor)
    if first.error is not None:
        return draft, f"call_{first.error.kind.value}"
    if reason := rerun.again(call, executor, (first.value,), always=True):
        return draft, reason
    answer = retold(second, call, first.value) if second.answer else ""
    draft = draft.model_copy(update={"results": (*draft.results, first.value), "answer": answer})
    return draft, checks.wording(draft) or checks.grounding(draft) or safety.unsafe(draft, personal_data=personal_data)
