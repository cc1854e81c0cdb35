"""Request bodies: read up to a limit, parsed, checked against a model; what is wrong is said by field."""

import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect, Request

from agent.http.http_error import HttpError
from agent.text import strict_json
from toolkit.frozen import Frozen

NO_OBJECT = "the request's body is no JSON object"

_DEEPEST = 128
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_LONGEST_SHOWN = 60
_FORMS = {
    "bool_type": "true or false",
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a number that is finite",
    "less_than": "a smaller number",
    "greater_than_equal": "a larger number",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "string_too_short": "a text that is not empty",
    "too_short": "a list that is not empty",
}

M = TypeVar("M", bound="Body")


class Body(Frozen):
    """The known fields of a request's body. Unknown ones are ignored here; types are strict: "false" is no false."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


async def read(request: Request, limit: int) -> bytes:
    """Return a request's body of at most ``limit`` bytes; raises HttpError before more than that is here."""
    parts: list[bytes] = []
    size = 0
    with contextlib.suppress(ClientDisconnect):
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise HttpError(413, f"the request is larger than {limit >> 20} MiB")
            parts.append(part)
    return b"".join(parts)


def parse(content: bytes, hint: str = "") -> dict[str, Any]:
    """Return the JSON object in ``content``, without its fields that are null.

    Clients in Java, C# and Go send null for what was not set. Half a surrogate pair, which a client leaves that cuts a
    text by UTF-16 units, becomes U+FFFD. Raises HttpError, whose message ends with ``hint``.
    """
    try:
        text = content.decode("utf-8-sig")
        body = strict_json.DECODER.decode(text)
        if _HALF.search(text):
            body = _whole_characters(body)
    except (ValueError, RecursionError) as error:
        raise HttpError(400, _with_hint(NO_OBJECT, hint)) from error
    if not isinstance(body, dict):
        raise HttpError(400, _with_hint(NO_OBJECT, hint))
    if content.count(b"{") + content.count(b"[") > _DEEPEST and strict_json.is_deeper(body, _DEEPEST):
        raise HttpError(400, f"the request's body has more than {_DEEPEST} levels of objects and lists")
    return {name: value for name, value in body.items() if value is not None}


def check(body: Mapping[str, Any], model: type[M], hint: str = "") -> M:
    """Return ``body`` as a ``model``; raises HttpError, which names the field at fault and ends with ``hint``."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        param, message = _told(error.errors(include_url=False, include_input=False), body)
        raise HttpError(400, _with_hint(message, hint), param=param) from error


def _with_hint(message: str, hint: str) -> str:
    return f"{message}; {hint}" if hint else message


def _told(errors: list[ErrorDetails], body: Mapping[str, Any]) -> tuple[str, str]:
    """The path of one field at fault, and a sentence. Of a field that may have several forms, the deepest one is it."""
    found: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for error in errors:
        found.setdefault(_place(error, body), []).append(error)
    place, reasons = max(found.items(), key=lambda item: len(item[0]))
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    if reasons[0]["type"] == "missing":
        return name, f"{name} is missing"
    if reasons[0]["type"] == "value_error":
        return name, f"{name} {reasons[0]['ctx']['error']}"  # pyright: ignore[reportTypedDictNotRequiredAccess]
    forms = " or ".join(dict.fromkeys(map(_form, reasons)))
    return name, f"{name} must be {forms}, not {_shown(_at(body, place))}"


def _place(error: ErrorDetails, body: Any) -> tuple[int | str, ...]:
    """The path of an error in ``body``: pydantic's, without the names of the forms that it tried."""
    place: list[int | str] = []
    for part in error["loc"]:
        if part in body if isinstance(body, Mapping) else isinstance(body, list) and isinstance(part, int):
            place.append(part)
            body = _at(body, (part,))
    return (*place, error["loc"][-1]) if error["type"] == "missing" else tuple(place)


def _at(body: Any, place: tuple[int | str, ...]) -> Any:
    for part in place:
        body = body[part]
    return body


def _form(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    if "pattern" in context:
        return f"a text like {context['pattern']}"
    return str(context["expected"]) if "expected" in context else _FORMS.get(error["type"], error["msg"])


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return ("an object" if isinstance(value, dict) else "a list") if value else json.dumps(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _whole_characters(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False)
    return json.loads(_SURROGATES.sub("\ufffd", text)) if _SURROGATES.search(text) else value
