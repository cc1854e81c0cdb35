"""Meeting rooms of an office."""

from typing import Annotated, Literal

from toolkit.builtin.ranges import positive
from toolkit.builtin.workspace_data import Record, find, known, load, save, words
from toolkit.builtin.written_times import read_clock, read_day
from toolkit.declare import tool

_Room = Annotated[str, known("meeting_rooms", "rooms")]
_Booked = Annotated[str, known("meeting_rooms", "meetings", "room")]
_Purpose = Annotated[str, known("meeting_rooms", "meetings", "purpose")]
_Equipment = Literal["whiteboard", "screen", "projector", "video camera", "microphone"]


def _span(date: str, start_time: str, end_time: str) -> Record:
    start, end = read_clock(start_time, "start_time"), read_clock(end_time, "end_time")
    if end <= start:
        raise ValueError("end_time is not after start_time; swap them")
    return {"date": read_day(date, "date").isoformat(), "start": start, "end": end}


def _meeting_at(meetings: list[Record], room: str, span: Record) -> Record | None:
    for each in meetings:
        meets = each["start"] < span["end"] and span["start"] < each["end"]
        if meets and (each["room"], each["date"]) == (room, span["date"]):
            return each
    return None


@tool(effect="writes", sandbox_state=True)
def find_free_rooms(date: str, start_time: str, end_time: str, people: int = 1) -> list[str]:
    """Find the meeting rooms that are free at a time.

    Args:
        date: Day as YYYY-MM-DD.
        start_time: Beginning as HH:MM.
        end_time: End as HH:MM.
        people: Number of people who need a seat.
    """
    positive(people=people)
    data, span = load("meeting_rooms"), _span(date, start_time, end_time)
    large = [room["name"] for room in data["rooms"] if room["seats"] >= people]
    free = [room for room in large if _meeting_at(data["meetings"], room, span) is None]
    if not free:
        raise ValueError(f"no room for {people} people is free then; choose another time or fewer people")
    return free


@tool(effect="writes", sandbox_state=True)
def rooms_with_equipment(equipment: list[_Equipment]) -> list[str]:
    """List the meeting rooms that have some equipment.

    Args:
        equipment: The things that the room must have.
    """
    rooms = load("meeting_rooms")["rooms"]
    found = [room["name"] for room in rooms if set(equipment) <= set(room["equipment"])]
    if not equipment or not found:
        raise ValueError("no room has all of that; ask for less")
    return found


@tool(effect="writes", sandbox_state=True)
def book_meeting_room(room: _Room, date: str, start_time: str, end_time: str, purpose: str) -> str:
    """Book a meeting room of the office.

    Args:
        room: Name of the room.
        date: Day as YYYY-MM-DD.
        start_time: Beginning as HH:MM.
        end_time: End as HH:MM.
        purpose: Subject of the meeting.
    """
    data, span = load("meeting_rooms"), _span(date, start_time, end_time)
    name = find(data["rooms"], room, "room")["name"]
    taken = _meeting_at(data["meetings"], name, span)
    if taken:
        raise ValueError(f"{name} is taken from {taken['start']} to {taken['end']}; choose another time or room")
    new = {"room": name, **span, "purpose": words(purpose, "purpose")}
    data["meetings"].append(new)
    save("meeting_rooms", data)
    return f"booked {name} on {new['date']} from {new['start']} to {new['end']} for {new['purpose']}"


@tool(effect="writes", sandbox_state=True)
def room_schedule(room: _Room, date: str) -> list[str]:
    """Show the meetings that take place in a meeting room on a day.

    Args:
        room: Name of the room.
        date: Day as YYYY-MM-DD.
    """
    data, day = load("meeting_rooms"), read_day(date, "date").isoformat()
    name = find(data["rooms"], room, "room")["name"]
    meetings = [each for each in data["meetings"] if (each["room"], each["date"]) == (name, day)]
    ordered = sorted(meetings, key=lambda each: each["start"])
    return [f"{each['start']} to {each['end']} {each['purpose']}" for each in ordered]


@tool(effect="writes", sandbox_state=True)
def release_meeting_room(room: _Booked, purpose: _Purpose) -> str:
    """Give back a booked meeting room.

    Args:
        room: Name of the room.
        purpose: Subject of the meeting for which it was booked.
    """
    data = load("meeting_rooms")
    name = find(data["rooms"], room, "room")["name"]
    meetings = [each for each in data["meetings"] if each["room"] == name]
    found = find(meetings, purpose, f"meeting in {name} for", "purpose")
    data["meetings"].remove(found)
    save("meeting_rooms", data)
    return f"{name} is free again on {found['date']} from {found['start']} to {found['end']}"
