"""Outcomes of logged turns: the words, calls and turns around a request, and the lesson in it."""

from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

from agent.log.corrections import Expected, of_stored
from agent.log.queries import session_of
from agent.text.matching import normalised
from agent.turn.messages import Interaction
from evolver.lessons.client_tools import OwnTools
from evolver.mining.client_turns import Agreement, Schemas, client_trace, is_clients
from evolver.mining.no_lesson import NoLesson
from evolver.mining.turn_parts import (
    called,
    failures,
    good_calls,
    length,
    likeness,
    one_by_one,
    parsed,
    request_of,
)
from evolver.mining.upstream import written_upstream
from evolver.store.sessions import asks_again
from evolver.types import Call, Provenance, TaskKind, Trace, TraceKind

_SOON = 3
"""A repair stands within so many turns of the same session."""


AFTER = _SOON + 1
"""Turns after one that say whether it worked, and whether what repaired it did."""


_ALIKE = 0.4
"""Shared words of two requests, by all words, of which one is another try at the other."""


BEST = ("corrected", "worked", "repaired")
"""Outcomes that teach most, best first, of a request that several people made."""


_CARRIED, IN_SIGHT = 1200, 20
"""Characters of what was said before that a lesson carries with a request: whole turns, of so many before it."""


TRACES = {"worked": TraceKind.LOGGED, "repaired": TraceKind.REPAIRED, "corrected": TraceKind.CORRECTED}


_DECLINED = ("i have no tool", "i can't", "i cannot", "i'm unable", "i am unable", "i don't have access")


class Rules(NamedTuple):
    """The tools of this machine, and whether what a model that is none of ours wrote may be learned from."""

    own: OwnTools
    upstream: bool


class Seen:
    """A turn at its ``place`` among its neighbours in the session, the oldest first. ``client``: it brought tools."""

    def __init__(self, session: Sequence[Interaction], place: int, rules: Rules) -> None:
        self.turn = session[place]
        self.client = is_clients(self.turn, rules.own)
        self._session, self._place, self._rules = session, place, rules

    @cached_property
    def kind(self) -> TaskKind | None:
        """Return the kind of lesson that the turn can be; None for one that was called bad and has nothing better."""
        turn = self.turn.trajectory
        bad = called(self.turn, "bad")
        if self.correction is not None:
            return "corrected"
        if self.repair is not None:
            return "repaired"
        if turn.calls:
            if self._is_well and self._may_teach(self._place):
                return "worked"
            return None if bad else "failed"
        if turn.stop_reason != "answered":
            return None if bad else "failed"
        declined = turn.answer.strip().lower().startswith(_DECLINED)
        return "unserved" if declined or (bad and turn.tools) else None if bad else "talk"

    @property
    def troubled(self) -> bool:
        """True when the turn went badly, whoever wrote it, and no person said what would have been right."""
        return self.correction is None and not self._is_well

    @property
    def no_lesson(self) -> NoLesson:
        """Return the reason for which there is no trace of the turn; of one without any."""
        if self.kind != "failed":
            said = {None: NoLesson.CALLED_BAD, "talk": NoLesson.TALK, "unserved": NoLesson.UNSERVED}
            made = NoLesson.NOTHING_IN_IT if self.stands else NoLesson.HISTORY_UNKNOWN
            return said.get(self.kind, made)
        turn = self.turn.trajectory
        if self._is_well:
            return NoLesson.ANOTHER_MODEL
        if any(not result.ok for result in turn.results):
            return NoLesson.CALL_FAILED
        if turn.stop_reason != "answered" or len(turn.results) != len(turn.calls):
            return NoLesson.NOT_ANSWERED
        return NoLesson.ASKED_AGAIN

    def repaired(self) -> Trace:
        """Return the failed request with the calls that worked for it; of one that has a repair."""
        assert self.repair is not None
        return self.trace(self.repair)

    def trace(self, repair: Interaction | None = None) -> Trace:
        """Return the turn's request with its own calls, or those of its ``repair``."""
        source, before = repair or self.turn, self._before
        calls = good_calls(source)
        kind = TraceKind.LOGGED if repair is None else TraceKind.REPAIRED
        return Trace(
            id=f"{kind}-{self.turn.id}",
            kind=kind,
            provenance=Provenance(
                model=source.trajectory.adapter,
                interaction_id=self.turn.id,
                session="/".join(session_of(self.turn)),
                calls_interaction_id=source.id,
                other_interaction_ids=(
                    *([source.id] if source is not self.turn else []),
                    *(one.id for one in before),
                ),
            ),
            request=request_of(self.turn),
            calls=tuple(call for call, _ in calls),
            results=tuple(value for _, value in calls),
            answer=source.trajectory.answer,
            history=tuple(message for one in before for message in one.trajectory.messages),
            sequential=len(calls) > 1 and one_by_one(source),
            failures=failures(source) if repair is self.turn else (),
        )

    def corrected(self) -> Trace:
        """Return the turn's request with the calls that a person expected, or its own with the expected answer."""
        expected, before = self.correction, self._before
        own = good_calls(self.turn) if isinstance(expected, str) else []
        wanted = [] if isinstance(expected, str) else [Call(**call.model_dump()) for call in expected or ()]
        return Trace(
            id=f"{TraceKind.CORRECTED}-{self.turn.id}",
            kind=TraceKind.CORRECTED,
            request=request_of(self.turn),
            calls=(*(call for call, _ in own), *wanted),
            results=tuple(value for _, value in own),
            answer=expected if isinstance(expected, str) else "",
            history=tuple(message for one in before for message in one.trajectory.messages),
            sequential=len(own) > 1 and one_by_one(self.turn),
            provenance=Provenance(
                model=self.turn.trajectory.adapter if own else "",
                interaction_id=self.turn.id,
                session="/".join(session_of(self.turn)),
                other_interaction_ids=tuple(one.id for one in before),
            ),
        )

    @property
    def correction(self) -> Expected | None:
        """The calls or the answer that the last word on the turn expects. An answer alone corrects no calls that
        failed."""
        last = self.turn.feedback[-1] if self.turn.feedback else None
        expected = of_stored(last.expected) if last is not None and last.verdict == "bad" else None
        turn = self.turn.trajectory
        ran = len(turn.results) == len(turn.calls) and all(result.ok for result in turn.results)
        if isinstance(expected, str) and turn.calls and not self._may_teach(self._place):
            return None  # the lesson would have its calls
        return expected if ran or not isinstance(expected, str) else None

    @cached_property
    def repair(self) -> Interaction | None:
        """Return the turn whose calls did what this failed one was to do: itself if it recovered, or a later one."""
        turn = self.turn.trajectory
        if self._is_well or not (turn.calls or called(self.turn, "bad")) or not self.stands:
            return None
        if self._recovered():
            return self.turn
        later = range(self._place + 1, min(self._place + 1 + _SOON, len(self._session)))
        alike = (place for place in later if likeness(self.turn, self._session[place]) >= _ALIKE)
        return next((self._session[place] for place in alike if self._worked(place)), None)

    def _may_teach(self, place: int) -> bool:
        """Return whether what the model wrote in a turn may be learned from."""
        return self._rules.upstream or not written_upstream(self._session, place)

    def _worked(self, place: int) -> bool:
        return self._may_teach(place) and self._went_well(place)

    @cached_property
    def _is_well(self) -> bool:
        return self._went_well(self._place)

    def _went_well(self, place: int) -> bool:
        interaction = self._session[place]
        turn = interaction.trajectory
        ran = bool(turn.calls) and len(turn.results) == len(turn.calls) and all(result.ok for result in turn.results)
        if not ran or turn.stop_reason != "answered" or called(interaction, "bad"):
            return False
        return called(interaction, "good") or not self._asked_again(place)

    def _recovered(self) -> bool:
        """Return whether a call failed and the last one worked, within the turn."""
        turn = self.turn.trajectory
        if not self._may_teach(self._place):
            return False
        if turn.stop_reason != "answered" or len(turn.results) != len(turn.calls) or not turn.calls:
            return False
        mended = turn.results[-1].ok and not all(result.ok for result in turn.results)
        return mended and not called(self.turn, "bad") and not self._asked_again(self._place)

    def _asked_again(self, place: int) -> bool:
        return any(asks_again(self._session[place], later) for later in self._session[place + 1 : place + 2])

    def brought(self, schemas: Schemas) -> bool:
        """Return whether a client brought these tools, and not all are of this machine."""
        return is_clients(self.turn, self._rules.own, schemas)

    def clients(self, kind: TraceKind, schemas: Schemas, agreement: Agreement) -> Trace | None:
        """Return the trace of a client's turn, as it was served; None where some of its history is not in sight."""
        before = self._accounted
        failed = bool(self.turn.trajectory.calls) and not self._is_well
        unfit = kind is TraceKind.LOGGED and (failed or not self._may_teach(self._place))
        if before is None or unfit:
            return None
        return client_trace(
            self.turn, schemas, before, self._session[self._place + 1 :],
            kind=kind,
            expected=self.correction,
            repair=self.repair if kind is TraceKind.REPAIRED else None,
            agreement=agreement,
        )  # fmt: skip

    def rank(self, kind: TaskKind) -> int:
        """Return the rank among turns with the same request; the lowest teaches most."""
        return (*BEST, kind).index(kind) if self.stands else len(BEST)

    @property
    def stands(self) -> bool:
        """True when the request can be learned: alone, or with what was said before it, which it may need."""
        if self.client:
            return self._accounted is not None
        return not self.turn.trajectory.history or bool(self._before)

    @property
    def said(self) -> bytes:
        """The identity of the request: a hash of its words, after those that are carried with it. For a client's turn
        it counts who asked and with which tools, too."""
        before = (self._accounted or ()) if self.client else self._before
        words = normalised(" ".join(map(request_of, (*before, self.turn))))
        if self.client:
            words = "\n".join((self.turn.tenant, self.turn.owner, *self.turn.trajectory.tools, words))
        return blake2b(words.encode("utf-8", "replace"), digest_size=16).digest()

    @cached_property
    def _accounted(self) -> list[Interaction] | None:
        """The turns that the whole history of a client's turn consists of; None where not all are in sight, or another
        model wrote some: a lesson names all that it is made of."""
        asked = [message.content for message in self.turn.trajectory.history if message.role == "user"]
        found: list[Interaction] = []
        for place in range(self._place - 1, max(0, self._place - IN_SIGHT) - 1, -1):
            one = self._session[place]
            if asked and one.trajectory.messages[0].content == asked[-1] and self._may_teach(place):
                asked.pop()
                found.insert(0, one)
        return None if asked else found

    @cached_property
    def _before(self) -> list[Interaction]:
        """The last turns of the conversation that the model was shown, as far as there is room and they are in sight,
        so that a lesson names all that it is made of; none where the one just before is not."""
        shown = [message for message in self.turn.trajectory.history if message.role in ("user", "system")]
        if any(message.role == "system" for message in shown):
            return []
        found: list[Interaction] = []
        room = _CARRIED
        for place in range(self._place - 1, max(0, self._place - IN_SIGHT) - 1, -1):
            one = self._session[place]
            if not shown or one.trajectory.messages[0].content != shown[-1].content:
                continue  # a turn that failed is not shown
            if not self._may_teach(place):
                break
            room -= sum(map(length, one.trajectory.messages))
            if room < 0 or one.trajectory.stop_reason != "answered" or not all(map(parsed, one.trajectory.messages)):
                break
            shown.pop()
            found.insert(0, one)
        return found
