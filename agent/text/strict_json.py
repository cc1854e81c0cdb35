"""JSON as the interaction log can hold it: finite numbers, whole characters, bounded depth."""

import json
import math
from typing import Any, NoReturn

DEEPEST = 100
"""Levels of objects and lists in one value. Readers of the log stop at 200, and a value stands some levels down."""


def loads(text: str) -> Any:
    """Return the value of a JSON text. Raises ValueError where it is none, or none that can be stored."""
    try:
        value = DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if text.count("{") + text.count("[") > DEEPEST and is_deeper(value, DEEPEST):
        raise ValueError("nested too deeply")
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is a UnicodeEncodeError, a ValueError
    return value


def is_deeper(value: Any, limit: int) -> bool:
    """Return whether a JSON value has more than ``limit`` levels of objects and lists."""
    level = [value]
    for _ in range(limit + 1):
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return False
        level = [child for one in level for child in (one.values() if isinstance(one, dict) else one)]
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large")
    return value


DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
"""Refuses NaN and Infinity, which are no JSON, and numbers that are too large, with ValueError."""
