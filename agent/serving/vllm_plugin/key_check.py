"""Asks for vLLM's key on every route, which vLLM 0.32 does on some only; given to it as ``--middleware``.

``/health`` stays open: it says nothing but that the server answers.
"""

import hashlib
import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN = "/health"
_BODY = b'{"error": {"message": "the key is missing or wrong", "code": 401}}'


class KeyCheck:
    """ASGI middleware. The key is that of the environment, ``VLLM_API_KEY``; without one nobody is let in."""

    def __init__(self, app: App) -> None:
        self._app = app
        key = os.environ.get("VLLM_API_KEY", "")
        self._expected = hashlib.sha256(f"Bearer {key}".encode()).digest() if key else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 401; close a web socket."""
        if scope["type"] == "lifespan" or scope["path"] == _OPEN or self._admits(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": _BODY})

    def _admits(self, scope: Scope) -> bool:
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(sent) == 1 and hmac.compare_digest(hashlib.sha256(sent[0]).digest(), self._expected)
