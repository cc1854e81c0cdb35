"""Tools and tasks -> candidate traces, all made by the served model itself.

Answer first (docs/decisions/0003): sample arguments under the tool's schema, execute the call in the sandbox, and let
the model write the request that the call answers. Executing before writing keeps the expensive step for calls that
work. What is made here is a claim; ``evolver.verify`` judges it.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from evolver import few_shots
from evolver.config import MakeConfig
from evolver.generate import Completion, Generator, Prompt
from evolver.jsonl import append_lines, read_lines
from evolver.schemas import bounded
from evolver.types import Call, Made, Mined, Trace
from evolver.wording import stating
from toolkit.execute import Executor
from toolkit.tool import Effect, Tool, ToolCall, ToolResult

_BATCH = 4
"""Calls that one tool gets before the next tool has its turn: a deadline then cuts all tools alike."""
_TALK = 8
"""Requests without a tool in one job."""
_ARGUMENT_TOKENS, _REQUEST_TOKENS, _ANSWER_TOKENS, _REPLY_TOKENS = 96, 64, 40, 48


def make(
    config: MakeConfig,
    tools: Iterable[Tool],
    executor: Executor,
    generator: Generator,
    mined: Mined,
    file: Path,
    *,
    seed: int,
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[float, int], None] = lambda share, traces: None,
) -> Made:
    """Make traces until every tool has ``calls_per_tool`` calls or ``max_minutes`` are over.

    Appends to ``file`` as it goes; what stands there from an interrupted run is kept and not made again. Raises
    ModelUnavailable, SandboxUnavailable, StageError.
    """
    deadline = clock() + config.max_minutes * 60
    usable = [tool for tool in tools if _may_execute(tool, config)]
    done = {trace.id for trace in read_lines(file, Trace)}
    counts: Counter[str] = Counter(read_lines(file, Trace, key=lambda trace: trace.maker))
    dropped: Counter[str] = Counter()
    jobs = [job for job in _jobs(config, usable, seed) if job.id not in done]

    def run(job: "_Job") -> tuple[list[Trace], Counter[str]]:
        if clock() > deadline:
            return [], Counter({"out_of_time": 1})
        return _run(job, config, executor, generator)

    made = [trace for trace in mined.worked if trace.id not in done]
    append_lines(file, made)
    counts.update(trace.maker for trace in made)
    with ThreadPoolExecutor(config.concurrency) as pool:
        running = [pool.submit(run, job) for job in jobs]
        try:
            for finished, future in enumerate(as_completed(running), 1):
                made, lost = future.result()
                append_lines(file, made)
                counts.update(trace.maker for trace in made)
                dropped.update(lost)
                on_progress(finished / len(running), counts.total())
        finally:
            for future in running:
                future.cancel()
    return Made(file=file, traces=counts.total(), by_maker=dict(counts), dropped=dict(dropped))


class _Job:
    """One batch of one maker. The id is the first trace's, so that a resumed run skips what it has."""

    def __init__(self, tool: Tool | None, batch: int, seed: int) -> None:
        self.tool = tool
        self.seed = seed
        self.prefix = f"{tool.name if tool else 'small_talk'}-{batch}"
        self.id = f"{self.prefix}-0"


def _jobs(config: MakeConfig, tools: list[Tool], seed: int) -> Iterator[_Job]:
    chooser = random.Random(seed)
    for batch in range(-(-config.small_talk // _TALK)):
        yield _Job(None, batch, chooser.getrandbits(31))
    for batch in range(-(-config.calls_per_tool // _BATCH)):
        for tool in tools:
            yield _Job(tool, batch, chooser.getrandbits(31))


def _may_execute(tool: Tool, config: MakeConfig) -> bool:
    """The evolver causes no side effect in the world (docs/architecture.md)."""
    return tool.effect is Effect.PURE or tool.sandbox_state or (tool.effect is Effect.READS and config.allow_reads)


def _run(job: _Job, config: MakeConfig, executor: Executor, generator: Generator) -> tuple[list[Trace], Counter[str]]:
    dropped: Counter[str] = Counter()
    if job.tool is None:
        traces = _small_talk(generator)
    else:
        traces = _answer_first(job, job.tool, config, executor, generator, dropped)
    return [trace.model_copy(update={"id": f"{job.prefix}-{n}"}) for n, trace in enumerate(traces)], dropped


def _answer_first(
    job: _Job, tool: Tool, config: MakeConfig, executor: Executor, generator: Generator, dropped: Counter[str]
) -> list[Trace]:
    made: list[Trace] = []
    for call, result in _working_calls(job, tool, executor, generator, dropped):
        written = generator.complete(
            Prompt(
                text=few_shots.request_prompt(tool, call),
                n=config.requests_per_call,
                max_tokens=_REQUEST_TOKENS,
                regex=stating(call.arguments.values()),
            )
        )
        answer = _answer(tool, call, result.value, generator)
        made += [
            Trace(
                id="",
                maker="answer_first",
                request=completion.text.strip(),
                calls=(call,),
                results=(result.value,),
                answer=answer,
                likelihood=completion.likelihood,
            )
            for completion in _distinct(written)
        ]
    return made


def _working_calls(
    job: _Job, tool: Tool, executor: Executor, generator: Generator, dropped: Counter[str]
) -> Iterator[tuple[Call, ToolResult]]:
    """Distinct sampled calls that ran without error, with their results."""
    sampled = generator.complete(
        Prompt(
            text=few_shots.arguments_prompt(tool),
            n=_BATCH,
            max_tokens=_ARGUMENT_TOKENS,
            temperature=0.8,
            stop=(),
            json_schema=bounded(tool.parameters, random.Random(job.seed)),
        )
    )
    seen: set[str] = set()
    for completion in sampled:
        arguments = _parsed(completion.text)
        if arguments is None:
            dropped["arguments_cut_off"] += 1
            continue
        key = json.dumps(arguments, sort_keys=True)
        if key in seen:
            dropped["same_arguments"] += 1
            continue
        seen.add(key)
        result = executor.execute(ToolCall(id="make", name=tool.name, arguments=arguments))
        if result.error is not None:
            dropped[f"call_{result.error.kind.value}"] += 1
        else:
            yield Call(name=tool.name, arguments=arguments), result


def _answer(tool: Tool, call: Call, result: JsonValue, generator: Generator) -> str:
    prompt = Prompt(text=few_shots.answer_prompt(tool, call, result), max_tokens=_ANSWER_TOKENS, temperature=0.3)
    completion = generator.complete(prompt)[0]
    return completion.text.strip() if completion.finished else ""


def _small_talk(generator: Generator) -> list[Trace]:
    """Requests that need no tool, each with the model's own answer."""
    prompt = Prompt(
        text=few_shots.small_talk_prompt(),
        n=_TALK,
        max_tokens=_REQUEST_TOKENS,
        temperature=0.9,
    )
    made = []
    for completion in _distinct(generator.complete(prompt)):
        request = completion.text.strip()
        answer = whole_sentences(generator.reply(request, max_tokens=_REPLY_TOKENS).text)
        if answer:
            made.append(
                Trace(id="", maker="small_talk", request=request, answer=answer, likelihood=completion.likelihood)
            )
    return made


def _distinct(completions: list[Completion]) -> list[Completion]:
    """The finished ones, each text once, the likeliest first."""
    finished = sorted((c for c in completions if c.finished), key=lambda c: -c.likelihood)
    return list({completion.text.strip(): completion for completion in reversed(finished)}.values())[::-1]


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def whole_sentences(text: str) -> str:
    """``text`` up to the end of its last whole sentence on the first paragraph; "" where there is none."""
    first = text.strip().split("\n", 1)[0]
    end = max(first.rfind(mark) for mark in ".!?")
    return first[: end + 1] if end >= 0 else ""
