"""Read the values that stages stored, also those that earlier versions wrote."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)
_KINDS = {
    "answer_first": "back_translation",
    "question_first": "self_consistency",
    "small_talk": "no_tool",
    "log": "logged",
    "composed": "parallel",
}
_COUNTS = {"by_maker": "by_kind", "kept_by_maker": "kept_by_kind", "composed": "composed", "dropped": "dropped"}
"""Counts by kind, or by kind and reason, under their names then and now."""
_LINKS = {
    "made_by": "model",
    "origin": "interaction_id",
    "session": "session",
    "calls_from": "calls_interaction_id",
    "also_from": "other_interaction_ids",
    "source": "derived_from",
}


def parse(model: type[M], text: bytes) -> M:
    """Return the ``model`` that ``text`` holds. Raises ValidationError."""
    try:
        return model.model_validate_json(text)
    except ValidationError:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise
        return model.model_validate(renewed(value))


def renewed(value: Any) -> Any:
    """Return ``value`` as this version writes it: the one place that knows what earlier versions wrote."""
    if isinstance(value, list):
        return [renewed(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"defined", "invented"}:  # the tools stage, when it also had definitions written
        return renewed(value["invented"])
    if value.keys() >= {"id", "maker", "request"}:
        return _trace(value)
    return {
        _COUNTS.get(name, name): _counts(item) if name in _COUNTS and isinstance(item, dict) else renewed(item)
        for name, item in value.items()
    }


def _trace(value: dict[str, Any]) -> dict[str, Any]:
    """Return a trace that kept its sources in fields of its own."""
    links = {_LINKS[name]: item for name, item in value.items() if name in _LINKS}
    if value["maker"] in ("log", "repaired") and not links.get("calls_interaction_id"):
        # Before there was calls_from, also_from held nothing but that.
        links["calls_interaction_id"] = [*value.get("also_from", ()), value.get("origin", "")][0]
    # Requests that lacked a value were lessons once.
    rest = {name: item for name, item in value.items() if name not in {"maker", "missing", *_LINKS}}
    if "likelihood" in rest:
        rest["mean_logprob"] = rest.pop("likelihood")
    return {**rest, "kind": _KINDS.get(value["maker"], value["maker"]), "provenance": links}


def _counts(counts: dict[str, Any]) -> dict[str, Any]:
    words = ((name.partition(" "), count) for name, count in counts.items())
    return {"".join((_KINDS.get(kind, kind), *reason)): count for (kind, *reason), count in words}
