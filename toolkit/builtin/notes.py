"""Notes, kept as text files in the workspace of the conversation."""

import re
from pathlib import Path

from toolkit.declare import tool

_FOLDER = Path("notes")
_MAX_TEXT = 20_000


def _file(title: str) -> Path:
    name = re.sub(r"[^\w\- ]", "", title.strip().lower()).strip().replace(" ", "_")
    if not name or len(name) > 80:
        raise ValueError("title must be 1 to 80 letters, digits or spaces")
    return _FOLDER / f"{name}.txt"


def _existing(title: str) -> Path:
    file = _file(title)
    if not file.is_file():
        there = ", ".join(list_notes()) or "none"
        raise ValueError(f"there is no note titled {title!r}; notes: {there}")
    return file


@tool(effect="writes", sandbox_state=True)
def save_note(title: str, text: str) -> str:
    """Save a note under a title.

    Args:
        title: The note's title.
        text: What the note says.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError(f"text is longer than {_MAX_TEXT} characters; shorten it")
    file = _file(title)
    _FOLDER.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return f"saved {file.stem}"


@tool(effect="writes", sandbox_state=True)
def read_note(title: str) -> str:
    """Read the note with a title.

    Args:
        title: The note's title.
    """
    return _existing(title).read_text(encoding="utf-8")


@tool(effect="writes", sandbox_state=True)
def list_notes() -> list[str]:
    """List the titles of all saved notes."""
    return sorted(file.stem for file in _FOLDER.glob("*.txt")) if _FOLDER.is_dir() else []


@tool(effect="writes", sandbox_state=True)
def delete_note(title: str) -> str:
    """Delete the note with a title.

    Args:
        title: The note's title.
    """
    file = _existing(title)
    file.unlink()
    return f"deleted {file.stem}"
