"""The address book."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import changing, choose, find, known, load, require_new, words
from toolkit.builtin.written_times import read_day
from toolkit.declare import tool

_FAMILY = "contacts"
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
Contact = Annotated[str, known(_FAMILY, "contacts")]
City = Annotated[str, known(_FAMILY, "contacts", "city")]
Relation = Literal["friend", "family", "colleague", "service"]
Month = Literal[
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
]  # fmt: skip


@tool(effect="writes", sandbox_state=True)
def get_contact_detail(name: Contact, detail: Literal["phone", "email", "birthday", "city", "company"]) -> str:
    """Look up the phone number, email, birthday, city or company of a contact.

    Args:
        name: Name of the contact.
        detail: The detail wanted.
    """
    return find(load(_FAMILY)["contacts"], name, "contact")[detail] or f"no {detail} is known"


@tool(effect="writes", sandbox_state=True)
def add_contact(name: str, city: str = "", company: str = "", phone: str = "", relation: Relation = "friend") -> str:
    """Add a person to the address book.

    Args:
        name: Full name of the person.
        city: City in which the person lives.
        company: Company for which the person works.
        phone: Phone number.
        relation: How one knows the person.
    """
    new = {"name": words(name, "name"), "phone": phone, "email": "", "city": city, "company": company, "birthday": ""}
    with changing(_FAMILY) as data:
        require_new(data["contacts"], name, "contact")
        data["contacts"].append({**new, "relation": relation, "related_to": []})
    return f"added {new['name']} as {relation}"


@tool(effect="writes", sandbox_state=True)
def update_contact(name: Contact, detail: Literal["phone", "email", "birthday", "city", "company"], value: str) -> str:
    """Change one detail of a contact, for example after the person has moved.

    Args:
        name: Name of the contact.
        detail: The detail that changed.
        value: The new value; a birthday as year-month-day.
    """
    if detail == "birthday":
        value = read_day(value, "value").isoformat()
    with changing(_FAMILY) as data:
        row = find(data["contacts"], name, "contact")
        row[detail] = value
    return f"{detail} of {row['name']}: {value}"


@tool(effect="writes", sandbox_state=True)
def contacts_in_city(
    city: City, relation: Literal["friend", "family", "colleague", "service", "anyone"] = "anyone"
) -> list[str]:
    """List the contacts who live in a city.

    Args:
        city: Name of the city.
        relation: Only friends, family, colleagues or services; or anyone.
    """
    rows = load(_FAMILY)["contacts"]
    there = choose((row["city"] for row in rows if row["city"]), city, "city of a contact")
    return [row["name"] for row in rows if row["city"] == there and relation in (row["relation"], "anyone")]


@tool(effect="writes", sandbox_state=True)
def birthdays_in_month(month: Month) -> dict[str, str]:
    """List the contacts whose birthday is in a month, with the dates.

    Args:
        month: Name of the month.
    """
    number = f"{_MONTHS.index(month) + 1:02d}"
    rows = [row for row in load(_FAMILY)["contacts"] if row["birthday"][5:7] == number]
    if not rows:
        raise ValueError(f"no contact has a birthday in {month}")
    return {row["name"]: row["birthday"] for row in sorted(rows, key=lambda row: row["birthday"][8:])}


@tool(effect="writes", sandbox_state=True)
def relate_contacts(
    person: Contact, relative: Contact, relationship: Literal["partner", "parent", "child", "sibling", "assistant"]
) -> str:
    """Note in the address book how one contact is related to another.

    Args:
        person: Name of the contact whose entry gets the note.
        relative: Name of the other contact.
        relationship: What the other one is to the person.
    """
    with changing(_FAMILY) as data:
        row, other = (find(data["contacts"], name, "contact") for name in (person, relative))
        if row is other:
            raise ValueError("person and relative are the same contact; name two")
        row["related_to"].append({"name": other["name"], "relationship": relationship})
    return f"{other['name']} is {relationship} of {row['name']}"


@tool(effect="writes", sandbox_state=True)
def remove_contact(name: Contact) -> str:
    """Delete a person from the address book.

    Args:
        name: Name of the contact.
    """
    with changing(_FAMILY) as data:
        row = find(data["contacts"], name, "contact")
        data["contacts"].remove(row)
    return f"removed {row['name']}"
