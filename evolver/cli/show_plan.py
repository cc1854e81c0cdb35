"""Text view of what the next cycle would learn."""

from collections import Counter
from collections.abc import Mapping

from evolver.cycle.plan import Plan, Teacher, only_another_models, usual_minutes
from toolkit.tables import table_text

_MOST_REASONS = 4
_OTHERS = (
    "no turn can be learned from: other models answered. If you may train on their answers, set [agent.serving.shadow] "
    "learn_from_upstream = true, or import the file again with: agent import FILE --own"
)


def plan_text(plan: Plan) -> str:
    """Say from whom a cycle would learn, how much, and what it would cost."""
    lines = [f"{plan.interactions} new interactions"]
    if plan.teachers:
        columns = ("SOURCE", "KEY", "TENANT", "TURNS", "LESSONS", "NOT EXECUTED", "NO LESSON")
        lines.append(table_text(columns, [_row(one) for one in plan.teachers]))
    if only_another_models(plan):
        lines.append(_OTHERS)
    if plan.no_task:
        lines.append(f"{sum(plan.no_task.values())} turns are no task: {_counts(plan.no_task)}")
    if plan.over_quota:
        lines.append(f"{plan.over_quota} turns are above a limit of [evolver.mine]")
    lines += [f"in quarantine: {place}, {count} turns" for place, count in sorted(plan.quarantined.items())]
    lines.append(f"{plan.held_back} of the lessons would be held back for the suite own")
    lines.append(f"beside these, calls are made and executed for {plan.own_tools} tools of this machine")
    if plan.client_tools:
        names = ", ".join(sorted(set(plan.client_tools)))
        lines.append(f"and {plan.client_calls} calls made up, not executed, for each of the clients' tools: {names}")
    lines.append(_cost(plan))
    return "\n".join(lines)


def _row(one: Teacher) -> tuple[str, ...]:
    reasons = Counter(one.no_candidates) + Counter(one.dropped)
    figures = (one.turns, one.lessons, one.not_executed)
    return (one.source, one.owner or "-", one.tenant or "-", *map(str, figures), _counts(reasons) or "-")


def _counts(reasons: Mapping[str, int]) -> str:
    """Tell the most frequent reasons with their counts, and the rest as one."""
    found = Counter(reasons).most_common()
    more = sum(count for _, count in found[_MOST_REASONS:])
    shown = [f"{reason} {count}" for reason, count in found[:_MOST_REASONS]]
    return ", ".join(shown + ([f"others {more}"] if more else []))


def _cost(plan: Plan) -> str:
    usual = usual_minutes(plan)
    limit = f"{plan.most_minutes:g} minutes at most" if plan.most_minutes is not None else "no limit of training"
    if usual is not None:
        return f"cost: {usual:g} minutes as earlier cycles; generation and training: {limit}"
    if plan.most_minutes is None:
        limit = f"generation {plan.make_minutes:g} minutes at most, training as long as it takes"
    else:
        training = plan.most_minutes - plan.make_minutes
        limit = f"{limit} (generation {plan.make_minutes:g}, training {training:g})"
    return f"cost, by the limits of the configuration: {limit}; verification and evaluation come on top"
