"""Turns whose tools run at the client: its next request, with the results, goes to the adapter that asked for them."""

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from agent.serving import text_calls

_CALLS = b'"tool_calls"'
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{1,200})"')


class OpenTurns:
    """The adapters of the newest ``capacity`` tool calls, by the calls' ids."""

    def __init__(self, capacity: int = 20_000) -> None:
        self._adapters: OrderedDict[str, str] = OrderedDict()
        self._capacity = capacity

    def note(self, piece: bytes, adapter: str) -> None:
        """Remember the ids in a piece of an answer of ``adapter``; to be called before the client gets the piece."""
        if _CALLS not in piece:
            return
        for found in _ID.finditer(piece):
            self._adapters[found[1].decode("utf-8", "replace")] = adapter
        while len(self._adapters) > self._capacity:
            self._adapters.popitem(last=False)

    def adapter(self, messages: object) -> str | None:
        """The adapter that began the turn which a request's messages go on with; None for a new turn."""
        for message in _since_last_word_of_the_user(messages):
            for call_id in (message.get("tool_call_id"), *text_calls.call_ids(message)):
                if isinstance(call_id, str) and call_id in self._adapters:
                    return self._adapters[call_id]
        return None


def _since_last_word_of_the_user(messages: object) -> Sequence[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if isinstance(messages, list):
        for before, message in zip([{}, *messages][-2::-1], messages[::-1], strict=True):
            if not isinstance(message, dict) or not isinstance(before, dict):
                break
            if message.get("role") == "user" and not text_calls.goes_on(before, message):
                break
            found.append(message)
    return found[::-1]
