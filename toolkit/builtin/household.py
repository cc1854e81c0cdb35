"""Chores of a household, and who does them."""

from datetime import date as calendar_date
from datetime import timedelta
from typing import Annotated

from toolkit.builtin.workspace_data import Record, changing, choose, find, known, load, require_new, words
from toolkit.builtin.written_times import read_day
from toolkit.declare import tool

_FAMILY = "household"
Chore = Annotated[str, known(_FAMILY, "chores")]
Helper = Annotated[str, known(_FAMILY, "people")]
Area = Annotated[str, known(_FAMILY, "chores", "room")]


def _due(chore: Record) -> str:
    return str(calendar_date.fromisoformat(chore["last_done"]) + timedelta(days=chore["interval_days"]))


@tool(effect="writes", sandbox_state=True)
def add_chore(name: str, room: str, interval_days: int, person: Helper, first_date: str) -> str:
    """Add a chore that somebody in the household does again and again.

    Args:
        name: What is to be done.
        room: Room in which it is done.
        interval_days: Days from one time to the next.
        person: Name of the person who does it.
        first_date: Date of the first time, as YYYY-MM-DD.
    """
    if not 1 <= interval_days <= 365:
        raise ValueError("interval_days must be between 1 and 365")
    first = read_day(first_date, "first_date")
    new = {"name": words(name, "name"), "room": words(room, "room"), "interval_days": interval_days}
    with changing(_FAMILY) as data:
        require_new(data["chores"], name, "chore")
        helper = find(data["people"], person, "person in the household")["name"]
        data["chores"].append({**new, "person": helper, "last_done": str(first - timedelta(days=interval_days))})
    return f"{new['name']}: {helper}, first on {first}"


@tool(effect="writes", sandbox_state=True)
def finish_chore(chore: Chore, date: str, person: Helper = "") -> str:
    """Record that a chore of the household was done.

    Args:
        chore: Name of the chore.
        date: Day on which it was done, as YYYY-MM-DD.
        person: Name of the person who did it, if it was another one.
    """
    day = str(read_day(date, "date"))
    with changing(_FAMILY) as data:
        found = find(data["chores"], chore, "chore")
        by = find(data["people"], person, "person in the household")["name"] if person else found["person"]
        found.update(last_done=day, done_by=by)
    return f"{found['name']} done by {by}, next on {_due(found)}"


@tool(effect="writes", sandbox_state=True)
def chores_due(date: str, person: Helper = "") -> list[str]:
    """List the chores of the household that are due by a day.

    Args:
        date: Date as YYYY-MM-DD.
        person: Only chores of this person.
    """
    day, data = str(read_day(date, "date")), load(_FAMILY)
    name = find(data["people"], person, "person in the household")["name"] if person else ""
    due = [each for each in data["chores"] if _due(each) <= day and name in ("", each["person"])]
    return [each["name"] for each in sorted(due, key=_due)]


@tool(effect="writes", sandbox_state=True)
def hand_over_chore(chore: Chore, to_person: Helper) -> str:
    """Give a chore of the household to another person.

    Args:
        chore: Name of the chore.
        to_person: Name of the person who does it from now on.
    """
    with changing(_FAMILY) as data:
        found = find(data["chores"], chore, "chore")
        before, after = found["person"], find(data["people"], to_person, "person in the household")["name"]
        if before == after:
            raise ValueError(f"{found['name']} is a chore of {after} already; name another person")
        found["person"] = after
    return f"{found['name']}: {after} instead of {before}"


@tool(effect="writes", sandbox_state=True)
def swap_chores(first_chore: Chore, second_chore: Chore) -> str:
    """Let the people of two chores of the household change places.

    Args:
        first_chore: Name of a chore.
        second_chore: Name of the other chore.
    """
    with changing(_FAMILY) as data:
        one, other = (find(data["chores"], name, "chore") for name in (first_chore, second_chore))
        if one["person"] == other["person"]:
            raise ValueError(f"both are chores of {one['person']}; name chores of two people")
        one["person"], other["person"] = other["person"], one["person"]
    return f"{one['name']}: {one['person']}; {other['name']}: {other['person']}"


@tool(effect="writes", sandbox_state=True)
def chores_in_room(room: Area) -> dict[str, str]:
    """List the chores of a room, with the people who do them.

    Args:
        room: Name of the room.
    """
    chores = load(_FAMILY)["chores"]
    name = choose((each["room"] for each in chores), room, "room with a chore")
    return {each["name"]: each["person"] for each in chores if each["room"] == name}
