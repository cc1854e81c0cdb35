"""The calendar: events with a day, a time, a place and people."""

from datetime import datetime, timedelta
from typing import Annotated

from toolkit.builtin.workspace_data import Record, changing, choose, find, known, load, require_new, words
from toolkit.builtin.written_times import read_clock, read_day
from toolkit.declare import tool

_FAMILY = "calendar_events"
Event = Annotated[str, known(_FAMILY, "events", "title")]
Attendee = Annotated[str, known(_FAMILY, "events", "people")]


def _in_order(rows: list[Record]) -> list[Record]:
    return sorted(rows, key=lambda row: (row["date"], row["time"]))


def _lasting(minutes: int) -> int:
    if not 1 <= minutes <= 1440:
        raise ValueError("minutes must be between 1 and 1440")
    return minutes


@tool(effect="writes", sandbox_state=True)
def create_event(title: str, date: str, time: str, place: str = "", minutes: int = 60) -> str:
    """Put an event into the calendar.

    Args:
        title: Title of the event.
        date: Date as YYYY-MM-DD.
        time: Time at which it begins, as HH:MM.
        place: Place where it is held.
        minutes: Duration in minutes.
    """
    new = {
        "title": words(title, "title"),
        "date": read_day(date, "date").isoformat(),
        "time": read_clock(time, "time"),
        "minutes": _lasting(minutes),
    }
    with changing(_FAMILY) as data:
        require_new(data["events"], title, "calendar event", "title")
        data["events"].append({**new, "place": place, "people": []})
    return f"{new['title']} on {new['date']} at {new['time']}"


@tool(effect="writes", sandbox_state=True)
def agenda_for_day(date: str) -> list[str]:
    """List the events of a day in the calendar.

    Args:
        date: Date as YYYY-MM-DD.
    """
    day = read_day(date, "date").isoformat()
    rows = _in_order([row for row in load(_FAMILY)["events"] if row["date"] == day])
    return [f"{row['time']} {row['title']}" for row in rows]


@tool(effect="writes", sandbox_state=True)
def reschedule_event(title: Event, new_date: str, new_time: str = "") -> str:
    """Move an event in the calendar to another day, and to another time if one is given.

    Args:
        title: Title of the event.
        new_date: New date as YYYY-MM-DD.
        new_time: New time as HH:MM.
    """
    day = read_day(new_date, "new_date").isoformat()
    with changing(_FAMILY) as data:
        row = find(data["events"], title, "calendar event", "title")
        row["date"] = day
        row["time"] = read_clock(new_time, "new_time") if new_time else row["time"]
    return f"{row['title']} on {row['date']} at {row['time']}"


@tool(effect="writes", sandbox_state=True)
def cancel_event(title: Event, reason: str = "") -> str:
    """Cancel an event in the calendar.

    Args:
        title: Title of the event.
        reason: Reason that the people invited are told.
    """
    with changing(_FAMILY) as data:
        row = find(data["events"], title, "calendar event", "title")
        data["events"].remove(row)
    told = f" and told {', '.join(row['people'])}: {reason}" if reason and row["people"] else ""
    return f"cancelled {row['title']}{told}"


@tool(effect="writes", sandbox_state=True)
def invite_to_event(title: Event, people: list[str]) -> list[str]:
    """Invite people to an event in the calendar.

    Args:
        title: Title of the event.
        people: Names of the people to invite.
    """
    if not people or not all(person.strip() for person in people):
        raise ValueError("people has no name in it; name at least one person")
    with changing(_FAMILY) as data:
        row = find(data["events"], title, "calendar event", "title")
        row["people"] = list(dict.fromkeys([*row["people"], *people]))
    return row["people"]


@tool(effect="writes", sandbox_state=True)
def next_meeting_with(person: Attendee, after_date: str = "2026-03-01") -> str:
    """Find the next event in the calendar that a person attends.

    Args:
        person: Name of the person.
        after_date: First date to look at, as YYYY-MM-DD.
    """
    first = read_day(after_date, "after_date").isoformat()
    rows = _in_order(load(_FAMILY)["events"])
    name = choose((each for row in rows for each in row["people"]), person, "person with an event")
    found = next((row for row in rows if name in row["people"] and row["date"] >= first), None)
    if found is None:
        raise ValueError(f"there is no event with {name} from {first} on")
    return f"{found['title']} on {found['date']} at {found['time']}"


@tool(effect="writes", sandbox_state=True)
def find_free_time(date: str, minutes: int, earliest: str = "08:00", latest: str = "18:00") -> str:
    """Find the first free time of a day in the calendar that is long enough.

    Args:
        date: Date as YYYY-MM-DD.
        minutes: Minutes that are needed.
        earliest: Earliest start as HH:MM.
        latest: Latest end as HH:MM.
    """
    day = read_day(date, "date").isoformat()
    needed = timedelta(minutes=_lasting(minutes))
    begin, end = (_moment(day, read_clock(*each)) for each in ((earliest, "earliest"), (latest, "latest")))
    for row in _in_order([row for row in load(_FAMILY)["events"] if row["date"] == day]):
        starts = _moment(day, row["time"])
        if begin + needed <= min(starts, end):
            break
        begin = max(begin, starts + timedelta(minutes=row["minutes"]))
    if begin + needed > end:
        raise ValueError(f"no {minutes} minutes are free on {day} from {earliest} to {latest}; try another day")
    return f"{begin:%H:%M} to {begin + needed:%H:%M}"


def _moment(day: str, time: str) -> datetime:
    return datetime.fromisoformat(f"{day} {time}")
