"""Query-aware tool generation: a request -> a new tool with code that ran (ToolACE-DEV, arXiv 2505.07512).

The model writes a definition under a JSON schema, the body of its function under a pattern, and arguments under the
definition; whatever it writes is hostile until it has been checked. Code runs in the sandbox's pool for model-made code
only. What passes waits in the pool: lessons may use it, the agent has it once a person approves.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from evolver import code_check, few_shots, tool_sketch
from evolver.config import MakeConfig
from evolver.generate import Generator, Prompt, json_object
from evolver.schemas import bounded
from evolver.tool_shots import code_prompt, tool_prompt
from evolver.tool_sketch import BadSketch, Sketch
from evolver.types import Frozen, Invented, Task, ToolExample
from toolkit.made import MadeTool
from toolkit.sandbox import CodeRunner, Status
from toolkit.tool import neutral

_BODY = "(    [ -~]+\\n)*    return [ -~]+\\n\\n"
"""Lines of the function, the last one a return; printable ASCII. Unbounded repetitions, as in evolver.wording."""
_LONGEST_REQUEST = 200
_EXAMPLES, _ENOUGH = 6, 3
"""Arguments sampled, and how many different ones must run."""
_DEFINITION_TOKENS, _CODE_TOKENS, _ARGUMENT_TOKENS = 200, 160, 64
_FATAL = (Status.TIMEOUT, Status.RESOURCE_LIMIT, Status.CRASHED, Status.BAD_RESULT)


class Candidate(Frozen):
    """A tool that passed, the calls that it passed on, and where it comes from."""

    tool: MadeTool
    examples: tuple[ToolExample, ...]
    interaction_id: str
    request: str


class _Dropped(Exception):
    """Why a try ended; ``args[0]`` is the word for the counters."""


def invent(
    config: MakeConfig,
    tasks: Sequence[Task],
    pool: CodeRunner,
    generator: Generator,
    keep: Callable[[Candidate], str],
    *,
    seed: int,
    held_out: Callable[[str], bool] = lambda request: False,
    held_out_tool: Callable[[str], bool] = lambda description: False,
) -> Invented:
    """Try to write a tool for at most ``tools_per_cycle`` requests of ``tasks``, those that no tool serves first.

    ``keep`` takes what passed and says why it does not want it, "" when it does. Raises ModelUnavailable, StageError,
    SandboxUnavailable.
    """
    chosen = _chosen(config, tasks, seed)
    if not chosen:
        return Invented()
    maker = _Maker(config, pool, generator, keep, held_out, held_out_tool)
    with ThreadPoolExecutor(generator.concurrency) as threads:
        tries = list(threads.map(maker.attempt, chosen, range(seed, seed + len(chosen))))
    return Invented(
        tried=len(tries),
        defined=sum(one.defined for one in tries),
        written=sum(one.written for one in tries),
        ran=sum(one.ran for one in tries),
        kept=sum(not one.reason for one in tries),
        dropped=dict(Counter(one.reason for one in tries if one.reason)),
    )


def _chosen(config: MakeConfig, tasks: Sequence[Task], seed: int) -> list[Task]:
    chooser = random.Random(seed)
    unserved = [task for task in tasks if task.kind == "unserved"]
    others = [task for task in tasks if task.kind in ("talk", "failed", "missed", "uncertain")]
    share = round(config.tools_per_cycle * config.tools_for_others)
    first = unserved[: config.tools_per_cycle - share]
    return [*first, *chooser.sample(others, min(share, len(others)))]


@dataclass
class _Try:
    """How far one request came."""

    defined: bool = False
    written: bool = False
    ran: bool = False
    reason: str = ""


class _Maker:
    def __init__(
        self,
        config: MakeConfig,
        pool: CodeRunner,
        generator: Generator,
        keep: Callable[[Candidate], str],
        held_out: Callable[[str], bool],
        held_out_tool: Callable[[str], bool],
    ) -> None:
        self._config = config
        self._pool = pool
        self._generator = generator
        self._keep = keep
        self._held_out, self._held_out_tool = held_out, held_out_tool

    def attempt(self, task: Task, seed: int) -> _Try:
        """One request, from its text to the pool."""
        found = _Try()
        try:
            candidate = self._candidate(task, found, seed)
            found.reason = self._keep(candidate)
        except _Dropped as dropped:
            found.reason = dropped.args[0]
        return found

    def _candidate(self, task: Task, found: _Try, seed: int) -> Candidate:
        request = " ".join(neutral(task.request).split())
        if not request or len(request) > _LONGEST_REQUEST:
            raise _Dropped("request_too_long")
        if self._held_out(request):
            raise _Dropped("held_out")
        sketch = self._sketch(request)
        if self._held_out(sketch.description) or self._held_out_tool(sketch.description):
            raise _Dropped("held_out")
        found.defined = True
        arguments: list[dict[str, Any]] = []
        reasons: list[str] = []
        for source in self._sources(sketch, reasons):
            found.written = True
            tool = sketch.tool(source)
            arguments = arguments or self._arguments(tool, request, seed)
            try:
                examples = self._examples(tool, sketch.result, arguments)
            except _Dropped as dropped:
                reasons.append(dropped.args[0])
                continue
            found.ran = True
            reason = _empty(examples)
            if not reason:
                return Candidate(
                    tool=tool, examples=tuple(examples), interaction_id=task.interaction_id, request=request
                )
            reasons.append(reason)
        raise _Dropped(reasons[-1] if reasons else "no_code")

    def _sketch(self, request: str) -> Sketch:
        prompt = Prompt(
            text=tool_prompt(request),
            max_tokens=_DEFINITION_TOKENS,
            temperature=0.3,
            stop=(),
            json_schema=tool_sketch.SCHEMA,
        )
        try:
            return tool_sketch.read(self._generator.complete(prompt)[0].text)
        except BadSketch as bad:
            raise _Dropped(f"definition_{bad}") from None

    def _sources(self, sketch: Sketch, reasons: list[str]) -> list[str]:
        """The sampled functions that pass the check without running; why the others do not goes to ``reasons``."""
        head = sketch.head()
        prompt = Prompt(
            text=code_prompt(head), n=self._config.codes_per_tool, max_tokens=_CODE_TOKENS, stop=(), regex=_BODY
        )
        names = [parameter.name for parameter in sketch.parameters]
        sources: list[str] = []
        for completion in self._generator.complete(prompt):
            source = f"{head}\n{completion.text.rstrip()}\n"
            reason = code_check.problem(source, sketch.name, names) if completion.finished else "cut_off"
            if reason:
                reasons.append(f"code_{reason}")
            elif source not in sources:
                sources.append(source)
        return sources

    def _arguments(self, made: MadeTool, request: str, seed: int) -> list[dict[str, Any]]:
        """Different arguments: first those that the request asks for, then sampled ones."""
        tool, schema = made.tool(), bounded(made.parameters, random.Random(seed))
        own = Prompt(
            text=few_shots.call_prompt(tool, request), max_tokens=_ARGUMENT_TOKENS, temperature=0.0, stop=(),
            json_schema=schema,
        )  # fmt: skip
        sampled = Prompt(
            text=few_shots.arguments_prompt(tool), n=_EXAMPLES, max_tokens=_ARGUMENT_TOKENS, temperature=1.0, stop=(),
            json_schema=schema,
        )  # fmt: skip
        texts = [completion.text for prompt in (own, sampled) for completion in self._generator.complete(prompt)]
        first, *rest = [json_object(text) for text in texts]
        if first is None:
            raise _Dropped("request_gives_no_arguments")
        different = {json.dumps(one, sort_keys=True): one for one in (first, *rest) if one is not None}
        return list(different.values())

    def _examples(self, tool: MadeTool, result: str, arguments: Sequence[dict[str, Any]]) -> list[ToolExample]:
        """What the code gives for ``arguments``, each run twice. The first, the request's own, must run."""
        examples: list[ToolExample] = []
        for number, given in enumerate(arguments):
            once, again = (self._pool.run_source(tool.source, tool.name, given) for _ in range(2))
            if once.status in _FATAL or again.status in _FATAL:
                raise _Dropped(f"run_{next(r.status.value for r in (once, again) if r.status in _FATAL)}")
            if (once.status, once.value) != (again.status, again.value):
                raise _Dropped("result_changes")
            if not once.ok:
                if number == 0:
                    raise _Dropped("fails_on_its_request")
                continue
            if not tool_sketch.is_of(once.value, result):
                raise _Dropped("result_of_another_type")
            examples.append(ToolExample(arguments=given, result=once.value))
        if len(examples) < _ENOUGH:
            raise _Dropped("too_few_examples_run")
        return examples


def _empty(examples: Sequence[ToolExample]) -> str:
    """Why a function that runs is still none; "" when nothing is known against it."""
    if len({json.dumps(example.result) for example in examples}) < 2:
        return "always_the_same_result"
    if all(example.result in example.arguments.values() for example in examples):
        return "returns_its_argument"
    return ""
