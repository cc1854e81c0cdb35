"""Talking with a started MCP server over its standard input and output, one JSON-RPC message a line, bounded.

The SDK's own stdio transport takes lines of any length; a server that writes without end would fill the host's memory.
"""

import contextlib
import subprocess
from collections.abc import AsyncIterator
from typing import IO, Any

import anyio
from anyio.abc import Process
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

_CHUNK = 65536
_END_SECONDS = 2.0


class LineTooLong(Exception):
    """The server wrote a message longer than allowed."""


@contextlib.asynccontextmanager
async def bounded_stdio(command: list[str], errors: IO[bytes], line_limit: int) -> AsyncIterator[tuple[Any, Any]]:
    """Start ``command`` with an empty environment; yields the streams that ``mcp.Client`` wants.

    A message longer than ``line_limit`` bytes ends the connection. What the server complains goes to ``errors``. The
    process is killed when the context ends.
    """
    to_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    process = await anyio.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env={}, cwd="/", start_new_session=True
    )
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, process, to_session, line_limit)
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
            await process.aclose()
            for stream in (to_session, from_server, to_server, from_session):
                await stream.aclose()


async def _read(process: Process, to_session: Any, line_limit: int) -> None:
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
                if len(buffer) > line_limit:
                    await to_session.send(LineTooLong(f"a message of more than {line_limit >> 20} MiB"))
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
