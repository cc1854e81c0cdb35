"""Restaurants: finding one, its dishes, and tables."""

from typing import Annotated, Literal

from toolkit.builtin.ranges import positive
from toolkit.builtin.workspace_data import Record, choose, find, known, load, save, words
from toolkit.builtin.written_times import read_clock, read_day
from toolkit.declare import tool

_Restaurant = Annotated[str, known("restaurants", "restaurants")]
_Town = Annotated[str, known("restaurants", "restaurants", "town")]
_Guest = Annotated[str, known("restaurants", "tables", "name")]
_Reserved = Annotated[str, known("restaurants", "tables", "restaurant")]
_Cuisine = Literal["Italian", "Indian", "Chinese", "Japanese", "French", "Mexican", "seafood"]


def _require_room(data: dict[str, list[Record]], wanted: Record) -> None:
    """Raise ValueError where the restaurant is closed at that time or has too few seats left on that day."""
    there = find(data["restaurants"], wanted["restaurant"], "restaurant")
    if not there["opens"] <= wanted["time"] < there["closes"]:
        raise ValueError(f"{there['name']} is open from {there['opens']} to {there['closes']}; choose such a time")
    same_day = [each for each in data["tables"] if all(each[key] == wanted[key] for key in ("restaurant", "date"))]
    left = there["seats"] - sum(table["guests"] for table in same_day)
    if wanted["guests"] > left:
        raise ValueError(f"{there['name']} has {left} seats left on {wanted['date']}; choose another day")


@tool(effect="writes", sandbox_state=True)
def find_restaurants(
    cuisine: Literal[_Cuisine, "any"] = "any", town: _Town = "", price: Literal["low", "medium", "high", "any"] = "any"
) -> list[str]:
    """Find restaurants by cuisine, town and price.

    Args:
        cuisine: Kind of food.
        town: Town in which to eat.
        price: How expensive the food may be.
    """
    restaurants = load("restaurants")["restaurants"]
    wanted = choose(dict.fromkeys(each["town"] for each in restaurants), town, "restaurant in") if town else ""
    found = [
        f"{each['name']} ({each['cuisine']}, {each['town']})"
        for each in restaurants
        if cuisine in ("any", each["cuisine"]) and wanted in ("", each["town"]) and price in ("any", each["price"])
    ]
    if not found:
        raise ValueError("there is no such restaurant; ask for any cuisine, any price or no town")
    return found[:6]


@tool(effect="writes", sandbox_state=True)
def show_menu(
    restaurant: _Restaurant, course: Literal["starter", "main", "dessert", "all"] = "all"
) -> dict[str, float]:
    """Show the dishes of a restaurant with their prices.

    Args:
        restaurant: Name of the restaurant.
        course: Course of the meal, or all.
    """
    data = load("restaurants")
    name = find(data["restaurants"], restaurant, "restaurant")["name"]
    dishes = [dish for dish in data["dishes"] if dish["restaurant"] == name and course in ("all", dish["course"])]
    if not dishes:
        raise ValueError(f"{name} has no {course} on the menu; ask for all courses")
    return {dish["name"]: dish["price"] for dish in dishes}


@tool(effect="writes", sandbox_state=True)
def reserve_table(restaurant: _Restaurant, date: str, time: str, guests: int, name: str) -> str:
    """Reserve a table at a restaurant.

    Args:
        restaurant: Name of the restaurant.
        date: Day of the meal as YYYY-MM-DD.
        time: Time of arrival as HH:MM.
        guests: Number of people.
        name: Name for the reservation.
    """
    positive(guests=guests)
    data = load("restaurants")
    found = find(data["restaurants"], restaurant, "restaurant")["name"]
    day, clock, who = read_day(date, "date").isoformat(), read_clock(time, "time"), words(name, "name")
    wanted = {"restaurant": found, "date": day, "time": clock, "guests": guests, "name": who}
    _require_room(data, wanted)
    data["tables"].append(wanted)
    save("restaurants", data)
    return f"table for {guests} at {found} on {day} at {clock} for {who}"


@tool(effect="writes", sandbox_state=True)
def move_table_reservation(name: _Guest, restaurant: _Reserved, new_date: str, new_time: str) -> str:
    """Move a reserved table at a restaurant to another day or time.

    Args:
        name: Name on the reservation.
        restaurant: Name of the restaurant.
        new_date: New day as YYYY-MM-DD.
        new_time: New time of arrival as HH:MM.
    """
    data = load("restaurants")
    table = _table(data, restaurant, name)
    data["tables"].remove(table)
    moved = {**table, "date": read_day(new_date, "new_date").isoformat(), "time": read_clock(new_time, "new_time")}
    _require_room(data, moved)
    data["tables"].append(moved)
    save("restaurants", data)
    return f"moved {moved['name']} at {moved['restaurant']} to {moved['date']} at {moved['time']}"


@tool(effect="writes", sandbox_state=True)
def cancel_table_reservation(name: _Guest, restaurant: _Reserved) -> str:
    """Cancel a reserved table at a restaurant.

    Args:
        name: Name on the reservation.
        restaurant: Name of the restaurant.
    """
    data = load("restaurants")
    table = _table(data, restaurant, name)
    data["tables"].remove(table)
    save("restaurants", data)
    return f"cancelled the table of {table['name']} at {table['restaurant']} on {table['date']}"


def _table(data: dict[str, list[Record]], restaurant: str, name: str) -> Record:
    there = find(data["restaurants"], restaurant, "restaurant")["name"]
    return find([each for each in data["tables"] if each["restaurant"] == there], name, f"table at {there} for")
