"""A model name and a suite -> scores, through the same gateway, loop, prompt and tools that serve people.

Calls are compared by what they return, never by their text; those of tools that read something that changes (a
clock, dice), or that are not run because they act on the world, by their arguments.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

from agent.config import LoopConfig, PromptConfig
from agent.errors import ModelError
from agent.turn.loop import Agent
from agent.turn.messages import Trajectory
from evolver.crew.crew import Crew, Order
from evolver.crew.workshop import Workshop
from evolver.evaluation import client_items
from evolver.evaluation.calls_only import client_for
from evolver.evaluation.suites import Item, Suite
from evolver.scores import EvalReport, ItemScore
from evolver.statistics import mean, rate
from evolver.store.jsonl import append_lines, read_lines
from evolver.types import Call
from toolkit.execute import Executor
from toolkit.tool import Effect, ToolCall, ToolErrorKind, ToolResult, render_result

Progress = Callable[[float], None]
SoftScore = Callable[[Item, Sequence[ToolResult]], float]
"""Function that computes the soft score of an item from the results of its expected calls
(evolver.evaluation.soft_score)."""
ItemT = TypeVar("ItemT", bound="Identified")

_SEEN_LENGTH = 300
_MALFORMED = (ToolErrorKind.MALFORMED_CALL, ToolErrorKind.INVALID_ARGUMENTS, ToolErrorKind.UNKNOWN_TOOL)


class Named(Protocol):
    """Name of a suite in its report."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


class Identified(Protocol):
    @property
    def id(self) -> str: ...


@dataclass(frozen=True)
class Asking:
    """Name of a model, limits of its turns, and contents of its prompts. ``calls_come_first``: as in its profile."""

    model: str
    limits: LoopConfig
    prompt: PromptConfig
    calls_come_first: bool = False


@dataclass(frozen=True)
class ScoreOrder:
    """Asks for ``item`` as serving does, and scores the turn."""

    item: Item
    asking: Asking
    soft_scorer: Callable[[Workshop], SoftScore] | None = None

    def do(self, workshop: Workshop) -> ItemScore:
        """Score one request. Raises ModelUnavailable and SandboxUnavailable."""
        item, asking, executor = self.item, self.asking, workshop.executor
        client = client_for(workshop.client, calls_come_first=asking.calls_come_first)
        agent = Agent(client, executor, workshop.index, asking.limits, asking.prompt)
        expected = [] if item.tools else expected_results(item, executor)
        # First: the server reads its prompt anew in any case, and the turn then finds that prompt in the cache.
        soft = {} if self.soft_scorer is None else _soft_score(item, expected, self.soft_scorer(workshop))
        if item.tools:
            found = client_items.ask(item, client, asking.model, asking.limits.max_tokens)
        else:
            with _workspace(item) as folder:
                turn = agent.run(item.request, model=asking.model, workspace=folder)
            found = score(item, turn, executor, expected)
        return found if found.failed else found.model_copy(update=soft)


def evaluate(
    suite: Suite,
    asking: Asking,
    crew: Crew,
    *,
    soft_scorer: Callable[[Workshop], SoftScore] | None = None,
    file: Path | None = None,
    on_progress: Progress = lambda share: None,
) -> EvalReport:
    """Score a model on ``suite``. ``file`` keeps each score as it comes; a resumed run asks only what is missing
    or could not be judged.

    Raises ModelUnavailable and SandboxUnavailable: what could not be asked has no score.
    """
    scores = collect(
        suite.items, lambda item: ScoreOrder(item, asking, soft_scorer), crew, file=file, on_progress=on_progress
    )
    return report(suite, asking.model, scores)


def collect(
    items: Sequence[ItemT],
    order: Callable[[ItemT], Order[ItemScore]],
    crew: Crew,
    *,
    file: Path | None = None,
    on_progress: Progress = lambda share: None,
) -> list[ItemScore]:
    """Give an ``order`` for every item whose score is not in ``file`` yet; the scores in the order of ``items``."""
    done = {score.id: score for score in (read_lines(file, ItemScore) if file else []) if not score.failed}
    missing = [order(item) for item in items if item.id not in done]
    known = len(items) - len(missing)
    with closing(crew.each(missing)) as found:
        for number, (_, result) in enumerate(found, known + 1):
            done[result.id] = result
            if file:
                append_lines(file, [result])
            on_progress(number / len(items))
    return [done[item.id] for item in items]


def expected_results(item: Item, executor: Executor) -> list[ToolResult]:
    """Return the results of the expected calls of ``item``. Raises SandboxUnavailable."""
    with _workspace(item) as workspace:
        return [
            executor.execute(ToolCall(id=f"call-{n}", name=call.name, arguments=call.arguments), workspace=workspace)
            for n, call in enumerate(item.expected)
        ]


def score(item: Item, turn: Trajectory, executor: Executor, expected: Sequence[ToolResult] | None = None) -> ItemScore:
    """Score ``turn`` on ``item``. Exact: the calls made, failed ones included, return what the expected ones return,
    one for one, in any order unless they are ``ordered``; a repetition of the same call counts once.

    ``expected``: the results of the expected calls; None: they are made for it.
    """
    expected = expected_results(item, executor) if expected is None else expected
    arranged = list if item.ordered else sorted
    made: dict[str, tuple[str, str]] = {}
    for call, result in zip(turn.calls, turn.results, strict=False):
        key = json.dumps([call.name, call.arguments, call.raw if call.arguments is None else ""], sort_keys=True)
        made[key] = (call.name, _outcome(call, result, executor))
    wanted = arranged(
        (call.name, _outcome(call, result, executor)) for call, result in zip(item.expected, expected, strict=True)
    )
    return ItemScore(
        id=item.id,
        needs_tool=bool(item.expected),
        exact=bool(item.expected) and arranged(made.values()) == wanted,
        right_tool=bool(item.expected) and arranged(name for name, _ in made.values()) == [name for name, _ in wanted],
        called=bool(turn.calls),
        invalid_call=is_invalid_call(turn),
        failed=turn.stop_reason == "failed",
        seen=_seen(turn),
    )


def report(suite: Named, model: str, items: Sequence[ItemScore]) -> EvalReport:
    """Return the rates over ``items``."""
    calling = [item for item in items if item.needs_tool]
    others = [item for item in items if not item.needs_tool]
    return EvalReport(
        model=model,
        suite=suite.name,
        suite_sha256=suite.sha256,
        call_accuracy=rate(sum(item.exact for item in calling), len(calling)),
        tool_selection_accuracy=rate(sum(item.right_tool for item in calling), len(calling)),
        irrelevance_accuracy=rate(sum(not item.called for item in others), len(others)),
        invalid_call_rate=rate(sum(item.invalid_call for item in items), len(items)),
        failed=sum(item.failed for item in items),
        soft_score=mean([item.logprob for item in items if item.logprob is not None]),
        items=tuple(items),
    )


def is_invalid_call(turn: Trajectory) -> bool:
    """Return whether a call in ``turn`` did not parse, did not fit its tool's schema, or named no tool."""
    return any(result.error.kind in _MALFORMED for result in turn.results if result.error)


@contextmanager
def _workspace(item: Item) -> Iterator[Path | None]:
    """The one workspace of ordered calls; None: each call has an empty one."""
    if not item.ordered:
        yield None
        return
    with TemporaryDirectory(prefix="workspace-") as folder:
        yield Path(folder)


def _soft_score(item: Item, expected: Sequence[ToolResult], soft_score: SoftScore) -> dict[str, Any]:
    """Return the fields of ``ItemScore`` that it sets."""
    try:
        return {"logprob": soft_score(item, expected)}
    except ModelError:
        return {"failed": True}


def _outcome(call: ToolCall | Call, result: ToolResult, executor: Executor) -> str:
    tool = executor.registry.get(call.name)
    if tool is not None and (not executor.allows(tool) or (result.ok and tool.effect is Effect.READS)):
        return json.dumps(call.arguments, sort_keys=True)
    return render_result(result)


def _seen(turn: Trajectory) -> str:
    calls = "; ".join(f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)}" for call in turn.calls)
    return (calls or turn.answer or turn.error)[:_SEEN_LENGTH]
