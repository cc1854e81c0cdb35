"""Asking BFCL's requests through the gateway like any client: one reply each, and no call is run."""

from dataclasses import dataclass

from agent.errors import ModelError
from agent.turn.model_client import ModelClient, ModelReply
from evolver.crew.workshop import Workshop
from evolver.evaluation.calls_only import client_for
from evolver.evaluation.suites.bfcl import BfclItem, BfclSuite
from evolver.evaluation.suites.bfcl_check import problem
from evolver.scores import ItemScore
from evolver.types import Call
from toolkit.tool import ToolCall

_SEEN_LENGTH = 300


@dataclass(frozen=True)
class BfclOrder:
    """Asks ``model`` for ``item``; ``suite`` need not have its items. ``calls_come_first``: as in its profile."""

    item: BfclItem
    suite: BfclSuite
    model: str
    max_tokens: int
    calls_come_first: bool = False

    def do(self, workshop: Workshop) -> ItemScore:
        """Score one item. Raises ModelUnavailable."""
        client = client_for(workshop.client, calls_come_first=self.calls_come_first)
        return score_item(self.item, self.suite, self.model, client, max_tokens=self.max_tokens)


def score_item(item: BfclItem, suite: BfclSuite, model: str, client: ModelClient, *, max_tokens: int) -> ItemScore:
    """Score ``model`` on ``item``; ``max_tokens`` are generated at most. Raises ModelUnavailable."""
    body = {
        "model": model,
        "messages": list(item.messages),
        "temperature": 0.0,
        "max_tokens": max_tokens,
        **({"tools": list(item.tools)} if item.tools else {}),
    }
    try:
        reply = client.chat(body)
    except ModelError as error:
        return _score(item, suite, (), failed=True, seen=str(error))
    return score_reply(item, suite, reply)


def score_reply(item: BfclItem, suite: BfclSuite, reply: ModelReply) -> ItemScore:
    """Score a reply. A call that does not parse counts as a call: where none fits, it is wrong."""
    made = reply.message.tool_calls
    calls = [
        Call(name=item.names[call.name], arguments=call.arguments)
        for call in made
        if call.arguments is not None and call.name in item.names
    ]
    broken = len(calls) < len(made)
    if not made:
        reason = "no_call" if suite.needs_tool else ""
    elif broken:
        reason = "malformed"
    elif not suite.needs_tool:
        reason = "called"
    else:
        reason = problem(item, calls, suite.category) if item.answer else ""
    seen = "; ".join(f"{call.name} {call.raw}" for call in made) or reply.message.content
    return _score(item, suite, made, calls=calls, invalid_call=broken, reason=reason, seen=seen)


def _score(
    item: BfclItem,
    suite: BfclSuite,
    made: tuple[ToolCall, ...],
    *,
    calls: list[Call] | None = None,
    invalid_call: bool = False,
    failed: bool = False,
    reason: str = "",
    seen: str = "",
) -> ItemScore:
    wanted = sorted(next(iter(answer)) for answer in item.answer)
    names = sorted(call.name for call in calls or ())
    return ItemScore(
        id=item.id,
        needs_tool=suite.needs_tool,
        exact=suite.needs_tool and not failed and not reason,
        right_tool=suite.needs_tool and bool(names) and (names == wanted or not wanted),
        called=bool(made),
        invalid_call=invalid_call,
        failed=failed,
        reason=reason,
        seen=seen[:_SEEN_LENGTH],
    )
