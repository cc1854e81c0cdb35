"""``/chat``: talk to it."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
from starlette.responses import Response, StreamingResponse

from agent.http.address import http_client, unavailable
from agent.http.http_error import HttpError
from agent.log.session_name import check_name
from agent.serving import serving_state
from agent.serving.gateway.model_routing import ALIAS
from agent.turn.model_client import ADAPTER_HEADER, SESSION_HEADER
from dashboard import databases
from dashboard.desk import Desk, Visit

AGENT = "apprentice"
_SECONDS = 600.0


def page(desk: Desk, visit: Visit) -> Response:
    """Return the page of a new conversation."""
    with databases.ledger(desk.data) as ledger:
        names = [row.name for row in ledger.adapters() if row.state != "removed"]
    session = f"page-{secrets.token_hex(6)}"
    return desk.page(visit, "chat.html", session=session, models=[ALIAS, "base", *names])


def ask(desk: Desk, visit: Visit) -> Response:
    """Pass a turn on to the gateway in the visitor's name; the answer comes as its events, piece by piece."""
    running = serving_state.running(desk.data)
    body, session = _body(visit.form.get("body", "")), visit.form.get("session", "")
    check_name(session)
    headers = {"authorization": f"Bearer {desk.sessions.lent(visit.caller)}", SESSION_HEADER: session}
    client = http_client(running.gateway_url, timeout=_SECONDS)
    try:
        request = client.build_request("POST", "/v1/chat/completions", json=body, headers=headers)
        answer = client.send(request, stream=True)
    except httpx.HTTPError as error:
        client.close()
        raise unavailable(error) from error
    told = {ADAPTER_HEADER: answer.headers.get(ADAPTER_HEADER, ""), "x-accel-buffering": "no"}
    return StreamingResponse(
        _pieces(client, answer), answer.status_code, told, media_type=answer.headers.get("content-type")
    )


def _body(text: str) -> dict[str, Any]:
    """Return the chat request that the page made."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise HttpError(400, "the page sent no chat request") from error
    if not isinstance(body, dict):
        raise HttpError(400, "the page sent no chat request")
    return {"model": body.get("model", AGENT), "messages": body.get("messages"), "stream": True}


def _pieces(client: httpx.Client, answer: httpx.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_bytes()
    except httpx.HTTPError:
        return
    finally:
        answer.close()
        client.close()
