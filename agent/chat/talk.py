"""A conversation as a person holds it, whoever runs its turns: this process, or the server.

Imports nothing of pydantic, so that a turn at the server begins at once.
"""

import json
import sys
from typing import Protocol

from agent.chat.command_list import COMMANDS
from agent.chat.lines import lines
from agent.turn.terminal import Terminal, Told
from toolkit.errors import UserError

RECALLED = 500
"""Earlier requests that the arrow keys recall."""


class Conversation(Protocol):
    """A session, and the agent that answers in it."""

    @property
    def name(self) -> str:
        """The name of the session."""
        ...

    def left_out(self) -> list[str]:
        """Return the lines that tell a person which tools and servers are missing here."""
        ...

    def requests_before(self, limit: int) -> list[str]:
        """Return the newest ``limit`` requests of all conversations, oldest first."""
        ...

    def command(self, line: str) -> list[str] | None:
        """Return the lines that answer a command; None where ``line`` is a message. Raises UserError."""
        ...

    def answer(self, text: str, *, shown: Terminal | None) -> Told:
        """Answer ``text`` in a turn that is logged, shown as it goes. Raises UserError and SandboxUnavailable."""
        ...


def say(conversation: Conversation, message: str, *, as_json: bool) -> bool:
    """Let one ``message`` be answered and show the turn; return whether it has an answer. Raises as ``answer``."""
    _say_what_is_left_out(conversation)
    terminal = None if as_json else Terminal(sys.stdout, sys.stderr)
    told = conversation.answer(message, shown=terminal)
    if terminal is None:
        print(json.dumps(told.turn, indent=2, ensure_ascii=True))
    else:
        terminal.note(told.summary)
    return told.answered


def talk(conversation: Conversation) -> None:
    """Ask for messages until the input ends, and answer them; see ``lines``. Ctrl-C ends an answer."""
    _say_what_is_left_out(conversation)
    print(f"session {conversation.name}; /help lists commands, Ctrl-D ends it", file=sys.stderr)
    terminal = Terminal(sys.stdout, sys.stderr)
    names = [f"/{name}" for name in COMMANDS]
    for text in lines(conversation.requests_before(RECALLED), names):
        try:
            _say(conversation, text, terminal)
        except KeyboardInterrupt:
            terminal.note("stopped")
        except UserError as error:
            terminal.note(str(error))


def _say(conversation: Conversation, text: str, terminal: Terminal) -> None:
    answer = conversation.command(text) if text.startswith("/") else None
    if answer is None:
        answer = [conversation.answer(text, shown=terminal).summary]
    for line in answer:
        terminal.note(line)


def _say_what_is_left_out(conversation: Conversation) -> None:
    for line in conversation.left_out():
        print(line, file=sys.stderr)
