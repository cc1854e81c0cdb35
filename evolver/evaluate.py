"""A model name and a suite -> scores, through the same gateway, loop, prompt and tools that serve people.

Calls are compared by what they return, never by their text.
"""

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent.loop import Agent
from agent.messages import Trajectory
from evolver.jsonl import append_lines, read_lines
from evolver.suites import Item, Suite
from evolver.types import EvalReport, ItemScore, Rate
from toolkit.execute import Executor
from toolkit.tool import ToolCall, ToolErrorKind, render_result

_Z95 = 1.959963984540054
_SEEN_LENGTH = 300


def evaluate(
    suite: Suite,
    model: str,
    agent: Agent,
    executor: Executor,
    *,
    concurrency: int,
    file: Path | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
) -> EvalReport:
    """Score ``model`` on ``suite``. ``file`` keeps each score as it comes; a resumed run asks only what is missing
    or could not be judged.

    Raises ModelUnavailable and SandboxUnavailable: what could not be asked has no score.
    """
    done = {score.id: score for score in (read_lines(file, ItemScore) if file else []) if not score.failed}
    open_items = [item for item in suite.items if item.id not in done]

    def run(item: Item) -> ItemScore:
        return score(item, agent.run(item.request, model=model), executor)

    with ThreadPoolExecutor(concurrency) as pool:
        for result in pool.map(run, open_items):
            done[result.id] = result
            if file:
                append_lines(file, [result])
            on_progress(len(done) / len(suite.items))
    return report(suite, model, [done[item.id] for item in suite.items])


def score(item: Item, turn: Trajectory, executor: Executor) -> ItemScore:
    """How ``turn`` did on ``item``. Exact: the calls made, failed ones included, return what the expected ones return,
    one for one in any order; a repetition of the same call counts once."""
    expected = [
        executor.execute(ToolCall(id="expected", name=call.name, arguments=call.arguments)) for call in item.expected
    ]
    made: dict[str, tuple[str, str]] = {}
    for call, result in zip(turn.calls, turn.results, strict=False):
        key = json.dumps([call.name, call.arguments, call.raw if call.arguments is None else ""], sort_keys=True)
        made[key] = (call.name, render_result(result))
    wanted = sorted((result.name, render_result(result)) for result in expected)
    return ItemScore(
        id=item.id,
        needs_tool=bool(item.expected),
        exact=bool(item.expected) and sorted(made.values()) == wanted,
        right_tool=bool(item.expected) and sorted(name for name, _ in made.values()) == [name for name, _ in wanted],
        called=bool(turn.calls),
        malformed=any(_malformed(result.error.kind) for result in turn.results if result.error),
        failed=turn.stop_reason == "failed",
        seen=_seen(turn),
    )


def report(suite: Suite, model: str, items: list[ItemScore]) -> EvalReport:
    """The rates over ``items``."""
    calling = [item for item in items if item.needs_tool]
    others = [item for item in items if not item.needs_tool]
    return EvalReport(
        model=model,
        suite=suite.name,
        suite_sha256=suite.sha256,
        exact=rate(sum(item.exact for item in calling), len(calling)),
        right_tool=rate(sum(item.right_tool for item in calling), len(calling)),
        no_call=rate(sum(not item.called for item in others), len(others)),
        malformed=rate(sum(item.malformed for item in items), len(items)),
        failed=sum(item.failed for item in items),
        items=tuple(items),
    )


def rate(hits: int, n: int) -> Rate:
    """``hits`` of ``n`` with the 95 % Wilson score interval (Wilson 1927)."""
    if n == 0:
        return Rate(hits=0, n=0, low=0.0, high=1.0)
    share = hits / n
    scale = 1 + _Z95**2 / n
    middle = (share + _Z95**2 / (2 * n)) / scale
    half = _Z95 * math.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n * n)) / scale
    return Rate(hits=hits, n=n, low=max(0.0, middle - half), high=min(1.0, middle + half))


def _malformed(kind: ToolErrorKind) -> bool:
    return kind in (ToolErrorKind.MALFORMED_CALL, ToolErrorKind.INVALID_ARGUMENTS, ToolErrorKind.UNKNOWN_TOOL)


def _seen(turn: Trajectory) -> str:
    calls = "; ".join(f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)}" for call in turn.calls)
    return (calls or turn.answer or turn.error)[:_SEEN_LENGTH]
