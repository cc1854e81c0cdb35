"""Translates SQLite's SQL, as far as the project uses it, to that of Postgres with psycopg's placeholders.

What differs by name only (``json_extract``, ``json_each``) is a function in the schema of Postgres instead.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

_TOKEN = re.compile(
    r"""(?P<bytes>\bx'') | (?P<text>'(?:[^']|'')*') | \?(?P<number>\d*) | (?<![:\w]):(?P<name>[a-z_]\w*)
    | (?P<percent>%) | (?P<hint>\bINDEXED\ BY\ \w+)""",
    re.VERBOSE,
)


@lru_cache(maxsize=512)
def for_postgres(sql: str) -> bytes:
    """Return ``sql`` with placeholders by name: ``p1`` for the first ``?`` or for ``?1``."""
    count = 0

    def translated(token: re.Match[str]) -> str:
        nonlocal count
        if token["bytes"]:
            return "''::bytea"
        if token["text"]:
            return token["text"].replace("%", "%%")
        if token["name"]:
            return f"%({token['name']})s"
        if token["percent"]:
            return "%%"
        if token["hint"]:
            return ""
        count += 1
        return f"%(p{token['number'] or count})s"

    return _TOKEN.sub(translated, sql).encode()


def values_for_postgres(parameters: Sequence[Any] | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the values by the names of their placeholders. Texts of Postgres hold no NUL: U+FFFD stands for it."""
    if not isinstance(parameters, Mapping):
        parameters = {f"p{number}": value for number, value in enumerate(parameters or (), 1)}
    return {name: _value(value) for name, value in parameters.items()}


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value
