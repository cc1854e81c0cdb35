"""Reminders at a time or at a place."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from toolkit.builtin.workspace_data import changing, choose, find, known, load, require_new, words
from toolkit.builtin.written_times import read_clock, read_day
from toolkit.declare import tool

_FAMILY = "reminders"
Reminder = Annotated[str, known(_FAMILY, "reminders", "text")]
Place = Annotated[str, known(_FAMILY, "place_reminders", "place")]


@tool(effect="writes", sandbox_state=True)
def set_reminder(
    text: str,
    date: str,
    time: str = "09:00",
    repeat: Literal["never", "daily", "weekly", "monthly", "yearly"] = "never",
) -> str:
    """Set a reminder for a day and time.

    Args:
        text: What to be reminded of.
        date: Date as YYYY-MM-DD.
        time: Time as HH:MM.
        repeat: How often it comes again.
    """
    new = {"text": words(text, "text"), "date": str(read_day(date, "date")), "time": read_clock(time, "time")}
    with changing(_FAMILY) as data:
        require_new(data["reminders"], text, "reminder", "text")
        data["reminders"].append({**new, "repeat": repeat})
    return f"{new['text']}: {new['date']} {new['time']}" + (f", {repeat}" if repeat != "never" else "")


@tool(effect="writes", sandbox_state=True)
def reminders_between(first_date: str, last_date: str) -> list[str]:
    """List the reminders that are due from one day to another.

    Args:
        first_date: First date as YYYY-MM-DD.
        last_date: Last date as YYYY-MM-DD.
    """
    first, last = read_day(first_date, "first_date"), read_day(last_date, "last_date")
    if last < first:
        raise ValueError("last_date is before first_date; swap them")
    due = [each for each in load(_FAMILY)["reminders"] if str(first) <= each["date"] <= str(last)]
    due.sort(key=lambda each: (each["date"], each["time"]))
    return [f"{each['date']} {each['time']} {each['text']}" for each in due]


@tool(effect="writes", sandbox_state=True)
def snooze_reminder(text: Reminder, minutes: int = 10) -> str:
    """Let a reminder come again some minutes later.

    Args:
        text: What the reminder is about.
        minutes: Minutes by which it is put off.
    """
    if not 1 <= minutes <= 10_000:
        raise ValueError("minutes must be between 1 and 10000")
    with changing(_FAMILY) as data:
        row = find(data["reminders"], text, "reminder", "text")
        later = datetime.fromisoformat(f"{row['date']} {row['time']}") + timedelta(minutes=minutes)
        row["date"], row["time"] = f"{later:%Y-%m-%d}", f"{later:%H:%M}"
    return f"{row['text']}: {row['date']} {row['time']}"


@tool(effect="writes", sandbox_state=True)
def dismiss_reminder(text: Reminder) -> str:
    """Delete a reminder that is no longer needed.

    Args:
        text: What the reminder is about.
    """
    with changing(_FAMILY) as data:
        row = find(data["reminders"], text, "reminder", "text")
        data["reminders"].remove(row)
    return f"dismissed {row['text']}"


@tool(effect="writes", sandbox_state=True)
def remind_at_place(text: str, place: str, moment: Literal["arriving", "leaving"] = "arriving") -> str:
    """Set a reminder for when one arrives at a place or leaves it.

    Args:
        text: What to be reminded of.
        place: Name of the place.
        moment: Whether it comes on arriving or on leaving.
    """
    new = {"text": words(text, "text"), "place": words(place, "place"), "moment": moment}
    with changing(_FAMILY) as data:
        data["place_reminders"].append(new)
    return f"{new['text']}: on {moment} {new['place']}"


@tool(effect="writes", sandbox_state=True)
def reminders_at_place(place: Place) -> list[str]:
    """List the reminders that belong to a place.

    Args:
        place: Name of the place.
    """
    rows = load(_FAMILY)["place_reminders"]
    name = choose((each["place"] for each in rows), place, "place with a reminder")
    return [f"{each['text']} ({each['moment']})" for each in rows if each["place"] == name]
