"""Trains between ten towns that do not exist: timetable, fares and reserved seats."""

from typing import Annotated, Literal

from toolkit.builtin.rounding import money
from toolkit.builtin.workspace_data import Record, choose, find, known, load, next_number, save, words
from toolkit.builtin.written_times import read_clock, read_day
from toolkit.declare import tool

_Town = Annotated[str, known("routes", "towns")]
_Train = Annotated[str, known("trains", "trains")]
_Booked = Annotated[str, known("trains", "seats", "train")]
_Passenger = Annotated[str, known("trains", "seats", "passenger")]


def _town(trains: list[Record], name: str) -> str:
    return choose(dict.fromkeys(town for train in trains for town, _ in train["stops"]), name, "station")


def _connections(trains: list[Record], from_town: str, to_town: str) -> list[tuple[Record, int, int]]:
    """Return each train that stops first in one town, then in the other, with the places of both among its stops."""
    start, end = _town(trains, from_town), _town(trains, to_town)
    found = []
    for train in trains:
        towns = [town for town, _ in train["stops"]]
        if start in towns and end in towns and towns.index(start) < towns.index(end):
            found.append((train, towns.index(start), towns.index(end)))
    if not found:
        raise ValueError(f"there is no direct train from {start} to {end}; change trains on the way")
    return found


@tool(effect="writes", sandbox_state=True)
def find_trains(from_town: _Town, to_town: _Town, leave_after: str = "00:00") -> list[str]:
    """Find the direct trains from one town to another.

    Args:
        from_town: Town of departure.
        to_town: Town of arrival.
        leave_after: Earliest time of departure as HH:MM.
    """
    earliest = read_clock(leave_after, "leave_after")
    found = []
    for train, start, end in _connections(load("trains")["trains"], from_town, to_town):
        leaves, arrives = train["stops"][start][1], train["stops"][end][1]
        if leaves >= earliest:
            found.append(f"{train['name']} {leaves} to {arrives}")
    if not found:
        raise ValueError(f"there is no direct train after {earliest}; ask for an earlier one")
    return found[:6]


@tool(effect="writes", sandbox_state=True)
def train_fare(
    from_town: _Town, to_town: _Town, travel_class: Literal["first", "second"] = "second", return_trip: bool = False
) -> float:
    """Find the price of a train ticket between two towns.

    Args:
        from_town: Town of departure.
        to_town: Town of arrival.
        travel_class: First or second class.
        return_trip: Whether the ticket is for the way back too.
    """
    prices = [
        train["price_per_stop"] * (end - start)
        for train, start, end in _connections(load("trains")["trains"], from_town, to_town)
    ]
    return money(min(prices) * (1.6 if travel_class == "first" else 1) * (2 if return_trip else 1))


@tool(effect="writes", sandbox_state=True)
def list_train_stops(train: _Train) -> list[str]:
    """List the towns in which a train stops, with the times.

    Args:
        train: Name of the train, for example IC 204.
    """
    found = find(load("trains")["trains"], train, "train")
    return [f"{town} {time}" for town, time in found["stops"]]


@tool(effect="writes", sandbox_state=True)
def reserve_train_seat(train: _Train, date: str, passenger: str, seat: Literal["window", "aisle"] = "window") -> str:
    """Reserve a seat in a train for somebody.

    Args:
        train: Name of the train, for example IC 204.
        date: Day of travel as YYYY-MM-DD.
        passenger: Name of the person who travels.
        seat: Where the seat is.
    """
    data = load("trains")
    name, day = find(data["trains"], train, "train")["name"], read_day(date, "date").isoformat()
    number, who = next_number(data["seats"]), words(passenger, "passenger")
    data["seats"].append({"number": number, "train": name, "date": day, "passenger": who, "seat": seat})
    save("trains", data)
    return f"reservation {number}: {seat} seat in {name} on {day} for {who}"


@tool(effect="writes", sandbox_state=True)
def cancel_train_seat(passenger: _Passenger, train: _Booked) -> str:
    """Cancel somebody's reserved seat in a train.

    Args:
        passenger: Name of the person who wanted to travel.
        train: Name of the train.
    """
    data = load("trains")
    name = find(data["trains"], train, "train")["name"]
    seats = [seat for seat in data["seats"] if seat["train"] == name]
    found = find(seats, passenger, f"seat in {name} for", "passenger")
    data["seats"].remove(found)
    save("trains", data)
    return f"cancelled reservation {found['number']} of {found['passenger']} on {found['date']}"
