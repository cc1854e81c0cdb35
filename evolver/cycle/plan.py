"""Plan of the next cycle: what it would learn, from whom, and what it would cost, read from the log and the ledger.

Nothing is trained, executed or written to a cycle's folder, and the model is not asked. The search's encoder is.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from agent.log.interaction_log import InteractionLog
from evolver.config import Config
from evolver.cycle.client_tools import may_make
from evolver.cycle.earlier_lessons import earlier_lessons
from evolver.evaluation import suites
from evolver.lessons import client_turn, held_back
from evolver.lessons.admission import LessonPolicy, reject
from evolver.lessons.client_tools import OwnTools
from evolver.lessons.drop_reason import DropReason
from evolver.lessons.duplicates import Accepted
from evolver.mining.mine import mine
from evolver.mining.no_lesson import NoLesson
from evolver.mining.turns import LoggedTurns
from evolver.store.ledger import Ledger
from evolver.store.seen_tools import ToolCatalogue
from evolver.store.tenants import mined_up_to, rows_of, seen_by
from evolver.types import Frozen, Mined, Trace
from toolkit.registry import ToolRegistry
from toolkit.search import VECTORS_FILE, ToolIndex
from toolkit.sources import load_local_tools

_EARLIER = 5
"""Finished cycles whose duration is told."""


class Teacher(Frozen):
    """The turns of one API key through one source that a cycle would look at.

    ``turns`` become tasks; of these ``candidates`` could be lessons, ``lessons`` pass every check that needs neither
    model nor sandbox, ``not_executed`` of them by the log alone. ``dropped`` counts the others by DropReason,
    ``no_candidates`` the turns that are no candidates by NoLesson.
    """

    source: str
    tenant: str
    owner: str
    turns: int
    candidates: int
    lessons: int
    not_executed: int
    dropped: dict[str, int]
    no_candidates: dict[str, int]


class Plan(Frozen):
    """``own_tools`` may be executed for lessons, ``client_tools`` may be made up for; ``client_calls`` for each.

    ``minutes`` are those of the newest finished cycles; ``most_minutes`` the limits of generation (``make_minutes``)
    and training together, None where training has none. ``held_back`` are requests that the suite ``own`` would take
    of the lessons. ``no_task`` counts turns of which no task is made by NoLesson.
    """

    interactions: int
    teachers: tuple[Teacher, ...]
    over_quota: int
    quarantined: dict[str, int]
    no_task: dict[str, int]
    held_back: int
    own_tools: int
    client_tools: tuple[str, ...]
    client_calls: int
    minutes: tuple[float, ...]
    make_minutes: float
    most_minutes: float | None


def plan(config: Config, ledger: Ledger) -> Plan:
    """Return the plan of the next cycle of the ledger's tenant. Tools of MCP servers are left out: no server is started
    for it.

    Raises UserError as the tools do, and StorageError.
    """
    registry = load_local_tools(config.toolkit)
    catalogue = ToolCatalogue(ledger)
    with InteractionLog.open_readonly(config.data_folder / "interactions.db") as log:
        catalogue.refresh(log)
        mined = mine(
            config.evolver.mine,
            LoggedTurns.since(log, mined_up_to(config, ledger), rows_of(config, ledger.tenant)),
            own=OwnTools(registry),
            learn_from_upstream=config.agent.serving.shadow.learn_from_upstream,
        )
    policy = policy_of(config, registry)
    earlier = earlier_lessons(config, ledger, 1 + max((row.number for row in ledger.cycles()), default=0))
    found = judged(mined.worked, earlier, policy)
    kept = [trace for trace, reason in found if reason is None]
    make, train = config.evolver.make, config.evolver.train
    return Plan(
        interactions=mined.interactions,
        teachers=tuple(_teachers(mined, found)),
        over_quota=mined.over_quota,
        quarantined=mined.quarantined,
        no_task=mined.no_task,
        held_back=_held_back(config.data_folder, kept, earlier, policy, config.evolver.gate.own_share),
        own_tools=sum(policy.may_run(tool) for tool in registry),
        client_tools=tuple(
            tool.name for tool in seen_by(config, ledger.tenant, catalogue.tools()) if may_make(make, tool)
        ),
        client_calls=make.client_calls,
        minutes=_minutes(ledger),
        make_minutes=make.max_minutes,
        most_minutes=make.max_minutes + train.max_minutes if train.max_minutes else None,
    )


def _minutes(ledger: Ledger) -> tuple[float, ...]:
    done = [row for row in ledger.cycles() if row.status in ("promoted", "rejected", "waiting")]
    return tuple(round((row.ended_at - row.started_at) / 60, 1) for row in done if row.ended_at is not None)[:_EARLIER]


def only_another_models(found: Plan) -> bool:
    """Return whether no turn is a candidate, and other models wrote turns that would be one."""
    theirs = any(NoLesson.ANOTHER_MODEL in one.no_candidates for one in found.teachers)
    return theirs and not any(one.candidates for one in found.teachers)


def usual_minutes(found: Plan) -> float | None:
    """Return the median duration of earlier cycles; None before the first."""
    return median(found.minutes) if found.minutes else None


def policy_of(config: Config, registry: ToolRegistry) -> LessonPolicy:
    """Return the policy of a cycle with these tools."""
    return LessonPolicy(
        tools=registry,
        index=ToolIndex(registry, vectors_file=config.data_folder / VECTORS_FILE),
        held_out=suites.Fingerprints(),
        personal_data=config.evolver.verify.drop_personal_data,
        allow_reads=config.evolver.make.allow_reads,
    )


def judged(
    traces: Sequence[Trace], earlier: Iterable[Trace], policy: LessonPolicy
) -> list[tuple[Trace, DropReason | None]]:
    """Return ``traces`` with the reasons to drop them, None to keep: as ``verify`` finds them, in its order, as far as
    nothing needs to run."""
    accepted = Accepted(earlier)
    found = []
    for trace in traces:
        reason = accepted.repeated_by(trace) or reject(trace, policy) or _unfit(trace, policy)
        if reason is None:
            accepted.add(trace)
        found.append((trace, reason))
    return found


def _unfit(trace: Trace, policy: LessonPolicy) -> DropReason | None:
    problems = (client_turn.problem(policy.tool_of(trace, call.name), call.arguments) for call in trace.calls)
    return next((problem for problem in problems if problem is not None), None)


def _teachers(mined: Mined, judged: Sequence[tuple[Trace, DropReason | None]]) -> Iterable[Teacher]:
    """Yield the teachers, those with the most lessons first."""
    turns: defaultdict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for task in mined.tasks:
        turns[task.source, task.tenant, task.owner][task.no_lesson] += 1
    by_place: dict[tuple[str, str, str], list[tuple[Trace, DropReason | None]]] = {place: [] for place in turns}
    for trace, reason in judged:
        source, tenant, owner, *_ = trace.provenance.session.split("/", 3)
        by_place.setdefault((source, tenant, owner), []).append((trace, reason))
    found = [
        Teacher(
            source=place[0],
            tenant=place[1],
            owner=place[2],
            turns=turns[place].total(),
            candidates=len(ones),
            lessons=sum(reason is None for _, reason in ones),
            not_executed=sum(reason is None and trace.provenance.not_executed for trace, reason in ones),
            dropped=dict(Counter(reason.value for _, reason in ones if reason is not None).most_common()),
            no_candidates={reason: count for reason, count in turns[place].most_common() if reason},
        )
        for place, ones in by_place.items()
    ]
    return sorted(found, key=lambda one: (-one.lessons, -one.turns, one.source, one.tenant, one.owner))


def _held_back(
    data_folder: Path, kept: Sequence[Trace], earlier: Sequence[Trace], policy: LessonPolicy, share: float
) -> int:
    before = held_back.held_back(data_folder, earlier)
    return len(held_back.choose(kept, before, tools=policy.tools, good=(), share=share, rng=random.Random(0)))
