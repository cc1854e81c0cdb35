"""Tools -> traces, answer first: sample arguments under a tool's schema, execute the call in the sandbox, and let the
model write the request that the call answers (docs/decisions/0003).

Executing before writing keeps the expensive step for calls that work.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice

from pydantic import JsonValue

from evolver import checks, few_shots
from evolver.config import MakeConfig
from evolver.generate import Generator, Prompt, distinct, json_object
from evolver.schemas import bounded
from evolver.types import Call, Trace
from evolver.wording import stating, telling
from toolkit.execute import Executor
from toolkit.search import ToolIndex
from toolkit.tool import Tool, ToolCall, ToolResult

BATCH = 3
"""Calls sampled for a tool before the next tool has its turn: a deadline then cuts all tools alike."""
WRITTEN = 2
"""Calls of a batch for which requests are written."""
_LONGEST_PATTERN = 600
"""Characters; results that need more are no sentence."""
_ARGUMENT_TOKENS, _ANSWER_TOKENS = 64, 32
_WORD_TOKENS, _CHARACTERS_PER_TOKEN = 24, 2
"""A request may have so many tokens beside its values."""


class AnswerFirst:
    """Makes traces of single tools. Thread-safe."""

    def __init__(
        self,
        config: MakeConfig,
        executor: Executor,
        generator: Generator,
        index: ToolIndex,
        *,
        late: Callable[[], bool],
    ) -> None:
        """``late`` says that no further call is to be written for."""
        self._config, self._executor, self._generator = config, executor, generator
        self._index, self._late = index, late

    def has_enough(self, tool: Tool, traces: Iterable[Trace]) -> bool:
        """Whether ``tool`` has enough requests that will pass; one that the round trip may drop counts half."""
        of_tool = [trace for trace in traces if [call.name for call in trace.calls] == [tool.name]]
        sure = sum(0.5 if checks.mistakable(tool, t.calls[0]) else 1 for t in of_tool if self._is_fit(t))
        return sure >= self._config.enough_per_tool

    def _is_fit(self, trace: Trace) -> bool:
        return not (
            checks.wording(trace)
            or checks.grounding(trace)
            or checks.meaning(trace, self._index)
            or checks.options(trace, self._executor.registry.get)
        )

    def make(self, tool: Tool, batch: int, seed: int, known: Collection[str], dropped: Counter[str]) -> list[Trace]:
        """The traces of batch number ``batch`` of ``tool``. ``known`` are tools of which a call worked already; what
        came to nothing is counted in ``dropped``. Raises as Generator and Executor do."""
        # A small model says nothing but the examples in a tool's own description: they are for when all else failed.
        prompt = _arguments_prompt(tool, seed, examples=batch > 0 and tool.name not in known)
        made: list[Trace] = []
        for call, result in islice(self._working_calls(tool, prompt, dropped), WRITTEN):
            if self._late():
                dropped["out_of_time"] += 1
                break
            written = self._generator.complete(_request_prompt(self._config, tool, call))
            drafts = [
                Trace(
                    id="",
                    maker="answer_first",
                    request=completion.text.strip(),
                    calls=(call,),
                    results=() if result.error else (result.value,),
                    likelihood=completion.likelihood,
                )
                for completion in distinct(written)
            ]
            if not drafts:
                dropped["requests_cut_off"] += 1
            answer = ""
            if not result.error and any(self._is_fit(draft) for draft in drafts):
                answer = self._answer(tool, call, result.value)
            made += [draft.model_copy(update={"answer": answer}) for draft in drafts]
        return made

    def _working_calls(self, tool: Tool, prompt: Prompt, dropped: Counter[str]) -> Iterator[tuple[Call, ToolResult]]:
        """Distinct sampled calls that ran without error, with their results; others too where failed ones are kept.

        A workspace is empty when a call runs in it, so a call that finds nothing there is a working one all the same.
        """
        seen: set[str] = set()
        for completion in self._generator.complete(prompt):
            arguments = json_object(completion.text)
            if arguments is None:
                dropped["arguments_cut_off"] += 1
                continue
            key = json.dumps(arguments, sort_keys=True)
            if key in seen:
                dropped["same_arguments"] += 1
                continue
            seen.add(key)
            result = self._executor.execute(ToolCall(id="make", name=tool.name, arguments=arguments))
            if checks.worked(tool, result) or self._config.keep_failed:
                yield Call(name=tool.name, arguments=arguments), result
            elif result.error:
                dropped[f"call_{result.error.kind.value}"] += 1

    def _answer(self, tool: Tool, call: Call, result: JsonValue) -> str:
        pattern = telling(result, call.arguments.values())
        if pattern is None or len(pattern) > _LONGEST_PATTERN:
            return ""
        text = few_shots.answer_prompt(tool, call, result)
        prompt = Prompt(text=text, max_tokens=_ANSWER_TOKENS, temperature=0.3, regex=pattern)
        completion = self._generator.complete(prompt)[0]
        return completion.text.strip() if completion.finished else ""


def _arguments_prompt(tool: Tool, seed: int, *, examples: bool) -> Prompt:
    return Prompt(
        text=few_shots.arguments_prompt(tool, examples=examples),
        n=BATCH,
        max_tokens=_ARGUMENT_TOKENS,
        temperature=0.8,
        stop=(),
        json_schema=bounded(tool.parameters, random.Random(seed)),
    )


def _request_prompt(config: MakeConfig, tool: Tool, call: Call) -> Prompt:
    return Prompt(
        text=few_shots.request_prompt(tool, call),
        n=config.requests_per_call,
        max_tokens=_WORD_TOKENS + len(json.dumps(list(call.arguments.values()))) // _CHARACTERS_PER_TOKEN,
        regex=stating(call.arguments, tool.parameters, tool.description.split(" ", 1)[0]),
    )
