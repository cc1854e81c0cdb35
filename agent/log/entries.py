"""A turn as the interaction log stores it, and where turns come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Required, TypedDict

RESPONSE_PREFIX, MESSAGE_PREFIX = "resp_", "msg_"
"""Stand before the id of an answer in the Responses and the Messages protocol."""


GATEWAY_SOURCE = "gateway"
"""The source of single requests to the model, of clients with tools of their own."""


COMPLETIONS_SOURCE = "completions"
"""The source of texts that a client let the model go on with: kept, but no conversations."""


OWN_SOURCES = frozenset({"chat", "apprentice", "demo"})
"""Sources of turns whose tools apprentice itself ran; those of all other turns are their clients'."""


@dataclass(frozen=True)
class Entry:
    """A turn as the log stores it: redacted, ``trajectory`` and ``tool_schemas`` as JSON.

    ``traceparent``: the span of the client in which it happened (W3C); "" for none. It is not stored.
    """

    session: str
    source: str
    trajectory: str
    tool_schemas: str
    owner: str
    tenant: str
    reference: str
    adapter: str
    stop_reason: str
    traceparent: str = ""


class Origin(TypedDict, total=False):
    """Source of a turn and its tools; omitted fields are "" or empty.

    ``reference``: the id of its answer at the client. ``traceparent``: the client's span (W3C).
    """

    session: Required[str]
    source: Required[str]
    tool_schemas: Sequence[dict[str, Any]]
    owner: str
    tenant: str
    reference: str
    traceparent: str


class Stored(NamedTuple):
    """A turn that is on disk; ``stored_at`` in seconds since the epoch, UTC."""

    id: str
    stored_at: float
    entry: Entry


def plain_reference(reference: str) -> str:
    """Return the id of an answer as the log has it: without the prefix of its protocol."""
    return reference.removeprefix(RESPONSE_PREFIX).removeprefix(MESSAGE_PREFIX)


def first_id(moment: float) -> str:
    """Return the id below all interactions stored from ``moment`` on; seconds since the epoch."""
    return f"{max(0, int(moment * 1000)):012x}"


def next_id(created_at: float, newest: str | None) -> str:
    """Return an id: milliseconds since the epoch and a running number, in hex. Later ids are greater, also if the clock
    goes back."""
    moment, number = int(created_at * 1000), 0
    if newest is not None:
        last_moment, last_number = (int(part, 16) for part in newest.split("-"))
        if moment <= last_moment:
            moment, number = last_moment, last_number + 1
    return f"{moment:012x}-{number:04x}"
