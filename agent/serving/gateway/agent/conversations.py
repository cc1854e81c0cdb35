"""The sessions of clients that name none: known again by what was said so far, which such clients send each time."""

import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Sequence

from agent.serving.gateway.agent.text import spoken
from agent.turn.messages import Message

_CAPACITY = 20_000


class Conversations:
    """The newest ``capacity`` conversations, while the gateway runs.

    Where two conversations of one owner went alike, nobody can tell which one goes on: it then gets a session of its
    own, so that nobody meets the files of another.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._sessions: OrderedDict[str, str | None] = OrderedDict()
        self._capacity = capacity

    def session(self, owner: str, said: Sequence[Message]) -> str:
        """Return the session in which ``said`` was said before; a new one where there is none."""
        return (self._sessions.get(_key(owner, said)) if said else None) or f"http-{secrets.token_hex(8)}"

    def remember(self, owner: str, said: Sequence[Message], session: str) -> None:
        """Note that ``said``, which ends with an answer, is what was said in ``session``."""
        key = _key(owner, said)
        known = self._sessions.get(key, session)
        self._sessions[key] = session if known == session else None
        self._sessions.move_to_end(key)
        while len(self._sessions) > self._capacity:
            self._sessions.popitem(last=False)


def _key(owner: str, said: Sequence[Message]) -> str:
    spoke = (message for message in said if message.role in ("user", "assistant"))
    words = [(message.role, " ".join(spoken(message.content).split())) for message in spoke]
    return hashlib.sha256(json.dumps([owner, [pair for pair in words if pair[1]]]).encode()).hexdigest()
