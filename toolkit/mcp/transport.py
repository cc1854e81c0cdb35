"""Talking with MCP servers, bounded: over standard input and output, one JSON-RPC message a line, or over HTTP.

The SDK's own transports take lines and answers of any length; a server that writes without end would fill the host's
memory.
"""

import contextlib
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx2
from anyio.abc import Process
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

_CHUNK = 65536
_END_SECONDS = 2.0
_COMPLAINT_BYTES = 4096
_HTTP_SECONDS = httpx2.Timeout(30, read=300)


class TooLong(Exception):
    """The server wrote a message longer than allowed."""


@contextlib.asynccontextmanager
async def bounded_stdio(command: list[str], complaints: bytearray, limit: int) -> AsyncIterator[tuple[Any, Any]]:
    """Start ``command`` with an empty environment; yields the streams that ``mcp.Client`` wants.

    A message longer than ``limit`` bytes ends the connection. ``complaints`` is kept at the end of what the server
    writes to its standard error. The process is killed when the context ends.
    """
    to_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    process = await anyio.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
        cwd="/",
        start_new_session=True,
    )
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, process, to_session, limit)
            tasks.start_soon(_listen, process, complaints)
            tasks.start_soon(_write, process, from_session, to_session)
            try:
                yield from_server, to_server
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with anyio.move_on_after(_END_SECONDS):
                await process.wait()
                await _listen(process, complaints)
            await process.aclose()
            for stream in (to_session, from_server, to_server, from_session):
                await stream.aclose()


@contextlib.asynccontextmanager
async def bounded_http(url: str, limit: int) -> AsyncIterator[tuple[Any, Any]]:
    """Reach a streamable HTTP endpoint; yields the streams that ``mcp.Client`` wants.

    An answer longer than ``limit`` bytes, or packed, breaks off.
    """

    async def bound(response: httpx2.Response) -> None:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise TooLong("an answer that is packed, of unknown length")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream, limit)

    async with (
        httpx2.AsyncClient(
            timeout=_HTTP_SECONDS, headers={"Accept-Encoding": "identity"}, event_hooks={"response": [bound]}
        ) as client,
        streamable_http_client(url, http_client=client) as streams,
    ):
        yield streams


class _Bounded(httpx2.AsyncByteStream):
    """A stream that raises TooLong after ``limit`` bytes."""

    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream = stream
        self._left = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._left -= len(part)
            if self._left < 0:
                raise TooLong("an answer that is too long")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _listen(process: Process, complaints: bytearray) -> None:
    assert process.stderr is not None
    with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
        while True:
            complaints += await process.stderr.receive(_CHUNK)
            del complaints[:-_COMPLAINT_BYTES]


async def _read(process: Process, to_session: Any, limit: int) -> None:
    assert process.stdout is not None
    buffer = bytearray()
    async with to_session:
        with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            while True:
                buffer += await process.stdout.receive(_CHUNK)
                *lines, rest = bytes(buffer).split(b"\n") if b"\n" in buffer[-_CHUNK:] else [bytes(buffer)]
                buffer = bytearray(rest)
                for line in lines:
                    if line.strip():
                        await to_session.send(_parse(line))
                if len(buffer) > limit:
                    await to_session.send(TooLong(f"a message of more than {limit >> 20} MiB"))
                    return


def _parse(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error


async def _write(process: Process, from_session: Any, to_session: Any) -> None:
    assert process.stdin is not None
    async with from_session:
        try:
            async for message in from_session:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(text.encode() + b"\n")
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            await to_session.aclose()
