"""Asking a model over the OpenAI protocol.

``reply_of``, ``ReplyBuilder`` and ``parse_call`` read what comes over the wire; the gateway reads the exchanges that it
logs with the same three.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from agent.errors import ModelError, ModelTimeout, ModelUnavailable
from agent.http.address import unavailable
from agent.text import strict_json
from agent.tools.formats import CALL_TAGS
from agent.turn.choice import ToolChoice
from agent.turn.messages import Message, Usage
from toolkit.tool import ToolCall

ADAPTER_HEADER = "x-apprentice-adapter"
ADAPTER_SHA256_HEADER = "x-apprentice-adapter-sha256"
SESSION_HEADER = "x-apprentice-session"
LOG_HEADER = "x-apprentice-log"
"""``no``: the sender logs the whole turn itself."""
CHOICE_HEADER = "x-apprentice-choice"
"""``off`` in a request leaves its tools alone. In an answer: the choice (``agent.turn.choice``), as JSON."""

_OPENING, _CLOSING = "<tool_call>", "</tool_call>"
_OPENINGS = re.compile(f"({'|'.join(map(re.escape, CALL_TAGS))})")
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class ModelReply:
    """One assistant message, and who gave it. ``adapter`` is "" where the server does not say.

    ``choice`` is the choice of tools before it; None where none was made.
    """

    message: Message
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = ""
    adapter: str = ""
    adapter_sha256: str = ""
    choice: ToolChoice | None = None


class ModelClient(Protocol):
    """Asks for one assistant message; ``request`` is from ``agent.turn.prompt``.

    Raises ModelUnavailable and ModelError.
    """

    def chat(self, request: dict[str, Any], *, timeout_seconds: float | None = None) -> ModelReply: ...

    def stream(self, request: dict[str, Any], *, timeout_seconds: float | None = None) -> Iterator[str | ModelReply]:
        """Yield pieces of the answer's text as they come; last the whole reply."""
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
        response = self._answered(request, timeout_seconds)
        try:
            return reply_of(response.json(), response.headers)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ModelError(f"the server's answer is no chat completion: {error!r}") from error

    def read_prompt(self, request: dict[str, Any]) -> list[tuple[int, float]]:
        """Return each token of the rendered ``request`` but the first: its id, and the log-probability (nats) that the
        model gives it after those before (vLLM: ``prompt_logprobs``). Raises as ``chat``."""
        asked = {"add_generation_prompt": False, "prompt_logprobs": 0, "max_tokens": 1, "temperature": 0.0}
        response = self._answered({**request, **asked}, None)
        try:
            return [_prompt_token(place) for place in response.json()["prompt_logprobs"][1:]]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ModelError(f"the server gives no log-probabilities of the prompt: {error!r}") from error

    def stream(
        self, request: dict[str, Any], *, timeout_seconds: float | None = None, text_limit: int | None = None
    ) -> Iterator[str | ModelReply]:
        """Yield pieces of the answer's text as they come; last the whole reply. An answer that is a text ends after
        ``text_limit`` characters: the server is told to stop."""
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
                    if text_limit is not None and builder.text_length >= text_limit:
                        builder.finish_reason = "stop"
                        break
                    if deadline is not None and time.monotonic() > deadline:
                        raise ModelTimeout("the reply was not complete in time")
        except httpx.HTTPError as error:
            raise _lost(error) from error
        yield builder.reply(response.headers)

    def _answered(self, request: dict[str, Any], timeout_seconds: float | None) -> httpx.Response:
        try:
            response = self._http.post("/v1/chat/completions", json=request, timeout=_timeout(timeout_seconds))
        except httpx.HTTPError as error:
            raise _lost(error) from error
        if response.status_code != 200:
            raise _refused(response)
        return response


def own_headers(api_key: str = "") -> dict[str, str]:
    """Return the headers of apprentice's own clients: they log for themselves, or not at all."""
    return {LOG_HEADER: "no"} | ({"authorization": f"Bearer {api_key}"} if api_key else {})


def reply_of(body: dict[str, Any], headers: Mapping[str, str]) -> ModelReply:
    """Return the reply in a chat completion, of several the first.

    Raises ValueError, KeyError, TypeError, IndexError or AttributeError if it is none.
    """
    choice = min(body["choices"], key=lambda choice: choice.get("index", 0))
    message = choice["message"]
    calls = [
        (c.get("id") or "", c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls") or ()
    ]
    return _reply(message.get("content") or "", calls, choice.get("finish_reason"), body.get("usage"), headers)


@dataclass
class ReplyBuilder:
    """Puts a reply together from the lines of an event stream; where the server gives several, the first of them."""

    text: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None

    @property
    def text_length(self) -> int:
        """Characters of an answer that is a text so far; 0 where it holds a call."""
        return 0 if self.calls or _OPENINGS.search(self.text) else len(self.text)

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
        """Return the whole reply. Raises ModelError when the stream ended before the reply did."""
        if self.finish_reason is None:
            raise ModelError("the server's stream ended in the middle of the reply")
        calls = [(c[0], c[1], c[2]) for _, c in sorted(self.calls.items())]
        return _reply(self.text, calls, self.finish_reason, self.usage, headers)

    def _add(self, chunk: dict[str, Any]) -> str:
        if "error" in chunk:
            raise _error(chunk["error"].get("code"), _error_text(chunk))
        self.usage = chunk.get("usage") or self.usage
        choice = next((choice for choice in chunk["choices"] if not choice.get("index")), None)
        if choice is None:
            return ""
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
    content, *broken = _split_calls(_encodable(text))
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
        choice=ToolChoice.model_validate_json(headers[CHOICE_HEADER]) if CHOICE_HEADER in headers else None,
    )


def _split_calls(text: str) -> list[str]:
    """Return the text before the first call that the server's parser left in ``text``, and each such call; with its
    opening, where that is not Hermes'."""
    content, *found = _OPENINGS.split(text)
    pairs = zip(found[::2], found[1::2], strict=True)
    return [content, *(raw if tag == _OPENING else tag + raw for tag, raw in pairs)]


def parse_call(call_id: str, name: str, raw: str | dict[str, Any]) -> ToolCall:
    """Return the call in an OpenAI tool call; ``arguments`` is None where ``raw`` is no JSON object."""
    raw = _encodable(raw if isinstance(raw, str) else json.dumps(raw))
    return ToolCall(id=call_id, name=_encodable(name), arguments=_json_object(raw), raw=raw)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = strict_json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _prompt_token(place: dict[str, dict[str, Any]]) -> tuple[int, float]:
    (token, found), *_ = place.items()
    return int(token), float(found["logprob"])


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _timeout(seconds: float | None) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=_CONNECT_SECONDS)


def _lost(error: httpx.HTTPError) -> Exception:
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return ModelTimeout("the reply was not complete in time")
    return unavailable(error)


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
