"""Search of files for what is deleted: ids of interactions, their requests, and tools made for them."""

import json
import re
from collections.abc import Collection, Iterable

ID = re.compile(r"[0-9a-f]{12}-[0-9a-f]{4,}")
"""As the log makes them. Lines are searched for the id, so that anything else would delete those that hold the word."""
_SHORTEST_ID = 17
_SPACE = re.compile(r"(?:\s|\\[nrt])+")
"""As it may stand in a JSON text."""
_LINE = r'(?:"|\\n|: )(?:{})(?:"|\\n)'
"""A text that fills a line of a prompt, or all that follows a colon in it, as it stands in JSON."""
_TELLING = 12
"""Characters of a request by which lines without a link are known. Shorter ones go where they fill a line of a
prompt, which no stage reads: of whomever."""
_HEAD, _FEW = 8, 50
"""Characters by which requests are found where there are more than a few; a text is searched for each of a few."""


class Sought:
    """Interactions by their ``ids``, with what was ``said`` in each, and the names of the ``tools`` made for them.

    Many are looked for as fast as one: the time grows with the text.
    """

    def __init__(self, ids: Collection[str], said: Iterable[str], tools: Iterable[str]) -> None:
        self._ids = frozenset(ids)
        texts = {one for one in map(str.strip, said) if one}
        plain = {_plain(_as_json(one)) for one in texts if len(one) >= _TELLING}
        short = sorted(_as_pattern(one) for one in texts if len(one) < _TELLING)
        names = [rf"(?<!\w){re.escape(name)}(?!\w)" for name in tools]
        self._tools = re.compile("|".join(names)) if names else None
        self._lines = re.compile(_LINE.format("|".join(short))) if short else None
        self._few = plain if len(plain) <= _FEW else {one for one in plain if len(one) < _HEAD}
        self._by_head: dict[str, list[str]] = {}
        for one in plain - self._few:
            self._by_head.setdefault(one[:_HEAD], []).append(one)

    def has_short(self) -> bool:
        """Return whether a request is too short to be known wherever it stands."""
        return self._lines is not None

    def names(self, text: str) -> bool:
        """Return whether an id stands in ``text``."""
        if len(self._ids) <= _FEW:
            return any(one in text for one in self._ids)
        found = (match.group() for match in ID.finditer(text))
        return any(one[:end] in self._ids for one in found for end in range(_SHORTEST_ID, len(one) + 1))

    def tells(self, text: str) -> bool:
        """Return whether a JSON text comes from one of them without a link: it holds a request, with its line breaks or
        without, or the name of a tool, which is of two words at least."""
        if self._tools and self._tools.search(text):
            return True
        if not self._few and not self._by_head:
            return False
        plain = _plain(text)
        return any(one in plain for one in self._few) or bool(self._by_head and self._stands_in(plain))

    def fills_a_line(self, text: str) -> bool:
        """Return whether a short request fills a line of a prompt in a JSON text."""
        return self._lines is not None and self._lines.search(text) is not None

    def is_source_of(self, value: object) -> bool:
        """Return whether a JSON value names one of them as its source."""
        if not isinstance(value, dict):
            return False
        links = value.get("provenance", value)
        return not self._ids.isdisjoint([links.get("interaction_id"), *links.get("other_interaction_ids", ())])

    def _stands_in(self, plain: str) -> bool:
        heads = ((place, plain[place : place + _HEAD]) for place in range(len(plain) - _HEAD + 1))
        return any(plain.startswith(one, place) for place, head in heads for one in self._by_head.get(head, ()))


def _plain(text: str) -> str:
    """Return a JSON text with each run of blanks and line breaks as one blank."""
    return _SPACE.sub(" ", text)


def _as_json(said: str) -> str:
    return " ".join(json.dumps(word, ensure_ascii=False)[1:-1] for word in said.split())


def _as_pattern(said: str) -> str:
    return _SPACE.pattern.join(re.escape(json.dumps(word, ensure_ascii=False)[1:-1]) for word in said.split())
