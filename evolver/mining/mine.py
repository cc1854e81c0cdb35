"""The interaction log -> tasks: what people asked, what came of it, and which turns can serve as lessons.

A pure function of the log: the same interactions give the same tasks.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence

from pydantic import JsonValue

from agent.interaction_log import COMPLETIONS_SOURCE
from agent.messages import Interaction, Message
from evolver.config import MineConfig
from evolver.text import normalised
from evolver.turns import Session, asks_again, session_of, whole_turns
from evolver.types import Call, Failure, Maker, Mined, Probed, Task, TaskKind, Trace
from toolkit.tool import ToolErrorKind

Probe = Callable[[Sequence[str]], Sequence[Probed]]
"""Asks the served model each request several times; evolver.probe."""

_SOON = 3
"""A repair stands within so many turns of the same session."""
_ALIKE = 0.4
"""Shared words of two requests, by all words, of which one is another try at the other."""
_BEST = ("worked", "repaired")
"""Of a request that several people made, what came of it that teaches most."""
_SURE = 0.5
"""The model is sure of a call when so much more of its replies make it than the next one."""
_CARRIED, _IN_SIGHT = 1200, 20
"""Characters of what was said before that a lesson carries with a request: whole turns, of so many before it."""
_DECLINED = ("i have no tool", "i can't", "i cannot", "i'm unable", "i am unable", "i don't have access")


def mine(
    config: MineConfig,
    interactions: Sequence[Interaction],
    *,
    context: Sequence[Interaction] = (),
    probe: Probe | None = None,
) -> Mined:
    """Tasks in the order of the log, each request once, at most ``per_session`` from a session, ``per_user`` from the
    owner of an API key, and ``per_source`` from a source. ``context`` are earlier interactions, mined before: a new
    turn may repair one of them, which is a lesson from where the new one is from.

    A turn is also a trace when its calls all ran without error, it was answered, nobody called it bad, and either
    somebody called it good or its request was not put again; and so is a failed turn with the calls that repaired it.
    With a request of a conversation go the last turns before it; where these are not in sight, or a system prompt
    steered the model, it is no trace. Calls whose results the log does not have (an outside client ran them) make none.
    Raises as ``probe`` does.
    """
    log = _Log(whole_turns([*context, *interactions]))
    quota = _Quota(config)
    new = {interaction.id for interaction in interactions}
    asked: defaultdict[str, list[tuple[Interaction, TaskKind]]] = defaultdict(list)
    for turn in log.turns:
        if turn.id not in new or turn.source == COMPLETIONS_SOURCE or not normalised(_request(turn)):
            continue
        if (kind := log.kind(turn)) is not None:
            asked[log.said(turn)].append((turn, kind))
    orders = (sorted(same, key=lambda found: log.rank(*found)) for same in asked.values())
    chosen = [found for order in orders if (found := quota.first_admitted(order)) is not None]
    chosen.sort(key=lambda found: found[0].id)
    worked = [log.trace(turn) for turn, kind in chosen if kind == "worked" and log.stands(turn)]
    repaired = [log.repaired(turn) for turn, kind in chosen if kind == "repaired"]
    late = [log.repaired(turn) for turn in log.turns if turn.id not in new and log.repaired_by(turn, new, quota)]
    tasks = [_task(turn, kind) for turn, kind in chosen]
    tasks = _probed(tasks, probe, config.probed) if probe is not None and config.probed else tasks
    return Mined(
        interactions=len(interactions),
        last_interaction_id=interactions[-1].id if interactions else "",
        tasks=tuple(tasks),
        worked=(*worked, *late, *repaired),
        by_kind=dict(Counter(task.kind for task in tasks)),
        by_source=dict(Counter(task.source for task in tasks)),
        by_user=dict(Counter(f"{task.tenant}/{task.owner}" for task in tasks if task.owner)),
        over_quota=quota.refused,
    )


class _Quota:
    def __init__(self, config: MineConfig) -> None:
        self._config = config
        self._taken: Counter[tuple[str, ...]] = Counter()
        self.refused = 0

    def first_admitted(self, order: Sequence[tuple[Interaction, TaskKind]]) -> tuple[Interaction, TaskKind] | None:
        return next((found for found in order if self.admits(found[0])), None)

    def admits(self, interaction: Interaction) -> bool:
        places = {
            ("session", *session_of(interaction)): self._config.per_session,
            ("source", interaction.source): self._config.per_source,
        }
        if interaction.owner:
            places["user", interaction.tenant, interaction.owner] = self._config.per_user
        if any(self._taken[place] >= most for place, most in places.items()):
            self.refused += 1
            return False
        self._taken.update(places.keys())
        return True


class _Log:
    """Turns with what came after each in its session."""

    def __init__(self, turns: Sequence[Interaction]) -> None:
        self.turns = turns
        sessions: dict[Session, list[Interaction]] = defaultdict(list)
        self._place: dict[str, tuple[list[Interaction], int]] = {}
        self._carried: dict[str, list[Interaction]] = {}
        for turn in turns:
            session = sessions[session_of(turn)]
            self._place[turn.id] = (session, len(session))
            session.append(turn)

    def kind(self, interaction: Interaction) -> TaskKind | None:
        """What the interaction can teach; None when somebody called it bad and nothing better came of it."""
        turn = interaction.trajectory
        bad = _said(interaction, "bad")
        if self._repair(interaction) is not None:
            return "repaired"
        if turn.calls:
            if self._worked(interaction):
                return "worked"
            return None if bad else "failed"
        if turn.stop_reason != "answered":
            return None if bad else "failed"
        declined = turn.answer.strip().lower().startswith(_DECLINED)
        return "unserved" if declined or (bad and turn.tools) else None if bad else "talk"

    def repaired(self, interaction: Interaction) -> Trace:
        """The failed request with the calls that worked for it; of one that has a repair."""
        repair = self._repair(interaction)
        assert repair is not None
        return self.trace(interaction, repair)

    def trace(self, turn: Interaction, repair: Interaction | None = None) -> Trace:
        """The turn's request with its own calls, or those of its ``repair``."""
        source, before = repair or turn, self._before(turn)
        calls = _good_calls(source)
        maker: Maker = "log" if repair is None else "repaired"
        return Trace(
            id=f"{maker}-{turn.id}",
            maker=maker,
            request=_request(turn),
            calls=tuple(call for call, _ in calls),
            results=tuple(value for _, value in calls),
            answer=source.trajectory.answer,
            made_by=source.trajectory.adapter,
            origin=turn.id,
            session="/".join(session_of(turn)),
            also_from=(*([source.id] if source is not turn else []), *(one.id for one in before)),
            calls_from=source.id,
            history=tuple(message for one in before for message in one.trajectory.messages),
            sequential=len(calls) > 1 and _one_by_one(source),
            failures=_failures(source) if repair is turn else (),
        )

    def repaired_by(self, interaction: Interaction, new: Collection[str], quota: _Quota) -> bool:
        """Whether one of the ``new`` turns, for which there is room, repaired it."""
        repair = self._repair(interaction)
        return repair is not None and repair.id in new and quota.admits(repair)

    def _repair(self, interaction: Interaction) -> Interaction | None:
        """The turn whose calls did what this failed one was to do: itself, where it recovered, or a later one."""
        turn = interaction.trajectory
        if self._worked(interaction) or not (turn.calls or _said(interaction, "bad")) or not self.stands(interaction):
            return None
        if self._recovered(interaction):
            return interaction
        alike = (later for later in self._later(interaction) if _likeness(interaction, later) >= _ALIKE)
        return next((later for later in alike if self._worked(later)), None)

    def _worked(self, interaction: Interaction) -> bool:
        turn = interaction.trajectory
        ran = bool(turn.calls) and len(turn.results) == len(turn.calls) and all(result.ok for result in turn.results)
        if not ran or turn.stop_reason != "answered" or _said(interaction, "bad"):
            return False
        return _said(interaction, "good") or not self._asked_again(interaction)

    def _recovered(self, interaction: Interaction) -> bool:
        """Whether a call failed and the last one worked, within the turn."""
        turn = interaction.trajectory
        if turn.stop_reason != "answered" or len(turn.results) != len(turn.calls) or not turn.calls:
            return False
        mended = turn.results[-1].ok and not all(result.ok for result in turn.results)
        return mended and not _said(interaction, "bad") and not self._asked_again(interaction)

    def _asked_again(self, interaction: Interaction) -> bool:
        return any(asks_again(interaction, later) for later in self._later(interaction)[:1])

    def rank(self, turn: Interaction, kind: TaskKind) -> int:
        """Of turns with the same request the one with the lowest teaches most."""
        return (*_BEST, kind).index(kind) if self.stands(turn) else len(_BEST)

    def stands(self, turn: Interaction) -> bool:
        """Whether the request can be learned: alone, or with what was said before it, which it may need."""
        return not turn.trajectory.history or bool(self._before(turn))

    def said(self, turn: Interaction) -> str:
        """What tells the request from others: its words, after those that are carried with it."""
        return normalised(" ".join(map(_request, (*self._before(turn), turn))))

    def _before(self, turn: Interaction) -> list[Interaction]:
        """The last turns of the conversation that the model was shown, as far as there is room and they are in sight,
        so that a lesson names all that it is made of; none where the one just before is not."""
        if turn.id not in self._carried:
            self._carried[turn.id] = self._look_back(turn)
        return self._carried[turn.id]

    def _look_back(self, turn: Interaction) -> list[Interaction]:
        shown = [message for message in turn.trajectory.history if message.role in ("user", "system")]
        if any(message.role == "system" for message in shown):
            return []
        session, place = self._place[turn.id]
        found: list[Interaction] = []
        room = _CARRIED
        for one in reversed(session[max(0, place - _IN_SIGHT) : place]):
            if not shown or one.trajectory.messages[0].content != shown[-1].content:
                continue  # a turn that failed is not shown
            room -= sum(map(_length, one.trajectory.messages))
            if room < 0 or one.trajectory.stop_reason != "answered" or not all(map(_parsed, one.trajectory.messages)):
                break
            shown.pop()
            found.insert(0, one)
        return found

    def _later(self, interaction: Interaction) -> list[Interaction]:
        session, place = self._place[interaction.id]
        return session[place + 1 : place + 1 + _SOON]


def _probed(tasks: list[Task], probe: Probe, most: int) -> list[Task]:
    """What the model does with the newest requests that ended without a working call, asked several times."""
    open_ones = [task for task in tasks if task.kind in ("talk", "failed", "unserved")][-most:]
    probed = zip(open_ones, probe([task.request for task in open_ones]), strict=True)
    found = {task.interaction_id: _hesitating(task, one) for task, one in probed}
    return [found.get(task.interaction_id, task) for task in tasks]


def _hesitating(task: Task, probed: Probed) -> Task:
    shares = [share for _, share in probed.calls]
    if not shares or sum(shares) < 1 - sum(shares):
        return task
    kind = "uncertain" if shares[0] - sum(shares[1:2]) < _SURE else "missed" if task.kind != "failed" else "failed"
    return task.model_copy(update={"kind": kind, "calls": tuple(call for call, _ in probed.calls)})


def _task(interaction: Interaction, kind: TaskKind) -> Task:
    turn = interaction.trajectory
    if turn.stop_reason != "answered" or any(not result.ok for result in turn.results):
        outcome = "failed"
    else:
        outcome = "called" if turn.calls else "answered"
    return Task(
        interaction_id=interaction.id,
        session=interaction.session,
        source=interaction.source,
        owner=interaction.owner,
        tenant=interaction.tenant,
        request=_request(interaction),
        outcome=outcome,
        kind=kind,
    )


def _length(message: Message) -> int:
    return len(message.content) + sum(len(call.raw) for call in message.tool_calls)


def _parsed(message: Message) -> bool:
    return all(call.arguments is not None for call in message.tool_calls)


def _good_calls(interaction: Interaction) -> list[tuple[Call, JsonValue]]:
    """The calls that ran, with their values."""
    turn = interaction.trajectory
    pairs = zip(turn.calls, turn.results, strict=True)
    return [(Call(name=call.name, arguments=call.arguments or {}), result.value) for call, result in pairs if result.ok]


def _failures(interaction: Interaction) -> tuple[Failure, ...]:
    """The calls that failed; of those that did not even parse there is no call to show, and where the sandbox lost the
    worker there is nothing to repair."""
    turn = interaction.trajectory
    pairs = zip(turn.calls, turn.results, strict=True)
    return tuple(
        Failure(call=Call(name=call.name, arguments=call.arguments), error=result.error)
        for call, result in pairs
        if result.error is not None and result.error.kind is not ToolErrorKind.LOST and call.arguments is not None
    )


def _one_by_one(interaction: Interaction) -> bool:
    """Whether the model saw each result before it made the next call."""
    return all(len(message.tool_calls) <= 1 for message in interaction.trajectory.messages)


def _request(interaction: Interaction) -> str:
    return interaction.trajectory.messages[0].content.strip()


def _said(interaction: Interaction, verdict: str) -> bool:
    """Whether the last word on the interaction is ``verdict``."""
    return bool(interaction.feedback) and interaction.feedback[-1].verdict == verdict


def _likeness(first: Interaction, second: Interaction) -> float:
    one, other = (set(normalised(_request(interaction)).split()) for interaction in (first, second))
    return len(one & other) / len(one | other) if one | other else 0.0
