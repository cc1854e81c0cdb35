"""Candidate traces -> the ones fit to learn from, each with a verdict and its reason.

Every call is executed again in the sandbox and must give the same result; the request must state every argument and no
other number; the model, shown it, must arrive at the same result (round trip) and, where ``rivals`` are set,
find the request as likely under its call as under other tools' (semantic match). Most of these checks are about
requests whose call executes and is still not what they ask for (30 % in APIGen, arXiv 2406.18518).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evolver import checks, few_shots, rerun, safety, semantic_match
from evolver.config import VerifyConfig
from evolver.duplicates import Accepted
from evolver.effects import for_lessons
from evolver.generate import Generator, Prompt
from evolver.jsonl import write_lines
from evolver.places import plainly
from evolver.schemas import restricted
from evolver.types import Call, Trace, Verdict, Verified
from toolkit.execute import Executor
from toolkit.search import ToolIndex
from toolkit.tool import Effect, ToolErrorKind

_CALL_TOKENS = 96


def verify(
    config: VerifyConfig,
    traces: Iterable[Trace],
    executor: Executor,
    folder: Path,
    *,
    index: ToolIndex,
    generator: Generator | None,
    earlier: Iterable[Trace] = (),
    held_out: Callable[[str], bool] = lambda request: False,
    allow_reads: bool = False,
    on_progress: Callable[[float, int], None] = lambda share, fit: None,
) -> Verified:
    """Judge ``traces``; write kept.jsonl and verdicts.jsonl into ``folder``.

    ``earlier`` is what earlier cycles kept; ``held_out`` says whether a request stands in a suite; ``index`` finds the
    tools that a request speaks of; tools that read are run where ``allow_reads``, and logged calls of tools that may
    not run are taken as logged, where they fit their schemas; ``generator`` asks the model for the round trip and the
    semantic match (None: neither); ``on_progress`` gets the share that is done and how many are fit so far. A call that
    cannot be judged because isolation broke raises SandboxUnavailable: no verdict.
    """
    judged = list(traces)
    reasons: dict[str, str] = {}
    accepted = Accepted(earlier)
    parts = 1 + (bool(config.round_trip) + bool(config.rivals) if generator is not None else 0)
    say = _part(0, parts, on_progress)
    passed: list[Trace] = []
    for done, trace in enumerate(sorted(judged, key=lambda trace: -trace.likelihood), 1):
        reason = (
            checks.wording(trace)
            or accepted.repeated_by(trace)
            or (any(map(held_out, trace.spoken)) and "held_out")
            or safety.unsafe(trace, personal_data=config.drop_personal_data)
            or checks.grounding(trace)
            or checks.meaning(trace, index)
            or checks.options(trace, executor.registry.get)
            or (config.execution and _execution(trace, executor, allow_reads=allow_reads))
            or ""
        )
        reasons[trace.id] = reason
        if not reason:
            accepted.add(trace)
            passed.append(trace)
        say(done / len(judged), len(passed))
    if generator is not None and config.round_trip:
        passed = _round_trips(config, passed, reasons, executor, generator, _part(1, parts, on_progress))
    if generator is not None and config.rivals:
        passed = _matches(config, passed, reasons, index, executor, generator, _part(parts - 1, parts, on_progress))
    kept = _likeliest(config, passed, reasons)
    on_progress(1.0, len(kept))
    verdicts = [Verdict(trace_id=trace.id, kept=not reasons[trace.id], reason=reasons[trace.id]) for trace in judged]
    return _write(folder, kept, verdicts)


def _part(number: int, parts: int, on_progress: Callable[[float, int], None]) -> Callable[[float, int], None]:
    """Progress of one of several ``parts``, told as that of all."""
    return lambda share, fit: on_progress((number + share) / parts, fit)


def _execution(trace: Trace, executor: Executor, *, allow_reads: bool) -> str:
    """Calls run again and must return the same, or fail again; of tools that may not run, what the log has stands."""
    for failure in trace.failures:
        tool = executor.registry.get(failure.call.name)
        runs = tool is None or for_lessons(tool, allow_reads=allow_reads)
        if runs and rerun.run(failure.call, executor).ok:
            return "failure_is_gone"
    for number, call in enumerate(trace.calls):
        tool = executor.registry.get(call.name)
        if trace.origin and tool is not None and not for_lessons(tool, allow_reads=allow_reads):
            if executor.problem(tool, call.arguments) is not None:
                return f"call_{ToolErrorKind.INVALID_ARGUMENTS.value}"
            continue
        if reason := rerun.again(call, executor, trace.results[number : number + 1]):
            return reason
    return ""


def _round_trips(
    config: VerifyConfig,
    passed: list[Trace],
    reasons: dict[str, str],
    executor: Executor,
    generator: Generator,
    on_progress: Callable[[float, int], None],
) -> list[Trace]:
    """Those whose request leads the model to the same results; only the likeliest few of each call are tried, and only
    calls whose values could be mistaken for one another."""
    tries: Counter[str] = Counter()
    chosen: list[Trace] = []
    returned: list[Trace] = []
    for trace in passed:
        key = trace.calls_key
        tries[key] += 1
        if trace.maker != "answer_first" or not any(_mistakable(call, executor) for call in trace.calls):
            returned.append(trace)
        elif tries[key] <= config.round_trips_per_call:
            chosen.append(trace)
        else:
            reasons[trace.id] = "call_has_a_likelier_request"
    with ThreadPoolExecutor(generator.concurrency) as pool:
        arrived = pool.map(lambda trace: _arrives(trace, executor, generator), chosen)
        for done, (trace, same) in enumerate(zip(chosen, arrived, strict=True), 1):
            if same:
                returned.append(trace)
            else:
                reasons[trace.id] = "round_trip_differs"
            on_progress(done / len(chosen), len(returned))
    return sorted(returned, key=lambda trace: -trace.likelihood)


def _matches(
    config: VerifyConfig,
    passed: list[Trace],
    reasons: dict[str, str],
    index: ToolIndex,
    executor: Executor,
    generator: Generator,
    on_progress: Callable[[float, int], None],
) -> list[Trace]:
    """Those whose request is likeliest under its own call (evolver.semantic_match)."""
    rivals = [semantic_match.rivals(trace, index, executor, config.rivals) for trace in passed]
    with ThreadPoolExecutor(generator.concurrency) as pool:
        own = pool.map(
            lambda trace, others: not others or semantic_match.asks_for_its_own(trace, others, executor, generator),
            passed,
            rivals,
        )
        matching = []
        for done, (trace, matches) in enumerate(zip(passed, own, strict=True), 1):
            if matches:
                matching.append(trace)
            else:
                reasons[trace.id] = "fits_another_call"
            on_progress(done / len(passed), len(matching))
    return matching


def _mistakable(call: Call, executor: Executor) -> bool:
    tool = executor.registry.get(call.name)
    return tool is None or checks.mistakable(tool, call)


def _arrives(trace: Trace, executor: Executor, generator: Generator) -> bool:
    """What it must find is which value goes where: that 5% is 0.05 is certain, and more than a small model knows."""
    for number, call in enumerate(trace.calls):
        tool = executor.registry.get(call.name)
        if tool is None:
            return False
        prompt = Prompt(
            text=few_shots.call_prompt(tool, plainly(trace.request, call.arguments.values())),
            max_tokens=_CALL_TOKENS,
            temperature=0.0,
            stop=(),
            json_schema=restricted(tool.parameters, set(call.arguments)),
        )
        try:
            arguments = json.loads(generator.complete(prompt)[0].text)
        except ValueError:
            return False
        if tool.effect is not Effect.PURE:
            if arguments != call.arguments:
                return False
            continue
        result = rerun.run(Call(name=call.name, arguments=arguments), executor)
        if result.error is not None or trace.results[number : number + 1] != (result.value,):
            return False
    return True


def _likeliest(config: VerifyConfig, passed: list[Trace], reasons: dict[str, str]) -> list[Trace]:
    """At most ``kept_per_call`` requests per call and ``per_tool`` calls per tool; ``passed`` comes likeliest first."""
    wordings: Counter[str] = Counter()
    calls_of: defaultdict[str, set[str]] = defaultdict(set)
    kept = []
    for trace in passed:
        if not trace.calls or trace.lived:
            kept.append(trace)
            continue
        key, calls = trace.calls_key, calls_of[trace.calls[0].name]
        if wordings[key] >= config.kept_per_call:
            reasons[trace.id] = "call_has_a_likelier_request"
        elif key not in calls and len(calls) >= config.per_tool:
            reasons[trace.id] = "tool_has_enough"
        else:
            wordings[key] += 1
            calls.add(key)
            kept.append(trace)
    return kept


def _write(folder: Path, kept: list[Trace], verdicts: list[Verdict]) -> Verified:
    files = folder / "kept.jsonl", folder / "verdicts.jsonl"
    write_lines(files[0], kept)
    write_lines(files[1], verdicts)
    dropped: dict[str, int] = defaultdict(int)
    for verdict in verdicts:
        if not verdict.kept:
            dropped[verdict.reason] += 1
    return Verified(
        file=files[0],
        verdicts_file=files[1],
        kept=len(kept),
        kept_by_maker=dict(Counter(trace.maker for trace in kept)),
        dropped=dict(sorted(dropped.items(), key=lambda item: -item[1])),
    )
