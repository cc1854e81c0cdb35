"""Mined requests without a call that worked -> the call that most samples agree on, by what it returns.

Agreement is a tie-break behind execution, and weak where the model is: so the request must also state every argument of
the call, which ``evolver.verify`` looks at again. Where nobody's sample stands out there is no lesson.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from evolver import checks, few_shots
from evolver.generate import Completion, Generator, Prompt
from evolver.places import is_spoken
from evolver.types import Call, Task, TaskKind, Trace
from toolkit.execute import Executor
from toolkit.search import ToolIndex
from toolkit.tool import Tool, ToolCall

_KINDS: tuple[TaskKind, ...] = ("missed", "uncertain", "failed", "unserved", "talk")
"""What may hide a call, the likeliest first. ``talk`` too: the base model never calls."""
_TOOLS = 2
"""Tools that are tried for a request."""
_CALL_TOKENS = 64
_TEMPERATURE = 0.8
_CLEAR = 0.6
"""The share of the samples whose calls return the same, at least."""


def open_requests(tasks: Sequence[Task], most: int) -> list[Task]:
    """The ``most`` tasks that question-first tries."""
    wanted = [task for task in tasks if task.kind in _KINDS]
    return sorted(wanted, key=lambda task: _KINDS.index(task.kind))[:most]


class QuestionFirst:
    """Makes traces of requests with ``tools``, which may be executed. Thread-safe."""

    def __init__(self, tools: Iterable[Tool], executor: Executor, generator: Generator, *, samples: int) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._index = ToolIndex(self._tools.values())
        self._executor = executor
        self._generator = generator
        self._samples = samples

    def make(self, task: Task, dropped: Counter[str]) -> list[Trace]:
        """The trace for ``task``, or none and why. Raises as Generator and Executor do."""
        for tool in self._fitting(task):
            found = self._majority(tool, task.request)
            if found is None:
                dropped["no_majority"] += 1
                continue
            trace = found.model_copy(
                update={
                    "request": task.request,
                    "origin": task.interaction_id,
                    "session": f"{task.source}/{task.session}",
                }
            )
            stated = any(is_spoken(value) for value in trace.calls[0].arguments.values())
            if stated and not checks.grounding(trace):
                return [trace]
            dropped["not_grounded"] += 1
        return []

    def _fitting(self, task: Task) -> Iterator[Tool]:
        """The tools that the model spoke of itself, then those that the search finds."""
        named = [call.name for call in task.calls]
        found = [tool.name for tool in self._index.top(task.request, _TOOLS)]
        names = [name for name in dict.fromkeys([*named, *found]) if name in self._tools]
        yield from (self._tools[name] for name in names[:_TOOLS])

    def _majority(self, tool: Tool, request: str) -> Trace | None:
        """A call of ``tool`` whose result clearly most samples arrive at, and of these the likeliest."""
        prompt = Prompt(
            text=few_shots.call_prompt(tool, request),
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
        return max(agreeing, key=lambda trace: trace.likelihood)

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
            maker="question_first",
            request="",
            calls=(Call(name=tool.name, arguments=arguments),),
            results=(result.value,),
            likelihood=completion.likelihood,
        )
