"""Clock times in cities and time zones."""

from datetime import UTC, datetime, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from toolkit.builtin.workspace_data import known
from toolkit.declare import tool

_CITIES = {
    "beijing": "Asia/Shanghai", "mumbai": "Asia/Kolkata", "delhi": "Asia/Kolkata", "new delhi": "Asia/Kolkata",
    "bangalore": "Asia/Kolkata", "san francisco": "America/Los_Angeles", "seattle": "America/Los_Angeles",
    "las vegas": "America/Los_Angeles", "boston": "America/New_York", "washington": "America/New_York",
    "miami": "America/New_York", "atlanta": "America/New_York", "philadelphia": "America/New_York",
    "dallas": "America/Chicago", "houston": "America/Chicago", "austin": "America/Chicago",
    "rio de janeiro": "America/Sao_Paulo", "munich": "Europe/Berlin", "frankfurt": "Europe/Berlin",
    "hamburg": "Europe/Berlin", "barcelona": "Europe/Madrid", "milan": "Europe/Rome", "geneva": "Europe/Zurich",
    "edinburgh": "Europe/London", "manchester": "Europe/London", "osaka": "Asia/Tokyo", "kyoto": "Asia/Tokyo",
    "cape town": "Africa/Johannesburg", "canberra": "Australia/Sydney", "montreal": "America/Toronto",
    "ottawa": "America/Toronto", "abu dhabi": "Asia/Dubai", "hanoi": "Asia/Ho_Chi_Minh", "hawaii": "Pacific/Honolulu",
    "est": "America/New_York", "edt": "America/New_York", "eastern": "America/New_York", "cst": "America/Chicago",
    "central": "America/Chicago", "mst": "America/Denver", "mountain": "America/Denver",
    "pst": "America/Los_Angeles", "pdt": "America/Los_Angeles", "pacific": "America/Los_Angeles",
    "gmt": "UTC", "utc": "UTC", "new york city": "America/New_York",
    "cet": "Europe/Paris", "bst": "Europe/London", "ist": "Asia/Kolkata", "jst": "Asia/Tokyo",
}  # fmt: skip
_REGIONS = (
    "Europe", "America", "Asia", "Africa", "Australia", "Pacific", "Atlantic", "Indian", "America/Argentina",
    "America/Indiana", "America/Kentucky",
)  # fmt: skip


City = Annotated[str, known("cities", "cities")]


def zone_of(place: str) -> tzinfo:
    """Return the time zone of a city, or of a name such as Europe/Paris. Raises ValueError."""
    name = place.strip().lower().removesuffix(" time")
    name = _CITIES.get(name, name)
    plain = "_".join(part.capitalize() for part in name.replace("_", " ").split())
    for candidate in (name, place.strip(), name.upper(), *(f"{region}/{plain}" for region in _REGIONS)):
        try:
            return ZoneInfo(candidate)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    raise ValueError(f"{place!r} is no city or time zone; use for example Tokyo or Europe/Paris")


@tool(effect="pure")
def convert_time_zone(time: str, from_city: City, to_city: City) -> str:
    """Tell what time it is in one city when it is a given time in another city.

    Args:
        time: The time as HH:MM, or date and time as 2024-03-01 14:30.
        from_city: City or time zone of the given time, for example London.
        to_city: City or time zone wanted, for example Tokyo.
    """
    text = time.strip()
    dated = len(text) > 8
    try:
        moment = datetime.fromisoformat(text if dated else f"2024-01-15 {text.zfill(5)}")
    except ValueError:
        raise ValueError(f"time {time!r} is not understood; write 14:30 or 2024-03-01 14:30") from None
    there = moment.replace(tzinfo=zone_of(from_city)).astimezone(zone_of(to_city))
    return there.strftime("%Y-%m-%d %H:%M" if dated else "%H:%M")


@tool(effect="reads", sandbox_state=True)
def current_time(city: City) -> str:
    """Tell the current date and time in a city.

    Args:
        city: City or time zone, for example Paris.
    """
    return datetime.now(UTC).astimezone(zone_of(city)).strftime("%Y-%m-%d %H:%M")
