"""Suites that are made of another one's requests with one call: what a model does without a value that its tool needs,
and where a second call needs the first one's result. Their wordings are made as those of lessons are (evolver.ask,
evolver.chain), of requests that no lesson has.
"""

import hashlib
import random

from evolver.ask import ask
from evolver.chain import chain
from evolver.rerun import run
from evolver.suites import Item, Suite
from evolver.types import Trace
from toolkit.execute import Executor

MISSING, CHAINED = "missing", "chained"
DERIVED = (MISSING, CHAINED)
_CHAINED_SHARE = 0.5


def derived(suite: Suite, kind: str, executor: Executor) -> Suite:
    """``missing``: each request once without a value, where that can be cut out; rightly nothing is called.
    ``chained``: half as many pairs as there are requests with one call, fewer where fewer fit. Equal for equal suites
    and tools. Raises SandboxUnavailable."""
    singles = [item for item in suite.items if len(item.expected) == 1]
    chooser = random.Random(0)
    if kind == MISSING:
        cut = [ask([_trace(item)], list(executor.registry), 1.0, chooser) for item in singles]
        items = [Item(id=trace.id, request=trace.request) for one in cut for trace in one.traces]
    else:
        pairs = chain([_ran(item, executor) for item in singles], _CHAINED_SHARE, chooser, executor)
        items = [Item(id=trace.id, request=trace.request, expected=trace.calls) for trace in pairs.traces]
    text = "\n".join(item.model_dump_json() for item in items)
    return Suite(name=f"{suite.name}:{kind}", sha256=hashlib.sha256(text.encode()).hexdigest(), items=tuple(items))


def _trace(item: Item) -> Trace:
    return Trace(id=item.id, maker="answer_first", request=item.request, calls=item.expected)


def _ran(item: Item, executor: Executor) -> Trace:
    """With its result, where it has one to go on with."""
    results = [run(call, executor) for call in item.expected]
    return _trace(item).model_copy(update={"results": tuple(result.value for result in results if result.ok)})
