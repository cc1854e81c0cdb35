"""Values as a page shows them."""

import json
import time
from typing import Any

from evolver.cli.score_words import mean_text, rate_text
from evolver.scores import Mean, Rate

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def moment(seconds: float | None) -> str:
    """Return a time (seconds since the epoch) in the server's time zone; "–" for none."""
    return "–" if not seconds else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def duration(seconds: float | None) -> str:
    """Return a time span with its two largest units: ``2 h 5 min``."""
    if seconds is None:
        return "–"
    for number, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            smaller_size, smaller = _UNITS[number + 1] if number + 1 < len(_UNITS) else (1, "s")
            rest = int(seconds % size // smaller_size)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def milliseconds(value: float | None) -> str:
    """Return a time span of ``value`` ms; "–" for none."""
    return "–" if value is None else f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def percent(share: float | None) -> str:
    """Return a share of one in percent; "–" for none."""
    return "–" if share is None else f"{share:.1%}"


def rate(value: Rate | dict[str, Any] | None) -> str:
    """Return a rate as ``70.0 % (7/10, 40–89)``; "–" over no request."""
    if value is None:
        return "–"
    found = value if isinstance(value, Rate) else Rate.model_validate(value)
    if not found.n:
        return "–"
    return rate_text(found)


def score(value: Rate | Mean | dict[str, Any] | None) -> str:
    """Return a rate or a mean as the commands show it; "–" for none."""
    if isinstance(value, dict):
        value = Rate.model_validate(value) if "hits" in value else Mean.model_validate(value)
    return mean_text(value) if isinstance(value, Mean) else rate(value)


def heading(words: str) -> str:
    """Return ``words`` with a capital letter at their beginning."""
    return words[:1].upper() + words[1:]


def as_json(value: Any) -> str:
    """Return ``value`` as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, default=str)


def plain(name: str) -> str:
    """Return a name in code as words."""
    return name.replace("_", " ")


def size(count: int) -> str:
    """Return ``count`` bytes in MiB or KiB."""
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


FILTERS = {
    "moment": moment,
    "duration": duration,
    "milliseconds": milliseconds,
    "percent": percent,
    "rate": rate,
    "score": score,
    "heading": heading,
    "json": as_json,
    "plain": plain,
    "size": size,
}
