"""The choice of a tool at the gateway: the model judges the candidates of a request, all at once and each alone.

One path for the tools of clients and for those of the agent, so that serving and evaluation choose alike.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from agent.serving.gateway import several_calls
from agent.serving.gateway.event_stream import LEFT, Left, while_connected
from agent.serving.gateway.history import text_of
from agent.serving.gateway.model_routing import RoutedModel
from agent.serving.gateway.proxy import ModelRequest, Proxy, Told
from agent.serving.gateway.request_models import settled
from agent.serving.gateway.turn_affinity import since_last_word_of_the_user
from agent.serving.upstreams.pool import Member
from agent.tools.schemas import checked, prepared_request
from agent.turn.choice import MOST_JUDGED, JudgedTool, Part, ToolChoice, chosen, parts_of
from agent.turn.model_client import CHOICE_HEADER
from agent.turn.prompt import FURTHER
from toolkit.errors import PrerequisiteError
from toolkit.search import ToolIndex, clauses_of
from toolkit.tool import Tool

OFF = "off"

Ask = Callable[[bytes], Awaitable[Told | None]]
"""Sends the body of a chat request to a server; None where none answers."""

_LOGPROBS = "logprobs"
"""Word at the beginning of the error of a server that refuses to give so many or any."""
_BEGINNING = 100
_MOST_LOGPROBS = 20
"""As many as vLLM gives by default."""
_KEPT = ("messages", "chat_template_kwargs")
"""The fields that make a prompt, beside the tools."""
_INDEXES = 64
_MOST_TOOLS = 128
"""Beyond, the encoder would take the cores of the model for longer than the model itself."""


async def choose(
    shown: dict[str, Any], model: RoutedModel, ask: Ask, silent: Callable[[Member], None], *, off: bool
) -> ToolChoice | None:
    """Return the choice among the tools of a chat request, as the model is shown it; None where there is none.

    A choice takes 2 to 128 tools, a request that begins a turn, and a ``model`` whose margin is calibrated. Where a
    server does not answer there is none either, so that the request itself tells why; nor where a call is required and
    no tool is likely. ``silent`` is told of a server that gives no log-probabilities.
    """
    text = _request(shown["messages"])
    tools = shown.get("tools") or []
    if off or not 1 < len(tools) <= _MOST_TOOLS or not text or not model.logit_bias or not _free(shown):
        return None
    try:
        found, parts = await asyncio.to_thread(_found, json.dumps(tools), text)
    except PrerequisiteError:
        return None
    ((token, bias),) = model.logit_bias.items()
    bodies = [_question(shown, model.name, tools[place]) for place, _ in found]
    margins = [_margin_of(told, token, silent) for told in await asyncio.gather(*map(ask, bodies))]
    judged = [
        JudgedTool(name=tools[place]["function"]["name"], margin=round(margin + bias, 3), search=round(points, 2))
        for (place, points), margin in zip(found, margins, strict=True)
        if margin is not None
    ]
    if len(judged) < len(found):
        return None
    choice = chosen(judged, parts if several_calls.allowed(shown) else ())
    # Where a call is required and none is likely, the client's own tool to answer with must stay in sight.
    return choice if shown.get("tool_choice") != "required" or choice.judged[0].margin > 0 else None


class Routed(Protocol):
    """A chat request that was checked, as it is logged and as the model is ``shown`` it, and who answers it."""

    @property
    def body(self) -> dict[str, Any]: ...
    @property
    def shown(self) -> dict[str, Any]: ...
    @property
    def model(self) -> RoutedModel: ...


async def answer_chosen(
    request: Request, proxy: Proxy, made: Callable[..., ModelRequest], routed: Routed, first: int, *, on: bool
) -> Response:
    """Answer a chat request with the tools that the model chooses; without a choice, with the ``first`` ones.

    ``made`` gives the request with these fields of ``routed`` changed. Raises HttpError where no server answers.
    """
    asked = made()
    off = not on or request.headers.get(CHOICE_HEADER) == OFF or not proxy.gives_logprobs
    try:
        choosing = choose(routed.shown, routed.model, partial(proxy.ask, asked), proxy.pool.without_logprobs, off=off)
        choice = await while_connected(request, choosing)
        if choice is not None and choice.parts:
            bodies = [several_calls.part_of(narrowed(routed.shown, part.tool), part.text) for part in choice.parts]
            calling = several_calls.together(bodies, lambda body: proxy.ask(asked, made(shown=body).content))
            if (answer := await while_connected(request, calling)) is not None:
                content = several_calls.as_sent(answer, routed.body)
                return await proxy.deliver(made(choice=choice), content, streamed=bool(routed.body.get("stream")))
            choice = chosen(choice.judged)
    except Left:
        await proxy.finish(asked, LEFT)
        return Response(status_code=LEFT)
    if choice is not None:
        asked = made(shown=narrowed(routed.shown, *choice.shown), choice=choice)
    elif first < len(routed.body.get("tools", ())):
        asked = made(body=first_tools(routed.body, first), shown=first_tools(routed.shown, first))
    return await proxy.answer(request, asked)


def with_further(body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Return a chat request that is prepared, its further tools behind its own, and how many are its own.

    Raises HttpError naming the field that cannot be used.
    """
    body = settled(body)
    own, further = body.get("tools") or [], body.get(FURTHER)
    rest = {name: value for name, value in body.items() if name != FURTHER}
    return checked(prepared_request, {**rest, "tools": [*own, *further]} if further else rest), len(own)


def narrowed(body: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return ``body`` with the tools of these ``names`` alone, in that order."""
    named = {tool["function"]["name"]: tool for tool in reversed(body["tools"])}
    return {**body, "tools": [named[name] for name in names]}


def first_tools(body: dict[str, Any], count: int) -> dict[str, Any]:
    """Return ``body`` with its first ``count`` tools, where it has more."""
    tools = body.get("tools")
    return {**body, "tools": tools[:count]} if isinstance(tools, list) and count < len(tools) else body


def _free(body: dict[str, Any]) -> bool:
    """Return whether it is left to the model which tool it calls."""
    return body.get("tool_choice", "auto") in ("auto", "required") and "logit_bias" not in body


def _request(messages: Sequence[dict[str, Any]]) -> str:
    """Return the words of the user that begin a turn; "" where a turn goes on.

    Behind the results of tools the model is asked what follows from them, which no margin was calibrated for.
    """
    return "" if since_last_word_of_the_user(messages) else text_of(messages[-1].get("content"))


def _found(tools: str, text: str) -> tuple[list[tuple[int, float]], list[Part]]:
    """Return the places of the tools that fit ``text`` best with their points, and the parts of it that speak of
    different ones of them.

    Equal ones stand in the order of their descriptions, so that none is preferred for its place.
    """
    index, described = _index(tools)
    ranked = sorted(index.ranked(text), key=lambda found: (-round(found[1], 3), described[found[0]]))[:MOST_JUDGED]
    names = {place: json.loads(described[place])["name"] for place, _ in ranked}
    clauses = clauses_of(text)
    if len(clauses) == 1:
        return ranked, []

    def points(clause: str) -> dict[str, float]:
        return {names[place]: points for place, points in index.ranked(clause) if place in names}

    return ranked, parts_of(text, clauses, points)


@lru_cache(_INDEXES)
def _index(tools: str) -> tuple[ToolIndex, list[str]]:
    functions = [tool["function"] for tool in json.loads(tools)]
    made = [
        Tool(
            name=function["name"],
            description=function.get("description") or "",
            parameters=function.get("parameters") or {},
        )
        for function in functions
    ]
    return ToolIndex(made), [json.dumps(function, sort_keys=True) for function in functions]


def _question(shown: dict[str, Any], model: str, tool: dict[str, Any]) -> bytes:
    """Return the request for the first token of an answer where ``tool`` is the only one shown.

    The choice ``none`` leaves the prompt as it is, and builds no grammar.
    """
    kept = {name: shown[name] for name in _KEPT if name in shown}
    asked = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": _MOST_LOGPROBS}
    named = {"return_tokens_as_token_ids": True, "tool_choice": "none"}
    return json.dumps({**kept, "model": model, "tools": [tool], **asked, **named}).encode()


def _margin_of(told: Told | None, token: str, silent: Callable[[Member], None]) -> float | None:
    """Return the margin of ``token`` in an answer; None where there is none, after ``silent`` was told of a server that
    gives none."""
    if told is None:
        return None
    margin = _margin(told.content, token) if told.status == 200 else None
    silently = _has_a_token if told.status == 200 else _refuses_logprobs
    if margin is None and silently(told.content):
        silent(told.member)
    return margin


def _has_a_token(content: bytes) -> bool:
    """Return whether an answer is a chat completion with something in it: what a proxy in between says is none."""
    try:
        message = json.loads(content)["choices"][0]["message"]
        return any(message.get(part) for part in ("content", "reasoning", "reasoning_content", "tool_calls"))
    except (ValueError, LookupError, TypeError, AttributeError):
        return False


def _refuses_logprobs(content: bytes) -> bool:
    """Return whether an error is about log-probabilities. What it may quote of a request comes later in it."""
    try:
        error = json.loads(content)["error"]
        return _LOGPROBS in str(error.get("param")) or _LOGPROBS in error["message"][:_BEGINNING]
    except (ValueError, LookupError, TypeError, AttributeError):
        return False


def _margin(answer: bytes, token: str) -> float | None:
    """Return the log-probability of ``token`` minus the largest other one; None where the answer does not tell.

    A token that is not among the likeliest counts as the last of them.
    """
    try:
        likeliest = json.loads(answer)["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        logprobs = {found["token"].rpartition(":")[2]: float(found["logprob"]) for found in likeliest}
        other = max(logprob for name, logprob in logprobs.items() if name != token)
        return logprobs.get(token, min(logprobs.values())) - other
    except (ValueError, LookupError, TypeError):
        return None
