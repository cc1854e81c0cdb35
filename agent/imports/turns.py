"""An exchange of an export -> the turn as the gateway would have logged it, through the gateway's own checks."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from agent.errors import ModelError
from agent.http import json_body
from agent.http.http_error import HttpError
from agent.imports.record import Digest, ImportReason, Record
from agent.serving.gateway.access import api_keys
from agent.serving.gateway.capture import Exchange, conversation, to_trajectory, tool_schemas
from agent.serving.gateway.request_models import ChatRequest, settled
from agent.tools.schemas import BadTool, prepared_request
from agent.turn.messages import IMPORTED, UPSTREAM, Trajectory

_UNNAMED = "unknown"
"""The model of an export that names none."""


@dataclass(frozen=True)
class Origin:
    """The owner and the tenant of imported turns, "" for none. ``own``: what the model wrote may be learned from.

    Raises UserError for names that no API key and no tenant can have.
    """

    owner: str = ""
    tenant: str = ""
    own: bool = False

    def __post_init__(self) -> None:
        if self.owner:
            api_keys.check_name(self.owner)
        api_keys.check_tenant(self.tenant)


@dataclass(frozen=True)
class ImportedTurn:
    """A turn that can be logged."""

    record: Record
    exchange: Exchange
    trajectory: Trajectory
    tools: list[dict[str, Any]]
    digest: Digest

    @property
    def source(self) -> str:
        """The source in the log."""
        return f"import:{self.record.form}"


class _Refused(Exception):
    def __init__(self, reason: ImportReason) -> None:
        super().__init__(reason.sentence)
        self.reason = reason


def turn_of(record: Record, origin: Origin) -> ImportedTurn | ImportReason:
    """Return the turn of an exchange, or the reason why it is none."""
    try:
        exchange = _exchange(record, _checked(record), origin)
        trajectory = _logged(exchange)
    except _Refused as refused:
        return refused.reason
    return ImportedTurn(record, exchange, trajectory, tool_schemas(exchange), _digest(record, origin))


def _checked(record: Record) -> dict[str, Any]:
    """Return the request as the gateway would log it."""
    messages = record.request["messages"]
    if not any(isinstance(message, dict) and message.get("role") == "user" for message in messages):
        raise _Refused(ImportReason.NO_REQUEST)
    try:
        json_body.check({**record.request, "messages": [*messages, record.reply]}, ChatRequest)
        return prepared_request(settled(record.request))
    except BadTool:
        raise _Refused(ImportReason.BAD_TOOLS) from None
    except HttpError as error:
        of_tools = error.param.startswith("tools")
        raise _Refused(ImportReason.BAD_TOOLS if of_tools else ImportReason.NO_CONVERSATION) from None


def _logged(exchange: Exchange) -> Trajectory:
    try:
        trajectory = to_trajectory(exchange)
    except ModelError:
        raise _Refused(ImportReason.NO_ANSWER) from None
    except ValueError:
        raise _Refused(ImportReason.NO_CONVERSATION) from None
    answer = trajectory.messages[-1]
    if not answer.content and not answer.tool_calls:
        raise _Refused(ImportReason.NO_ANSWER)
    return trajectory


def _exchange(record: Record, request: dict[str, Any], origin: Origin) -> Exchange:
    ends = record.finish_reason or ("tool_calls" if record.reply.get("tool_calls") else "stop")
    choice = {"index": 0, "message": record.reply, "finish_reason": ends}
    response = {"choices": [choice], "usage": record.usage or None}
    own = origin.own or record.own
    return Exchange(
        request=request,
        response=json.dumps(response).encode(),
        adapter=f"{IMPORTED if own else UPSTREAM}{record.model or _UNNAMED}",
        adapter_sha256="",
        session=record.session or conversation(request["messages"]),
        latency_ms=max(0.0, record.latency_ms),
        owner=origin.owner,
        tenant=origin.tenant,
    )


def _digest(record: Record, origin: Origin) -> Digest:
    content = [record.form, record.identity, record.session, record.request, record.reply]
    return Digest(_sha256([*content, origin.owner, origin.tenant]), _sha256(content))


def _sha256(values: list[Any]) -> bytes:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()
