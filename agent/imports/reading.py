"""A file of exports -> its objects, one at a time: one per line, or all of a JSON document."""

import itertools
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from agent.http import json_body
from agent.http.http_error import HttpError
from agent.imports import langfuse_form, openai_form, otel_form
from agent.imports.record import Form, ImportReason, Records
from toolkit.errors import UserError

_DOCUMENT_LIMIT = 64 << 20
"""Bytes of a JSON document that is not in lines: it is parsed whole."""
_TOO_LARGE = "the file is one JSON document of more than 64 MiB; write it in lines first: jq -c '.[]' FILE"
_NO_DOCUMENT = "the file is neither JSON in lines nor one JSON document; export it as JSONL"

_READERS = {
    "openai": openai_form.chat_completions,
    "finetuning": openai_form.finetuning,
    "langfuse": langfuse_form.observations,
    "otel": otel_form.spans,
}


def objects(file: BinaryIO, *, limit: int) -> Iterator[dict[str, Any] | ImportReason]:
    """Yield the objects of ``file``, or why a line is none. ``limit``: the bytes of a line, at most.

    Raises UserError for a JSON document that is too large or broken.
    """
    lines = _lines(file, max(limit, 1))
    first = next(lines, None)
    if first is None:
        return
    if first is not ImportReason.TOO_LONG and _begins_a_document(first):
        yield from _document(first + file.read(_DOCUMENT_LIMIT + 1))
        return
    for line in itertools.chain([first], lines):
        yield line if isinstance(line, ImportReason) else _object(line)


def form_of(line: dict[str, Any]) -> Form | None:
    """Return the format of an object; None for none that is known."""
    if "resourceSpans" in line:
        return "otel"
    if langfuse_form.is_observation(line):
        return "langfuse"
    if ("request" in line and "response" in line) or ("messages" in line and ("choices" in line or "response" in line)):
        return "openai"
    return "finetuning" if "messages" in line else None


def records(line: dict[str, Any], form: Form | None) -> Records:
    """Return the exchanges of an object that is in ``form``; None: in the one that it looks like."""
    found = form or form_of(line)
    if found is None or (form is not None and form_of(line) != form):
        return iter((ImportReason.UNKNOWN_FORMAT,))
    return _READERS[found](line)


def _lines(file: BinaryIO, limit: int) -> Iterator[bytes | Any]:
    while line := file.readline(limit + 1):
        if len(line) > limit and not line.endswith(b"\n"):
            while (rest := file.readline(limit)) and not rest.endswith(b"\n"):
                pass
            yield ImportReason.TOO_LONG
        elif line.strip():
            yield line


def _object(line: bytes) -> dict[str, Any] | ImportReason:
    try:
        return json_body.parse(line)
    except HttpError:
        return ImportReason.NOT_JSON


def _begins_a_document(line: bytes) -> bool:
    """Return whether a first line is the beginning of an array, or of an object that goes on in the next lines."""
    text = line.strip().removeprefix(b"\xef\xbb\xbf")
    return text.startswith(b"[") or text in (b"{",)


def _document(content: bytes) -> Iterator[dict[str, Any] | ImportReason]:
    if len(content) > _DOCUMENT_LIMIT:
        raise UserError(_TOO_LARGE)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise UserError(_NO_DOCUMENT) from None
    for one in value if isinstance(value, list) else [value]:
        yield _object(json.dumps(one).encode())
