"""The routes of other protocols: each request becomes a chat request, which the gateway answers like any other."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from agent.http import json_body
from agent.http.http_error import HttpError
from agent.serving.gateway.access.auth import Caller
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.gateway.dialects import messages, messages_request, responses, responses_request
from agent.serving.gateway.dialects.translation import Translated
from agent.turn.prompt import to_openai

AnswerChat = Callable[[Request, Caller, dict[str, Any], str], Awaitable[Response]]
"""Answers a chat request, given as its body, in a session ("": as the request says)."""


@dataclass(frozen=True)
class DialectRoutes:
    """Handlers of bodies that were parsed. ``log`` None: nothing is logged here."""

    answer_chat: AnswerChat
    log: CaptureLog | None

    async def responses(self, request: Request, caller: Caller, body: dict[str, Any]) -> Response:
        """Answer ``POST /v1/responses``. Raises HttpError."""
        asked = json_body.check(body, responses_request.ResponsesRequest)
        before, session = await self._before(asked.previous_response_id, caller)
        chat = responses_request.chat_request(asked, before)
        inner = await self.answer_chat(request, caller, chat, session)
        return Translated(inner, responses.error_form, responses.ResponseTelling(body))

    async def messages(self, request: Request, caller: Caller, body: dict[str, Any]) -> Response:
        """Answer ``POST /v1/messages``. Raises HttpError."""
        asked = json_body.check(body, messages_request.MessagesRequest)
        inner = await self.answer_chat(request, caller, messages_request.chat_request(asked), "")
        return Translated(inner, messages.error_form, messages.MessageTelling())

    async def _before(self, previous: str | None, caller: Caller) -> tuple[list[dict[str, Any]], str]:
        """Return the messages up to an earlier response of the same key, and its session. Raises HttpError."""
        if previous is None:
            return [], ""
        found = await self.log.of_reference(previous, caller.name) if self.log is not None else None
        if found is None:
            problem = f"there is no response {previous!r} of yours in the log; send the whole conversation in input"
            raise HttpError(400, f"previous_response_id: {problem}", param="previous_response_id")
        turn = found.trajectory
        return to_openai((*turn.history, *turn.messages)), found.session
