"""Results of tools that clients ran, read for what they say of the call: it failed, or it found nothing. Pure.

No schema tells how such a tool reports a failure. What is known are the words and the fields that most use.
"""

import re
from http import HTTPStatus

from pydantic import JsonValue

from toolkit.json_texts import leaves

_PHRASES = "|".join(re.escape(status.phrase) for status in HTTPStatus if status >= 400)
_FAILS = re.compile(
    r"\s*(?:error|exception|traceback|fail(?:ed|ure)|could ?n[o']t|can(?:no|')t|unable to|invalid|"
    r"permission denied|access denied|unauthori[sz]ed|forbidden|timed? ?out|bad request|internal server error|"
    rf"(?:http[ /:]*(?:error[ :]*)?|status[ :]*)[45]\d\d|[45]\d\d:? (?:{_PHRASES}))\b",
    re.IGNORECASE,
)
_FINDS_NOTHING = re.compile(
    r"\s*(?:none|null|nil|n/a|nothing(?: was)? found|not found|no (?:such|results?|matches|match|records?|items?|"
    r"data|entries|rows)\b.{0,80})[.!]?\s*",
    re.IGNORECASE,
)
_ERRORS = ("error", "errors", "exception", "isError", "is_error", "failed")
_SUCCESS = ("ok", "success", "successful", "succeeded")
_STATUS = ("status", "status_code", "statusCode", "http_status")
_BAD = frozenset({"error", "failed", "failure", "denied", "rejected", "not_found", "not found", "invalid"})
_FIRST_BAD_CODE = 400


def says_failure(value: JsonValue) -> bool:
    """Return whether a result says that its call failed: by how its text begins, or by a field for that."""
    if isinstance(value, str):
        return _FAILS.match(value) is not None
    if isinstance(value, list):
        # How MCP frames texts.
        texts = [one.get("text") for one in value if isinstance(one, dict) and one.get("type") == "text"]
        return bool(texts) and any(isinstance(text, str) and says_failure(text) for text in texts)
    if not isinstance(value, dict):
        return False
    return (
        any(value.get(name) for name in _ERRORS)
        or any(value.get(name) is False for name in _SUCCESS)
        or any(_is_bad_status(value.get(name)) for name in _STATUS)
    )


def finds_nothing(value: JsonValue) -> bool:
    """Return whether a result holds nothing that an answer could tell."""
    if isinstance(value, str):
        return not value.strip() or _FINDS_NOTHING.fullmatch(value) is not None
    if isinstance(value, dict | list):
        return not any(leaf or leaf is False for leaf in leaves(value))
    return value is None


def _is_bad_status(status: JsonValue) -> bool:
    if isinstance(status, str):
        return status.strip().lower() in _BAD
    return isinstance(status, int) and not isinstance(status, bool) and _FIRST_BAD_CODE <= status < 600
