"""The Berkeley Function Calling Leaderboard, version 4, read from the installed package ``bfcl-eval`` (Apache-2.0).

Nothing of it is kept in this project. Left as published: requests, functions, possible answers and the checker
(bfcl_check.py). Ours is how a function list becomes ``tools`` of a chat request: legal names, types of
JSON schema, and for Java and JavaScript every argument as a text in that language, which is what the checker reads.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from toolkit.errors import PrerequisiteError, UserError
from toolkit.frozen import Frozen

PREFIX = "bfcl:"
HALVES = {"even": 0, "odd": 1}
"""Halves of a category by the number of an item: even ones to develop on, odd ones to judge by."""
CATEGORIES = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
    "live_relevance",
)
INSTALL = "pip install --no-deps bfcl-eval==2026.3.23"

_LANGUAGES = {"simple_java": "Java", "simple_javascript": "JavaScript"}
_JSON_TYPES = {
    "dict": "object", "object": "object", "float": "number", "number": "number", "double": "number",
    "integer": "integer", "long": "integer", "boolean": "boolean", "Boolean": "boolean",
    "array": "array", "tuple": "array", "Array": "array", "ArrayList": "array", "HashMap": "object",
}  # fmt: skip
"""Any other type, ``any`` among them, is a string, as the checker has it."""
_NO_REQUESTS = "BFCL_v4_format_sensitivity.json"
"""Names requests of the other files, and holds none."""
_NAME_LENGTH = 64
_KEPT = ("description", "enum", "default")


class BfclItem(Frozen):
    """One request. ``names`` maps the names that are sent to the functions' own; ``answer`` is what the checker takes,
    () where nothing, or anything, is to be called."""

    id: str
    messages: tuple[dict[str, JsonValue], ...]
    functions: tuple[dict[str, JsonValue], ...]
    tools: tuple[dict[str, JsonValue], ...]
    names: dict[str, str]
    answer: tuple[dict[str, JsonValue], ...] = ()


class BfclSuite(Frozen):
    """A category; ``sha256`` is of its published files."""

    name: str
    category: str
    sha256: str
    items: tuple[BfclItem, ...]

    @property
    def needs_tool(self) -> bool:
        return "irrelevance" not in self.category


def read_suite(name: str) -> BfclSuite:
    """Return the suite ``bfcl:CATEGORY``, or a half of it: ``bfcl:CATEGORY:even`` or ``bfcl:CATEGORY:odd``.

    Raises UserError for another name, PrerequisiteError without the package.
    """
    category, _, half = name.removeprefix(PREFIX).partition(":")
    if category not in CATEGORIES:
        raise UserError(f"BFCL has no category {category!r} here; there is: {', '.join(CATEGORIES)}")
    if half and half not in HALVES:
        raise UserError(f"BFCL has no half {half!r}; there is: {', '.join(HALVES)}")
    folder = data_folder()
    if folder is None:
        raise PrerequisiteError(f"{name} needs the package bfcl-eval; install it: {INSTALL}")
    questions = folder / f"BFCL_v4_{category}.json"
    answers = folder / "possible_answer" / questions.name
    digest = hashlib.sha256(questions.read_bytes())
    known: dict[str, Any] = {}
    if answers.exists():
        digest.update(answers.read_bytes())
        known = {entry["id"]: entry["ground_truth"] for entry in _lines(answers)}
    entries = [entry for entry in _lines(questions) if not half or _number(entry["id"]) % 2 == HALVES[half]]
    items = tuple(item(entry, known.get(entry["id"], ()), category) for entry in entries)
    return BfclSuite(name=name, category=category, sha256=digest.hexdigest(), items=items)


def _number(identity: str) -> int:
    """Return the number of an item: 12 for ``simple_python_12`` and for ``live_simple_12-3-0``."""
    return int(re.findall(r"_(\d+)", identity)[-1])


def item(entry: Mapping[str, Any], answer: Sequence[Any], category: str) -> BfclItem:
    """Return a published entry and its possible answers, ready to be asked."""
    functions = entry["function"]
    names = legal_names([function["name"] for function in functions])
    tools = [_tool(sent, function, _LANGUAGES.get(category)) for sent, function in zip(names, functions, strict=True)]
    return BfclItem(
        id=entry["id"],
        messages=tuple(entry["question"][0]),
        functions=tuple(functions),
        tools=tuple(tools),
        names=dict(zip(names, (function["name"] for function in functions), strict=True)),
        answer=tuple(answer),
    )


def legal_names(names: Sequence[str]) -> list[str]:
    """Return names that an OpenAI request may have, one for each, no two alike: ``math.sqrt`` becomes ``math_sqrt``."""
    legal: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_NAME_LENGTH] or "_"
        candidate, number = plain, 2
        while candidate in legal:
            candidate = f"{plain[: _NAME_LENGTH - len(str(number)) - 1]}_{number}"
            number += 1
        legal.append(candidate)
    return legal


def queries() -> Iterator[str]:
    """Return every user message of every category of the installed package, also of those that are not scored here.

    For fingerprints alone: no text of the benchmark may reach a maker or a lesson.
    """
    for path in _files():
        for entry in _lines(path):
            for turn in entry.get("question") or ():
                for message in turn if isinstance(turn, list) else [turn]:
                    if isinstance(message, dict) and message.get("role") == "user":
                        yield str(message.get("content", ""))


def descriptions() -> Iterator[str]:
    """Return the descriptions of the functions in every category; for fingerprints alone."""
    for path in _files():
        for entry in _lines(path):
            yield from (function.get("description", "") for function in entry.get("function") or ())


def data_folder() -> Path | None:
    """Return the folder in which the installed package keeps its data. The package itself is not imported: its
    start-up writes folders."""
    spec = find_spec("bfcl_eval")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    return folder if folder.is_dir() else None


def _files() -> list[Path]:
    folder = data_folder()
    return [path for path in sorted(folder.glob("BFCL_v4_*.json")) if path.name != _NO_REQUESTS] if folder else []


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                found = json.loads(line)
                if isinstance(found, dict):
                    yield found


def _tool(name: str, function: Mapping[str, Any], language: str | None) -> dict[str, JsonValue]:
    parameters = function.get("parameters") or {}
    properties = parameters.get("properties") or {}
    schema: dict[str, JsonValue] = {
        "type": "object",
        "properties": {
            key: _as_source(value, language) if language else _schema(value) for key, value in properties.items()
        },
        "required": [key for key in parameters.get("required") or () if key in properties],
    }
    described: dict[str, JsonValue] = {
        "name": name, "description": function.get("description", ""), "parameters": schema
    }  # fmt: skip
    return {"type": "function", "function": described}


def _schema(value: Mapping[str, Any]) -> dict[str, JsonValue]:
    kind = _JSON_TYPES.get(str(value.get("type")), "string")
    schema: dict[str, JsonValue] = {"type": kind}
    schema.update({key: value[key] for key in _KEPT if key in value})
    if kind == "array":
        schema["items"] = _schema(value.get("items") or {})
    inner = value.get("properties")
    if kind == "object" and isinstance(inner, dict) and inner:
        schema["properties"] = {key: _schema(field) for key, field in inner.items() if isinstance(field, dict)}
        schema["required"] = [key for key in value.get("required") or () if key in inner]
    return schema


def _as_source(value: Mapping[str, Any], language: str) -> dict[str, JsonValue]:
    kind = "value" if value.get("type") in (None, "", "any") else str(value["type"])
    inner = value.get("items")
    of = f" of {inner['type']}" if isinstance(inner, dict) and inner.get("type") else ""
    said = f"{value.get('description', '')} (the text of a {language} {kind}{of})".strip()
    return {"type": "string", "description": said}
