"""Devices of a home: lights, heating, blinds, appliances, doors and scenes."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import changing, choose, find, known, load, require_new, words
from toolkit.builtin.written_times import read_clock
from toolkit.declare import tool

_FAMILY = "home"
Room = Annotated[str, known(_FAMILY, "rooms")]
Scene = Annotated[str, known(_FAMILY, "scenes")]
Appliance = Annotated[str, known(_FAMILY, "appliances")]
Program = Annotated[str, known(_FAMILY, "appliances", "programs")]
Door = Annotated[str, known(_FAMILY, "doors")]
Color = Literal["warm white", "neutral white", "cool white", "red", "orange", "green", "blue"]


def _percent(brightness: int) -> int:
    if not 1 <= brightness <= 100:
        raise ValueError("brightness is in percent, from 1 to 100")
    return brightness


@tool(effect="writes", sandbox_state=True)
def switch_lights(rooms: list[Room], state: Literal["on", "off"]) -> str:
    """Switch the lights of rooms on or off.

    Args:
        rooms: Names of the rooms.
        state: on or off.
    """
    if not rooms:
        raise ValueError("rooms is empty; name at least one room")
    with changing(_FAMILY) as data:
        found = [find(data["rooms"], each, "room") for each in rooms]
        for room in found:
            room["light"] = state
    return f"lights {state}: {', '.join(room['name'] for room in found)}"


@tool(effect="writes", sandbox_state=True)
def set_light(room: Room, brightness: int, color: Color = "warm white") -> str:
    """Set brightness and color of the light in a room.

    Args:
        room: Name of the room.
        brightness: Brightness in percent.
        color: Color of the light.
    """
    with changing(_FAMILY) as data:
        found = find(data["rooms"], room, "room")
        found.update(light="on", brightness=_percent(brightness), color=color)
    return f"{found['name']}: {color} at {brightness} percent"


@tool(effect="writes", sandbox_state=True)
def set_heating(room: Room, temperature: float, until: str = "") -> str:
    """Set the temperature to which a room is heated.

    Args:
        room: Name of the room.
        temperature: Temperature in degrees Celsius.
        until: Time at which the old temperature comes back, as HH:MM.
    """
    if not 5 <= temperature <= 30:
        raise ValueError("temperature is in degrees Celsius, from 5 to 30")
    end = f" until {read_clock(until, 'until')}" if until else ""
    with changing(_FAMILY) as data:
        found = find(data["rooms"], room, "room")
        found["heating"] = temperature
    return f"{found['name']}: {temperature} degrees{end}"


@tool(effect="writes", sandbox_state=True)
def move_blinds(room: Room, position: Literal["open", "half open", "closed"]) -> str:
    """Open or close the blinds of a room.

    Args:
        room: Name of the room.
        position: open, half open or closed.
    """
    with changing(_FAMILY) as data:
        found = find(data["rooms"], room, "room")
        found["blinds"] = position
    return f"{found['name']}: blinds {position}"


@tool(effect="writes", sandbox_state=True)
def room_state(room: Room, device: Literal["light", "brightness", "heating", "blinds"]) -> str:
    """Tell how the light, the heating or the blinds of a room are set.

    Args:
        room: Name of the room.
        device: The device asked about.
    """
    return str(find(load(_FAMILY)["rooms"], room, "room")[device])


@tool(effect="writes", sandbox_state=True)
def activate_scene(scene: Scene) -> str:
    """Set lights and blinds as a saved scene of the home says.

    Args:
        scene: Name of the scene.
    """
    with changing(_FAMILY) as data:
        found = find(data["scenes"], scene, "scene")
        for name in found["rooms"]:
            room = find(data["rooms"], name, "room")
            room.update(light="on", **{key: found[key] for key in ("brightness", "color", "blinds")})
    return f"{found['name']} in {', '.join(found['rooms'])}"


@tool(effect="writes", sandbox_state=True)
def save_scene(
    name: str,
    rooms: list[Room],
    brightness: int,
    color: Color = "warm white",
    blinds: Literal["open", "half open", "closed"] = "open",
) -> str:
    """Save a scene of the home: how lights and blinds of some rooms shall be.

    Args:
        name: Name of the new scene.
        rooms: Names of the rooms.
        brightness: Brightness of the lights in percent.
        color: Color of the lights.
        blinds: Position of the blinds.
    """
    new = {"name": words(name, "name"), "brightness": _percent(brightness), "color": color, "blinds": blinds}
    with changing(_FAMILY) as data:
        require_new(data["scenes"], name, "scene")
        new["rooms"] = [find(data["rooms"], each, "room")["name"] for each in rooms]
        data["scenes"].append(new)
    return f"saved {new['name']} for {', '.join(new['rooms'])}"


@tool(effect="writes", sandbox_state=True)
def start_appliance(appliance: Appliance, program: Program, start_time: str = "") -> str:
    """Start an appliance of the home with a program, at once or later.

    Args:
        appliance: Name of the appliance.
        program: Name of the program.
        start_time: Time at which it starts, as HH:MM.
    """
    begins = f"at {read_clock(start_time, 'start_time')}" if start_time else "now"
    with changing(_FAMILY) as data:
        found = find(data["appliances"], appliance, "appliance")
        chosen = choose(found["programs"], program, f"program of the {found['name'].lower()}")
        found["state"] = f"{chosen} {begins}"
    return f"{found['name']}: {found['state']}"


@tool(effect="writes", sandbox_state=True)
def lock_door(door: Door, state: Literal["locked", "unlocked"] = "locked") -> str:
    """Lock or unlock a door of the home.

    Args:
        door: Name of the door.
        state: locked or unlocked.
    """
    with changing(_FAMILY) as data:
        found = find(data["doors"], door, "door")
        found["state"] = state
    return f"{found['name']} is {state}"
