"""Documentation adaptation: a tool's description in words -> its definition (ToolACE-DEV, arXiv 2505.07512).

The toolkit's own tools are the truth, so a maker's definition can be judged and a lesson needs no stronger model. Types
and what is required are not in the words: they must be concluded from them.
"""

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import JsonValue

from agent.messages import Message
from agent.prompt import to_openai
from evolver.generate import Generator, Prompt
from evolver.tool_shots import definition_prompt
from evolver.types import Defined, Frozen
from toolkit.tool import Tool

_TOKENS = 160
_TYPES = ("string", "integer", "number", "boolean", "array", "object")
_SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+(_[a-z]+)*$"},
        "parameters": {"type": "object", "additionalProperties": {"enum": list(_TYPES)}},
        "required": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "parameters", "required"],
    "additionalProperties": False,
}
_ASKED = "Write the definition of this tool as JSON: name, parameters with their types, and which are required.\n"


class Definition(Frozen):
    """A tool's definition without its texts: the type of each parameter, and those that are required."""

    name: str
    parameters: dict[str, str]
    required: tuple[str, ...]


def define(tools: Iterable[Tool], generator: Generator, *, limit: int, seed: int) -> Defined:
    """Let the model define ``limit`` of ``tools`` from their descriptions, and count how many are right.

    A name is the model's own choice and not judged. Raises ModelUnavailable, StageError.
    """
    asked = _chosen(tools, limit, seed)
    if not asked:
        return Defined()
    with ThreadPoolExecutor(generator.concurrency) as threads:
        reasons = list(threads.map(lambda pair: _wrong(pair[0], pair[1], generator), asked))
    dropped = Counter(reason for reason in reasons if reason)
    return Defined(tried=len(asked), right=reasons.count(""), dropped=dict(dropped))


def definition_rows(tools: Iterable[Tool], count: int, *, seed: int) -> list[dict[str, Any]]:
    """At most ``count`` lessons for the trainer: the description, and the definition that is true."""
    return [_row(number, tool, truth) for number, (tool, truth) in enumerate(_chosen(tools, count, seed))]


def in_words(tool: Tool) -> str:
    """What ``tool`` does and takes, without types and without saying ``required``."""
    definition, fields = true_definition(tool), _fields(tool)
    if definition is None:
        raise ValueError(f"{tool.name} has a parameter without a plain type")

    def listed(names: Sequence[str]) -> str:
        told = ((name, str(fields[name].get("description") or "").strip().rstrip(".")) for name in names)
        return ", ".join(f"{name} ({text})" if text else name for name, text in told)

    optional = [name for name in definition.parameters if name not in definition.required]
    parts = [" ".join(tool.description.split())]
    if definition.required:
        parts.append(f"It needs {listed(definition.required)}.")
    if optional:
        parts.append(f"It can be given {listed(optional)}.")
    return " ".join(parts)


def true_definition(tool: Tool) -> Definition | None:
    """The definition that ``tool`` has; None where a parameter has no plain type."""
    types = {name: _type(field) for name, field in _fields(tool).items()}
    if not all(types.values()):
        return None
    required: Any = tool.parameters.get("required") or ()
    return Definition(name=tool.name, parameters=types, required=tuple(required))


def _type(field: dict[str, Any]) -> str:
    """The one plain type of ``field``, with or without null; "" where there is none."""
    options = [option for option in field.get("anyOf") or [field] if option.get("type") != "null"]
    kind = options[0].get("type") if len(options) == 1 else None
    return kind if kind in _TYPES else ""


def _chosen(tools: Iterable[Tool], limit: int, seed: int) -> list[tuple[Tool, Definition]]:
    usable = [(tool, definition) for tool in tools if (definition := true_definition(tool)) and definition.parameters]
    return random.Random(seed).sample(usable, min(limit, len(usable)))


def _wrong(tool: Tool, truth: Definition, generator: Generator) -> str:
    """Why the model's definition of ``tool`` is not the true one; "" when it is."""
    text = definition_prompt(in_words(tool))
    prompt = Prompt(text=text, max_tokens=_TOKENS, temperature=0.0, stop=(), json_schema=_SCHEMA)
    try:
        found = Definition.model_validate_json(generator.complete(prompt)[0].text)
    except ValueError:
        return "cut_off"
    if set(found.parameters) != set(truth.parameters):
        return "other_parameters"
    if found.parameters != truth.parameters:
        return "wrong_type"
    return "" if set(found.required) == set(truth.required) else "wrong_required"


def _row(number: int, tool: Tool, truth: Definition) -> dict[str, Any]:
    messages = [
        Message(role="user", content=_ASKED + in_words(tool)),
        Message(role="assistant", content=json.dumps(truth.model_dump(), ensure_ascii=False)),
    ]
    return {
        "id": f"definition-{number}",
        "messages": to_openai(messages),
        "tools": [],
        "targets": [1],
        "decision": None,
        "weight": 1.0,
        "trace": f"definition-{tool.name}",
        "origin": "",
        "also_from": [],
    }


def _fields(tool: Tool) -> dict[str, dict[str, Any]]:
    properties: Any = tool.parameters.get("properties") or {}
    return {name: field if isinstance(field, dict) else {} for name, field in properties.items()}
