"""Asking a model over the OpenAI protocol.

``reply_of``, ``ReplyBuilder`` and ``parse_call`` read what comes over the wire; the gateway reads the exchanges that it
logs with the same three.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from agent.errors import NO_SERVER, ModelError, ModelTimeout, ModelUnavailable
from agent.messages import Message, Usage
from toolkit.tool import ToolCall

ADAPTER_HEADER = "x-apprentice-adapter"
ADAPTER_SHA256_HEADER = "x-apprentice-adapter-sha256"
SESSION_HEADER = "x-apprentice-session"
LOG_HEADER = "x-apprentice-log"
"""``no``: the sender logs the whole turn itself."""

_OPENING, _CLOSING = "<tool_call>", "</tool_call>"
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class ModelReply:
    """One assistant message, and who gave it. ``adapter`` is "" where the server does not say."""

    message: Message
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = ""
    adapter: str = ""
    adapter_sha256: str = ""


class ModelClient(Protocol):
    """Asks for one assistant message; ``request`` is from ``agent.prompt``. Raises ModelUnavailable and ModelError."""

    def chat(self, request: dict[str, Any], *, timeout_seconds: float | None = None) -> ModelReply: ...

    def stream(self, request: dict[str, Any], *, timeout_seconds: float | None = None) -> Iterator[str | ModelReply]:
        """Pieces of the answer's text as they come; last the whole reply."""
        ...


class HttpModelClient:
    """ModelClient for ``base_url`` (without ``/v1``); may be shared by threads. Close it, or use it in a ``with``.

    ``session``: the conversation that all requests belong to.
    """

    def __init__(
        self, base_url: str, api_key: str = "", *, session: str = "", transport: httpx.BaseTransport | None = None
    ) -> None:
        # trust_env: a proxy of the environment must not get what is meant for this machine.
        self._http = httpx.Client(
            base_url=base_url,
            headers=own_headers(api_key) | ({SESSION_HEADER: session} if session else {}),
            trust_env=False,
            verify=base_url.startswith("https:"),  # reading the certificates takes longer than a request
            transport=transport,
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=4),
        )

    def __enter__(self) -> "HttpModelClient":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def chat(self, request: dict[str, Any], *, timeout_seconds: float | None = None) -> ModelReply:
        try:
            response = self._http.post("/v1/chat/completions", json=request, timeout=_timeout(timeout_seconds))
        except httpx.HTTPError as error:
            raise _lost(error) from error
        if response.status_code != 200:
            raise _refused(response)
        try:
            return reply_of(response.json(), response.headers)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ModelError(f"the server's answer is no chat completion: {error!r}") from error

    def stream(self, request: dict[str, Any], *, timeout_seconds: float | None = None) -> Iterator[str | ModelReply]:
        body = {**request, "stream": True, "stream_options": {"include_usage": True}}
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        builder = ReplyBuilder()
        try:
            with self._http.stream(
                "POST", "/v1/chat/completions", json=body, timeout=_timeout(timeout_seconds)
            ) as response:
                if response.status_code != 200:
                    response.read()
                    raise _refused(response)
                for line in response.iter_lines():
                    if text := builder.add(line):
                        yield text
                    if deadline is not None and time.monotonic() > deadline:
                        raise ModelTimeout("the reply was not complete in time")
        except httpx.HTTPError as error:
            raise _lost(error) from error
        yield builder.reply(response.headers)


def own_headers(api_key: str = "") -> dict[str, str]:
    """What apprentice's own clients send to the gateway: they log for themselves, or not at all."""
    return {LOG_HEADER: "no"} | ({"authorization": f"Bearer {api_key}"} if api_key else {})


def reply_of(body: dict[str, Any], headers: Mapping[str, str]) -> ModelReply:
    """The reply in a chat completion. If it is none: ValueError, KeyError, TypeError, IndexError or AttributeError."""
    choice = body["choices"][0]
    message = choice["message"]
    calls = [
        (c.get("id") or "", c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls") or ()
    ]
    return _reply(message.get("content") or "", calls, choice.get("finish_reason"), body.get("usage"), headers)


@dataclass
class ReplyBuilder:
    """Puts a reply together from the lines of an event stream."""

    text: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None

    def add(self, line: str) -> str:
        """Take one line; returns the text that it adds to the answer. Raises ModelError on what is no event."""
        if not line.startswith("data:"):
            return ""
        data = line[5:].strip()
        if data == "[DONE]":
            return ""
        try:
            return self._add(json.loads(data))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ModelError(f"the server's stream broke: {data[:200]}") from error

    def reply(self, headers: Mapping[str, str]) -> ModelReply:
        """The whole reply. Raises ModelError when the stream ended before the reply did."""
        if self.finish_reason is None:
            raise ModelError("the server's stream ended in the middle of the reply")
        calls = [(c[0], c[1], c[2]) for _, c in sorted(self.calls.items())]
        return _reply(self.text, calls, self.finish_reason, self.usage, headers)

    def _add(self, chunk: dict[str, Any]) -> str:
        if "error" in chunk:
            raise _error(chunk["error"].get("code"), _error_text(chunk))
        self.usage = chunk.get("usage") or self.usage
        if not chunk["choices"]:
            return ""
        choice = chunk["choices"][0]
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        delta = choice.get("delta") or {}
        for part in delta.get("tool_calls") or ():
            call = self.calls.setdefault(part["index"], ["", "", ""])
            function = part.get("function") or {}
            call[0] = part.get("id") or call[0]
            call[1] += function.get("name") or ""
            call[2] += function.get("arguments") or ""
        text = delta.get("content") or ""
        self.text += text
        return text


def _reply(
    text: str,
    calls: list[tuple[str, str, str]],
    finish_reason: str | None,
    usage: Mapping[str, Any] | None,
    headers: Mapping[str, str],
) -> ModelReply:
    content, *broken = _encodable(text).split(_OPENING)
    parsed = [parse_call(call_id or f"call-{n}", name, raw) for n, (call_id, name, raw) in enumerate(calls)]
    parsed += [
        ToolCall(id=f"call-{n}", name="", arguments=None, raw=raw.replace(_CLOSING, "").strip())
        for n, raw in enumerate(broken, start=len(parsed))
    ]
    usage = usage or {}
    return ModelReply(
        message=Message(role="assistant", content=content.rstrip() if broken else content, tool_calls=tuple(parsed)),
        usage=Usage(
            prompt_tokens=usage.get("prompt_tokens") or 0, completion_tokens=usage.get("completion_tokens") or 0
        ),
        finish_reason=finish_reason or "",
        adapter=headers.get(ADAPTER_HEADER, ""),
        adapter_sha256=headers.get(ADAPTER_SHA256_HEADER, ""),
    )


def parse_call(call_id: str, name: str, raw: str | dict[str, Any]) -> ToolCall:
    """The call in an OpenAI tool call; ``arguments`` is None where ``raw`` is no JSON object."""
    raw = _encodable(raw if isinstance(raw, str) else json.dumps(raw))
    return ToolCall(id=call_id, name=_encodable(name), arguments=_json_object(raw), raw=raw)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # ValueError: also a lone surrogate, which nothing after this can store
        return None
    return value if isinstance(value, dict) else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _timeout(seconds: float | None) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=_CONNECT_SECONDS)


def _lost(error: httpx.HTTPError) -> Exception:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return ModelUnavailable(NO_SERVER)
    if isinstance(error, httpx.TimeoutException):
        return ModelTimeout("the reply was not complete in time")
    return ModelUnavailable(f"the server went away while answering ({type(error).__name__}); ask again")


def _refused(response: httpx.Response) -> Exception:
    try:
        text = _error_text(response.json())
    except (ValueError, AttributeError):
        text = response.text[:500]
    return _error(response.status_code, text)


def _error(status: object, text: str) -> Exception:
    return ModelUnavailable(text) if status == 503 else ModelError(f"the server answered {status}: {text}")


def _error_text(body: dict[str, Any]) -> str:
    error = body.get("error", body)
    return str(error.get("message", error) if isinstance(error, dict) else error)[:500]
