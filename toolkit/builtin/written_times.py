"""Dates and times of day as people write them."""

import re
from datetime import date, datetime

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d %B %Y", "%d %b %Y", "%B %d %Y", "%b %d %Y")
"""Only what can be read in one way: 3/4/2024 is March in one country and April in another."""
_CLOCK = re.compile(r"(\d{1,2})(?:[:.](\d\d))?\s*(am|pm|a\.m\.|p\.m\.)?", re.IGNORECASE)


def read_day(text: str, name: str) -> date:
    """Return the date that ``text`` writes. Raises ValueError, naming the parameter ``name``."""
    plain = re.sub(r"(?<=\d)(st|nd|rd|th)\b|\bof\b|\bthe\b|,", " ", text, flags=re.IGNORECASE)
    for form in _DATES:
        try:
            return datetime.strptime(" ".join(plain.split()), form).date()
        except ValueError:
            continue
    raise ValueError(f"{name} {text!r} is no date; write for example 2024-03-01 or 1 March 2024")


def read_clock(text: str, name: str) -> str:
    """Return the time of day that ``text`` writes, as HH:MM. Raises ValueError, naming the parameter ``name``."""
    found = _CLOCK.fullmatch(text.strip())
    if found and (found[2] or found[3]):
        hour, minute, half = int(found[1]), int(found[2] or 0), (found[3] or "").lower()[:1]
        if half and 1 <= hour <= 12:
            hour = hour % 12 + (12 if half == "p" else 0)
        if hour < 24 and minute < 60:
            return f"{hour:02d}:{minute:02d}"
    raise ValueError(f"{name} {text!r} is no time of day; write for example 14:30")


def read_month(text: str, name: str) -> str:
    """Return the month that ``text`` writes, as YYYY-MM. Raises ValueError, naming the parameter ``name``."""
    for form in ("%Y-%m", "%Y/%m", "%m/%Y", "%B %Y", "%b %Y"):
        try:
            return f"{datetime.strptime(text.strip(), form):%Y-%m}"
        except ValueError:
            continue
    raise ValueError(f"{name} {text!r} is no month; write for example 2024-03 or March 2024")
