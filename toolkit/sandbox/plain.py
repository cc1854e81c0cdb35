"""Conversion of a tool's return value into JSON. Standard library only: the worker imports it."""

import json
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

_MAX_DEPTH = 48
_TEXTUAL = frozenset(("ipaddress", "uuid"))
_encode = json.JSONEncoder(allow_nan=False).encode


def encode_result(value: Any) -> bytes:
    """Encode ``value`` as strict JSON. Raises ValueError or TypeError, saying what JSON cannot hold."""
    return _encode(plain(value)).encode()


def plain(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911 - one return per JSON type
    """Return ``value`` made of dict, list, str, int, float, bool and None; dates as ISO text, exact numbers as text."""
    if depth > _MAX_DEPTH:
        raise ValueError("the result is nested too deep")
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(f"the result is {value}, which JSON cannot hold")
        return value
    if isinstance(value, Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, dict):
        return {_key(key): plain(item, depth + 1) for key, item in dict.items(value)}
    if isinstance(value, (set, frozenset)):
        items = [plain(item, depth + 1) for item in value]
        return sorted(items, key=lambda item: (str(type(item)), item if isinstance(item, (int, float)) else str(item)))
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    for types, convert in _SCALARS:
        if isinstance(value, types):
            return convert(value)
    if kind.__module__ in _TEXTUAL:
        return str(value)
    if isinstance(value, Iterator):
        raise TypeError(f"the result is a {kind.__name__}; return a list")
    raise TypeError(f"the result is a {kind.__name__}, which is no JSON value")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, (int, float, Decimal, Fraction, date)):
        return str(key)
    raise TypeError(f"the result has a key of type {type(key).__name__}")


def _bytes(value: bytes | bytearray) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.hex()


_SCALARS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (bool, bool),
    (int, int.__int__),
    (float, lambda value: plain(float.__float__(value))),
    (str, str.__str__),
    ((Decimal, Fraction), str),
    ((datetime, date, time), lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
    (complex, str),
    ((bytes, bytearray), _bytes),
)
