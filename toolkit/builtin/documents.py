"""Documents in folders: short texts with headings and tags."""

from typing import Annotated

from toolkit.builtin.workspace_data import Record, choose, find, known, load, require_new, save, words
from toolkit.declare import Known, tool

_Title = Annotated[str, known("documents", "documents", "title")]
_Folder = Annotated[str, known("documents", "folders")]
_Heading = Annotated[str, Known(("Summary", "Costs", "Contact"))]
_Phrase = Annotated[str, Known(("newsletter", "every evening", "train", "a month", "questions", "launch", "October"))]
_Tag = Annotated[str, known("documents", "documents", "tags")]


def _document(data: dict[str, list[Record]], title: str) -> Record:
    return find(data["documents"], title, "document", "title")


def _sections(text: str) -> dict[str, str]:
    """Return the text under each heading."""
    parts = [part.partition("\n") for part in text.split("# ") if part.strip()]
    return {heading.strip(): body.strip() for heading, _, body in parts}


@tool(effect="writes", sandbox_state=True)
def search_documents(phrase: _Phrase, folder: _Folder = "") -> list[str]:
    """Find the documents in which a word or phrase occurs.

    Args:
        phrase: Word or phrase to look for in titles and texts.
        folder: Folder in which to look; left out, all folders.
    """
    data, wanted = load("documents"), words(phrase, "phrase", longest=80).casefold()
    name = find(data["folders"], folder, "folder")["name"] if folder else ""
    found = [
        f"{document['folder']}: {document['title']}"
        for document in data["documents"]
        if name in ("", document["folder"]) and wanted in f"{document['title']}\n{document['text']}".casefold()
    ]
    if not found:
        raise ValueError(f"no document holds {phrase!r}; try one word of it, or all folders")
    return found[:6]


@tool(effect="writes", sandbox_state=True)
def outline_document(title: _Title) -> list[str]:
    """List the headings of a document.

    Args:
        title: Title of the document.
    """
    return list(_sections(_document(load("documents"), title)["text"]))


@tool(effect="writes", sandbox_state=True)
def read_document_section(title: _Title, heading: _Heading) -> str:
    """Read the part of a document that stands under a heading.

    Args:
        title: Title of the document.
        heading: Heading of the part.
    """
    document = _document(load("documents"), title)
    sections = _sections(document["text"])
    return sections[choose(sections, heading, f"heading in {document['title']} called")]


@tool(effect="writes", sandbox_state=True)
def write_document(title: str, folder: _Folder, heading: str, text: str) -> str:
    """Write a new document into a folder.

    Args:
        title: Title of the new document.
        folder: Folder into which it goes.
        heading: Heading of its first part.
        text: Text under the heading.
    """
    data = load("documents")
    name, where = words(title, "title", longest=80), find(data["folders"], folder, "folder")["name"]
    require_new(data["documents"], name, "document", "title")
    content = f"# {words(heading, 'heading', longest=80)}\n{words(text, 'text', longest=2000)}"
    data["documents"].append({"title": name, "folder": where, "tags": [], "text": content})
    save("documents", data)
    return f"wrote {name} into {where}"


@tool(effect="writes", sandbox_state=True)
def tag_document(title: _Title, tags: list[str]) -> list[str]:
    """Add tags to a document and return all its tags.

    Args:
        title: Title of the document.
        tags: Tags to add.
    """
    data = load("documents")
    document = _document(data, title)
    if not tags:
        raise ValueError("tags is empty; name one tag or more")
    new = [words(tag, "tag", longest=40).lower() for tag in tags]
    document["tags"] = list(dict.fromkeys([*document["tags"], *new]))
    save("documents", data)
    return document["tags"]


@tool(effect="writes", sandbox_state=True)
def documents_with_tag(tag: _Tag) -> list[str]:
    """List the documents that have a tag.

    Args:
        tag: The tag.
    """
    documents = load("documents")["documents"]
    wanted = choose(dict.fromkeys(tag for document in documents for tag in document["tags"]), tag, "tag")
    return [document["title"] for document in documents if wanted in document["tags"]][:8]


@tool(effect="writes", sandbox_state=True)
def move_document(title: _Title, to_folder: _Folder) -> str:
    """Move a document into another folder.

    Args:
        title: Title of the document.
        to_folder: Folder into which it goes.
    """
    data = load("documents")
    document, folder = _document(data, title), find(data["folders"], to_folder, "folder")["name"]
    if document["folder"] == folder:
        raise ValueError(f"{document['title']} is in {folder} already; name another folder")
    document["folder"] = folder
    save("documents", data)
    return f"moved {document['title']} to {folder}"
