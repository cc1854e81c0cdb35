"""Which names a tool may have, and how names from outside are brought into that form."""

import builtins
import keyword
import re
import unicodedata

MAX_LENGTH = 64
_FORM = re.compile(r"[a-z][a-z0-9_]*")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BREAK = re.compile(r"[\s\-./:]+")
_LOOK_ALIKE = str.maketrans("01", "ol")


class BadName(ValueError):
    """The name cannot be a tool's; the message says why."""


def check_name(name: str) -> None:
    """Raises BadName unless ``name`` is lower-case ASCII, no dunder, and shadows nothing of Python."""
    if not name.isascii():
        strange = next(char for char in name if not char.isascii())
        described = unicodedata.name(strange, f"U+{ord(strange):04X}")
        raise BadName(f"it holds {described}, which may imitate another letter")
    if not _FORM.fullmatch(name) or len(name) > MAX_LENGTH:
        raise BadName(f"it must be a letter followed by letters, digits and _, all small, at most {MAX_LENGTH}")
    if "__" in name or name.endswith("_"):
        raise BadName("it holds __ or ends with _")
    if name in vars(builtins) or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise BadName("it is a name of Python itself")


def normalised(*parts: str) -> str:
    """One tool name from the ``parts`` of a foreign one: ``("time", "getCurrent-Time")`` -> ``time_get_current_time``.

    Raises BadName for what cannot be brought into form without guessing: letters outside ASCII, dunders, other signs.
    """
    pieces = []
    for part in parts:
        if part.startswith("_") or part.endswith("_"):
            raise BadName("it begins or ends with _")
        pieces.append(_BREAK.sub("_", _HUMP.sub("_", part.strip())).lower())
    name = "_".join(pieces)
    check_name(name)
    return name


def skeleton(name: str) -> str:
    """Equal for names that a reader may take for one another: ``load_1``, ``load_l``, ``loadl``."""
    return name.replace("_", "").translate(_LOOK_ALIKE)
