"""Care of pets: meals, weight and visits to the vet."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import changing, choose, find, known, load, require_new, words
from toolkit.builtin.written_times import read_clock, read_day
from toolkit.declare import tool

_FAMILY = "pets"
Pet = Annotated[str, known(_FAMILY, "pets")]
Vet = Annotated[str, known(_FAMILY, "visits", "vet")]
_SHOWN = 4


@tool(effect="writes", sandbox_state=True)
def register_pet(name: str, animal: str, breed: str = "", birth_date: str = "") -> str:
    """Add a pet to the records of the household's pets.

    Args:
        name: Name of the pet.
        animal: Kind of animal, for example dog.
        breed: Breed of the pet.
        birth_date: Day of birth as YYYY-MM-DD.
    """
    born = str(read_day(birth_date, "birth_date")) if birth_date else ""
    new = {"name": words(name, "name"), "animal": words(animal, "animal"), "breed": breed, "born": born}
    with changing(_FAMILY) as data:
        require_new(data["pets"], name, "pet")
        data["pets"].append({**new, "weight": 0, "meals": []})
    return f"{new['name']} the {' '.join(filter(None, (breed, new['animal'])))}"


@tool(effect="writes", sandbox_state=True)
def plan_feeding(pet: Pet, food: str, grams: int, time: str) -> str:
    """Add a daily meal to the feeding plan of a pet.

    Args:
        pet: Name of the pet.
        food: What it gets.
        grams: Amount in grams.
        time: Time of the meal as HH:MM.
    """
    if not 1 <= grams <= 5000:
        raise ValueError("grams must be between 1 and 5000")
    meal = {"food": words(food, "food"), "grams": grams, "time": read_clock(time, "time")}
    with changing(_FAMILY) as data:
        found = find(data["pets"], pet, "pet")
        found["meals"] = sorted([*found["meals"], meal], key=lambda each: each["time"])
    return f"{found['name']}: {grams} grams of {meal['food']} at {meal['time']}"


@tool(effect="writes", sandbox_state=True)
def feeding_plan(pet: Pet) -> list[str]:
    """List the daily meals of a pet.

    Args:
        pet: Name of the pet.
    """
    meals = find(load(_FAMILY)["pets"], pet, "pet")["meals"]
    return [f"{each['time']} {each['grams']} grams of {each['food']}" for each in meals]


@tool(effect="writes", sandbox_state=True)
def record_pet_weight(pet: Pet, kilograms: float, date: str) -> str:
    """Record how heavy a pet is.

    Args:
        pet: Name of the pet.
        kilograms: Weight in kilograms.
        date: Day on which it was weighed, as YYYY-MM-DD.
    """
    if not 0 < kilograms < 1000:
        raise ValueError("kilograms must be greater than 0 and less than 1000")
    day = str(read_day(date, "date"))
    with changing(_FAMILY) as data:
        found = find(data["pets"], pet, "pet")
        before = found["weight"]
        found.update(weight=kilograms, weighed=day)
    return f"{found['name']}: {kilograms} kilograms on {day}, {before} before"


@tool(effect="writes", sandbox_state=True)
def schedule_vet_visit(
    pet: Pet,
    vet: str,
    date: str,
    reason: Literal["vaccination", "check-up", "dental care", "injury", "illness"] = "check-up",
) -> str:
    """Note when a pet goes to the vet.

    Args:
        pet: Name of the pet.
        vet: Name of the vet.
        date: Day of the visit as YYYY-MM-DD.
        reason: Reason of the visit.
    """
    new = {"vet": words(vet, "vet"), "reason": reason, "date": str(read_day(date, "date"))}
    with changing(_FAMILY) as data:
        name = find(data["pets"], pet, "pet")["name"]
        data["visits"].append({"pet": name, **new})
    return f"{name} sees {new['vet']} on {new['date']}: {reason}"


@tool(effect="writes", sandbox_state=True)
def vet_visits(pet: Pet, vet: Vet = "") -> list[str]:
    """List the visits of a pet to the vet, the latest first.

    Args:
        pet: Name of the pet.
        vet: Only visits to this vet.
    """
    data = load(_FAMILY)
    name = find(data["pets"], pet, "pet")["name"]
    doctor = choose((each["vet"] for each in data["visits"]), vet, "vet") if vet else ""
    visits = [each for each in data["visits"] if each["pet"] == name and doctor in ("", each["vet"])]
    visits.sort(key=lambda each: each["date"], reverse=True)
    return [f"{each['date']} {each['vet']}: {each['reason']}" for each in visits[:_SHOWN]]
