"""A model server that speaks the OpenAI protocol over HTTP and says what the test tells it to."""

import json
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.fakes.ports import reserved


@dataclass
class Says:
    """One reply. ``calls`` are (name, arguments as text). ``break_off``: the connection ends in the middle.
    ``drop``: it ends before a byte of the answer. ``wait``: nothing comes before the event, ``pause``: only the first
    piece of a stream does, ``linger``: all of it, but not the end of the response.
    """

    text: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    finish_reason: str | None = None
    status: int = 200
    break_off: bool = False
    drop: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    wait: threading.Event | None = None
    pause: threading.Event | None = None
    linger: threading.Event | None = None
    raw: bytes | None = None
    id: str = "chatcmpl-1"
    call_id: str = "id-"


Script = Callable[[dict[str, Any]], Says]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may leave early
            super().handle_error(request, client_address)


class _UnixServer(_Server):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)

    def get_request(self) -> tuple[Any, Any]:
        connection, _ = super().get_request()
        return connection, ("", 0)


class _Handler(BaseHTTPRequestHandler):
    """Answers for ``model``."""

    model: "ModelServer"
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.model.paths.append(self.path)
        if self.path == "/health":
            self._send(200, b"")
        elif self.path == "/v1/models":
            if self.model.odd_list is not None:
                self._send(200, self.model.odd_list)
                return
            data = [
                {"id": name, "object": "model", "root": self.model.folders.get(name, name)}
                for name in self.model.models
            ]
            self._send(200, json.dumps({"object": "list", "data": data}).encode())
        else:
            self._send(404, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.model.paths.append(self.path)
        if self.model.key and self.headers.get("authorization") != f"Bearer {self.model.key}":
            self._send(401, b'{"error": {"message": "wrong key"}}')
            return
        if self.path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            self._change(body)
            return
        self.model.requests.append(body)
        self.model.headers.append({name.lower(): value for name, value in self.headers.items()})
        says = self.model.next_reply(body)
        if says.wait is not None:
            self._wait(says.wait)
        if says.drop:
            self.close_connection = True
        elif says.raw is not None or says.status != 200:
            error = json.dumps({"error": {"message": says.text, "code": says.status}}).encode()
            self._send(says.status, error if says.raw is None else says.raw, says.headers)
        elif body.get("stream"):
            self._stream(says, body)
        else:
            self._send(200, json.dumps(_completion(says, body)).encode(), says.headers, says.break_off)

    def _change(self, body: dict[str, Any]) -> None:
        name = body["lora_name"]
        if name in self.model.refuses or self.model.refuses_folder(Path(body.get("lora_path", ""))):
            self._send(400, b'{"error": {"message": "no such rank"}}')
        elif self.path == "/v1/load_lora_adapter":
            self.model.models.append(name)
            self.model.folders[name] = body["lora_path"]
            self._send(200, b"{}")
        elif name in self.model.models:
            self.model.models.remove(name)
            self._send(200, b"{}")
        else:
            self._send(404, b'{"error": {"message": "not loaded"}}')

    def _wait(self, event: threading.Event) -> None:
        self.connection.settimeout(0.02)
        while not event.wait(0.01):
            try:
                left = self.connection.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                left = True
            if left:
                self.model.disconnected.set()
                return
        self.connection.settimeout(None)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, break_off: bool = False) -> None:
        self.send_response(status)
        self.send_header("content-type", "text/event-stream" if body[:5] == b"data:" else "application/json")
        self.send_header("content-length", str(len(body) + (10 if break_off else 0)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if break_off:
            self.close_connection = True

    def _stream(self, says: Says, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        for name, value in says.headers.items():
            self.send_header(name, value)
        self.end_headers()
        for event in _events(says, body):
            data = f"data: {event}\n\n".encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
            if says.pause is not None:
                self._wait(says.pause)
        if says.linger is not None:
            self._wait(says.linger)
        if says.break_off:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


class ModelServer:
    """Answers with the replies in turn, or with what ``script`` makes of the request; keeps what it was asked.

    ``odd_list`` is its answer to who asks for its models, in place of the list of ``models``.
    It listens on a port of ``host``, or on the Unix socket at ``path``. The port stays its own until the end of the
    ``with``, also after ``stop``: nobody else gets it, and another ModelServer may listen there.
    """

    def __init__(
        self,
        *replies: Says,
        script: Script | None = None,
        key: str = "",
        port: int = 0,
        host: str = "127.0.0.1",
        path: str | None = None,
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.key = key
        self.models = ["base"]
        self.refuses: set[str] = set()
        self.refuses_folder: Callable[[Path], bool] = lambda folder: False
        self.odd_list: bytes | None = None
        self.disconnected = threading.Event()
        self._replies = list(replies)
        self._script = script
        self._path, self._host = path, host
        self.folders: dict[str, str] = {}
        handler = self._handler()
        self._place = None if path is not None else reserved(port, host)
        self._server = (
            _UnixServer(path, handler) if self._place is None else _Server(self._place.getsockname(), handler)
        )  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._server.server_port}" if self._path is None else f"unix:{self._path}"

    def __enter__(self) -> "ModelServer":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        if self._place is not None:
            self._place.close()

    def stop(self) -> None:
        """Answer nobody any more; may be called again."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next_reply(self, request: dict[str, Any]) -> Says:
        return self._script(request) if self._script else self._replies.pop(0)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        return type("Handler", (_Handler,), {"model": self, "disable_nagle_algorithm": self._path is None})


@contextmanager
def serving(*replies: Says, script: Script | None = None) -> Iterator[ModelServer]:
    with ModelServer(*replies, script=script) as server:
        yield server


def _finish(says: Says) -> str:
    return says.finish_reason or ("tool_calls" if says.calls else "stop")


def _completion(says: Says, body: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {"id": f"{says.call_id}{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(says.calls)
    ]
    return {
        "id": says.id,
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": says.text or None, "tool_calls": calls},
                "finish_reason": _finish(says),
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
    }


def _events(says: Says, body: dict[str, Any]) -> Iterator[str]:
    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        chunk = {"id": says.id, "object": "chat.completion.chunk", "model": body["model"], "choices": [choice]}
        return json.dumps(chunk)

    yield chunk({"role": "assistant", "content": ""})
    middle = len(says.text) // 2
    for piece in (says.text[:middle], says.text[middle:]):
        if piece:
            yield chunk({"content": piece})
    for n, (name, arguments) in enumerate(says.calls):
        start = {"index": n, "id": f"{says.call_id}{n}", "type": "function", "function": {"name": name}}
        yield chunk({"tool_calls": [start]})
        for letter in arguments:
            yield chunk({"tool_calls": [{"index": n, "function": {"arguments": letter}}]})
    if says.break_off:
        return
    yield chunk({}, _finish(says))
    if (body.get("stream_options") or {}).get("include_usage"):
        usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
        yield json.dumps({"object": "chat.completion.chunk", "choices": [], "usage": usage})
    yield "[DONE]"
