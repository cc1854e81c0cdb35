"""Query-aware tool generation: a request -> a new tool with code that ran (ToolACE-DEV, arXiv 2505.07512).

The model writes a definition under a JSON schema, the body of its function under a pattern, and arguments under the
definition; whatever it writes is hostile until it has been checked. Code runs in the sandbox's pool for model-made code
only. What passes waits in the pool: lessons may use it, the agent has it once a person approves.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from evolver.config import MakeConfig
from evolver.crew.crew import Crew
from evolver.crew.workshop import Workshop
from evolver.model import prompts
from evolver.model.client import Prompt, json_object
from evolver.model.sampling_schemas import bounded
from evolver.tool_making import definition, static_check
from evolver.tool_making.definition import Sketch
from evolver.tool_making.drop_reason import ToolDropped, ToolDropReason
from evolver.tool_making.prompts import code_prompt, tool_prompt
from evolver.types import Invented, Task, ToolExample
from toolkit.frozen import Frozen
from toolkit.made import MadeTool
from toolkit.made_tools import pool_of
from toolkit.sandbox import Invocation, Status
from toolkit.tool import neutral

_BODY = "(    [ -~]+\\n)*    return [ -~]+\\n\\n"
"""Lines of the function, the last one a return; printable ASCII. Unbounded repetitions, as in request_grammar.py."""
_LONGEST_REQUEST = 200
_EXAMPLES, _ENOUGH = 6, 3
"""Arguments sampled, and how many different ones must run."""
_DEFINITION_TOKENS, _CODE_TOKENS, _ARGUMENT_TOKENS = 200, 160, 64
_FATAL = {
    Status.TIMEOUT: ToolDropReason.RUN_TIMEOUT,
    Status.RESOURCE_LIMIT: ToolDropReason.RUN_RESOURCE_LIMIT,
    Status.CRASHED: ToolDropReason.RUN_CRASHED,
    Status.BAD_RESULT: ToolDropReason.RUN_BAD_RESULT,
}


class Candidate(Frozen):
    """A tool that passed, the calls that it passed on, and where it comes from."""

    tool: MadeTool
    examples: tuple[ToolExample, ...]
    interaction_id: str
    request: str


def invent(
    config: MakeConfig,
    tasks: Sequence[Task],
    crew: Crew,
    keep: Callable[[Candidate], ToolDropReason | None],
    *,
    seed: int,
) -> Invented:
    """Try to write a tool for at most ``tools_per_cycle`` requests of ``tasks``, those that no tool serves first.

    ``keep`` takes what passed, or returns why it does not. Raises ModelUnavailable, StageError, SandboxUnavailable.
    """
    orders = [ToolOrder(config, task, seed + n) for n, task in enumerate(_chosen(config, tasks, seed))]
    count = Invented().model_copy(update={"tried": len(orders)})
    dropped: Counter[str] = Counter()
    with closing(crew.each(orders)) as found:
        for _, attempt in found:
            reason = attempt.reason if attempt.candidate is None else keep(attempt.candidate)
            if reason:
                dropped[reason] += 1
            count = count.model_copy(
                update={
                    "defined": count.defined + attempt.defined,
                    "written": count.written + attempt.written,
                    "ran": count.ran + attempt.ran,
                    "kept": count.kept + (not reason),
                }
            )
    return count.model_copy(update={"dropped": dict(dropped)})


@dataclass(frozen=True)
class ToolOrder:
    """Tries to write a tool for the request of ``task``."""

    config: MakeConfig
    task: Task
    seed: int

    def do(self, workshop: Workshop) -> "_Try":
        """Try it and return the result. Raises ModelUnavailable, StageError, SandboxUnavailable."""
        return _Maker(self.config, workshop).attempt(self.task, self.seed)


def _chosen(config: MakeConfig, tasks: Sequence[Task], seed: int) -> list[Task]:
    rng = random.Random(seed)
    tasks = [task for task in tasks if not task.client]
    unserved = [task for task in tasks if task.kind == "unserved"]
    others = [task for task in tasks if task.kind in ("talk", "failed", "missed", "uncertain")]
    share = round(config.tools_per_cycle * config.tools_for_others)
    first = unserved[: config.tools_per_cycle - share]
    return [*first, *rng.sample(others, min(share, len(others)))]


@dataclass
class _Try:
    """Progress of one request."""

    defined: bool = False
    written: bool = False
    ran: bool = False
    reason: ToolDropReason | None = None
    candidate: Candidate | None = None


class _Maker:
    def __init__(self, config: MakeConfig, workshop: Workshop) -> None:
        self._config = config
        self._pool = pool_of(workshop.executor)
        self._generator = workshop.generator
        self._held_out = workshop.policy.held_out

    def attempt(self, task: Task, seed: int) -> _Try:
        """Take one request from its text to the pool."""
        found = _Try()
        try:
            found.candidate = self._candidate(task, found, seed)
        except ToolDropped as dropped:
            found.reason = dropped.reason
        return found

    def _candidate(self, task: Task, found: _Try, seed: int) -> Candidate:
        request = " ".join(neutral(task.request).split())
        if not request or len(request) > _LONGEST_REQUEST:
            raise ToolDropped(ToolDropReason.REQUEST_TOO_LONG)
        if self._held_out(request):
            raise ToolDropped(ToolDropReason.HELD_OUT)
        sketch = self._sketch(request)
        if self._held_out(sketch.description) or self._held_out.tool(sketch.description):
            raise ToolDropped(ToolDropReason.HELD_OUT)
        found.defined = True
        arguments: list[dict[str, Any]] = []
        reasons: list[ToolDropReason] = []
        for source in self._sources(sketch, reasons):
            found.written = True
            tool = sketch.tool(source)
            arguments = arguments or self._arguments(tool, request, seed)
            try:
                examples = self._examples(tool, sketch.result, arguments)
            except ToolDropped as dropped:
                reasons.append(dropped.reason)
                continue
            found.ran = True
            reason = _empty(examples)
            if reason is None:
                return Candidate(
                    tool=tool, examples=tuple(examples), interaction_id=task.interaction_id, request=request
                )
            reasons.append(reason)
        raise ToolDropped(reasons[-1] if reasons else ToolDropReason.NO_CODE)

    def _sketch(self, request: str) -> Sketch:
        prompt = Prompt(
            text=tool_prompt(request),
            max_tokens=_DEFINITION_TOKENS,
            temperature=0.3,
            stop=(),
            json_schema=definition.SCHEMA,
        )
        return definition.read(self._generator.complete(prompt)[0].text)

    def _sources(self, sketch: Sketch, reasons: list[ToolDropReason]) -> list[str]:
        """The sampled functions that pass the check without running; why the others do not goes to ``reasons``."""
        head = sketch.head()
        prompt = Prompt(
            text=code_prompt(head), n=self._config.codes_per_tool, max_tokens=_CODE_TOKENS, stop=(), regex=_BODY
        )
        names = [parameter.name for parameter in sketch.parameters]
        sources: list[str] = []
        for completion in self._generator.complete(prompt):
            source = f"{head}\n{completion.text.rstrip()}\n"
            cut_off = None if completion.finished else ToolDropReason.CODE_CUT_OFF
            if reason := cut_off or static_check.problem(source, sketch.name, names):
                reasons.append(reason)
            elif source not in sources:
                sources.append(source)
        return sources

    def _arguments(self, made: MadeTool, request: str, seed: int) -> list[dict[str, Any]]:
        """Different arguments: first those that the request asks for, then sampled ones."""
        tool, schema = made.tool(), bounded(made.parameters, random.Random(seed))
        own = Prompt(
            text=prompts.call_prompt(tool, request), max_tokens=_ARGUMENT_TOKENS, temperature=0.0, stop=(),
            json_schema=schema,
        )  # fmt: skip
        sampled = Prompt(
            text=prompts.arguments_prompt(tool), n=_EXAMPLES, max_tokens=_ARGUMENT_TOKENS, temperature=1.0, stop=(),
            json_schema=schema,
        )  # fmt: skip
        texts = [completion.text for prompt in (own, sampled) for completion in self._generator.complete(prompt)]
        first, *rest = [json_object(text) for text in texts]
        if first is None:
            raise ToolDropped(ToolDropReason.REQUEST_GIVES_NO_ARGUMENTS)
        different = {json.dumps(one, sort_keys=True): one for one in (first, *rest) if one is not None}
        return list(different.values())

    def _examples(self, tool: MadeTool, result: str, arguments: Sequence[dict[str, Any]]) -> list[ToolExample]:
        """Run the code twice with each of ``arguments``; return the results. The first, the request's own, must run."""
        examples: list[ToolExample] = []
        for number, given in enumerate(arguments):
            once, again = (self._pool.run(Invocation.of_source(tool.source, tool.name, given)) for _ in range(2))
            for status in (once.status, again.status):
                if status in _FATAL:
                    raise ToolDropped(_FATAL[status])
            if (once.status, once.value) != (again.status, again.value):
                raise ToolDropped(ToolDropReason.RESULT_CHANGES)
            if not once.ok:
                if number == 0:
                    raise ToolDropped(ToolDropReason.FAILS_ON_ITS_REQUEST)
                continue
            if not definition.is_of(once.value, result):
                raise ToolDropped(ToolDropReason.RESULT_OF_ANOTHER_TYPE)
            examples.append(ToolExample(arguments=given, result=once.value))
        if len(examples) < _ENOUGH:
            raise ToolDropped(ToolDropReason.TOO_FEW_EXAMPLES_RUN)
        return examples


def _empty(examples: Sequence[ToolExample]) -> ToolDropReason | None:
    """Return the reason for which a function that runs is useless, or None."""
    if len({json.dumps(example.result) for example in examples}) < 2:
        return ToolDropReason.ALWAYS_THE_SAME_RESULT
    if all(example.result in example.arguments.values() for example in examples):
        return ToolDropReason.RETURNS_ITS_ARGUMENT
    return None
