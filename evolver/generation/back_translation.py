"""Tools -> traces by back-translation: sample arguments under a tool's schema, execute the call in the sandbox, and let
the model write the request that the call answers (docs/decisions/0003).

Executing before writing keeps the expensive step for calls that work.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import JsonValue

from evolver.config import MakeConfig
from evolver.crew.workshop import Workshop
from evolver.errors import StageError
from evolver.lessons import checks
from evolver.lessons.admission import LessonPolicy, reject
from evolver.lessons.drop_reason import DropReason
from evolver.model import prompts
from evolver.model.argument_values import candidates
from evolver.model.client import Prompt, distinct, json_object
from evolver.model.request_grammar import stating, telling
from evolver.model.sampling_schemas import bounded
from evolver.types import Call, Trace, TraceKind
from toolkit.tool import Tool, ToolCall, ToolResult

Dropped = Counter[DropReason]
BATCH = 3
"""Calls sampled for a tool before the next tool has its turn: a deadline then cuts all tools alike."""
WRITTEN = 2
"""Calls of a batch for which requests are written."""
_CHOICES = 8
"""Values among which the model chooses one for a parameter."""
_LONGEST_GRAMMAR = 600
"""Characters; results that need more are no sentence."""
_ARGUMENT_TOKENS, _ANSWER_TOKENS = 64, 32
_WORD_TOKENS, _CHARACTERS_PER_TOKEN = 24, 2
"""A request may have so many tokens beside its values."""


def has_enough(config: MakeConfig, policy: LessonPolicy, tool: Tool, traces: Iterable[Trace]) -> bool:
    """Return whether ``tool`` has enough requests that will pass; one that the round trip may drop counts half."""
    ours = (trace for trace in traces if trace.client_turn is None)
    of_tool = [trace for trace in ours if [call.name for call in trace.calls] == [tool.name]]
    sure = sum(0.5 if checks.mistakable(tool, t.calls[0]) else 1 for t in of_tool if reject(t, policy) is None)
    return sure >= config.enough_per_tool


@dataclass(frozen=True)
class Batch:
    """Makes one batch of traces of the tool named ``tool``. ``examples`` shows the model those in its description."""

    config: MakeConfig
    tool: str
    seed: int
    examples: bool = False

    def make(self, workshop: Workshop, dropped: Dropped, late: Callable[[], bool]) -> list[Trace]:
        """Make the traces; what came to nothing is counted in ``dropped``. ``late`` says that no further call is to be
        written for. Raises as Generator and Executor do."""
        tool = workshop.executor.registry.get(self.tool)
        if tool is None:
            raise StageError(f"there is no tool {self.tool} here")
        return _Maker(self.config, workshop, dropped).make(tool, self.seed, late, examples=self.examples)


class _Maker:
    def __init__(self, config: MakeConfig, workshop: Workshop, dropped: Dropped) -> None:
        self._config, self._dropped = config, dropped
        self._executor, self._generator, self._policy = workshop.executor, workshop.generator, workshop.policy

    def make(self, tool: Tool, seed: int, late: Callable[[], bool], *, examples: bool) -> list[Trace]:
        dropped, made = self._dropped, list[Trace]()
        working = self._working_calls(tool, arguments_prompt(tool, seed, examples=examples))
        for call, result in islice(working, WRITTEN):
            if late():
                dropped[DropReason.OUT_OF_TIME] += 1
                break
            written = self._generator.complete(request_prompt(self._config, tool, call))
            drafts = [
                Trace(
                    id="",
                    kind=TraceKind.BACK_TRANSLATION,
                    request=completion.text.strip(),
                    calls=(call,),
                    results=() if result.error else (result.value,),
                    mean_logprob=completion.mean_logprob,
                )
                for completion in distinct(written)
            ]
            if not drafts:
                dropped[DropReason.REQUESTS_CUT_OFF] += 1
            answer = ""
            if not result.error and any(reject(draft, self._policy) is None for draft in drafts):
                answer = self._answer(tool, call, result.value)
            made += [draft.model_copy(update={"answer": answer}) for draft in drafts]
        return made

    def _working_calls(self, tool: Tool, prompt: Prompt) -> Iterator[tuple[Call, ToolResult]]:
        """Distinct sampled calls that ran without error, with their results.

        A workspace is empty when a call runs in it, so a call that finds nothing there is a working one all the same.
        """
        dropped, seen = self._dropped, set[str]()
        for completion in self._generator.complete(prompt):
            arguments = json_object(completion.text)
            if arguments is None:
                dropped[DropReason.ARGUMENTS_CUT_OFF] += 1
                continue
            key = json.dumps(arguments, sort_keys=True)
            if key in seen:
                dropped[DropReason.SAME_ARGUMENTS] += 1
                continue
            seen.add(key)
            result = self._executor.execute(ToolCall(id="make", name=tool.name, arguments=arguments))
            if checks.worked(tool, result):
                yield Call(name=tool.name, arguments=arguments), result
            elif result.error:
                dropped[DropReason.of_error(result.error.kind)] += 1

    def _answer(self, tool: Tool, call: Call, result: JsonValue) -> str:
        grammar = telling(result, call.arguments.values())
        if grammar is None or len(grammar) > _LONGEST_GRAMMAR:
            return ""
        text = prompts.answer_prompt(tool, call, result)
        prompt = Prompt(text=text, max_tokens=_ANSWER_TOKENS, temperature=0.3, grammar=grammar)
        completion = self._generator.complete(prompt)[0]
        return completion.text.strip() if completion.finished else ""


def arguments_prompt(
    tool: Tool, seed: int, *, examples: bool, values: Mapping[str, Sequence[JsonValue]] | None = None, n: int = BATCH
) -> Prompt:
    """Return the prompt for ``n`` objects of arguments. ``values`` are given to parameters that have any."""
    rng = random.Random(seed)
    properties: Any = tool.parameters.get("properties", {})
    choices = {name: (values or {}).get(name) or candidates(tool, name, rng, _CHOICES) for name in properties}
    return Prompt(
        text=prompts.arguments_prompt(tool, examples=examples),
        n=n,
        max_tokens=_ARGUMENT_TOKENS,
        temperature=0.8,
        stop=(),
        json_schema=bounded(tool.parameters, rng, choices),
    )


def request_prompt(config: MakeConfig, tool: Tool, call: Call) -> Prompt:
    """Return the prompt for requests that ``call`` answers."""
    return Prompt(
        text=prompts.request_prompt(tool, call),
        n=config.requests_per_call,
        max_tokens=_WORD_TOKENS + len(json.dumps(list(call.arguments.values()))) // _CHARACTERS_PER_TOKEN,
        grammar=stating(call.arguments, tool.parameters, tool.description.split(" ", 1)[0]),
    )
