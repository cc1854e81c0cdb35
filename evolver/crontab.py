"""Cron expressions as crontab(5) reads them, for APScheduler, which counts weekdays from Monday."""

import datetime as dt
import re
from typing import Any

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(\*|[0-7a-z]+)(?:-([0-7a-z]+))?(?:/([1-9][0-9]*))?", re.IGNORECASE)


def trigger(expression: str, timezone: dt.tzinfo = dt.UTC) -> Any:
    """Return the APScheduler trigger of ``"minute hour day month weekday"``.

    Weekdays are 0 to 7, 0 and 7 both Sunday, or names; with lists, ranges and steps. Where both a day and a weekday are
    named, either is enough. Raises ValueError for what is no such expression.
    """
    from apscheduler.triggers.combining import OrTrigger
    from apscheduler.triggers.cron import CronTrigger

    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(f"{expression!r} has {len(fields)} fields; give five: minute hour day month weekday")
    minute, hour, day, month, weekday = fields
    times = {"minute": minute, "hour": hour, "month": month.lower(), "timezone": timezone}
    days = CronTrigger(**times, day=day)
    if weekday.startswith("*") or day.startswith("*"):
        return CronTrigger(**times, day=day, day_of_week=_weekdays(weekday))
    return OrTrigger([days, CronTrigger(**times, day_of_week=_weekdays(weekday))])


def _weekdays(field: str) -> str:
    """The days that ``field`` names, as APScheduler names them."""
    if field == "*":
        return "*"
    days = {number for part in field.split(",") for number in _numbers(part)}
    return ",".join(_DAYS[number] for number in sorted(days))


def _numbers(part: str) -> set[int]:
    """The days of one ``first-last/step``; 0 is Sunday. A range may run over the end of the week."""
    found = _PART.fullmatch(part)
    if found is None:
        raise ValueError(f"{part!r} names no weekday; 0 and 7 are Sunday, 1 is Monday")
    first, last, step = found[1], found[2], int(found[3] or 1)
    if first == "*":
        if last is not None:
            raise ValueError(f"{part!r} names no weekday; 0 and 7 are Sunday, 1 is Monday")
        return set(range(0, 7, step))
    begin = _number(first)
    end = begin if last is None and found[3] is None else 6 if last is None else _number(last)
    if end < begin:
        end += 7
    return {number % 7 for number in range(begin, end + 1, step)}


def _number(text: str) -> int:
    if text.lower() in _DAYS:
        return _DAYS.index(text.lower())
    if re.fullmatch("[0-7]", text):
        return int(text)
    raise ValueError(f"{text!r} is no weekday; 0 and 7 are Sunday, 1 is Monday")
