"""Chat: groups, their members and messages."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import Record, changing, choose, find, known, listed, load, require_new, words
from toolkit.builtin.written_times import read_clock, read_day
from toolkit.declare import tool

_FAMILY = "chat"
_LONGEST = 2_000
_SHOWN = 3
Group = Annotated[str, known(_FAMILY, "groups")]
Person = Annotated[str, known(_FAMILY, "people")]


def _person(data: dict[str, list[Record]], name: str) -> str:
    return find(data["people"], name, "person in the chat")["name"]


@tool(effect="writes", sandbox_state=True)
def post_in_group(group: Group, message: str) -> str:
    """Write a message into a chat group.

    Args:
        group: Name of the group.
        message: What the message says.
    """
    text = words(message, "message", longest=_LONGEST)
    with changing(_FAMILY) as data:
        found = find(data["groups"], group, "chat group")
        found["messages"].append({"sender": "me", "text": text})
    return f"posted to {len(found['members'])} members of {found['name']}"


@tool(effect="writes", sandbox_state=True)
def message_person(person: Person, message: str, send_at: str = "") -> str:
    """Send a private chat message to one person.

    Args:
        person: Name of the person.
        message: What the message says.
        send_at: Time at which it is sent, as HH:MM.
    """
    text = words(message, "message", longest=_LONGEST)
    moment = f" at {read_clock(send_at, 'send_at')}" if send_at else ""
    with changing(_FAMILY) as data:
        name = _person(data, person)
        row = next(each for each in data["people"] if each["name"] == name)
        row.setdefault("messages", []).append({"text": text, "send_at": send_at})
    return f"message to {name}{moment}: {text}"


@tool(effect="writes", sandbox_state=True)
def create_chat_group(name: str, members: list[Person]) -> str:
    """Open a new chat group.

    Args:
        name: Name of the group.
        members: Names of the people in it.
    """
    if not members:
        raise ValueError("members is empty; name at least one person")
    title = words(name, "name")
    with changing(_FAMILY) as data:
        require_new(data["groups"], title, "chat group")
        people = list(dict.fromkeys(_person(data, each) for each in members))
        data["groups"].append({"name": title, "members": people, "muted_until": "", "messages": []})
    return f"{title}: {', '.join(people)}"


@tool(effect="writes", sandbox_state=True)
def add_group_member(group: Group, person: Person) -> str:
    """Add a person to a chat group.

    Args:
        group: Name of the group.
        person: Name of the person.
    """
    with changing(_FAMILY) as data:
        found, name = find(data["groups"], group, "chat group"), _person(data, person)
        if name in found["members"]:
            raise ValueError(f"{name} is in {found['name']} already")
        found["members"].append(name)
    return f"{found['name']}: {', '.join(found['members'])}"


@tool(effect="writes", sandbox_state=True)
def remove_group_member(group: Group, person: Person) -> str:
    """Remove a person from a chat group.

    Args:
        group: Name of the group.
        person: Name of the person.
    """
    with changing(_FAMILY) as data:
        found = find(data["groups"], group, "chat group")
        found["members"].remove(choose(found["members"], person, f"member of {found['name']}"))
    return f"{found['name']}: {listed(found['members'])}"


@tool(effect="writes", sandbox_state=True)
def mute_group(group: Group, until_date: str) -> str:
    """Get no notifications of a chat group until a day.

    Args:
        group: Name of the group.
        until_date: Last silent day as YYYY-MM-DD.
    """
    day = str(read_day(until_date, "until_date"))
    with changing(_FAMILY) as data:
        found = find(data["groups"], group, "chat group")
        found["muted_until"] = day
    return f"{found['name']} is silent until {day}"


@tool(effect="writes", sandbox_state=True)
def read_group(group: Group, sender: Person = "") -> list[str]:
    """Read the last messages in a chat group.

    Args:
        group: Name of the group.
        sender: Only messages of this person.
    """
    data = load(_FAMILY)
    name = _person(data, sender) if sender else ""
    messages = find(data["groups"], group, "chat group")["messages"]
    return [f"{each['sender']}: {each['text']}" for each in messages if name in ("", each["sender"])][-_SHOWN:]


@tool(effect="writes", sandbox_state=True)
def start_poll(group: Group, question: str, options: list[str], several_answers: bool = False) -> str:
    """Let the members of a chat group vote on a question.

    Args:
        group: Name of the group.
        question: The question.
        options: The answers to choose from.
        several_answers: Whether one may choose several answers.
    """
    if len({each.strip().casefold() for each in options}) < max(2, len(options)):
        raise ValueError("options must be at least two different answers")
    asked = words(question, "question")
    with changing(_FAMILY) as data:
        found = find(data["groups"], group, "chat group")
        found.setdefault("polls", []).append({"question": asked, "options": options, "several": several_answers})
    return f"poll in {found['name']}: {asked} {' / '.join(options)}"


@tool(effect="writes", sandbox_state=True)
def set_chat_status(status: Literal["available", "busy", "away", "invisible"], note: str = "") -> str:
    """Set the status that others see in the chat.

    Args:
        status: available, busy, away or invisible.
        note: Short text beside it.
    """
    shown = f"{status}: {words(note, 'note', longest=80)}" if note else status
    with changing(_FAMILY) as data:
        data["status"] = [{"shown": shown}]
    return shown
