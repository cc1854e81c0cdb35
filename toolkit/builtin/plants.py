"""Care of house plants."""

from datetime import date as calendar_date
from datetime import timedelta
from typing import Annotated, Literal

from toolkit.builtin.workspace_data import Record, changing, choose, find, known, load, require_new, words
from toolkit.builtin.written_times import read_day
from toolkit.declare import tool

_FAMILY = "plants"
Plant = Annotated[str, known(_FAMILY, "plants")]
Place = Annotated[str, known(_FAMILY, "plants", "place")]


def _thirsty_on(plant: Record) -> calendar_date:
    return calendar_date.fromisoformat(plant["last_watered"]) + timedelta(days=plant["watering_days"])


@tool(effect="writes", sandbox_state=True)
def add_plant(name: str, species: str, place: str, watering_days: int = 7) -> str:
    """Add a plant to the collection of house plants.

    Args:
        name: Name by which the plant is called.
        species: Botanical name.
        place: Where the plant stands.
        watering_days: Days from one watering to the next.
    """
    if not 1 <= watering_days <= 90:
        raise ValueError("watering_days must be between 1 and 90")
    new = {"name": words(name, "name"), "species": words(species, "species"), "place": words(place, "place")}
    with changing(_FAMILY) as data:
        require_new(data["plants"], name, "plant")
        data["plants"].append({**new, "watering_days": watering_days, "last_watered": "2026-03-01", "notes": []})
    return f"{new['name']} ({new['species']}) stands in: {new['place']}"


@tool(effect="writes", sandbox_state=True)
def record_watering(plant: Plant, date: str, with_fertilizer: bool = False) -> str:
    """Record that a house plant was watered.

    Args:
        plant: Name of the plant.
        date: Day of the watering as YYYY-MM-DD.
        with_fertilizer: Whether it got fertilizer too.
    """
    day = read_day(date, "date")
    with changing(_FAMILY) as data:
        found = find(data["plants"], plant, "plant")
        found["last_watered"] = str(day)
        if with_fertilizer:
            found["last_fertilized"] = str(day)
    return f"{found['name']} needs water again on {_thirsty_on(found)}"


@tool(effect="writes", sandbox_state=True)
def thirsty_plants(date: str, place: Place = "") -> list[str]:
    """List the house plants that need water by a day.

    Args:
        date: Date as YYYY-MM-DD.
        place: Only plants that stand here.
    """
    day, plants = read_day(date, "date"), load(_FAMILY)["plants"]
    where = choose((each["place"] for each in plants), place, "place with plants") if place else ""
    return [each["name"] for each in plants if where in ("", each["place"]) and _thirsty_on(each) <= day]


@tool(effect="writes", sandbox_state=True)
def repot_plant(plant: Plant, date: str, pot_size: Literal["small", "medium", "large"] = "medium") -> str:
    """Record that a house plant got a new pot.

    Args:
        plant: Name of the plant.
        date: Day as YYYY-MM-DD.
        pot_size: small, medium or large.
    """
    day = str(read_day(date, "date"))
    with changing(_FAMILY) as data:
        found = find(data["plants"], plant, "plant")
        found.update(repotted=day, pot=pot_size)
    return f"{found['name']}: {pot_size} pot since {day}"


@tool(effect="writes", sandbox_state=True)
def move_plant(plant: Plant, new_place: str) -> str:
    """Put a house plant in another place.

    Args:
        plant: Name of the plant.
        new_place: Where it stands from now on.
    """
    with changing(_FAMILY) as data:
        found = find(data["plants"], plant, "plant")
        before, found["place"] = found["place"], words(new_place, "new_place")
    return f"{found['name']}: {found['place']} instead of {before}"


@tool(effect="writes", sandbox_state=True)
def note_plant_problem(
    plant: Plant, problem: Literal["yellow leaves", "brown tips", "pests", "mold", "drooping"], remark: str = ""
) -> str:
    """Note a problem of a house plant.

    Args:
        plant: Name of the plant.
        problem: What is wrong with the plant.
        remark: More words on it.
    """
    with changing(_FAMILY) as data:
        found = find(data["plants"], plant, "plant")
        found["notes"].append({"problem": problem, "remark": remark})
    return f"{found['name']}: {problem}" + (f" ({remark})" if remark else "")
