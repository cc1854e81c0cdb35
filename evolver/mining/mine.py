"""The interaction log -> tasks: what people asked, what followed, and which turns can serve as lessons.

A pure function of the log: the same interactions give the same tasks.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from agent.log.entries import COMPLETIONS_SOURCE, OWN_SOURCES
from agent.log.queries import SessionKey, session_of
from agent.text.matching import normalised
from agent.turn.messages import Interaction
from evolver.config import MineConfig
from evolver.lessons.client_tools import OwnTools
from evolver.mining.candidates import Candidate, Candidates
from evolver.mining.client_turns import Agreement, made_by, with_failures
from evolver.mining.no_lesson import NoLesson
from evolver.mining.outcomes import AFTER, IN_SIGHT, TRACES, Rules, Seen
from evolver.mining.quota import Quota
from evolver.mining.turn_parts import (
    in_order,
    request_of,
    task_of,
)
from evolver.mining.turns import Turns
from evolver.mining.uncertainty import SampleCalls, with_samples
from evolver.types import Mined, Task, TaskKind, Trace, TraceKind


def mine(
    config: MineConfig, turns: Turns, *,
    own: OwnTools | None = None, sample_calls: SampleCalls | None = None, learn_from_upstream: bool = False,
) -> Mined:  # fmt: skip
    """Sort the new turns of the log into tasks, and turn those that worked into traces.

    Tasks are in the order of the log, each request once, at most ``per_session`` from a session, ``per_user`` from the
    owner of an API key, and ``per_source`` from a source; turns that a person corrected take their room first. A new
    turn may repair an earlier one, which is then a lesson of the new turn's source.

    A turn is also a trace when its calls all ran without error, it was answered, nobody called it bad, and either
    somebody called it good or its request was not put again; and so is a failed turn with the calls that repaired it.
    A bad turn is one with what a person said would have been right; its calls have no results yet.
    With a request of a conversation go the last turns before it; where these are not in sight, or a system prompt
    steered the model, it is no trace. Calls without results in the log make none. A turn of a client that brought
    other tools than the ``own`` ones is a trace as it was served (evolver.mining.client_turns). Of what a model that is
    none of ours wrote no trace has anything, unless ``learn_from_upstream``; its requests are tasks.

    Reads ``turns`` twice, a few at a time: first to choose, then what was chosen. Raises as ``sample_calls`` does.
    """
    rules, quota = Rules(own or OwnTools(), learn_from_upstream), Quota(config)
    no_task: Counter[NoLesson] = Counter()
    chosen, late = _choose(turns, quota, rules, no_task)
    found = [(seen, one, _lesson(seen, one, turns)) for seen, one in _read_again(turns, chosen, rules)]
    tasks = [_task(seen, one, lesson) for seen, one, lesson in found]
    worked = in_order((one.kind, lesson) for _, one, lesson in found)
    if sample_calls is not None and config.uncertainty_sampling:
        tasks = with_samples(tasks, sample_calls, config.uncertainty_sampling)
    return Mined(
        interactions=turns.new,
        last_interaction_id=turns.last,
        tasks=tuple(tasks),
        worked=(*worked[0], *worked[1], *late, *worked[2]),
        by_kind=dict(Counter(task.kind for task in tasks)),
        by_source=dict(Counter(task.source for task in tasks)),
        by_user=dict(Counter(f"{task.tenant}/{task.owner}" for task in tasks if task.owner)),
        over_quota=quota.refused,
        quarantined=dict(quota.quarantined),
        no_task={reason.value: count for reason, count in no_task.most_common() if count},
    )


def _task(seen: Seen, chosen: "_Chosen", lesson: Trace | None) -> Task:
    reason = "" if lesson is not None else seen.no_lesson.value
    return task_of(seen.turn, chosen.kind, client=seen.client, no_lesson=reason)


def _choose(
    turns: Turns, quota: Quota, rules: Rules, no_task: Counter[NoLesson]
) -> "tuple[list[_Chosen], list[Trace]]":
    """Return the new turns that become tasks, and the traces of older turns that new ones repaired or that a person has
    corrected, perhaps after they were mined; verification knows which it has kept already. Those that become none are
    counted in ``no_task``, but for what the quota counts."""
    older: list[Seen] = []
    with Candidates() as candidates:
        for seen in _windows(turns.by_session(), rules):
            if not turns.is_new(seen.turn):
                if (seen.correction and seen.stands) or (seen.repair is not None and turns.is_new(seen.repair)):
                    older.append(seen)
                continue
            if seen.client and seen.turn.trajectory.calls:
                quota.note(session_of(seen.turn), troubled=seen.troubled)
            if seen.turn.source == COMPLETIONS_SOURCE or not normalised(request_of(seen.turn)):
                no_task[NoLesson.NO_REQUEST] += 1
            elif seen.kind is None:
                no_task[seen.no_lesson] += 1
            else:
                candidates.add(_candidate(seen, seen.kind), rank=seen.rank(seen.kind))
        older.sort(key=lambda seen: seen.turn.id)
        best = _corrected(candidates, quota, no_task)
        mended = [seen for seen in older if seen.correction and quota.admits(session_of(seen.turn), corrected=True)]
        best += _others(candidates, quota, {one.said for one in best}, no_task)
        mended += [seen for seen in older if not seen.correction and quota.admits(session_of(seen.repair or seen.turn))]
        chosen = [_chosen(candidates, one) for one in best]
    late = (_lesson(seen, _Chosen.late(seen), turns) for seen in mended)
    return chosen, [lesson for lesson in late if lesson is not None]


def _candidate(seen: Seen, kind: TaskKind) -> Candidate:
    made = made_by(seen.turn) if seen.client and kind == "worked" else b""
    return Candidate(seen.turn.id, kind, session_of(seen.turn), seen.said, made)


def _corrected(candidates: Candidates, quota: Quota, no_task: Counter[NoLesson]) -> list[Candidate]:
    """Return the turns that a person corrected, one of each request: they come before all others, which may have no
    room beside them."""
    found: dict[bytes, Candidate] = {}
    for one in candidates.corrected():
        if one.said in found:
            no_task[NoLesson.SAME_REQUEST] += 1
        elif quota.admits(one.session, corrected=True):
            found[one.said] = one
    return list(found.values())


def _others(
    candidates: Candidates, quota: Quota, known: Collection[bytes], no_task: Counter[NoLesson]
) -> list[Candidate]:
    """Return the best admitted turn of each request that is not ``known``."""
    found: list[Candidate] = []
    for said, same in candidates.requests():
        best = None if said in known else quota.first_admitted(same)
        no_task[NoLesson.SAME_REQUEST] += sum(1 for _ in same)
        if best is not None:
            found.append(best)
    return found


class _Chosen(NamedTuple):
    """A turn that becomes a task, and what other turns with its request did."""

    id: str
    kind: TaskKind
    session: SessionKey
    agreement: Agreement = Agreement()

    @classmethod
    def late(cls, seen: "Seen") -> "_Chosen":
        """Return an older turn that was corrected or repaired only now."""
        return cls(seen.turn.id, "corrected" if seen.correction else "repaired", session_of(seen.turn))


def _chosen(candidates: Candidates, one: Candidate) -> _Chosen:
    same, others = candidates.agreement(one) if one.made else (1, 0)
    return _Chosen(one.id, one.kind, one.session, Agreement(same=same, others=others))


def _read_again(turns: Turns, chosen: Sequence[_Chosen], rules: Rules) -> "list[tuple[Seen, _Chosen]]":
    """Return the chosen turns as they stand in their sessions, in the order of the log."""
    by_id = {one.id: one for one in chosen}
    sessions = sorted({one.session for one in chosen})
    windows = (seen for session in sessions for seen in _windows(turns.by_session(session), rules))
    seen = (seen for seen in windows if seen.turn.id in by_id)
    return [(one, by_id[one.turn.id]) for one in sorted(seen, key=lambda one: one.turn.id)]


def _lesson(seen: "Seen", chosen: _Chosen, turns: Turns) -> Trace | None:
    """Return the trace of a turn that was chosen, or None where it teaches nothing."""
    kind = TRACES.get(chosen.kind)
    schemas = turns.schemas(seen.turn.id) if seen.turn.source not in OWN_SOURCES else ()
    if seen.brought(schemas):
        return seen.clients(kind or TraceKind.LOGGED, schemas, chosen.agreement)
    if kind is None or not seen.stands:
        return None
    by_kind = {"worked": seen.trace, "repaired": seen.repaired, "corrected": seen.corrected}
    return by_kind[chosen.kind]()


def _windows(turns: Iterable[Interaction], rules: Rules) -> "Iterator[Seen]":
    """Yield each turn with its neighbours, as many as a judgement on it may need."""
    for _, session in groupby(turns, key=session_of):
        held: list[Interaction] = []
        place = 0
        for turn in map(with_failures, session):
            held.append(turn)
            if len(held) - place > AFTER:
                yield Seen(tuple(held), place, rules)
                place += 1
                if place > IN_SIGHT:
                    del held[0]
                    place -= 1
        yield from (Seen(tuple(held), last, rules) for last in range(place, len(held)))
