"""The commands inside a conversation, by name."""

from typing import NamedTuple, Protocol


class Command(NamedTuple):
    """One command: the form in which it is typed, and its effect."""

    form: str
    effect: str


COMMANDS = {
    "help": Command("/help", "list these commands"),
    "tools": Command("/tools", "list the tools, and those that the last turn was shown"),
    "good": Command("/good [NOTE]", "call the last answer good"),
    "bad": Command("/bad [NOTE]", "call the last answer bad"),
    "why": Command("/why", "explain the last turn: tools, calls, adapter, and what was learned about them"),
}


class NamedTool(Protocol):
    """A tool as the commands need it."""

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> str: ...


class ToolName(NamedTuple):
    """A tool of which no more is known here."""

    name: str
    source: str
