"""A model server that answers at once, for the benchmark of the gateway."""

import asyncio
import json
from typing import cast

import uvloop

STUB_KEY = "stub"


class Stub(asyncio.Protocol):
    """Speaks just enough HTTP to answer a chat request at once, whole or in 16 pieces."""

    WHOLE = json.dumps(
        {
            "id": "chatcmpl-stub",
            "object": "chat.completion",
            "model": "base",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "Paris. " * 16}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 32, "total_tokens": 132},
        }
    ).encode()
    MODELS = b'{"object": "list", "data": [{"id": "base", "object": "model"}]}'

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's do not descend from it
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
        if len(body) < length:
            return
        self.received = b""
        if head.startswith(b"GET"):
            self._send(self.MODELS)
        elif b'"stream": true' in body:
            self._stream()
        else:
            self._send(self.WHOLE)

    def _send(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)

    def _stream(self) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for n in range(18):
            choice = {"index": 0, "delta": {"content": "Paris. "}, "finish_reason": "stop" if n == 16 else None}
            event = {"id": "chatcmpl-stub", "object": "chat.completion.chunk", "choices": [choice]}
            data = b"data: " + (json.dumps(event).encode() if n < 17 else b"[DONE]") + b"\n\n"
            self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.transport.write(b"0\r\n\r\n")


def serve_stub() -> None:
    """Serve on a free port of loopback, which is printed, until the process ends."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    uvloop.run(run())
