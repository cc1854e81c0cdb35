"""The texts, and the other values, in a JSON value."""

from collections.abc import Callable, Iterator
from typing import Any


def leaves(value: Any, *, keys: bool = False) -> Iterator[Any]:
    """Yield what is no list and no object in ``value``, in order; with ``keys`` also the keys of objects."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item, keys=keys)
    elif isinstance(value, dict):
        for key, item in value.items():
            if keys:
                yield key
            yield from leaves(item, keys=keys)
    else:
        yield value


def texts(value: Any) -> Iterator[str]:
    """Yield the texts in ``value``, but for the keys of objects, in order."""
    return (leaf for leaf in leaves(value) if isinstance(leaf, str))


def with_texts(
    value: Any,
    change: Callable[[str], str],
    *,
    keys: Callable[[str], str] = str,
    named: Callable[[str, Any], Any] | None = None,
) -> Any:
    """Return ``value`` with each text changed by ``change``, and each key of an object by ``keys``.

    ``named`` may say, by its key, what a member of an object becomes; None leaves it to ``change``.
    """
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [with_texts(item, change, keys=keys, named=named) for item in value]
    if isinstance(value, dict):
        found = {}
        for key, item in value.items():
            replaced = named(key, item) if named is not None else None
            found[keys(key)] = with_texts(item, change, keys=keys, named=named) if replaced is None else replaced
        return found
    return value
