"""The section of docs/results.md with what the benchmark of client applications measured."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from benchmarks.clients.applications import APPLICATIONS
from benchmarks.clients.outcomes import PHASES, Cycle, Forgetting, Outcome, Phase, Results
from benchmarks.clients.tenancy import Tenancy
from evolver.cli.show_plan import plan_text
from evolver.scores import Rate
from evolver.statistics import mean, rate, sign_test

BEGIN, END = "<!-- bench-clients begins -->", "<!-- bench-clients ends -->"
"""Lines of docs/results.md between which the section stands."""
_SHOWN = 5


def section(results: Results) -> str:
    """Return the section: what was measured, and nothing else."""
    lines = [results.setting]
    start, cycle = results.start, results.cycle
    if start is None:
        return "\n".join([*lines, "", "No run is published yet."])
    lines += ["", f"Measured on: {start.where}; {start.when}. Asked before: `{start.model}`."]
    if cycle is not None:
        lines += [f"Asked after the cycle: `{cycle.model}` ({_ended(cycle)})."]
    lines += ["", *_scores(results.outcomes)]
    lines += ["", *_problems(results.outcomes), *_durations(results.outcomes, cycle)]
    if cycle is not None:
        lines += ["", *_mined(cycle), "", *_learned(cycle, results.outcomes)]
    if results.plan is not None:
        lines += ["", "`evolver audit --plan` before the cycle:", "", "```text", plan_text(results.plan), "```"]
    if results.tenancy is not None:
        lines += ["", *_tenants(results.tenancy)]
    if results.forgetting is not None:
        lines += ["", *_forgotten(results.forgetting)]
    return "\n".join(lines)


def _ended(cycle: Cycle) -> str:
    reason = f": {cycle.reason}" if cycle.reason else ""
    return f"cycle {cycle.number} {cycle.status}{reason}; {cycle.lessons} lessons"


def _scores(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "| application | requests | exact before | after | difference | success before | after | difference |"
    yield "| --- " * 8 + "|"
    groups: list[tuple[str, list[Outcome]]] = []
    for one in APPLICATIONS:
        mine = [o for o in outcomes if o.application == one.name and o.tool]
        name = f"{one.name} ({one.framework})"
        groups += [(f"{name}, reading", [o for o in mine if not o.effect])]
        groups += [(f"{name}, with effects", [o for o in mine if o.effect]), (f"{name}, all", mine)]
    groups += [("all with a tool", [o for o in outcomes if o.tool])]
    for name, mine in groups:
        counted = len({(o.application, o.number) for o in mine if o.phase != "traffic"})
        yield f"| {name} | {counted} | {' | '.join(_cells(mine, 'exact'))} | {' | '.join(_cells(mine, 'success'))} |"
    quiet = [o for o in outcomes if not o.tool]
    yield ""
    yield (
        f"Requests that need no tool, answered without a call: {_rate(_of(quiet, 'before', 'success'))} before, "
        f"{_rate(_of(quiet, 'after', 'success'))} after. *Success*: the application's data and what its tools returned "
        "are those of the expected calls. Differences are paired, in points, with the 95 % interval of Student's t "
        "and the one-sided p of the sign test."
    )


def _cells(outcomes: Sequence[Outcome], what: str) -> list[str]:
    before, after = _of(outcomes, "before", what), _of(outcomes, "after", what)
    return [_rate(before), _rate(after), difference(outcomes, what)]


def difference(outcomes: Sequence[Outcome], what: str) -> str:
    """Return by how much ``what`` (exact or success) rose over the requests that were asked before and after."""
    pairs = _pairs(outcomes, what)
    found = mean([float(after) - float(before) for before, after in pairs])
    if found is None:
        return "–"
    better = sum(after and not before for before, after in pairs)
    worse = sum(before and not after for before, after in pairs)
    points = f"{100 * found.value:+.0f} ({100 * found.low:+.0f} to {100 * found.high:+.0f})"
    return f"{points}, {better} better, {worse} worse, p = {sign_test(better, worse):.2g}"


def _pairs(outcomes: Sequence[Outcome], what: str) -> list[tuple[bool, bool]]:
    by_phase: dict[Phase, dict[tuple[str, int], bool]] = {"before": {}, "after": {}}
    for one in outcomes:
        if one.phase in by_phase:
            by_phase[one.phase][one.application, one.number] = getattr(one, what)
    before, after = by_phase["before"], by_phase["after"]
    return [(before[key], after[key]) for key in before if key in after]


def _problems(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield how many turns ended with an error of the framework, and which."""
    groups = [(phase, one.name) for phase in PHASES for one in APPLICATIONS]
    found = []
    for phase, name in groups:
        mine = [o for o in outcomes if (o.phase, o.application) == (phase, name)]
        kinds = Counter(o.problem.partition(":")[0] for o in mine if o.problem)
        if kinds:
            found.append(f"{name} {phase} {kinds.total()} of {len(mine)} ({_counts(kinds)})")
    yield f"Turns that ended with an error of the framework: {'; '.join(found) or 'none'}."


def _durations(outcomes: Sequence[Outcome], cycle: Cycle | None) -> Iterator[str]:
    told = []
    for phase in PHASES:
        seconds = [o.seconds for o in outcomes if o.phase == phase]
        if seconds:
            told.append(f"{phase} {median(seconds):.1f} and {max(seconds):.1f}")
    yield f"Median and longest seconds of a turn: {', '.join(told) or 'none'}."
    if cycle is not None:
        stages = ", ".join(f"{name} {seconds:.0f}" for name, seconds in cycle.seconds.items())
        yield f"The cycle took {cycle.minutes:g} minutes" + (f"; seconds by stage: {stages}." if stages else ".")


def _mined(cycle: Cycle) -> Iterator[str]:
    yield "| application | turns in the log | taken by mining | of which | in quarantine | others |"
    yield "| --- " * 6 + "|"
    for one in cycle.learned:
        taken = sum(one.tasks.values())
        others = one.turns - taken - one.quarantined
        yield f"| {one.application} | {one.turns} | {taken} | {_counts(one.tasks)} | {one.quarantined} | {others} |"
    yield ""
    yield (
        "*In quarantine*: most calls of this client were trouble. *Others*: the request was taken from another turn, "
        f"the turn was called bad, or a limit of `[evolver.mine]` was reached (for {cycle.over_quota} turns of all)."
    )


def _learned(cycle: Cycle, outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield (
        "| application | logged turns, exact | planned lessons | lessons of them, right ones "
        "| left out, right ones | reasons | made lessons |"
    )
    yield "| --- " * 7 + "|"
    for one in cycle.learned:
        traffic = [o for o in outcomes if o.application == one.application and o.tool]
        yield (
            f"| {one.application} | {_rate(_of(traffic, 'traffic', 'exact'))} | {one.planned} | "
            f"{_rate(rate(one.right, one.logged))} | {_rate(rate(one.dropped_right, one.dropped))} | "
            f"{_counts(one.reasons)} | {one.made} |"
        )
    words = Counter(o.feedback for o in outcomes if o.feedback)
    yield ""
    yield (
        "*Right*: the turn has the calls that the request needs, which only the benchmark knows. *Planned*: what "
        "`--plan` promised of each before the cycle. People called "
        f"{words['good']} turns good and {words['bad']} bad, as the application's own check found them."
    )


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered) or "–"


def _tenants(found: Tenancy) -> Iterator[str]:
    yield "| tenant | answers | logged interactions | lines of lessons, traces and prompts in the cycles |"
    yield "| --- " * 4 + "|"
    for one in APPLICATIONS:
        counts = (of.get(one.name, 0) for of in (found.answers, found.interactions, found.lines))
        yield f"| {one.name} | {' | '.join(map(str, counts))} |"
    yield ""
    yield f"With something of another tenant: {len(found.mixed)}{_some(found.mixed)}."


def _forgotten(found: Forgetting) -> Iterator[str]:
    marked = ", ".join(f"`{name}`" for name in found.adapters) or "none"
    gone = ", ".join(f"`{name}`" for name in found.client_tools) or "none"
    yield (
        f"`evolver forget --session {found.session} --owner {found.application}`: {found.interactions} "
        f"interactions and {found.values} values made from them are deleted; marked adapters: {marked}; "
        f"tools that nothing else showed: {gone}. "
        f"Files that still hold something of it: {len(found.left)}{_some(found.left)}."
    )


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return f" ({'; '.join(texts[:_SHOWN])}{more})" if texts else ""


def _of(outcomes: Sequence[Outcome], phase: Phase, what: str) -> Rate:
    mine = [getattr(one, what) for one in outcomes if one.phase == phase]
    return rate(sum(mine), len(mine))


def _rate(found: Rate) -> str:
    return f"{found.hits}/{found.n} ({100 * found.low:.0f}–{100 * found.high:.0f})" if found.n else "–"
