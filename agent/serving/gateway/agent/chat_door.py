"""The door of `agent chat`: a Unix socket beside vLLM's, where the owner of the data folder has turns of the agent.

A turn here is one of the source ``chat``, as `agent chat` has it without a server that can answer: the same session,
workspace and row in the log. JSON values go both ways, one a line, and a connection carries one turn:

1. ``{"key", "recall"}``; the answer is ``{"left_out", "tools", "requests"}``, or ``{"busy"}``.
2. ``{"session", "text"}``; the answer is any number of ``{"token"}`` and ``{"lines"}``, and ``{"ended"}``.

``{"error", "for_user"}`` ends either; ``{}`` is a sign of life. Who closes the connection ends the turn.
"""

import asyncio
import contextlib
import hmac
import json
import socket
from typing import Any

from agent.log.session import SOURCE
from agent.serving.gateway.agent.turns import SIGN_OF_LIFE_SECONDS, AgentTurns, AskedTurn, Ended, Event, Tools
from agent.serving.gateway.event_stream import Left, until_gone
from agent.serving.gateway.model_routing import ALIAS
from agent.turn.messages import Message
from agent.turn.shown import message_lines, told
from toolkit.errors import SandboxUnavailable, UserError
from toolkit.printable import neutral

_LONGEST_LINE = 16 << 20
_BUSY = "the agent has as many turns as it takes; try again"


class ChatDoor:
    """Answers who has the key of the server's own commands."""

    def __init__(self, turns: AgentTurns) -> None:
        self._turns = turns
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> None:
        """Answer until cancelled."""
        server = await asyncio.start_unix_server(self._connected, sock=listener, limit=_LONGEST_LINE)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(Left, OSError):
                await self._answer(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await _read(reader)
        if hello is None or not hmac.compare_digest(str(hello.get("key")).encode(), self._turns.gateway_key.encode()):
            return
        if self._turns.full:
            await _send(writer, {"busy": _BUSY})
            return
        try:
            tools = await self._tools(writer)
            await _send(writer, await asyncio.to_thread(self._opened, tools, int(hello.get("recall", 0))))
            asked = await _read(reader)
            if asked is not None:
                await until_gone(self._turn(asked, writer), _gone(reader))
        except (UserError, SandboxUnavailable) as error:
            await _send(writer, {"error": str(error), "for_user": isinstance(error, UserError)})

    async def _tools(self, writer: asyncio.StreamWriter) -> Tools:
        """Return the tools of all turns, opened now where this is the first of them."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._turns.tools))
        while not (await asyncio.wait({opening}, timeout=SIGN_OF_LIFE_SECONDS))[0]:
            await _send(writer, {})
        return opening.result()

    def _opened(self, tools: Tools, recall: int) -> dict[str, Any]:
        registry = tools.executor.registry
        return {
            "left_out": [neutral(line) for line in registry.notes()],
            "tools": [(tool.name, tool.source) for tool in registry] if recall else [],
            "requests": self._turns.requests_before(recall, source=SOURCE) if recall else [],
        }

    async def _turn(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        turn = AskedTurn(
            text=str(asked["text"]), session=str(asked["session"]), model=ALIAS, reference="", source=SOURCE
        )
        async with contextlib.aclosing(self._turns.run(turn)) as events:
            async for event in events:
                said = _said(event, turn.session)
                if said is not None:
                    await _send(writer, said)


def _said(event: Event, session: str) -> dict[str, Any] | None:
    """Return an event as the client reads it; None for one that is not shown."""
    if event is None:
        return {}
    if isinstance(event, str):
        return {"token": event}
    if isinstance(event, Ended):
        return {"ended": told(event.interaction, session, event.trajectory)}
    assert isinstance(event, Message)
    lines = message_lines(event)
    return None if lines is None else {"lines": lines}


async def _read(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return the next value; None where the client has gone, or sends what is none."""
    try:
        value = json.loads(await reader.readline())
    except ValueError:  # a line that is too long, too
        return None
    return value if isinstance(value, dict) else None


async def _send(writer: asyncio.StreamWriter, value: dict[str, Any]) -> None:
    writer.write(json.dumps(value).encode() + b"\n")
    await writer.drain()


async def _gone(reader: asyncio.StreamReader) -> None:
    """Wait until the client closes the connection; it has nothing more to say."""
    await reader.read(1)
