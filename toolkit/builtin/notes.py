"""Notes: titles and texts."""

from typing import Annotated

from toolkit.builtin.workspace_data import changing, find, known, load, words
from toolkit.declare import tool

_FAMILY = "notes"
_MAX_TEXT = 20_000
_MAX_TITLE = 80
Note = Annotated[str, known(_FAMILY, "notes", "title")]


@tool(effect="writes", sandbox_state=True)
def save_note(title: str, text: str) -> str:
    """Save a note under a title.

    Args:
        title: The note's title.
        text: What the note says.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError(f"text is longer than {_MAX_TEXT} characters; shorten it")
    title = words(title, "title", longest=_MAX_TITLE)
    with changing(_FAMILY) as data:
        others = [row for row in data["notes"] if row["title"].casefold() != title.casefold()]
        data["notes"] = [*others, {"title": title, "text": text}]
    return f"saved {title}"


@tool(effect="writes", sandbox_state=True)
def read_note(title: Note) -> str:
    """Read the note with a title.

    Args:
        title: The note's title.
    """
    return find(load(_FAMILY)["notes"], title, "note", "title")["text"]


@tool(effect="writes", sandbox_state=True)
def list_notes() -> list[str]:
    """List the titles of all saved notes."""
    return sorted(row["title"] for row in load(_FAMILY)["notes"])


@tool(effect="writes", sandbox_state=True)
def delete_note(title: Note) -> str:
    """Delete the note with a title.

    Args:
        title: The note's title.
    """
    with changing(_FAMILY) as data:
        note = find(data["notes"], title, "note", "title")
        data["notes"].remove(note)
    return f"deleted {note['title']}"
