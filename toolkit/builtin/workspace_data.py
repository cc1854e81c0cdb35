"""Data of a family of tools: shipped in data/, copied into the conversation's workspace by the first change."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

from toolkit.declare import Known

_SHIPPED = Path(__file__).with_name("data")
_FOLDER = Path("records")
_SHOWN = 8
_LONGEST_SHOWN = 160
_ARTICLES = frozenset(("a", "an", "the"))

Record = dict[str, Any]


def load(family: str) -> dict[str, list[Record]]:
    """Return the collections of ``family``: the workspace's, or the shipped ones where nothing was changed yet.

    Raises ValueError for a file in the workspace that is no JSON.
    """
    changed = _FOLDER / f"{family}.json"
    if not changed.is_file():
        return json.loads(_shipped(family))
    try:
        return json.loads(changed.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{changed} is damaged; delete it to begin again") from None


def save(family: str, collections: dict[str, list[Record]]) -> None:
    """Keep the collections of ``family`` in the workspace."""
    _FOLDER.mkdir(exist_ok=True)
    written = _FOLDER / f"{family}.new"
    written.write_text(json.dumps(collections, ensure_ascii=False, indent=1), encoding="utf-8")
    written.replace(_FOLDER / f"{family}.json")


@contextmanager
def changing(family: str) -> Iterator[dict[str, list[Record]]]:
    """Give the collections of ``family``, to be changed in place; they are saved at the end, unless it raises."""
    collections = load(family)
    yield collections
    save(family, collections)


def known(family: str, collection: str, key: str = "name") -> Known:
    """Mark a parameter that takes one of the values under ``key``, of which ``Tool.known`` holds the shipped ones.

    Write ``Contact = Annotated[str, known("contacts", "contacts")]`` and use ``Contact`` as the type. A record may also
    hold a list of texts, or an object with them as names, under ``key``.
    """
    records = json.loads(_shipped(family))[collection]
    return Known(tuple(dict.fromkeys(value for record in records for value in _values(record[key]))))


def find(records: Iterable[Record], name: str, kind: str, key: str = "name") -> Record:
    """Return the record whose ``key`` is ``name``; capitals, punctuation and articles do not count.

    ``kind`` is the word for such a record, for example "town". Raises ValueError with the nearest of what there is.
    """
    by_name = {str(record[key]): record for record in records}
    return by_name[choose(by_name, name, kind)]


def choose(names: Iterable[str], name: str, kind: str) -> str:
    """Return the one of ``names`` that is ``name``, as ``find`` does."""
    names = list(names)
    for each in names:
        if _plain(each) == _plain(name):
            return each
    nearest = sorted(names, key=lambda each: -SequenceMatcher(None, _plain(each), _plain(name)).ratio())
    raise ValueError(f"there is no {kind} {name[:60]!r}; there is: {listed(nearest) or 'none'}")


def require_new(records: Iterable[Record], name: str, kind: str, key: str = "name") -> None:
    """Raise ValueError where ``name`` is the ``key`` of one of ``records`` already."""
    if any(_plain(str(record[key])) == _plain(name) for record in records):
        article = "an" if kind[0] in "aeiou" else "a"
        raise ValueError(f"there is {article} {kind} {name!r} already; use another name")


def words(value: str, name: str, *, longest: int = 200) -> str:
    """Return the text ``value`` of the parameter ``name`` in one line. Raises ValueError where it has no letter."""
    value = " ".join(value.split())
    if not any(char.isalpha() for char in value) or len(value) > longest:
        raise ValueError(f"{name} {value[:60]!r} must be words, {longest} characters at most")
    return value


def next_number(records: Iterable[Record], key: str = "number") -> int:
    """Return the number after the highest one."""
    return max((record[key] for record in records), default=0) + 1


def listed(names: Sequence[str]) -> str:
    """Return the first few of ``names`` in one line that a small model can read, and the number of the others."""
    shown: list[str] = []
    for name in names[:_SHOWN]:
        if shown and len(", ".join([*shown, name])) > _LONGEST_SHOWN:
            break
        shown.append(name)
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


@cache
def _shipped(family: str) -> str:
    return (_SHIPPED / f"{family}.json").read_text(encoding="utf-8")


def _values(value: Any) -> list[str | int]:
    several = value if isinstance(value, list | dict) else [value]
    return [each for each in several if each and type(each) in (str, int)]


def _plain(text: str) -> str:
    return " ".join(word for word in re.findall(r"\w+", text.casefold()) if word not in _ARTICLES)
