"""Candidate traces -> the ones fit to learn from, each with a verdict and its reason.

Every call is executed again in the sandbox and must give the same result; the request must state every argument and no
other number; the model, shown the request, must arrive at the same result (round trip). Most of these checks are about
requests whose call executes and is still not what they ask for (30 % in APIGen, arXiv 2406.18518).
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import JsonValue

from evolver import few_shots
from evolver.config import VerifyConfig
from evolver.generate import Generator, Prompt
from evolver.jsonl import append_lines
from evolver.schemas import restricted
from evolver.text import normalised, numbers, states
from evolver.types import Call, Trace, Verdict, Verified
from toolkit.execute import Executor
from toolkit.search import ToolIndex
from toolkit.tool import ToolCall, render_result

_MARKERS = ("<tool", "</tool", "<|im_", "{", "}", "_")
"""What betrays a text that is no plain sentence."""
_ENDS = re.compile(r"[.?!\"')]$|\w$")
_SHORTEST, _LONGEST = 8, 300
_FITTING = 3
_CALL_TOKENS = 96
_LOCAL_SHARE = 0.5


def verify(
    config: VerifyConfig,
    traces: Iterable[Trace],
    executor: Executor,
    folder: Path,
    *,
    index: ToolIndex,
    generator: Generator | None,
    known: Collection[str] = (),
    held_out: Callable[[str], bool] = lambda request: False,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Verified:
    """Judge ``traces``; write kept.jsonl and verdicts.jsonl into ``folder``.

    ``known`` are normal forms of requests that earlier cycles learned from; ``held_out`` says whether a request stands
    in a suite; ``index`` finds the tools that a request speaks of; ``generator`` asks the model for the round trip
    (None: no round trip). A call that cannot be judged because isolation broke raises SandboxUnavailable: no verdict.
    """
    judged = list(traces)
    reasons: dict[str, str] = {}
    seen = set(known)
    passed: list[Trace] = []
    for done, trace in enumerate(sorted(judged, key=lambda trace: -trace.likelihood), 1):
        reason = (
            _wording(trace, seen, held_out)
            or _grounding(trace)
            or _meaning(trace, index)
            or _execution(trace, executor)
        )
        reasons[trace.id] = reason
        if not reason:
            seen.add(normalised(trace.request))
            passed.append(trace)
        on_progress(_LOCAL_SHARE * done / len(judged))
    if generator is not None:
        passed = _round_trips(config, passed, reasons, executor, generator, on_progress)
    kept = _likeliest(config, passed, reasons)
    on_progress(1.0)
    verdicts = [Verdict(trace_id=trace.id, kept=not reasons[trace.id], reason=reasons[trace.id]) for trace in judged]
    return _write(folder, kept, verdicts)


def _wording(trace: Trace, seen: set[str], held_out: Callable[[str], bool]) -> str:
    request = trace.request
    if not _SHORTEST <= len(request) <= _LONGEST or not _ENDS.search(request):
        return "no_sentence"
    if "  " in request or any(marker in request for marker in _MARKERS):
        return "no_plain_wording"
    if normalised(request) in seen:
        return "duplicate"
    if held_out(request):
        return "held_out"
    return ""


def _grounding(trace: Trace) -> str:
    if not trace.calls:
        return "may_need_a_tool" if numbers(trace.request) else ""
    values = [value for call in trace.calls for value in call.arguments.values()]
    if not all(states(trace.request, value) for value in values):
        return "argument_not_stated"
    if any(len({repr(v) for v in call.arguments.values()}) < len(call.arguments) for call in trace.calls):
        return "arguments_are_alike"
    stated = {number for value in values for number in _numbers_in(value)}
    if any(number not in stated for number in numbers(trace.request)):
        return "states_another_number"
    return "tells_the_result" if _tells_result(trace) else ""


def _meaning(trace: Trace, index: ToolIndex) -> str:
    """A request that speaks more of other tools than of its own asks for something else than its call does."""
    fitting = {tool.name for tool in index.top(trace.request, _FITTING)}
    return "" if all(call.name in fitting for call in trace.calls) else "speaks_of_another_tool"


def _numbers_in(value: JsonValue) -> list[float]:
    return numbers(json.dumps(value, ensure_ascii=False)) if not isinstance(value, str) else numbers(value)


def _tells_result(trace: Trace) -> bool:
    """A request that already holds the answer asks nothing."""
    for result in trace.results:
        if isinstance(result, str) and len(result) > 3 and states(trace.request, result):
            return not any(states(json.dumps(call.arguments, ensure_ascii=False), result) for call in trace.calls)
    return False


def _execution(trace: Trace, executor: Executor) -> str:
    for call, expected in zip(trace.calls, trace.results, strict=False):
        result = executor.execute(ToolCall(id="verify", name=call.name, arguments=call.arguments))
        if result.error is not None:
            return f"call_{result.error.kind.value}"
        if result.value != expected:
            return "result_changes"
        if len(render_result(result)) > _LONGEST:
            return "result_too_long"
    return ""


def _round_trips(
    config: VerifyConfig,
    passed: list[Trace],
    reasons: dict[str, str],
    executor: Executor,
    generator: Generator,
    on_progress: Callable[[float], None],
) -> list[Trace]:
    """Those whose request leads the model to the same results; only the likeliest few of each call are tried."""
    tries: Counter[str] = Counter()
    chosen: list[Trace] = []
    returned: list[Trace] = []
    for trace in passed:
        key = _key(trace.calls)
        tries[key] += 1
        if trace.maker != "answer_first":
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
            on_progress(_LOCAL_SHARE + (1 - _LOCAL_SHARE) * done / len(chosen))
    return sorted(returned, key=lambda trace: -trace.likelihood)


def _arrives(trace: Trace, executor: Executor, generator: Generator) -> bool:
    for call, expected in zip(trace.calls, trace.results, strict=True):
        tool = executor.registry.get(call.name)
        if tool is None:
            return False
        schema = restricted(tool.parameters, set(call.arguments))
        prompt = Prompt(
            text=few_shots.call_prompt(tool, trace.request),
            max_tokens=_CALL_TOKENS,
            temperature=0.0,
            stop=(),
            json_schema=schema,
        )
        try:
            arguments = json.loads(generator.complete(prompt)[0].text)
        except ValueError:
            return False
        result = executor.execute(ToolCall(id="verify", name=call.name, arguments=arguments))
        if result.error is not None or result.value != expected:
            return False
    return True


def _key(calls: Iterable[Call]) -> str:
    return json.dumps([call.model_dump() for call in calls], sort_keys=True)


def _likeliest(config: VerifyConfig, passed: list[Trace], reasons: dict[str, str]) -> list[Trace]:
    """At most ``kept_per_call`` requests per call and ``per_tool`` calls per tool; ``passed`` comes likeliest first."""
    wordings: Counter[str] = Counter()
    calls_of: defaultdict[str, set[str]] = defaultdict(set)
    kept = []
    for trace in passed:
        if not trace.calls or trace.maker == "log":
            kept.append(trace)
            continue
        key, calls = _key(trace.calls), calls_of[trace.calls[0].name]
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
    for file in files:
        file.unlink(missing_ok=True)
    append_lines(files[0], kept)
    append_lines(files[1], verdicts)
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
