"""The section of docs/results.md with what the benchmark of client applications measured."""

from collections.abc import Iterator, Sequence

from benchmarks.clients.applications import APPLICATIONS
from benchmarks.clients.outcomes import Cycle, Forgetting, Outcome, Phase, Results
from benchmarks.clients.tenancy import Tenancy
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
    if cycle is not None:
        lines += ["", *_learned(cycle, results.outcomes)]
    if results.plan:
        lines += ["", "`evolver audit --plan` before the cycle:", "", "```text", results.plan, "```"]
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
        groups += [(f"{name}, with effects", [o for o in mine if o.effect])]
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


def _learned(cycle: Cycle, outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "| application | logged turns, exact | lessons of them, right ones | left out, right ones | made lessons |"
    yield "| --- " * 5 + "|"
    for one in cycle.learned:
        traffic = [o for o in outcomes if o.application == one.application and o.tool]
        yield (
            f"| {one.application} | {_rate(_of(traffic, 'traffic', 'exact'))} | {_rate(rate(one.right, one.logged))} | "
            f"{_rate(rate(one.dropped_right, one.dropped))} | {one.made} |"
        )
    yield ""
    yield "*Right*: the turn has the calls that the request needs, which only the benchmark knows."


def _tenants(found: Tenancy) -> Iterator[str]:
    yield "| tenant | logged interactions | lines of lessons, traces and prompts in the cycles |"
    yield "| --- " * 3 + "|"
    for one in APPLICATIONS:
        yield f"| {one.name} | {found.interactions.get(one.name, 0)} | {found.lines.get(one.name, 0)} |"
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
