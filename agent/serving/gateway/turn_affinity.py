"""Turns whose tools run at the client: its next request, with the results, goes to the adapter that asked for them.

A request goes on with a turn of the same owner if it brings the id of one of its calls; others could guess an id. Where
the client renames ids, or the server gives the same one twice, the turn is known by its owner and its messages up to
the last word of the user.
"""

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from agent.serving.gateway import smolagents_format

_CALLS = b'"tool_calls"'
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{1,200})"')
_CAPACITY = 20_000

T = TypeVar("T")


class Owner(NamedTuple):
    """Whose a turn is: tenant and name of the API key."""

    tenant: str = ""
    name: str = ""


class OpenTurns(Generic[T]):
    """Values of the newest ``capacity`` turns, and of as many calls."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._by_call: OrderedDict[tuple[Owner, str], tuple[str, T]] = OrderedDict()
        self._by_turn: OrderedDict[tuple[Owner, str], T] = OrderedDict()
        self._ambiguous: OrderedDict[tuple[Owner, str], None] = OrderedDict()
        self._capacity = capacity

    def remember(self, owner: Owner, calls: Iterable[str], turn: str, value: T) -> None:
        """Keep ``value`` for a turn of ``owner``, by the ids of its calls and by its key."""
        if turn:
            self._by_turn[owner, turn] = value
            self._by_turn.move_to_end((owner, turn))
        for call in ((owner, identity) for identity in calls):
            if (known := self._by_call.get(call)) is not None and known[0] != turn:
                self._ambiguous[call] = None
            self._by_call[call] = (turn, value)
        for table in (self._by_call, self._by_turn, self._ambiguous):
            while len(table) > self._capacity:
                table.popitem(last=False)

    def find(self, owner: Owner, calls: Iterable[str], turn: Callable[[], str]) -> T | None:
        """Return the value for the first of ``calls`` that only one turn of ``owner`` has, else that for the turn, else
        None."""
        for call in ((owner, identity) for identity in calls):
            if call in self._by_call and call not in self._ambiguous:
                return self._by_call[call][1]
        return self._by_turn.get((owner, turn()))


class TurnAffinity:
    """The adapters of open turns."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._turns: OpenTurns[str] = OpenTurns(capacity)

    def note(self, piece: bytes, adapter: str, owner: Owner, turn: Callable[[], str]) -> None:
        """Remember the calls in a piece of an answer of ``adapter``; to be called before the client gets the piece."""
        if _CALLS in piece:
            ids = (found[1].decode("utf-8", "replace") for found in _ID.finditer(piece))
            self._turns.remember(owner, ids, turn(), adapter)

    def adapter(self, messages: object, owner: Owner, turn: Callable[[], str]) -> str | None:
        """Return the adapter that began the turn which a request's messages go on with; None for a new turn."""
        if not (tail := since_last_word_of_the_user(messages)):
            return None
        ids = (
            call_id
            for message in tail
            for call_id in (message.get("tool_call_id"), *smolagents_format.call_ids(message))
            if isinstance(call_id, str)
        )
        return self._turns.find(owner, ids, turn)


def turn_key(owner: str, messages: Sequence[Any]) -> str:
    """Return a key that is the same for all requests of one turn: a hash of the owner and the messages that began it.

    "" if no message of the user began it.
    """
    beginning = messages[: len(messages) - len(since_last_word_of_the_user(messages))]
    if not beginning:
        return ""
    return hashlib.sha256(json.dumps([owner, beginning], sort_keys=True).encode()).hexdigest()


def since_last_word_of_the_user(messages: object) -> Sequence[dict[str, Any]]:
    """Return the messages at the end of a request that go on with a turn; none if it begins one."""
    found: list[dict[str, Any]] = []
    if isinstance(messages, list):
        for before, message in zip([{}, *messages][-2::-1], messages[::-1], strict=True):
            if not isinstance(message, dict) or not isinstance(before, dict):
                break
            if message.get("role") == "user" and not smolagents_format.goes_on(before, message):
                break
            found.append(message)
    return found[::-1]
