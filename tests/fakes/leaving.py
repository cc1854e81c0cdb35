"""A client that goes away before it has its answer."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx


@contextmanager
def asked(url: str, body: dict[str, Any], path: str = "/v1/chat/completions") -> Iterator[None]:
    """Send ``body`` over a connection of its own, and leave at the end of the block without reading a byte."""
    to, content = httpx.URL(url), json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: {to.host}:{to.port}\r\ncontent-type: application/json\r\n"
    with socket.create_connection((to.host, to.port or 80)) as connection:
        connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        yield
