"""Mail: messages received, drafts and notices of absence."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import Record, changing, choose, find, known, listed, load, require_new, words
from toolkit.builtin.written_times import read_day
from toolkit.declare import tool

_FAMILY = "mailbox"
_LONGEST = 5_000
Message = Annotated[str, known(_FAMILY, "messages", "subject")]
Draft = Annotated[str, known(_FAMILY, "drafts", "subject")]
Sender = Annotated[str, known(_FAMILY, "messages", "sender")]


def _begin(drafts: list[Record], to: str, subject: str, text: str, copies: list[str]) -> None:
    subject = words(subject, "subject")
    require_new(drafts, subject, "draft", "subject")
    text = words(text, "text", longest=_LONGEST)
    drafts.append({"subject": subject, "to": to, "text": text, "copies": copies})


@tool(effect="writes", sandbox_state=True)
def draft_email(recipient: str, subject: str, text: str, copy_to: str = "") -> str:
    """Write an email and keep it as a draft.

    Args:
        recipient: Name of the person or company that it goes to.
        subject: Subject line.
        text: What the email says.
        copy_to: Name of a person who gets a copy.
    """
    to = words(recipient, "recipient")
    with changing(_FAMILY) as data:
        _begin(data["drafts"], to, subject, text, [copy_to] if copy_to else [])
    return f"draft to {to}: {words(subject, 'subject')}"


@tool(effect="writes", sandbox_state=True)
def rewrite_draft(subject: Draft, text: str) -> str:
    """Replace the text of an email draft.

    Args:
        subject: Subject line of the draft.
        text: What the email shall say.
    """
    with changing(_FAMILY) as data:
        draft = find(data["drafts"], subject, "draft", "subject")
        draft["text"] = words(text, "text", longest=_LONGEST)
    return f"rewrote {draft['subject']}"


@tool(effect="writes", sandbox_state=True)
def send_draft(subject: Draft) -> str:
    """Send an email that is kept as a draft.

    Args:
        subject: Subject line of the draft.
    """
    with changing(_FAMILY) as data:
        draft = find(data["drafts"], subject, "draft", "subject")
        data["drafts"].remove(draft)
    return f"sent {draft['subject']} to {listed([draft['to'], *draft['copies']])}"


@tool(effect="writes", sandbox_state=True)
def reply_to_email(subject: Message, text: str, reply_all: bool = False) -> str:
    """Answer an email that was received.

    Args:
        subject: Subject line of the email.
        text: What the answer says.
        reply_all: Whether everybody who got the email gets the answer.
    """
    answer = words(text, "text", longest=_LONGEST)
    with changing(_FAMILY) as data:
        message = find(data["messages"], subject, "email", "subject")
        message["answer"] = answer
    return f"answered {listed([message['sender'], *(message['others'] if reply_all else [])])}"


@tool(effect="writes", sandbox_state=True)
def forward_email(subject: Message, recipient: str, remark: str = "") -> str:
    """Pass an email that was received on to somebody else.

    Args:
        subject: Subject line of the email.
        recipient: Name of the person who gets it.
        remark: What is written above it.
    """
    to = words(recipient, "recipient")
    with changing(_FAMILY) as data:
        message = find(data["messages"], subject, "email", "subject")
        message.setdefault("forwarded", []).append({"to": to, "remark": remark})
    return f"forwarded {message['subject']} to {to}"


@tool(effect="writes", sandbox_state=True)
def search_emails(
    keywords: Message, sender: Sender = "", folder: Literal["inbox", "archive", "work", "any"] = "any"
) -> list[str]:
    """Find emails that hold some words in their subject or text.

    Args:
        keywords: Words to look for.
        sender: Name of the person or company that sent them.
        folder: Folder to look in.
    """
    wanted = words(keywords, "keywords").casefold().split()
    messages = load(_FAMILY)["messages"]
    name = choose((each["sender"] for each in messages), sender, "sender") if sender else ""
    found = [
        each["subject"]
        for each in messages
        if name in ("", each["sender"])
        and folder in ("any", each["folder"])
        and all(word in f"{each['subject']} {each['text']}".casefold() for word in wanted)
    ]
    if not found:
        raise ValueError(f"no email holds {' '.join(wanted)!r}; there is: {listed([e['subject'] for e in messages])}")
    return found


@tool(effect="writes", sandbox_state=True)
def move_email(subject: Message, folder: Literal["inbox", "archive", "work", "spam"]) -> str:
    """Move an email to another mail folder.

    Args:
        subject: Subject line of the email.
        folder: The folder that it goes into.
    """
    with changing(_FAMILY) as data:
        message = find(data["messages"], subject, "email", "subject")
        message["folder"] = folder
    return f"{message['subject']} is in {folder}"


@tool(effect="writes", sandbox_state=True)
def set_out_of_office(first_day: str, last_day: str, message: str, deputy: str = "") -> str:
    """Set the automatic answer that senders of emails get during an absence.

    Args:
        first_day: First day of the absence as YYYY-MM-DD.
        last_day: Last day of the absence as YYYY-MM-DD.
        message: What the automatic answer says.
        deputy: Name of the colleague to turn to.
    """
    first, last = read_day(first_day, "first_day"), read_day(last_day, "last_day")
    if last < first:
        raise ValueError("last_day is before first_day; swap them")
    text = words(message, "message", longest=_LONGEST)
    with changing(_FAMILY) as data:
        data["absences"].append({"from": str(first), "to": str(last), "message": text, "deputy": deputy})
    return f"automatic answer from {first} to {last}" + (f", deputy {deputy}" if deputy else "")
