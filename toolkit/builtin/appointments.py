"""Appointments with doctors, hairdressers, mechanics and others."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import Record, choose, find, known, load, save, words
from toolkit.builtin.written_times import read_clock, read_day
from toolkit.declare import tool

_Provider = Annotated[str, known("appointments", "providers")]
_Visited = Annotated[str, known("appointments", "appointments", "provider")]
_Service = Annotated[str, known("appointments", "providers", "services")]
_Town = Annotated[str, known("appointments", "providers", "town")]
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _slot(data: dict[str, list[Record]], provider: str, date: str, time: str) -> Record:
    """Return the free slot. Raises ValueError where the provider does not work then or has another appointment."""
    there = find(data["providers"], provider, "provider")
    day, clock = read_day(date, "date"), read_clock(time, "time")
    if day.weekday() not in there["days"]:
        raise ValueError(
            f"{there['name']} works on {', '.join(_DAYS[each] for each in there['days'])}; choose another day"
        )
    if not there["opens"] <= clock < there["closes"]:
        raise ValueError(f"{there['name']} works from {there['opens']} to {there['closes']}; choose another time")
    slot = {"provider": there["name"], "date": day.isoformat(), "time": clock}
    if any(slot.items() <= each.items() for each in data["appointments"]):
        raise ValueError(f"{there['name']} has another appointment then; choose another time")
    return slot


@tool(effect="writes", sandbox_state=True)
def find_providers(
    profession: Literal["doctor", "dentist", "hairdresser", "mechanic", "vet"], town: _Town = ""
) -> list[str]:
    """Find doctors, dentists, hairdressers, mechanics or vets.

    Args:
        profession: Profession of the person wanted.
        town: Town in which to look.
    """
    providers = load("appointments")["providers"]
    wanted = choose(dict.fromkeys(each["town"] for each in providers), town, "provider in") if town else ""
    found = [
        f"{each['name']} ({each['town']}): {', '.join(each['services'])}"
        for each in providers
        if each["profession"] == profession and wanted in ("", each["town"])
    ]
    if not found:
        raise ValueError(f"there is no {profession} in {wanted}; leave the town out")
    return found


@tool(effect="writes", sandbox_state=True)
def make_appointment(provider: _Provider, service: _Service, date: str, time: str) -> str:
    """Make an appointment with a doctor, hairdresser, mechanic or other provider.

    Args:
        provider: Name of the person or business.
        service: Service wanted, for example haircut.
        date: Day as YYYY-MM-DD.
        time: Time as HH:MM.
    """
    data = load("appointments")
    slot = _slot(data, provider, date, time)
    new = {**slot, "service": words(service, "service", longest=60)}
    data["appointments"].append(new)
    save("appointments", data)
    return f"{new['service']} at {new['provider']} on {new['date']} at {new['time']}"


@tool(effect="writes", sandbox_state=True)
def move_appointment(provider: _Visited, new_date: str, new_time: str) -> str:
    """Move the appointment with a provider to another day or time.

    Args:
        provider: Name of the person or business.
        new_date: New day as YYYY-MM-DD.
        new_time: New time as HH:MM.
    """
    data = load("appointments")
    found = find(data["appointments"], provider, "appointment with", "provider")
    slot = _slot(data, found["provider"], new_date, new_time)
    found.update(slot)
    save("appointments", data)
    return f"moved {found['service']} at {found['provider']} to {found['date']} at {found['time']}"


@tool(effect="writes", sandbox_state=True)
def cancel_appointment(provider: _Visited) -> str:
    """Cancel the appointment with a provider.

    Args:
        provider: Name of the person or business.
    """
    data = load("appointments")
    found = find(data["appointments"], provider, "appointment with", "provider")
    data["appointments"].remove(found)
    save("appointments", data)
    return f"cancelled {found['service']} at {found['provider']} on {found['date']}"


@tool(effect="writes", sandbox_state=True)
def upcoming_appointments(from_date: str, to_date: str) -> list[str]:
    """List the appointments with providers between two days.

    Args:
        from_date: First day as YYYY-MM-DD.
        to_date: Last day as YYYY-MM-DD.
    """
    first, last = read_day(from_date, "from_date").isoformat(), read_day(to_date, "to_date").isoformat()
    if last < first:
        raise ValueError("to_date is before from_date; swap them")
    found = [each for each in load("appointments")["appointments"] if first <= each["date"] <= last]
    ordered = sorted(found, key=lambda each: (each["date"], each["time"]))
    return [f"{each['date']} {each['time']} {each['service']} at {each['provider']}" for each in ordered]
