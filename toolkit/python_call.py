"""Inside the sandbox: calls a function of a Python module with JSON arguments. Standard library only."""

import importlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

_MOST_ITEMS = 1000


def call(module: str, function: str, binding: list[list[str]], arguments: dict[str, Any]) -> Any:
    """Call ``module.function``; ``binding`` has ``[name, kind, conversion]`` for each parameter, in order.

    ``kind``: positional, keyword, star (a list that becomes ``*args``), self (the object whose method or property
    ``function`` is). Raises what the function raises, and ValueError for an argument that cannot be converted.
    """
    target: Any = importlib.import_module(module)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    skipped = ""
    for name, kind, conversion in binding:
        if name not in arguments:
            skipped = name
            continue
        value = _convert(name, conversion, arguments[name])
        if kind == "keyword" or (skipped and kind == "any"):
            named[name] = value
        elif skipped:
            raise ValueError(f"{name} is given but {skipped}, which comes before it, is not; give both")
        elif kind == "star":
            positional += value
        else:
            positional.append(value)
    for part in function.split("."):
        target = getattr(target, part)
    if binding and binding[0][1] == "self" and not callable(target):
        return target.__get__(positional[0])
    result = target(*positional, **named)
    return list(islice(result, _MOST_ITEMS)) if isinstance(result, Iterator) else result


def _convert(name: str, conversion: str, value: Any) -> Any:
    if not conversion or value is None:
        return value
    try:
        if conversion.startswith("list:"):
            return [_CONVERSIONS[conversion[5:]](item) for item in value]
        return _CONVERSIONS[conversion](value)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{name} {value!r} is no {conversion.removeprefix('list:')}: {error}") from None


def _from(module: str, name: str, maker: str = "") -> Callable[[Any], Any]:
    def make(value: Any) -> Any:
        kind = getattr(importlib.import_module(module), name)
        return getattr(kind, maker)(value) if maker else kind(value)

    return make


def _struct_time(value: str) -> Any:
    return _from("datetime", "datetime", "fromisoformat")(value).timetuple()


def _timedelta(value: float) -> Any:
    return importlib.import_module("datetime").timedelta(seconds=value)


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "bytes": str.encode,
    "set": set,
    "tuple": tuple,
    "date": _from("datetime", "date", "fromisoformat"),
    "datetime": _from("datetime", "datetime", "fromisoformat"),
    "time": _from("datetime", "time", "fromisoformat"),
    "timedelta": _timedelta,
    "struct_time": _struct_time,
    "Decimal": _from("decimal", "Decimal"),
    "Fraction": _from("fractions", "Fraction"),
    "IPv4Address": _from("ipaddress", "IPv4Address"),
    "IPv6Address": _from("ipaddress", "IPv6Address"),
    "IPv4Network": _from("ipaddress", "IPv4Network"),
    "IPv6Network": _from("ipaddress", "IPv6Network"),
    "UUID": _from("uuid", "UUID"),
}
