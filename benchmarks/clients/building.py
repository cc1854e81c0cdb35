"""A building's facility desk: rooms, parking, faults and visitors of an office tower."""

from itertools import cycle

from benchmarks.clients.desk import Desk, Record, Tables, UnknownRecord

_GARAGES = (
    "Harbour", "Station", "Canal", "Museum", "Market", "Castle", "Stadium", "Theatre", "Bridge", "Garden", "Library",
    "Temple", "Quarry", "Orchard", "Foundry", "Lighthouse", "Brewery", "Windmill", "Arena", "Chapel",
)  # fmt: skip
_SERVICES = (
    "plumber", "electrician", "locksmith", "lift company", "gardener", "security firm", "caterer", "glazier", "mover",
    "painter", "pest control", "fire brigade liaison", "window cleaner", "heating engineer", "carpenter", "courier",
    "recycling firm", "network operator", "sign maker", "boiler inspector",
)  # fmt: skip
_DEVICES = (
    "projector", "printer", "radiator", "blind", "coffee machine", "smoke detector", "door handle", "ceiling light",
    "whiteboard", "water cooler", "thermostat", "microphone", "socket", "window latch", "card reader", "dishwasher",
    "loudspeaker", "desk lift", "fan", "camera",
)  # fmt: skip
_VISITORS = (
    "Ottilie Kramer", "Benedikt Thal", "Ximena Rojas", "Farid Mansour", "Gwen Parry", "Harald Moe", "Imani Otieno",
    "Jasper Wouters", "Katya Belova", "Lorenzo Conti", "Mirela Ionescu", "Niall Byrne", "Olga Wrona", "Pavel Hruby",
    "Quentin Roche", "Rania Khoury", "Stellan Borg", "Tessa Vink", "Ulla Engel", "Vikram Sane",
)  # fmt: skip


def tables() -> Tables:
    """Return what the facility desk knows; the same at each call."""
    letters = cycle("ABCD")
    rooms: list[Record] = [
        {"id": f"{next(letters)}{1 + n % 9}.{10 + n}", "degrees": 17 + n % 7, "seats": 4 + 2 * (n % 6)}
        for n in range(40)
    ]
    return {
        "rooms": rooms,
        "bookings": [
            {"id": f"BK-{n}", "room": row["id"], "day": f"2027-06-{1 + n % 28:02d}"} for n, row in enumerate(rooms, 1)
        ],
        "floors": [{"number": n, "desk": f"D{n}-{(n * 7) % 30 + 1}"} for n in range(1, 25)],
        "garages": [{"name": name, "spaces": (17 * n + 5) % 60} for n, name in enumerate(_GARAGES)],
        "contacts": [{"service": name, "extension": 6100 + 7 * n} for n, name in enumerate(_SERVICES)],
        "devices": [{"name": name} for name in _DEVICES],
        "visitors": [{"name": name} for name in _VISITORS],
        "faults": [],
        "badges": [],
        "cleanings": [],
    }


class Building(Desk):
    """The facility desk of the Meridian tower."""

    instructions = "You run errands for the facility desk of the Meridian tower. Use the tools; answer shortly."
    tool_names = (
        "get_room_temperature", "list_bookings", "find_free_desk", "get_parking_spaces", "lookup_contact",
        "report_fault", "reserve_room", "set_room_temperature", "issue_badge", "order_cleaning",
    )  # fmt: skip
    effects = frozenset(tool_names[5:])

    def get_room_temperature(self, room: str) -> str:
        """Tell how warm a room is.

        Args:
            room: Number of the room.
        """
        return f"{self.find('rooms', id=room)['degrees']} degrees"

    def list_bookings(self, room: str) -> list[str]:
        """List the days on which a room is booked.

        Args:
            room: Number of the room.
        """
        self.find("rooms", id=room)
        return [row["day"] for row in self.tables["bookings"] if row["room"] == room]

    def find_free_desk(self, floor: int) -> str:
        """Find a free desk on a floor.

        Args:
            floor: Number of the floor.
        """
        return f"desk {self.find('floors', number=floor)['desk']}"

    def get_parking_spaces(self, garage: str) -> str:
        """Count the free spaces of a garage.

        Args:
            garage: Name of the garage.
        """
        return f"{self.find('garages', name=garage)['spaces']} spaces"

    def lookup_contact(self, service: str) -> str:
        """Look up the telephone extension of a service.

        Args:
            service: Name of the service.
        """
        return f"extension {self.find('contacts', service=service)['extension']}"

    def report_fault(self, room: str, device: str) -> str:
        """Report a broken device in a room.

        Args:
            room: Number of the room.
            device: Name of the device.
        """
        where, what = self.find("rooms", id=room)["id"], self.find("devices", name=device)["name"]
        return f"fault {self.add('faults', 'FA', room=where, device=what)} is reported"

    def reserve_room(self, room: str, day: str) -> str:
        """Reserve a room for a day.

        Args:
            room: Number of the room.
            day: Day as YYYY-MM-DD.
        """
        found = self.find("rooms", id=room)
        if any((row["room"], row["day"]) == (room, day) for row in self.tables["bookings"]):
            raise UnknownRecord(f"error: room {room} is taken on {day}")
        return f"booking {self.add('bookings', 'BK', room=room, day=day)}, {found['seats']} seats"

    def set_room_temperature(self, room: str, degrees: int) -> str:
        """Set the heating of a room.

        Args:
            room: Number of the room.
            degrees: Degrees Celsius.
        """
        found = self.find("rooms", id=room)
        before, found["degrees"] = found["degrees"], degrees
        return f"set from {before} to {degrees} degrees"

    def issue_badge(self, visitor: str, floor: int) -> str:
        """Issue a badge that lets a visitor onto a floor.

        Args:
            visitor: Full name of the visitor.
            floor: Number of the floor.
        """
        who, where = self.find("visitors", name=visitor)["name"], self.find("floors", number=floor)["number"]
        return f"badge {self.add('badges', 'BG', visitor=who, floor=where)} is at the door"

    def order_cleaning(self, room: str, day: str) -> str:
        """Order the cleaning of a room.

        Args:
            room: Number of the room.
            day: Day as YYYY-MM-DD.
        """
        where = self.find("rooms", id=room)["id"]
        return f"cleaning {self.add('cleanings', 'CL', room=where, day=day)} is ordered"
