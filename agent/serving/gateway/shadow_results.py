"""Results of calls that a client ran, for as long as they may be compared: hashes, and never the results themselves."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from agent.serving.gateway import history
from agent.serving.shadow.agreement import Comparison, arguments_key
from toolkit.tool import ToolCall

_CAPACITY = 20_000


class Open(NamedTuple):
    """A comparison whose results are not known yet: its number in the log, and the key of our call."""

    number: int
    ours: bytes


class Results:
    """The newest results by owner, tool and arguments, and the comparisons that wait for one."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._known: OrderedDict[bytes, bytes] = OrderedDict()
        self._open: OrderedDict[bytes, list[Open]] = OrderedDict()
        self._capacity = capacity

    def wait_for(self, owner: str, number: int, comparison: Comparison) -> None:
        """Compare the results of a comparison's calls as soon as that of theirs is known."""
        if comparison.same_arguments or comparison.ours is None or comparison.theirs is None:
            return
        theirs, ours = _key(owner, comparison.theirs), _key(owner, comparison.ours)
        self._open.setdefault(theirs, []).append(Open(number, ours))
        self._trim()

    def seen(self, owner: str, messages: Sequence[Any]) -> list[tuple[int, bool]]:
        """Take the results that a request brings; returns the comparisons that they decide: numbers, and whether our
        call has the same result. Raises as ``history.as_messages``."""
        said = history.as_messages(messages)
        calls = {call.id: call for message in said for call in message.tool_calls}
        decided: list[tuple[int, bool]] = []
        for message in said:
            result = message.tool_result
            if result is None or result.error is not None or (call := calls.get(result.call_id)) is None:
                continue
            key, value = _key(owner, call), _hash(json.dumps(result.value, sort_keys=True))
            self._known[key] = value
            self._known.move_to_end(key)
            waiting = self._open.pop(key, [])
            decided += [(one.number, self._known[one.ours] == value) for one in waiting if one.ours in self._known]
        self._trim()
        return decided

    def _trim(self) -> None:
        for table in (self._known, self._open):
            while len(table) > self._capacity:
                table.popitem(last=False)


def _key(owner: str, call: ToolCall) -> bytes:
    return _hash(json.dumps([owner, call.name, arguments_key(call)]))


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
