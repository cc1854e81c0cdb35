"""A conversation whose turns the running server runs, where its agent is what this process would start.

Imports nothing of pydantic, numpy or the sandbox: what an agent needs is in the server already.
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import agent
from agent.chat.command_list import ToolName
from agent.errors import NO_SERVER, ModelUnavailable
from agent.log.session_name import check_name, new_name
from agent.serving import announcement
from agent.turn.terminal import Terminal, Told
from toolkit.config_file import ConfigFile, read_config_file
from toolkit.errors import SandboxUnavailable, UserError
from toolkit.file_stamp import digest, stamp

if TYPE_CHECKING:
    from agent.chat.commands import ChatCommands

_CONNECT_SECONDS = 5.0
_SILENT_SECONDS = 60.0
"""Time without a sign of life, of which the server gives one every ten seconds."""
_WENT_AWAY = "the server went away while answering; ask again"


class Found(NamedTuple):
    """A server whose agent is the one that ``config`` asks for."""

    config: Path | None
    socket: str
    key: str
    gateway_url: str


def find(config: Path | None) -> Found | None:
    """Return the server that can answer for this process; None where its agent was started with something else.

    Raises ConfigError for a configuration that is none.
    """
    file = read_config_file(config)
    state = announcement.read(file.data_folder) if file.data_folder is not None else None
    start = state.get("chat") if state is not None else None
    if state is None or start is None or not _same_tools(start) or not _same_settings(start, file):
        return None
    return Found(config, start["socket"], state["gateway_key"], state["gateway_url"])


def _same_tools(start: Mapping[str, Any]) -> bool:
    return (
        start["package"] == agent.__file__
        and all(stamp(Path(path)) == before for path, before in start["files"].items())
        and all(digest(os.environ.get(name, "")) == before for name, before in start["environment"].items())
    )


def _same_settings(start: Mapping[str, Any], file: ConfigFile) -> bool:
    """The same text was checked when the server started; another one may still say the same of the agent."""
    return start["config"] == file.digest or start["settings"] == _settings_digest(file)


def _settings_digest(file: ConfigFile) -> str:
    from agent.config import Config
    from agent.serving.chat_start import settings_digest
    from toolkit.config import validated

    return settings_digest(validated(file, Config))


class Connection:
    """A connection to the door of a server (agent.serving.chat_door): JSON values, one a line. Use it in a ``with``."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(_CONNECT_SECONDS)
            self._socket.connect(path)
            self._socket.settimeout(_SILENT_SECONDS)
            self._lines = self._socket.makefile("rb")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def send(self, value: dict[str, Any]) -> None:
        """Send a value. What is wrong with the connection shows where the answer is read."""
        with suppress(OSError):
            self._socket.sendall(json.dumps(value).encode() + b"\n")

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what the server says. Raises what it says went wrong, and ModelUnavailable where it says no more."""
        try:
            for line in self._lines:
                event = json.loads(line)
                if "error" in event:
                    raise (UserError if event["for_user"] else SandboxUnavailable)(event["error"])
                if event:  # else a sign of life
                    yield event
        except (OSError, ValueError) as error:
            raise ModelUnavailable(_WENT_AWAY) from error
        raise ModelUnavailable(_WENT_AWAY)


class ServerChat:
    """One conversation, in connections of one turn each; the first turn goes over ``connection``, if it is given.

    ``opened`` is the first word of the server: tools, what is left out of them, and earlier requests.
    """

    def __init__(self, found: Found, name: str, opened: Mapping[str, Any], connection: Connection | None) -> None:
        self.name = name
        self._found = found
        self._connection = connection
        self._opened = opened
        self._commands: ChatCommands | None = None
        self._stack = ExitStack()

    def left_out(self) -> list[str]:
        return list(self._opened["left_out"])

    def requests_before(self, limit: int) -> list[str]:
        return list(self._opened["requests"])[-limit:]

    def command(self, line: str) -> list[str] | None:
        if self._commands is None:
            self._commands = self._open_commands()
        return self._commands.answer(line)

    def answer(self, text: str, *, shown: Terminal | None) -> Told:
        connection, self._connection = self._connection or self._connect(), None
        with connection, shown.waiting() if shown else nullcontext():
            connection.send({"session": self.name, "text": text})
            for event in connection.events():
                if "ended" in event:
                    return Told(*event["ended"])
                if shown is not None:
                    _show(event, shown)
        raise ModelUnavailable(_WENT_AWAY)

    def close(self) -> None:
        """Close what is open; the server goes on."""
        self._stack.close()
        if self._connection is not None:
            self._connection.close()

    def _connect(self) -> Connection:
        """Return a connection for the next turn, also to a server that was started anew since the last one.

        Raises UserError where it is none that can go on.
        """
        opened = _open(self._found)
        if opened is None:
            found = find(self._found.config)
            opened = _open(found) if found is not None else None
            if found is None or opened is None:
                raise ModelUnavailable(_gone(self._found.config, self.name))
            self._found = found
        return opened[0]

    def _open_commands(self) -> "ChatCommands":
        """Open the log for the commands, which concern turns that are over."""
        from agent.chat.conversation import commands_on, open_session
        from agent.config import Config
        from agent.log.interaction_log import InteractionLog
        from toolkit.config import load_config

        config = load_config(self._found.config, Config)
        tools = [ToolName(*each) for each in self._opened["tools"]]
        log = self._stack.enter_context(InteractionLog.of(config))
        session = self._stack.enter_context(open_session(config, log, self.name))
        return commands_on(config, session, tools, self._found.gateway_url)


@contextmanager
def open_at_server(config: Path | None, session: str | None, *, recall: int) -> Iterator[ServerChat | None]:
    """Yield a conversation of one turn, or where so many earlier requests shall be recalled, of several; None where no
    server can answer.

    Raises UserError and SandboxUnavailable where the agent in the server has no tools.
    """
    name = session or new_name()
    check_name(name)
    found = find(config)
    try:
        opened = _open(found, recall) if found is not None else None
    except _Busy:
        opened = None
    if found is None or opened is None:
        yield None
        return
    connection, said = opened
    with connection:
        chat = ServerChat(found, name, said, None if recall else connection)
        try:
            yield chat
        finally:
            chat.close()


class _Busy(UserError):
    """The server has as many turns as it takes."""


def _open(found: Found, recall: int = 0) -> tuple[Connection, dict[str, Any]] | None:
    """Return a connection over which a turn may be asked for, and the server's first word; None where it has none."""
    try:
        connection = Connection(found.socket)
    except OSError:
        return None
    try:
        connection.send({"key": found.key, "recall": recall})
        opened = next(connection.events())
    except ModelUnavailable:
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    if "busy" in opened:
        connection.close()
        raise _Busy(opened["busy"])
    return connection, opened


def _gone(config: Path | None, name: str) -> str:
    data_folder = read_config_file(config).data_folder
    if data_folder is None or announcement.read(data_folder) is None:
        return NO_SERVER
    return f"the server has other settings or tools now; go on with: agent chat --session {name}"


def _show(event: Mapping[str, Any], shown: Terminal) -> None:
    if "token" in event:
        shown.token(event["token"])
    else:
        shown.message(event["lines"])
