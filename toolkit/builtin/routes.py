"""Roads and places on a map of ten towns that do not exist."""

import heapq
from itertools import pairwise
from typing import Annotated, Literal

from toolkit.builtin.ranges import positive
from toolkit.builtin.workspace_data import Record, find, known, load, require_new, save, words
from toolkit.declare import tool

_Town = Annotated[str, known("routes", "towns")]
_Place = Annotated[str, known("routes", "places")]
_Kind = Literal["museum", "hotel", "pharmacy", "park", "hospital", "parking"]


def _fastest(roads: list[Record], start: str, destination: str, measure: str = "minutes") -> list[Record]:
    """Return the roads from ``start`` to ``destination`` with the least of ``measure``. Raises ValueError for none."""
    waiting: list[tuple[int, str, tuple[int, ...]]] = [(0, start, ())]
    seen: set[str] = set()
    while waiting:
        total, town, path = heapq.heappop(waiting)
        if town == destination:
            return [roads[number] for number in path]
        seen.add(town)
        for number, road in enumerate(roads):
            if town in road["ends"] and not seen.issuperset(road["ends"]):
                heapq.heappush(waiting, (total + road[measure], _other_end(road, town), (*path, number)))
    raise ValueError(f"there is no such way from {start} to {destination}; avoid less")


def _other_end(road: Record, town: str) -> str:
    return next(end for end in road["ends"] if end != town)


def _stops(start: str, roads: list[Record]) -> list[str]:
    towns = [start]
    for road in roads:
        towns.append(_other_end(road, towns[-1]))
    return towns


@tool(effect="writes", sandbox_state=True)
def plan_route(
    start: _Town, destination: _Town, via: _Town = "", avoid: Literal["nothing", "toll roads", "motorways"] = "nothing"
) -> dict[str, str | int]:
    """Find the fastest way to drive from one town to another.

    Args:
        start: Town where the drive begins.
        destination: Town where the drive ends.
        via: Town to pass on the way.
        avoid: Kind of road to stay away from.
    """
    data = load("routes")
    names = [name for name in (start, via, destination) if name]
    towns = [str(find(data["towns"], name, "town")["name"]) for name in names]
    roads = [road for road in data["roads"] if road["kind"] != avoid.removesuffix("s")]
    path = [road for here, there in pairwise(towns) for road in _fastest(roads, here, there)]
    if not path:
        raise ValueError("start and destination are the same town; name two towns")
    kilometers, minutes = (sum(road[measure] for road in path) for measure in ("kilometers", "minutes"))
    return {"route": " - ".join(_stops(towns[0], path)), "kilometers": kilometers, "minutes": minutes}


@tool(effect="writes", sandbox_state=True)
def find_places(town: _Town, kind: _Kind) -> list[str]:
    """Find places of one kind in a town, such as museums or pharmacies.

    Args:
        town: Town in which to look.
        kind: Kind of place.
    """
    data = load("routes")
    name = find(data["towns"], town, "town")["name"]
    found = [place["name"] for place in data["places"] if (place["town"], place["kind"]) == (name, kind)]
    if not found:
        elsewhere = sorted({place["town"] for place in data["places"] if place["kind"] == kind})
        raise ValueError(f"there is no {kind} in {name}; try {', '.join(elsewhere)}")
    return found


@tool(effect="writes", sandbox_state=True)
def towns_nearby(town: _Town, within_kilometers: int = 30) -> dict[str, int]:
    """List the towns that can be reached by road within some kilometers.

    Args:
        town: Town from which to measure.
        within_kilometers: The longest distance by road.
    """
    positive(within_kilometers=within_kilometers)
    data = load("routes")
    start = find(data["towns"], town, "town")["name"]
    distances: dict[str, int] = {}
    for other in (each["name"] for each in data["towns"] if each["name"] != start):
        distances[other] = sum(road["kilometers"] for road in _fastest(data["roads"], start, other, "kilometers"))
    near = sorted((distance, name) for name, distance in distances.items() if distance <= within_kilometers)
    return {name: distance for distance, name in near}


@tool(effect="writes", sandbox_state=True)
def locate_place(place: _Place) -> dict[str, str]:
    """Tell in which town a place is.

    Args:
        place: Name of the place or its saved label, for example Harbor Museum.
    """
    data = load("routes")
    saved = {favorite["label"]: favorite["place"] for favorite in data["favorites"]}
    found = find(data["places"], saved.get(place.strip().lower(), place), "place")
    return {"place": found["name"], "town": found["town"], "kind": found["kind"]}


@tool(effect="writes", sandbox_state=True)
def save_favorite_place(label: str, place: _Place) -> str:
    """Save a place on the map under a label of one's own.

    Args:
        label: The label, for example home.
        place: Name of the place on the map.
    """
    data = load("routes")
    label = words(label, "label", longest=40).lower()
    require_new(data["favorites"], label, "label", "label")
    found = find(data["places"], place, "place")
    data["favorites"].append({"label": label, "place": found["name"]})
    save("routes", data)
    return f"saved {found['name']} in {found['town']} as {label}"
