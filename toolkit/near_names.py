"""Names that a person may have meant."""

from collections.abc import Iterable, Sequence

_MOST = 3
_ALIKE = 0.6


def near_names(name: str, known: Iterable[str], *, most: int = _MOST) -> Sequence[str]:
    """Return the names of ``known`` that are spelt most like ``name``, the best first."""
    import difflib

    return difflib.get_close_matches(name, list(known), n=most, cutoff=_ALIKE)


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Return the question for the near names, such as ``did you mean a or b?``; ``otherwise`` where none is near."""
    near = near_names(name, known)
    return f"did you mean {' or '.join(near)}?" if near else otherwise
