"""The model ``apprentice`` of chat completions: a request becomes a turn of the agent, with the tools of this machine.

Clients that bring tools of their own ask ``agent``.
"""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agent.http.http_error import HttpError, error_body
from agent.log.session_name import check_name
from agent.serving.gateway import history
from agent.serving.gateway.access.auth import Caller
from agent.serving.gateway.agent.conversations import Conversations
from agent.serving.gateway.agent.text import Chunks, completion, spoken
from agent.serving.gateway.agent.turns import AgentTurns, AskedTurn, Ended, Event
from agent.serving.gateway.capture import TRACE_HEADER, UNNAMED
from agent.serving.gateway.event_stream import COMMENT, LEFT, EventStream, Left, while_connected
from agent.serving.gateway.metrics import Metrics
from agent.serving.gateway.model_routing import RoutedModel
from agent.turn.messages import Message
from agent.turn.model_client import LOG_HEADER, SESSION_HEADER
from toolkit.errors import SandboxUnavailable, UserError

ROUTE = "apprentice"
"""The route under which turns are counted: their requests to the model are counted under theirs."""

_FULL = "the agent has as many turns as it takes; try again"
_RETRY_SECONDS = 5.0
_NO_LOG = "no"
_NOT_HERE = {
    "tools": "apprentice uses the tools of its own machine; send yours to the model agent",
    "functions": "apprentice uses the tools of its own machine; send yours to the model agent",
    "logprobs": "apprentice gives no log-probabilities; ask the model agent",
}


@dataclass(frozen=True)
class _Answering:
    """A turn under way. ``said`` is the conversation up to the turn's request."""

    turn: AskedTurn
    model: RoutedModel
    said: tuple[Message, ...]
    started: float


class AgentModel:
    """Answers for ``apprentice``."""

    def __init__(self, turns: AgentTurns, metrics: Metrics) -> None:
        self.turns = turns
        self._metrics = metrics
        self._conversations = Conversations()

    async def close(self) -> None:
        await asyncio.to_thread(self.turns.close)

    def session(self, request: Request, caller: Caller, messages: list[dict[str, Any]], known: str = "") -> str:
        """Return the session of a request: the one that it names, else the ``known`` one in which it goes on."""
        if named := request.headers.get(SESSION_HEADER):
            try:
                check_name(named)
            except UserError as error:
                raise HttpError(400, f"{SESSION_HEADER}: {error}") from error
            return named
        if known and not known.startswith(UNNAMED):
            return known
        return self._conversations.session(caller.name, _conversation(messages)[:-1])

    async def answer(
        self, request: Request, caller: Caller, body: dict[str, Any], session: str, model: RoutedModel
    ) -> Response:
        """Return the response to a chat request that was checked. Raises HttpError for what the agent does not do."""
        _check(body)
        if self.turns.full:
            raise HttpError(429, _FULL, retry_seconds=_RETRY_SECONDS)
        said = _conversation(body["messages"])
        turn = AskedTurn(
            text=said[-1].content,
            session=session,
            model=model.name,
            reference=f"chatcmpl-{secrets.token_hex(16)}",
            history=None if _begins(said) and SESSION_HEADER in request.headers else _turns(said[:-1]),
            system=tuple(message for message in said if message.role == "system"),
            owner=caller.name,
            tenant=caller.tenant,
            logged=request.headers.get(LOG_HEADER) != _NO_LOG,
            traceparent=request.headers.get(TRACE_HEADER, ""),
        )
        asked = _Answering(turn, model, said, time.monotonic())
        if body.get("stream"):
            usage = bool((body.get("stream_options") or {}).get("include_usage"))
            return EventStream(self._stream(asked, usage), model.headers)
        return await self._whole(request, asked)

    async def _whole(self, request: Request, asked: _Answering) -> Response:
        try:
            ended = await while_connected(request, self._last(asked))
        except Left:
            return Response(status_code=LEFT)
        return JSONResponse(
            completion(asked.turn.reference, ended.trajectory, asked.turn.session), headers=asked.model.headers
        )

    async def _last(self, asked: _Answering) -> Ended:
        async with contextlib.aclosing(self._events(asked)) as events:
            async for event in events:
                if isinstance(event, Ended):
                    return event
        raise HttpError(500, "the turn has no end")

    async def _stream(self, asked: _Answering, usage: bool) -> AsyncGenerator[bytes, None]:
        chunks = Chunks(asked.turn.reference)
        yield _event(chunks.opening())
        try:
            async with contextlib.aclosing(self._events(asked)) as events:
                async for event in events:
                    if event is None:
                        yield COMMENT
                    elif isinstance(event, str):
                        for chunk in chunks.token(event):
                            yield _event(chunk)
                    elif isinstance(event, Message):
                        for chunk in chunks.message(event):
                            yield _event(chunk)
                    else:
                        for chunk in chunks.ending(event.trajectory, asked.turn.session):
                            yield _event(chunk)
                        if usage:
                            yield _event(chunks.usage(event.trajectory))
        except HttpError as error:
            yield _event(error_body(error.status, error.message, error.param))
        yield b"data: [DONE]\n\n"

    async def _events(self, asked: _Answering) -> AsyncGenerator[Event, None]:
        """Yield the events of a turn, and count it. Raises HttpError where it could not be held."""
        status = LEFT
        try:
            async with contextlib.aclosing(self.turns.run(asked.turn)) as events:
                async for event in events:
                    if isinstance(event, Ended):
                        status = self._ended(asked, event)
                    yield event
        except (UserError, SandboxUnavailable) as error:
            status = 503
            raise HttpError(status, str(error)) from error
        except HttpError as error:
            status = error.status
            raise
        finally:
            adapter = asked.model.name if status == 200 else ""
            self._metrics.answered(ROUTE, status, adapter, time.monotonic() - asked.started, b"")

    def _ended(self, asked: _Answering, ended: Ended) -> int:
        turn = ended.trajectory
        if turn.stop_reason == "failed":
            raise HttpError(400, turn.error)
        # What a client sends back: the answer alone, or with what was said between the calls.
        texts = [message.content for message in turn.messages if message.role == "assistant"]
        for answer in {turn.answer, "\n".join(texts)}:
            said = (*asked.said, Message(role="assistant", content=answer))
            self._conversations.remember(asked.turn.owner, said, asked.turn.session)
        return 200


def _check(body: dict[str, Any]) -> None:
    """Raise HttpError that names the field which the agent cannot follow."""
    for name, problem in _NOT_HERE.items():
        if body.get(name):
            raise HttpError(400, problem, param=name)
    if body.get("n", 1) != 1:
        raise HttpError(400, "apprentice gives one answer: n must be 1", param="n")
    wanted = (body.get("response_format") or {}).get("type", "text")
    if wanted != "text" or body.get("structured_outputs"):
        name = "response_format" if wanted != "text" else "structured_outputs"
        raise HttpError(400, f"apprentice answers in text; ask the model agent for {name}", param=name)
    last = body["messages"][-1]
    if last["role"] != "user":
        at = len(body["messages"]) - 1
        raise HttpError(400, f'messages[{at}].role must be "user": the agent answers a person', param=f"messages[{at}]")


def _conversation(messages: list[dict[str, Any]]) -> tuple[Message, ...]:
    """Return the messages of a request, without the calls that an answer of the agent shows as text."""
    found = history.as_messages(messages)
    return tuple(
        message.model_copy(update={"content": spoken(message.content)}) if message.role == "assistant" else message
        for message in found
    )


def _begins(said: tuple[Message, ...]) -> bool:
    return [message.role for message in said if message.role != "system"] == ["user"]


def _turns(said: tuple[Message, ...]) -> tuple[tuple[Message, ...], ...]:
    """Return the turns of a conversation, each from a word of the user on; system messages are in none."""
    turns: list[list[Message]] = []
    for message in said:
        if message.role == "system":
            continue
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return tuple(map(tuple, turns))


def _event(body: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()
