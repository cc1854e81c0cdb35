"""What a cycle made of the traffic of each application. Only the benchmark knows which calls are right."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from agent.log.entries import GATEWAY_SOURCE
from agent.log.interaction_log import FILE, InteractionLog
from benchmarks.clients.applications import APPLICATIONS, Application, is_exact
from benchmarks.clients.asking import as_put, session_name
from benchmarks.clients.outcomes import Learned
from benchmarks.clients.requests import Request
from evolver.config import Config
from evolver.cycle import stages
from evolver.cycle.plan import Plan
from evolver.cycle.report import CycleReport
from evolver.maintenance.audit import read_verdicts
from evolver.store.cycle_folder import cycle_folder
from evolver.types import Mined, Provenance, Trace, TraceKind, TraceVerdict


def learned(config: Config, report: CycleReport, plan: Plan, turns: int, since: str) -> list[Learned]:
    """Return what the cycle learned of each application's ``turns``, logged after the interaction ``since``."""
    verdicts = read_verdicts(cycle_folder(config.data_folder, report.cycle.number))
    mined = report.of(stages.MINE) or Mined(interactions=0, last_interaction_id="")
    with InteractionLog.open_readonly(config.data_folder / FILE) as log:
        logged = Counter(one.tenant for one in log.whole_turns(after=since) if one.source == GATEWAY_SOURCE)
    return [
        Learned(
            application=one.name,
            turns=logged[one.name],
            tasks=dict(Counter(task.kind for task in mined.tasks if task.tenant == one.name)),
            quarantined=mined.quarantined.get(f"{GATEWAY_SOURCE} {one.name}/{one.name}", 0),
            planned=sum(teacher.lessons for teacher in plan.teachers if teacher.tenant == one.name),
            **judged(one, verdicts, turns),
        )
        for one in APPLICATIONS
    ]


def judged(application: Application, verdicts: Sequence[TraceVerdict], turns: int) -> dict[str, Any]:
    """Return the counts of ``Learned`` that come from the verdicts on traces."""
    desk, asked = application.opened(), _asked(application, turns)
    counts = dict.fromkeys(("logged", "right", "made", "dropped", "dropped_right"), 0)
    reasons = Counter[str]()
    for one in verdicts:
        trace, kept = one.trace, one.verdict.kept
        request = asked.get((session_of(trace.provenance), as_put(trace.request)))
        if trace.kind in (TraceKind.LOGGED, TraceKind.REPAIRED) and request is not None:
            counts["logged" if kept else "dropped"] += 1
            counts["right" if kept else "dropped_right"] += is_exact(desk, request, list(trace.calls))
            reasons.update([] if kept else [one.verdict.reason])
        elif kept and _is_made(trace, application):
            counts["made"] += 1
    return {**counts, "reasons": dict(reasons.most_common())}


def session_of(provenance: Provenance) -> str:
    """Return the name of the session of a trace, without source, tenant and owner."""
    return provenance.session.rpartition("/")[2]


def _is_made(trace: Trace, application: Application) -> bool:
    """Return whether a trace has a made call of the application. Another's tools may have names of its own."""
    return trace.client_turn is not None and any(call.name in application.desk.tool_names for call in trace.calls)


def _asked(application: Application, turns: int) -> Mapping[tuple[str, str], Request]:
    """Return the requests of the traffic by session and text."""
    return {
        (session_name("traffic", application, turn), turn.request.text): turn.request
        for talk in application.traffic(turns)
        for turn in talk
    }
