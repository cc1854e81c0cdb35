"""Text view of what the next cycle would learn."""

from evolver.cycle.plan import Plan, Teacher, usual_minutes
from toolkit.tables import table_text

_MOST_REASONS = 4


def plan_text(plan: Plan) -> str:
    """Say from whom a cycle would learn, how much, and what it would cost."""
    lines = [f"{plan.interactions} new interactions"]
    if plan.teachers:
        columns = ("SOURCE", "KEY", "TENANT", "TURNS", "LESSONS", "NOT EXECUTED", "DROPPED")
        lines.append(table_text(columns, [_row(one) for one in plan.teachers]))
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
    reasons = [f"{reason} {count}" for reason, count in one.dropped.items()]
    more = sum(list(one.dropped.values())[_MOST_REASONS:])
    shown = ", ".join(reasons[:_MOST_REASONS] + ([f"others {more}"] if more else []))
    figures = (one.turns, one.lessons, one.not_executed)
    return (one.source, one.owner or "-", one.tenant or "-", *map(str, figures), shown or "-")


def _cost(plan: Plan) -> str:
    usual = usual_minutes(plan)
    before = f"{usual:g} minutes as earlier cycles" if usual is not None else "unknown before the first cycle"
    limit = f"{plan.most_minutes:g} minutes at most" if plan.most_minutes is not None else "no limit of training"
    return f"cost: {before}; generation and training: {limit}"
