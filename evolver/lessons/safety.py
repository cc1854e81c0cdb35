"""What must never be learned, wherever it stands in a trace: secrets, personal data, template tokens, and tool results
that give orders. Pure.

An adapter cannot forget: what it has learned, it may say to anybody.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache

from pydantic import JsonValue

from agent.config import RedactionConfig
from agent.redaction import Redactor
from evolver.types import Trace
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


def unsafe(trace: Trace, *, personal_data: bool = True) -> str:
    """Why ``trace`` must not be learned, or "": ``template_token``, ``secret``, ``personal_data`` or
    ``injected_instructions``. ``personal_data`` False lets addresses, numbers of telephones and cards, and the like
    pass."""
    failures, before = trace.failures, trace.history
    calls = [*trace.calls, *(failure.call for failure in failures), *(c for m in before for c in m.tool_calls)]
    called: list[JsonValue] = [call.arguments for call in calls]
    results = [*_texts(list(trace.results)), *(failure.error.message for failure in failures)]
    results += [message.content for message in before if message.role == "tool"]
    said = [*(message.content for message in before), trace.request, trace.answer, *results, *_texts(called)]
    if any(neutral(text) != text for text in said):
        return "template_token"
    # As one JSON text too: a secret may be known only by the name that it is stored under.
    whole = json.dumps([called, list(trace.results)], ensure_ascii=False)
    found = {one.kind for text in (*said, whole) for one in _redactor(personal_data).find(text)}
    if "secret" in found:
        return "secret"
    if found:
        return "personal_data"
    return "injected_instructions" if any(_ORDERS.search(text) for text in results) else ""


@lru_cache(maxsize=2)
def _redactor(personal_data: bool) -> Redactor:
    return Redactor(RedactionConfig(secrets=True, personal_data=personal_data))


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
