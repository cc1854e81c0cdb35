"""Limits of what one session, key or source may teach, and the quarantine of clients whose calls are mostly trouble."""

from collections import Counter
from collections.abc import Iterable

from agent.log.queries import SessionKey
from evolver.config import MineConfig
from evolver.mining.candidates import Candidate

_JUDGED, _TROUBLED = 20, 0.5
"""A client is quarantined when of so many turns with calls a larger share failed, was asked again or called bad."""


class Quota:
    """Counts what each place has taken. ``refused`` were too many, ``quarantined`` of clients that teach nothing."""

    def __init__(self, config: MineConfig) -> None:
        self._config = config
        self._taken: Counter[tuple[str, ...]] = Counter()
        self._calling: Counter[SessionKey] = Counter()
        self._troubled: Counter[SessionKey] = Counter()
        self.quarantined: Counter[str] = Counter()
        self.refused = 0

    def note(self, session: SessionKey, *, troubled: bool) -> None:
        """Count a turn of a client that called its tools."""
        client = session._replace(session="")
        self._calling[client] += 1
        self._troubled[client] += troubled

    def _is_named(self, session: SessionKey) -> bool:
        """Return whether a person said that its key or source is to teach nothing."""
        names = {session.source, session.owner, f"{session.tenant}/{session.owner}"}
        return not names.isdisjoint(self._config.quarantine)

    def _is_troubled(self, session: SessionKey) -> bool:
        """Return whether most calls of its client are trouble."""
        client = session._replace(session="")
        judged = self._calling[client] >= _JUDGED
        return judged and self._troubled[client] > _TROUBLED * self._calling[client]

    def first_admitted(self, order: Iterable[Candidate]) -> Candidate | None:
        return next((found for found in order if self.admits(found.session)), None)

    def admits(self, session: SessionKey, *, corrected: bool = False) -> bool:
        """Count a turn of ``session``, or return False where it has no room or is in quarantine.

        One that a person ``corrected`` is right however many others failed: only a quarantine by name holds for it.
        """
        places = {
            ("session", *session): self._config.per_session,
            ("source", session.source): self._config.per_source,
        }
        if self._is_named(session) or (not corrected and self._is_troubled(session)):
            key = f"{session.tenant}/{session.owner}".strip("/")
            self.quarantined[f"{session.source} {key}".strip()] += 1
            return False
        if session.owner:
            places["user", session.tenant, session.owner] = self._config.per_user
        if any(self._taken[place] >= most for place, most in places.items()):
            self.refused += 1
            return False
        self._taken.update(places.keys())
        return True
