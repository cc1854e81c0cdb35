"""Tickets of an issue tracker."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import Record, find, known, load, next_number, save, words
from toolkit.declare import tool

_Project = Annotated[str, known("tickets", "projects")]
_Person = Annotated[str, known("tickets", "people")]
_Number = Annotated[int, known("tickets", "tickets", "number")]
_Label = Annotated[str, known("tickets", "tickets", "labels")]
_Status = Literal["open", "in progress", "in review", "done"]
_Priority = Literal["low", "normal", "high", "urgent"]


def _ticket(data: dict[str, list[Record]], number: int) -> Record:
    return find(data["tickets"], str(number), "ticket", "number")


@tool(effect="writes", sandbox_state=True)
def open_ticket(title: str, project: _Project, priority: _Priority = "normal", assignee: _Person = "") -> str:
    """Open a ticket in the issue tracker for a bug or a wish.

    Args:
        title: The problem in one sentence.
        project: Project to which it belongs.
        priority: How urgent it is.
        assignee: Person who shall work on it.
    """
    data = load("tickets")
    new = {
        "number": next_number(data["tickets"]),
        "title": words(title, "title"),
        "project": find(data["projects"], project, "project")["name"],
        "priority": priority,
        "status": "open",
        "assignee": find(data["people"], assignee, "person")["name"] if assignee else "",
        "labels": [],
        "comments": [],
    }
    data["tickets"].append(new)
    save("tickets", data)
    return f"opened ticket {new['number']} in {new['project']}: {new['title']}"


@tool(effect="writes", sandbox_state=True)
def find_tickets(
    project: _Project = "", status: Literal[_Status, "any"] = "any", assignee: _Person = "", label: _Label = ""
) -> list[str]:
    """Find tickets of the issue tracker by project, status, person and label.

    Args:
        project: Project to which they belong.
        status: Status of the tickets.
        assignee: Person who works on them.
        label: Label that they have.
    """
    data = load("tickets")
    wanted = {
        "project": find(data["projects"], project, "project")["name"] if project else "",
        "assignee": find(data["people"], assignee, "person")["name"] if assignee else "",
        "status": "" if status == "any" else status,
    }
    found = [
        f"{ticket['number']} {ticket['title']}"
        for ticket in data["tickets"]
        if all(value in ("", ticket[key]) for key, value in wanted.items())
        and (not label or label.strip().lower() in ticket["labels"])
    ]
    if not found:
        raise ValueError("there is no such ticket; leave out the project, status, assignee or label")
    return found[:6]


@tool(effect="writes", sandbox_state=True)
def ticket_status(number: _Number) -> dict[str, str]:
    """Tell the title, status, priority and person of a ticket.

    Args:
        number: Number of the ticket.
    """
    ticket = _ticket(load("tickets"), number)
    return {key: ticket[key] for key in ("title", "project", "status", "priority", "assignee")}


@tool(effect="writes", sandbox_state=True)
def assign_ticket(number: _Number, person: _Person) -> str:
    """Give a ticket to somebody who works on it.

    Args:
        number: Number of the ticket.
        person: Name of the person.
    """
    data = load("tickets")
    ticket, who = _ticket(data, number), find(data["people"], person, "person")["name"]
    ticket["assignee"] = who
    save("tickets", data)
    return f"ticket {number} is assigned to {who}"


@tool(effect="writes", sandbox_state=True)
def set_ticket_status(number: _Number, status: _Status) -> str:
    """Change the status of a ticket.

    Args:
        number: Number of the ticket.
        status: The new status.
    """
    data = load("tickets")
    ticket = _ticket(data, number)
    if ticket["status"] == status:
        raise ValueError(f"ticket {number} is {status} already; give another status")
    ticket["status"] = status
    save("tickets", data)
    return f"ticket {number} is {status}"


@tool(effect="writes", sandbox_state=True)
def comment_on_ticket(number: _Number, comment: str) -> str:
    """Write a comment under a ticket.

    Args:
        number: Number of the ticket.
        comment: Text of the comment.
    """
    data = load("tickets")
    ticket = _ticket(data, number)
    ticket["comments"].append(words(comment, "comment", longest=1000))
    save("tickets", data)
    return f"comment {len(ticket['comments'])} on ticket {number}"


@tool(effect="writes", sandbox_state=True)
def label_ticket(number: _Number, labels: list[str]) -> list[str]:
    """Put labels on a ticket and return all its labels.

    Args:
        number: Number of the ticket.
        labels: Labels to add, for example bug.
    """
    data = load("tickets")
    ticket = _ticket(data, number)
    if not labels:
        raise ValueError("labels is empty; name one label or more")
    new = [words(label, "label", longest=40).lower() for label in labels]
    ticket["labels"] = list(dict.fromkeys([*ticket["labels"], *new]))
    save("tickets", data)
    return ticket["labels"]
