"""Candidate traces -> the ones fit to learn from, each with a verdict and its reason.

Every call is executed again in the sandbox and must give the same result; the request must state every argument and no
other number; the model, shown it, must arrive at the same result (round trip). Most of these checks are about
requests whose call executes and is still not what they ask for (30 % in APIGen, arXiv 2406.18518).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from evolver.config import VerifyConfig
from evolver.context import StageContext
from evolver.crew.workshop import Workshop
from evolver.lessons import checks, reexecution
from evolver.lessons.admission import LessonPolicy
from evolver.lessons.drop_reason import DropReason
from evolver.lessons.duplicates import Accepted
from evolver.model import prompts
from evolver.model.client import Prompt
from evolver.model.sampling_schemas import restricted
from evolver.store.jsonl import write_lines
from evolver.text.value_spans import plainly
from evolver.types import Call, Trace, TraceKind, TraceVerdict, Verdict, Verified
from evolver.verification.check_traces import check_traces
from toolkit.tool import Effect

_CALL_TOKENS = 96


def verify(context: StageContext, config: VerifyConfig, traces: Sequence[Trace]) -> Verified:
    """Check ``traces``; write kept.jsonl and verdicts.jsonl.

    Traces that earlier cycles kept are not kept again. Logged calls of tools that may not run are taken as logged if
    they fit their schemas; so are those of clients' tools, which need further signs (evolver.lessons.client_turn). The
    calls of a correction are executed first, where lessons may run them. Raises SandboxUnavailable, without a verdict,
    if isolation broke; ModelUnavailable and StageError if the round trip gets no answer.
    """
    reasons: dict[str, DropReason | None] = {}
    parts = 2 if config.round_trip else 1
    say = _part(0, parts, context)
    accepted, passed = Accepted(context.earlier), list[Trace]()
    with closing(check_traces(context, accepted, sorted(traces, key=_first))) as found:
        for done, (trace, reason) in enumerate(found, 1):
            reasons[trace.id] = accepted.repeated_by(trace) or reason
            if reasons[trace.id] is None:
                accepted.add(trace)
                passed.append(_marked(trace, context.policy))
            say(done / len(traces), len(passed))
    if config.round_trip:
        passed = _round_trips(context, config, passed, reasons, _part(1, parts, context))
    kept = _likeliest(config, passed, reasons)
    context.say(1.0, f"{len(kept)} fit")
    verdicts = [TraceVerdict.of(trace, reasons[trace.id]).verdict for trace in traces]
    return _write(context.folder, kept, verdicts, context.policy.held_out.names)


def _first(trace: Trace) -> tuple[bool, float]:
    """Return a sort key: corrections first, then by likelihood."""
    return trace.kind != TraceKind.CORRECTED, -trace.mean_logprob


def _marked(trace: Trace, policy: LessonPolicy) -> Trace:
    """Return a logged or a client's trace with the mark of whether its calls were all executed."""
    if trace.client_turn is None and not trace.provenance.interaction_id:
        return trace
    return trace.sourced(not_executed=not all(policy.runs(trace, call.name) for call in trace.calls))


def _part(number: int, parts: int, context: StageContext) -> Callable[[float, int], None]:
    """Progress of one of several ``parts``, told as that of all."""
    return lambda share, fit: context.say((number + share) / parts, f"{fit} fit")


def _round_trips(
    context: StageContext,
    config: VerifyConfig,
    passed: list[Trace],
    reasons: dict[str, DropReason | None],
    say: Callable[[float, int], None],
) -> list[Trace]:
    """Those whose request leads the model to the same results; only the likeliest few of each call are tried, and only
    calls whose values could be mistaken for one another."""
    tries: Counter[str] = Counter()
    chosen: list[Trace] = []
    returned: list[Trace] = []
    for trace in passed:
        key = trace.calls_key
        tries[key] += 1
        if trace.kind != TraceKind.BACK_TRANSLATION or not any(
            _mistakable(trace, c, context.policy) for c in trace.calls
        ):
            returned.append(trace)
        elif tries[key] <= config.round_trips_per_call:
            chosen.append(trace)
        else:
            reasons[trace.id] = DropReason.CALL_HAS_A_LIKELIER_REQUEST
    same = set[int]()
    with closing(context.crew.each(map(RoundTrip, chosen))) as found:
        for done, (number, arrives) in enumerate(found, 1):
            if arrives:
                same.add(number)
            else:
                reasons[chosen[number].id] = DropReason.ROUND_TRIP_DIFFERS
            say(done / len(chosen), len(returned) + len(same))
    returned += [chosen[number] for number in sorted(same)]
    return sorted(returned, key=lambda trace: -trace.mean_logprob)


def _mistakable(trace: Trace, call: Call, policy: LessonPolicy) -> bool:
    tool = policy.tool_of(trace, call.name)
    return tool is None or checks.mistakable(tool, call)


@dataclass(frozen=True)
class RoundTrip:
    """Asks the model for the call that the request of ``trace`` means."""

    trace: Trace

    def do(self, workshop: Workshop) -> bool:
        """Return whether the model arrives at the same call. It must find which value goes where: that 5% is 0.05 is
        certain, and more than a small model knows."""
        return _arrives(self.trace, workshop)


def _arrives(trace: Trace, workshop: Workshop) -> bool:
    for number, call in enumerate(trace.calls):
        tool = workshop.policy.tool_of(trace, call.name)
        if tool is None:
            return False
        prompt = Prompt(
            text=prompts.call_prompt(tool, plainly(trace.request, call.arguments.values())),
            max_tokens=_CALL_TOKENS,
            temperature=0.0,
            stop=(),
            json_schema=restricted(tool.parameters, set(call.arguments)),
            sources=tuple(sorted(trace.provenance.interactions)) if trace.client_turn else (),
        )
        try:
            arguments = json.loads(workshop.generator.complete(prompt)[0].text)
        except ValueError:
            return False
        if tool.effect is not Effect.PURE:
            if arguments != call.arguments:
                return False
            continue
        result = reexecution.execute(Call(name=call.name, arguments=arguments), workshop.executor)
        if result.error is not None or trace.results[number : number + 1] != (result.value,):
            return False
    return True


def _likeliest(config: VerifyConfig, passed: list[Trace], reasons: dict[str, DropReason | None]) -> list[Trace]:
    """Choose at most ``kept_per_call`` requests per call and ``per_tool`` calls per tool; ``passed`` comes likeliest
    first."""
    wordings: Counter[str] = Counter()
    calls_of: defaultdict[str, set[str]] = defaultdict(set)
    kept = []
    for trace in passed:
        if not trace.calls or trace.lived:
            kept.append(trace)
            continue
        key, calls = trace.calls_key, calls_of[trace.calls[0].name]
        if wordings[key] >= config.kept_per_call:
            reasons[trace.id] = DropReason.CALL_HAS_A_LIKELIER_REQUEST
        elif key not in calls and len(calls) >= config.per_tool:
            reasons[trace.id] = DropReason.TOOL_HAS_ENOUGH
        else:
            wordings[key] += 1
            calls.add(key)
            kept.append(trace)
    return kept


def _write(folder: Path, kept: list[Trace], verdicts: list[Verdict], against: tuple[str, ...]) -> Verified:
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
        kept_by_kind=dict(Counter(trace.kind for trace in kept)),
        dropped=dict(sorted(dropped.items(), key=lambda item: -item[1])),
        against=against,
        not_executed=sum(trace.provenance.not_executed for trace in kept),
    )
