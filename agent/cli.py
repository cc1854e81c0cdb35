"""The ``agent`` command.

A plain ``agent chat`` is answered by the running server, where that can be, and imports next to nothing; everything
else is in ``agent.commands``.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from toolkit.exit_codes import with_exit_codes

_VALUES = ("--session", "--message", "--config")


class PlainChat(NamedTuple):
    """The options of ``agent chat``."""

    session: str | None = None
    message: str | None = None
    config: Path | None = None
    as_json: bool = False


def plain_chat(words: Sequence[str]) -> PlainChat | None:
    """Return the options in a command line; None where it is no ``chat``, or one on which more is to be said."""
    if not words or words[0] != "chat":
        return None
    left, options = list(words[1:]), {}
    while left:
        name, equals, value = left.pop(0).partition("=")
        if name == "--json" and not equals:
            options[name] = value
        elif name not in _VALUES or name in options or not (equals or left):
            return None
        else:
            options[name] = value if equals else left.pop(0)
    message, as_json = options.get("--message"), "--json" in options
    if (message is None and as_json) or (message is not None and not message.strip()):
        return None
    config = Path(options["--config"]) if "--config" in options else None
    return PlainChat(options.get("--session"), message, config, as_json)


def chat_at_server(asked: PlainChat) -> bool | None:
    """Let the running server answer; return whether it did, None where no server can. Raises as it does."""
    from agent.chat import at_server, talk

    recall = talk.RECALLED if asked.message is None else 0
    with at_server.open_at_server(asked.config, asked.session, recall=recall) as conversation:
        if conversation is None:
            return None
        if asked.message is not None:
            return talk.say(conversation, asked.message, as_json=asked.as_json)
        talk.talk(conversation)
        return True


def main() -> None:
    """Run the command, and end with its exit code; see toolkit.exit_codes."""
    asked = plain_chat(sys.argv[1:]) if "_AGENT_COMPLETE" not in os.environ else None
    if asked is not None:
        answered = with_exit_codes(partial(chat_at_server, asked), "agent")
        if answered is not None:
            sys.exit(0 if answered else 1)
    from agent.commands import app
    from toolkit.command import run_command

    run_command(app, "agent")


if __name__ == "__main__":
    main()
