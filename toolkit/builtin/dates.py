"""Calendar dates, written 2024-03-01."""

import calendar
from datetime import date as calendar_date
from datetime import timedelta

from toolkit.declare import tool

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _day(text: str, name: str) -> calendar_date:
    try:
        return calendar_date.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{name} {text!r} is no date; write year-month-day, for example 2024-03-01") from None


@tool(effect="pure")
def day_of_week(date: str) -> str:
    """Tell which day of the week a date is.

    Args:
        date: The date as year-month-day, for example 2024-03-01.
    """
    return _WEEKDAYS[_day(date, "date").weekday()]


@tool(effect="pure")
def days_between_dates(start_date: str, end_date: str) -> int:
    """Count the days from one date to another.

    Args:
        start_date: The first date as year-month-day.
        end_date: The second date as year-month-day.
    """
    return (_day(end_date, "end_date") - _day(start_date, "start_date")).days


@tool(effect="pure")
def add_days_to_date(date: str, days: int) -> str:
    """Find the date some days after a date; a negative number goes back.

    Args:
        date: The date as year-month-day.
        days: How many days to add.
    """
    try:
        return (_day(date, "date") + timedelta(days=days)).isoformat()
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
        birth_date: The date of birth as year-month-day.
        date: The date asked about as year-month-day.
    """
    born, then = _day(birth_date, "birth_date"), _day(date, "date")
    if then < born:
        raise ValueError("date is before birth_date; swap them")
    return then.year - born.year - ((then.month, then.day) < (born.month, born.day))
