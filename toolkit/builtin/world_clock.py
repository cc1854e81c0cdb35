"""A world clock: named places in cities, and meetings between them."""

from datetime import datetime, timedelta, tzinfo
from typing import Annotated, Literal

from toolkit.builtin.time_zones import City, zone_of
from toolkit.builtin.workspace_data import Record, changing, find, known, load, require_new, words
from toolkit.builtin.written_times import read_clock, read_day
from toolkit.declare import tool

_FAMILY = "world_clock"
Clock = Annotated[str, known(_FAMILY, "clocks")]


def _clock(name: str) -> Record:
    return find(load(_FAMILY)["clocks"], name, "clock")


def _moment(date: str, time: str, zone: tzinfo) -> datetime:
    return datetime.fromisoformat(f"{read_day(date, 'date')} {read_clock(time, 'time')}").replace(tzinfo=zone)


@tool(effect="writes", sandbox_state=True)
def add_clock(name: str, city: City) -> str:
    """Add a team, office or person in a city to the world clock.

    Args:
        name: Name of the team, office or person.
        city: City in which it is, for example Lisbon.
    """
    zone_of(city)
    new = {"name": words(name, "name"), "city": words(city, "city")}
    with changing(_FAMILY) as data:
        require_new(data["clocks"], name, "clock")
        data["clocks"].append(new)
    return f"{new['name']}: {new['city']}"


@tool(effect="writes", sandbox_state=True)
def relocate_clock(name: Clock, new_city: City) -> str:
    """Note in the world clock that a team, office or person is in another city now.

    Args:
        name: Name of the team, office or person.
        new_city: City in which it is now.
    """
    zone_of(new_city)
    with changing(_FAMILY) as data:
        row = find(data["clocks"], name, "clock")
        before, row["city"] = row["city"], words(new_city, "new_city")
    return f"{row['name']}: {row['city']} instead of {before}"


@tool(effect="writes", sandbox_state=True)
def meeting_time_for(team: Clock, date: str, time: str, host: Clock) -> str:
    """Tell when a meeting is for a team, if it is at a given time where its host is.

    Args:
        team: Name of the team, office or person that joins.
        date: Date at the host's place, as YYYY-MM-DD.
        time: Time at the host's place, as HH:MM.
        host: Name of the team, office or person that hosts the meeting.
    """
    there = _moment(date, time, zone_of(_clock(host)["city"])).astimezone(zone_of(_clock(team)["city"]))
    return f"{there:%Y-%m-%d %H:%M}"


@tool(effect="writes", sandbox_state=True)
def hours_ahead(team: Clock, other_team: Clock, date: str) -> float:
    """Count the hours by which the clock of one team is ahead of the clock of another.

    Args:
        team: Name of the first team, office or person.
        other_team: Name of the other one.
        date: Day to look at, as YYYY-MM-DD.
    """
    here, there = (
        _moment(date, "12:00", zone_of(_clock(name)["city"])).utcoffset() or timedelta() for name in (team, other_team)
    )
    return (here - there) / timedelta(hours=1)


@tool(effect="writes", sandbox_state=True)
def common_working_hours(
    team: Clock, other_team: Clock, date: str, workday: Literal["short", "normal", "long"] = "normal"
) -> str:
    """Find the hours of a day in which two teams of the world clock both work.

    Args:
        team: Name of the team whose clock the answer is in.
        other_team: Name of the other team.
        date: Day at the first team's place, as YYYY-MM-DD.
        workday: short is 9 to 15, normal 9 to 17, long 8 to 20.
    """
    hours = {"short": ("09:00", "15:00"), "normal": ("09:00", "17:00"), "long": ("08:00", "20:00")}[workday]
    zone, other = (zone_of(_clock(name)["city"]) for name in (team, other_team))
    begin, end = (_moment(date, hour, zone) for hour in hours)
    for days in (-1, 0, 1):
        day = str(read_day(date, "date") + timedelta(days=days))
        starts, ends = max(begin, _moment(day, hours[0], other)), min(end, _moment(day, hours[1], other))
        if starts < ends:
            return f"{starts.astimezone(zone):%H:%M} to {ends.astimezone(zone):%H:%M}"
    raise ValueError(f"no hours of a {workday} workday are common to {team} and {other_team} on {date}")
