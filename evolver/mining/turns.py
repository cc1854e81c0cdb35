"""The part of the interaction log that is mined."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from agent.log.interaction_log import InteractionLog
from agent.log.queries import SessionKey
from agent.turn.messages import Interaction

_REPAIRABLE = 200
"""Interactions before the new ones that a new turn may repair."""


class Turns(Protocol):
    """The part of the log that is mined: ``new`` interactions up to the one with the id ``last``, and some before."""

    @property
    def new(self) -> int: ...
    @property
    def last(self) -> str: ...

    def is_new(self, turn: Interaction) -> bool:
        """Return whether the turn was not mined before. A new turn may repair an older one."""
        ...

    def by_session(self, session: SessionKey | None = None) -> Iterable[Interaction]:
        """Return whole turns, session by session, in each the oldest first; those of ``session`` alone, if given."""
        ...

    def schemas(self, interaction_id: str) -> Sequence[dict[str, Any]]:
        """Return the tools of an interaction, as the model saw them."""
        ...


@dataclass(frozen=True)
class LoggedTurns:
    """Turns of ``log`` after the one with the id ``after``; those after ``mined_up_to`` are new. ``tenant``: whose they
    are, "" for those of none; None: all."""

    log: InteractionLog
    after: str
    mined_up_to: str
    new: int
    last: str
    tenant: str | None = None

    @classmethod
    def since(cls, log: InteractionLog, mined_up_to: str, tenant: str | None = None) -> "LoggedTurns":
        """Return the turns of ``tenant`` in ``log`` after ``mined_up_to`` ("": all), and those before that may still be
        repaired."""
        new, last = log.count(mined_up_to, tenant=tenant)
        after = log.back(_REPAIRABLE, from_id=mined_up_to, tenant=tenant) if mined_up_to and new else mined_up_to
        return cls(log=log, after=after, mined_up_to=mined_up_to, new=new, last=last, tenant=tenant)

    def is_new(self, turn: Interaction) -> bool:
        return turn.id > self.mined_up_to

    def by_session(self, session: SessionKey | None = None) -> Iterable[Interaction]:
        return self.log.whole_turns(after=self.after, until=self.last, session=session, tenant=self.tenant)

    def schemas(self, interaction_id: str) -> Sequence[dict[str, Any]]:
        found = self.log.find(interaction_id)
        return _shared(json.dumps(found.tool_schemas)) if found is not None else ()


@lru_cache(maxsize=64)
def _shared(schemas: str) -> Sequence[dict[str, Any]]:
    """Return the tools in a JSON text: one value for all turns with the same ones."""
    return tuple(json.loads(schemas))
