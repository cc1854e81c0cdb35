"""The interaction log -> tasks: what people asked, what came of it, and which turns can serve as lessons.

A pure function of the log: the same interactions give the same tasks.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from pydantic import JsonValue

from agent.interaction_log import COMPLETIONS_SOURCE
from agent.messages import Interaction
from evolver.config import MineConfig
from evolver.text import normalised
from evolver.types import Call, Failure, Maker, Mined, Probed, Task, TaskKind, Trace
from toolkit.tool import ToolErrorKind

Probe = Callable[[str], Probed]
"""Asks the served model a request several times; evolver.probe."""

_SOON = 3
"""A repair stands within so many turns of the same session."""
_SAME, _ALIKE = 0.8, 0.4
"""Shared words of two requests, by all words: the same thing asked again; another try at it."""
_SURE = 0.5
"""The model is sure of a call when so much more of its replies make it than the next one."""
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
    turn may repair one of them.

    A turn is also a trace when its calls all ran without error, it was answered, nobody called it bad, and either
    somebody called it good or its request was not put again; and so is a failed turn with the calls that repaired it.
    Calls whose results the log does not have (an outside client ran them) make none. Raises as ``probe`` does.
    """
    log = _Log([*context, *interactions])
    quota = _Quota(config)
    tasks: list[Task] = []
    traces: list[Trace] = []
    seen: set[str] = set()
    begun = {interaction.continues for interaction in interactions}  # the rest of such a turn was logged as another one
    for interaction in interactions:
        if interaction.id in begun or interaction.source == COMPLETIONS_SOURCE:
            continue
        key = normalised(_request(interaction))
        if not key or key in seen:
            continue
        kind = log.kind(interaction)
        if kind is None or not quota.admits(interaction):
            continue
        seen.add(key)
        tasks.append(_task(interaction, kind))
        if kind == "worked" and not interaction.trajectory.history:
            traces.append(_trace(interaction))
    repaired = [found for earlier in log.interactions if (found := log.repaired(earlier, interactions)) is not None]
    tasks = _probed(tasks, probe, config.probed) if probe is not None else tasks
    return Mined(
        interactions=len(interactions),
        last_interaction_id=interactions[-1].id if interactions else "",
        tasks=tuple(tasks),
        worked=(*traces, *repaired),
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

    def admits(self, interaction: Interaction) -> bool:
        places = {
            ("session", interaction.source, interaction.session): self._config.per_session,
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
    """Interactions with what came after each in its session."""

    def __init__(self, interactions: Sequence[Interaction]) -> None:
        self.interactions = interactions
        sessions: dict[tuple[str, str], list[Interaction]] = defaultdict(list)
        self._place: dict[str, tuple[list[Interaction], int]] = {}
        for interaction in interactions:
            session = sessions[interaction.source, interaction.session]
            self._place[interaction.id] = (session, len(session))
            session.append(interaction)

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

    def repaired(self, interaction: Interaction, new: Sequence[Interaction]) -> Trace | None:
        """The failed request with the calls that worked for it; None unless one of the two turns is ``new``."""
        repair = self._repair(interaction)
        if repair is None or repair.id < (new[0].id if new else "~"):
            return None
        by = () if repair is interaction else (repair.id,)
        return _trace(interaction, repair=repair, maker="repaired", also_from=by)

    def _repair(self, interaction: Interaction) -> Interaction | None:
        """The turn whose calls did what this failed one was to do: itself, where it recovered, or a later one."""
        turn = interaction.trajectory
        if turn.history or self._worked(interaction) or not (turn.calls or _said(interaction, "bad")):
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
        following = self._later(interaction)[:1]
        return any(_likeness(interaction, later) >= _SAME for later in following)

    def _later(self, interaction: Interaction) -> list[Interaction]:
        session, place = self._place[interaction.id]
        return session[place + 1 : place + 1 + _SOON]


def _probed(tasks: list[Task], probe: Probe, most: int) -> list[Task]:
    """What the model does with requests that ended without a working call, asked several times."""
    open_ones = [task for task in tasks if task.kind in ("talk", "failed", "unserved")][:most]
    found = {task.interaction_id: _hesitating(task, probe(task.request)) for task in open_ones}
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


def _trace(
    interaction: Interaction,
    *,
    repair: Interaction | None = None,
    maker: Maker = "log",
    also_from: Iterable[str] = (),
) -> Trace:
    source = repair or interaction
    calls = _good_calls(source)
    return Trace(
        id=f"{maker}-{interaction.id}",
        maker=maker,
        request=_request(interaction),
        calls=tuple(call for call, _ in calls),
        results=tuple(value for _, value in calls),
        answer=source.trajectory.answer,
        made_by=interaction.trajectory.adapter,
        origin=interaction.id,
        session=f"{interaction.source}/{interaction.session}",
        also_from=tuple(also_from),
        sequential=len(calls) > 1 and _one_by_one(source),
        failures=_failures(source) if repair is interaction else (),
    )


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
