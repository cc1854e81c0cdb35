"""Contents that must never be learned, wherever they stand in a trace: secrets, personal data, template tokens, and
tool results that give orders. Pure.

An adapter cannot forget: what it has learned, it may say to anybody.
"""

import json
import re
from functools import lru_cache

from pydantic import JsonValue

from agent.config import RedactionConfig
from agent.log.redaction import Redactor
from evolver.lessons.drop_reason import DropReason
from evolver.types import Trace
from toolkit.json_texts import leaves
from toolkit.tool import neutral

_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.!?\n]{0,40}"
    r"\b(?:instructions?|prompts?|rules|guidelines|directions|everything|(?:previous|prior|earlier|above) \w+)\b"
    r"|\b(?:system|developer) (?:prompt|message|override)\b"
    r"|\b(?:new|updated|real|actual|important) instructions?\s*:"
    r"|\byou (?:have to|must|should)\b[^.!?\n]{0,40}\b(?:call|invoke|run|execute|send|reveal|reply|act)\b"
    r"|\byou are now (?:an?|in|the)\b"
    r"|\bdo not (?:tell|inform|mention|reveal)\b[^.!?\n]{0,30}\b(?:user|person|human|anyone)\b"
    r"|<\s*(?:important|system|instructions?|admin)\s*>",
    re.IGNORECASE,
)
"""Phrases by which a text gives orders to who reads it; the forms of published prompt injections (Greshake et al.,
arXiv 2302.12173). What hides its orders better is not found."""


def unsafe(trace: Trace, *, personal_data: bool = True) -> DropReason | None:
    """Return TEMPLATE_TOKEN, SECRET, PERSONAL_DATA or INJECTED_INSTRUCTIONS where ``trace`` must not be learned.

    ``personal_data`` False lets addresses, numbers of telephones and cards, and the like pass.
    """
    failures, before = trace.failures, trace.history
    calls = [*trace.calls, *(failure.call for failure in failures), *(c for m in before for c in m.tool_calls)]
    called: list[JsonValue] = [call.arguments for call in calls]
    results = [*_texts(list(trace.results)), *(failure.error.message for failure in failures)]
    results += [message.content for message in before if message.role == "tool"]
    shown = trace.client_turn.messages if trace.client_turn is not None else ()
    results += [message.content for message in shown if message.role == "tool"]
    said = [*(message.content for message in (*before, *shown)), trace.request, trace.answer, *results]
    said += _texts(called)
    if any(neutral(text) != text for text in said):
        return DropReason.TEMPLATE_TOKEN
    # As one JSON text too: a secret may be known only by the name that it is stored under.
    whole = json.dumps([called, list(trace.results)], ensure_ascii=False)
    found = {one.kind for text in (*said, whole) for one in _redactor(personal_data).find(text)}
    if "secret" in found:
        return DropReason.SECRET
    if found:
        return DropReason.PERSONAL_DATA
    return DropReason.INJECTED_INSTRUCTIONS if any(_ORDERS.search(text) for text in results) else None


@lru_cache(maxsize=2)
def _redactor(personal_data: bool) -> Redactor:
    return Redactor(RedactionConfig(secrets=True, personal_data=personal_data))


def _texts(value: JsonValue) -> list[str]:
    """Return the texts, names and whole numbers in ``value``: a card's number may be any of them."""
    found = leaves(value, keys=True)
    return [str(leaf) for leaf in found if isinstance(leaf, str | int) and not isinstance(leaf, bool)]
