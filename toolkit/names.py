"""Names of tools: the allowed form, and the conversion of outside names into it."""

import builtins
import keyword
import re
import unicodedata

MAX_LENGTH = 64
_FORM = re.compile(r"[a-z][a-z0-9_]*")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BREAK = re.compile(r"[^a-z0-9]+")
_ACCENTS = re.compile(r"[\u0300-\u036f]")
_SPELT = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "Æ": "AE", "Œ": "OE", "Ø": "O", "Ł": "L"})
_LOOK_ALIKE = str.maketrans("01", "ol")


class BadName(ValueError):
    """The name cannot be a tool's; the message says why."""


def check_name(name: str) -> None:
    """Raise BadName unless ``name`` is lower-case ASCII, no dunder, and shadows nothing of Python."""
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


def fitted(*parts: str) -> str:
    """Return a name that a tool may have, made of the ``parts`` of a foreign one.

    ``("time", "getCurrent-Time")`` becomes ``time_get_current_time``. Accents are taken off, every other sign becomes
    ``_``, and what is too long is cut; so several foreign names may become one (see numbered). Raises BadName where
    nothing is left.
    """
    whole = "_".join(_HUMP.sub("_", part.strip()) for part in parts)
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", whole.translate(_SPELT)))
    name = _BREAK.sub("_", plain.lower())[:MAX_LENGTH].strip("_")
    check_name(name)
    return name


def numbered(name: str, number: int) -> str:
    """Return ``name`` with ``number`` at its end, within MAX_LENGTH."""
    end = f"_{number}"
    return name[: MAX_LENGTH - len(end)].rstrip("_") + end


def skeleton(name: str) -> str:
    """Return a form that is equal for names that readers may confuse: ``load_1``, ``load_l``, ``loadl``."""
    return name.replace("_", "").translate(_LOOK_ALIKE)
