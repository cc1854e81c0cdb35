"""Calendar dates, written 2024-03-01, 1 March 2024 or March 1, 2024."""

import calendar
from datetime import timedelta
from typing import Literal

from toolkit.builtin.written_times import read_day
from toolkit.declare import tool

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@tool(effect="pure")
def day_of_week(date: str) -> str:
    """Tell which day of the week a date is.

    Args:
        date: The date, year-month-day or in words.
    """
    return _WEEKDAYS[read_day(date, "date").weekday()]


@tool(effect="pure")
def days_between_dates(start_date: str, end_date: str) -> int:
    """Count the days from one date to another.

    Args:
        start_date: The first date, year-month-day or in words.
        end_date: The second date.
    """
    return (read_day(end_date, "end_date") - read_day(start_date, "start_date")).days


@tool(effect="pure")
def add_days_to_date(date: str, days: int) -> str:
    """Find the date some days after a date; a negative number goes back.

    Args:
        date: The date, year-month-day or in words.
        days: How many days to add.
    """
    try:
        return (read_day(date, "date") + timedelta(days=days)).isoformat()
    except OverflowError:
        raise ValueError("the new date is outside the years 1 to 9999; use fewer days") from None


@tool(effect="pure")
def is_leap_year(year: int) -> bool:
    """Check whether a year is a leap year.

    Args:
        year: The year, for example 2024.
    """
    if not 1 <= year <= 9999:
        raise ValueError("year must be between 1 and 9999")
    return calendar.isleap(year)


@tool(effect="pure")
def age_on_date(birth_date: str, date: str) -> int:
    """Find how many full years old somebody is on a date.

    Args:
        birth_date: The date of birth, year-month-day or in words.
        date: The date asked about.
    """
    born, then = read_day(birth_date, "birth_date"), read_day(date, "date")
    if then < born:
        raise ValueError("date is before birth_date; swap them")
    return then.year - born.year - ((then.month, then.day) < (born.month, born.day))


@tool(effect="pure")
def format_date(date: str, style: Literal["short", "long", "iso"] = "long", include_weekday: bool = False) -> str:
    """Write a date in another style.

    Args:
        date: The date, year-month-day or in words.
        style: short (05.03.2024), long (5 March 2024) or iso (2024-03-05).
        include_weekday: Whether to write the day of the week before it.
    """
    day = read_day(date, "date")
    written = {"short": f"{day:%d.%m.%Y}", "long": f"{day.day} {day:%B %Y}", "iso": day.isoformat()}[style]
    return f"{_WEEKDAYS[day.weekday()]}, {written}" if include_weekday else written


@tool(effect="pure")
def count_working_days(start_date: str, end_date: str, include_saturdays: bool = False) -> int:
    """Count the working days from one date to another, both included.

    Args:
        start_date: The first date, year-month-day or in words.
        end_date: The last date.
        include_saturdays: Whether people work on Saturdays too.
    """
    first, last = read_day(start_date, "start_date"), read_day(end_date, "end_date")
    if last < first:
        raise ValueError("end_date is before start_date; swap them")
    weeks, rest = divmod((last - first).days + 1, 7)
    working = range(6 if include_saturdays else 5)
    return weeks * len(working) + sum((first.weekday() + day) % 7 in working for day in range(rest))
