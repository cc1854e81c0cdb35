"""A model name and a suite -> scores, through the same gateway, loop, prompt and tools that serve people.

Calls are compared by what they return, never by their text; those of tools that read something that changes (a
clock, dice), or that are not run because they act on the world, by their arguments.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from agent.loop import Agent
from agent.messages import Trajectory
from evolver.jsonl import append_lines, read_lines
from evolver.suites import Item, Suite
from evolver.types import Call, EvalReport, ItemScore
from evolver.wilson import rate
from toolkit.execute import Executor
from toolkit.tool import Effect, ToolCall, ToolErrorKind, ToolResult, render_result

Progress = Callable[[float], None]
Asked = TypeVar("Asked", bound="Identified")

_SEEN_LENGTH = 300
_MALFORMED = (ToolErrorKind.MALFORMED_CALL, ToolErrorKind.INVALID_ARGUMENTS, ToolErrorKind.UNKNOWN_TOOL)


class Named(Protocol):
    """What a report says of its suite."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


class Identified(Protocol):
    @property
    def id(self) -> str: ...


def evaluate(
    suite: Suite,
    model: str,
    agent: Agent,
    executor: Executor,
    *,
    concurrency: int,
    file: Path | None = None,
    on_progress: Progress = lambda share: None,
) -> EvalReport:
    """Score ``model`` on ``suite``. ``file`` keeps each score as it comes; a resumed run asks only what is missing
    or could not be judged.

    Raises ModelUnavailable and SandboxUnavailable: what could not be asked has no score.
    """

    def ask(item: Item) -> ItemScore:
        return score(item, agent.run(item.request, model=model), executor)

    return report(suite, model, collect(suite.items, ask, concurrency=concurrency, file=file, on_progress=on_progress))


def collect(
    items: Sequence[Asked],
    ask: Callable[[Asked], ItemScore],
    *,
    concurrency: int,
    file: Path | None = None,
    on_progress: Progress = lambda share: None,
) -> list[ItemScore]:
    """``ask`` about every item whose score is not in ``file`` yet; the scores in the order of ``items``."""
    done = {score.id: score for score in (read_lines(file, ItemScore) if file else []) if not score.failed}
    known = sum(item.id in done for item in items)
    with ThreadPoolExecutor(concurrency) as pool:
        for number, result in enumerate(pool.map(ask, [item for item in items if item.id not in done]), known + 1):
            done[result.id] = result
            if file:
                append_lines(file, [result])
            on_progress(number / len(items))
    return [done[item.id] for item in items]


def score(item: Item, turn: Trajectory, executor: Executor) -> ItemScore:
    """How ``turn`` did on ``item``. Exact: the calls made, failed ones included, return what the expected ones return,
    one for one in any order; a repetition of the same call counts once."""
    expected = [
        executor.execute(ToolCall(id="expected", name=call.name, arguments=call.arguments)) for call in item.expected
    ]
    made: dict[str, tuple[str, str]] = {}
    for call, result in zip(turn.calls, turn.results, strict=False):
        key = json.dumps([call.name, call.arguments, call.raw if call.arguments is None else ""], sort_keys=True)
        made[key] = (call.name, _outcome(call, result, executor))
    wanted = sorted(
        (call.name, _outcome(call, result, executor)) for call, result in zip(item.expected, expected, strict=True)
    )
    return ItemScore(
        id=item.id,
        needs_tool=bool(item.expected),
        exact=bool(item.expected) and sorted(made.values()) == wanted,
        right_tool=bool(item.expected) and sorted(name for name, _ in made.values()) == [name for name, _ in wanted],
        called=bool(turn.calls),
        malformed=is_malformed(turn),
        failed=turn.stop_reason == "failed",
        seen=_seen(turn),
    )


def report(suite: Named, model: str, items: Sequence[ItemScore]) -> EvalReport:
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


def is_malformed(turn: Trajectory) -> bool:
    """Whether a call in ``turn`` did not parse, did not fit its tool's schema, or named no tool."""
    return any(result.error.kind in _MALFORMED for result in turn.results if result.error)


def _outcome(call: ToolCall | Call, result: ToolResult, executor: Executor) -> str:
    tool = executor.registry.get(call.name)
    if tool is not None and (not executor.allows(tool) or (result.ok and tool.effect is Effect.READS)):
        return json.dumps(call.arguments, sort_keys=True)
    return render_result(result)


def _seen(turn: Trajectory) -> str:
    calls = "; ".join(f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)}" for call in turn.calls)
    return (calls or turn.answer or turn.error)[:_SEEN_LENGTH]
