"""Trips, cooking and health."""

from typing import Literal

from toolkit.builtin.ranges import not_negative, positive
from toolkit.builtin.rounding import money, neat
from toolkit.declare import tool


@tool(effect="pure")
def fuel_cost(distance: float, consumption: float, fuel_price: float, round_trip: bool = False) -> float:
    """Find what the fuel of a drive costs.

    Args:
        distance: The distance one way in kilometers.
        consumption: Liters of fuel for 100 kilometers.
        fuel_price: The price of a liter.
        round_trip: Whether the way back is driven too.
    """
    positive(distance=distance, consumption=consumption, fuel_price=fuel_price)
    return money(distance * (2 if round_trip else 1) * consumption / 100 * fuel_price)


@tool(effect="pure")
def travel_time(distance: float, speed: float, break_minutes: int = 0) -> float:
    """Find how many hours a trip takes.

    Args:
        distance: How far it is in kilometers.
        speed: The average speed in kilometers per hour.
        break_minutes: How long one rests on the way, in minutes.
    """
    positive(distance=distance, speed=speed)
    not_negative(break_minutes=break_minutes)
    return neat(round(distance / speed + break_minutes / 60, 4))


@tool(effect="pure")
def body_mass_index(weight: float, height: float, units: Literal["metric", "imperial"] = "metric") -> float:
    """Find somebody's body mass index (BMI).

    Args:
        weight: The weight in kilograms or pounds.
        height: The height in meters or inches.
        units: metric for kilograms and meters, imperial for pounds and inches.
    """
    positive(weight=weight, height=height)
    return neat(round(weight / height**2 * (703 if units == "imperial" else 1), 2))


@tool(effect="pure")
def scale_recipe(amounts: list[float], servings: int, new_servings: int, round_up: bool = False) -> list[float]:
    """Scale the amounts of a recipe to another number of people.

    Args:
        amounts: The amounts in the recipe.
        servings: For how many people the recipe is.
        new_servings: For how many people it shall be.
        round_up: Whether to round up to whole numbers.
    """
    positive(servings=servings, new_servings=new_servings)
    scaled = [neat(amount * new_servings / servings) for amount in amounts]
    return [float(-(-amount // 1)) for amount in scaled] if round_up else scaled


@tool(effect="pure")
def calories_burned(
    activity: Literal["walking", "running", "cycling", "swimming"], minutes: float, weight: float = 70
) -> float:
    """Estimate how many calories somebody burns by an activity.

    Args:
        activity: walking, running, cycling or swimming.
        minutes: For how long, in minutes.
        weight: How heavy the person is, in kilograms.
    """
    positive(minutes=minutes, weight=weight)
    equivalent = {"walking": 3.5, "running": 9.8, "cycling": 7.5, "swimming": 6.0}[activity]
    return neat(round(equivalent * weight * minutes / 60, 1))


_PACKED = {
    "beach": ["swimsuit", "towel", "sunscreen"],
    "hiking": ["boots", "rain jacket", "water bottle"],
    "skiing": ["gloves", "goggles", "thermal underwear"],
    "business": ["suit", "laptop", "charger"],
}


@tool(effect="pure")
def packing_list(
    activities: list[Literal["beach", "hiking", "skiing", "business"]], days: int = 7, with_baby: bool = False
) -> list[str]:
    """Write a packing list for a trip.

    Args:
        activities: What one does there.
        days: How many days it lasts.
        with_baby: Whether a baby comes along.
    """
    if not 1 <= days <= 365:
        raise ValueError("days must be between 1 and 365")
    things = [f"{days} shirts", *(thing for activity in dict.fromkeys(activities) for thing in _PACKED[activity])]
    return [*things, f"{days * 6} diapers"] if with_baby else things
