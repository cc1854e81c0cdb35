"""Mined requests without a call that worked -> the call that most samples agree on, by what it returns.

Agreement is a tie-break behind execution, and weak where the model is: so the request must also state every argument of
the call, which ``evolver.verification.verify`` looks at again. Where nobody's sample stands out there is no lesson.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from evolver.crew.workshop import Workshop
from evolver.lessons.admission import reject
from evolver.lessons.drop_reason import DropReason
from evolver.model import prompts
from evolver.model.client import Completion, Prompt
from evolver.text.value_spans import is_spoken
from evolver.types import Call, Task, TaskKind, Trace, TraceKind
from toolkit.tool import Tool, ToolCall

_KINDS: tuple[TaskKind, ...] = ("missed", "uncertain", "failed", "unserved", "talk")
"""Kinds of tasks that may hide a call, the likeliest first. ``talk`` too: the base model never calls."""
_TOOLS = 2
"""Tools that are tried for a request."""
_CALL_TOKENS = 64
_TEMPERATURE = 0.8
_CLEAR = 0.6
"""The share of the samples whose calls return the same, at least."""


def open_requests(tasks: Sequence[Task], limit: int) -> list[Task]:
    """Return the first ``limit`` tasks that self-consistency tries; what a client asked of its own tools is none."""
    wanted = [task for task in tasks if task.kind in _KINDS and not task.client]
    return sorted(wanted, key=lambda task: _KINDS.index(task.kind))[:limit]


@dataclass(frozen=True)
class Vote:
    """Makes a trace of the request of ``task`` with tools that lessons may run, by the majority of ``samples``."""

    task: Task
    samples: int

    def make(self, workshop: Workshop, dropped: Counter[DropReason], late: Callable[[], bool]) -> list[Trace]:
        """Make the trace, or none and why in ``dropped``. Raises as Generator and Executor do."""
        return _Voting(workshop, self.samples).make(self.task, dropped)


class _Voting:
    def __init__(self, workshop: Workshop, samples: int) -> None:
        self._executor, self._generator, self._policy = workshop.executor, workshop.generator, workshop.policy
        self._index = workshop.lesson_index
        self._samples = samples

    def make(self, task: Task, dropped: Counter[DropReason]) -> list[Trace]:
        for tool in self._fitting(task):
            found = self._majority(tool, task.request)
            if found is None:
                dropped[DropReason.NO_MAJORITY] += 1
                continue
            trace = found.model_copy(update={"request": task.request}).sourced(
                interaction_id=task.interaction_id, session=f"{task.source}/{task.session}"
            )
            stated = any(is_spoken(value) for value in trace.calls[0].arguments.values())
            reason = reject(trace, self._policy) if stated else DropReason.NOT_GROUNDED
            if reason is None:
                return [trace]
            dropped[reason] += 1
        return []

    def _fitting(self, task: Task) -> Iterator[Tool]:
        """The tools that the model spoke of itself, then those that the search finds."""
        named = [call.name for call in task.calls]
        found = [tool.name for tool in self._index.top(task.request, _TOOLS)]
        tools = filter(None, map(self._executor.registry.get, dict.fromkeys([*named, *found])))
        yield from islice(filter(self._policy.may_run, tools), _TOOLS)

    def _majority(self, tool: Tool, request: str) -> Trace | None:
        """A call of ``tool`` whose result clearly most samples arrive at, and of these the likeliest."""
        prompt = Prompt(
            text=prompts.call_prompt(tool, request),
            n=self._samples,
            max_tokens=_CALL_TOKENS,
            temperature=_TEMPERATURE,
            stop=(),
            json_schema={**tool.parameters, "additionalProperties": False},
        )
        votes: defaultdict[str, list[Trace]] = defaultdict(list)
        for completion in self._generator.complete(prompt):
            trace = self._executed(tool, completion)
            if trace is not None:
                votes[json.dumps(trace.results, sort_keys=True)].append(trace)
        agreeing = max(votes.values(), key=len, default=[])
        if len(agreeing) < _CLEAR * self._samples:
            return None
        return max(agreeing, key=lambda trace: trace.mean_logprob)

    def _executed(self, tool: Tool, completion: Completion) -> Trace | None:
        try:
            arguments = json.loads(completion.text)
        except ValueError:
            return None
        if not isinstance(arguments, dict):
            return None
        result = self._executor.execute(ToolCall(id="question", name=tool.name, arguments=arguments))
        if result.error is not None:
            return None
        return Trace(
            id="",
            kind=TraceKind.SELF_CONSISTENCY,
            request="",
            calls=(Call(name=tool.name, arguments=arguments),),
            results=(result.value,),
            mean_logprob=completion.mean_logprob,
        )
