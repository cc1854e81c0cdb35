"""Definition that a model writes of a tool: read as hostile text, given back as a function's head.

What the server's grammar promises is checked again: a server is not to be trusted with it.
"""

import re
from typing import Any

from pydantic import JsonValue, ValidationError

from evolver.tool_making.drop_reason import ToolDropped, ToolDropReason
from toolkit.frozen import Frozen
from toolkit.made import MadeTool
from toolkit.names import BadName, check_name

_MOST_PARAMETERS = 3
_TEXT = re.compile(r"[A-Za-z0-9 ,.'()%/-]{3,160}")
_NAME = re.compile(r"[a-z]+(_[a-z]+)+")
_PYTHON = {
    "integer": "int", "number": "float", "string": "str", "boolean": "bool", "numbers": "list[float]",
    "texts": "list[str]",
}  # fmt: skip
_JSON: dict[str, dict[str, JsonValue]] = {
    **{kind: {"type": kind} for kind in ("integer", "number", "string", "boolean")},
    "numbers": {"type": "array", "items": {"type": "number"}},
    "texts": {"type": "array", "items": {"type": "string"}},
}
_RESULTS: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        # Two words at least: a name that people also say could not be found again when it must be forgotten.
        "name": {"type": "string", "pattern": "^[a-z]+(_[a-z]+)+$"},
        "description": {"type": "string", "pattern": "^[A-Z][A-Za-z0-9 ,'-]*\\.$"},
        "parameters": {
            "type": "array",
            "minItems": 1,
            "maxItems": _MOST_PARAMETERS,
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "pattern": "^[a-z]+(_[a-z]+)*$"},
                    "type": {"enum": list(_PYTHON)},
                    "description": {"type": "string", "pattern": "^[A-Z][A-Za-z0-9 ,'-]*\\.$"},
                },
                "required": ["name", "type", "description"],
                "additionalProperties": False,
            },
        },
        "result": {"enum": list(_RESULTS)},
    },
    "required": ["name", "description", "parameters", "result"],
    "additionalProperties": False,
}


class Parameter(Frozen):
    """``type`` is a key of the Python types above."""

    name: str
    type: str
    description: str


class Sketch(Frozen):
    """A tool without its code. All its texts fit between the quotes of a docstring."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    result: str

    def head(self) -> str:
        """Return the ``def`` line and the docstring."""
        taken = ", ".join(f"{parameter.name}: {_PYTHON[parameter.type]}" for parameter in self.parameters)
        return f'def {self.name}({taken}) -> {_PYTHON[self.result]}:\n    """{self.description}"""'

    def tool(self, source: str) -> MadeTool:
        """Return the tool whose code is ``source``."""
        properties = {p.name: {**_JSON[p.type], "description": p.description} for p in self.parameters}
        parameters: Any = {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
        return MadeTool(name=self.name, description=self.description, parameters=parameters, source=source)


def read(text: str) -> Sketch:
    """Read the sketch that the JSON ``text`` holds. Raises ToolDropped."""
    try:
        sketch = Sketch.model_validate_json(text)
    except ValidationError:
        raise ToolDropped(ToolDropReason.DEFINITION_CUT_OFF) from None
    names = [parameter.name for parameter in sketch.parameters]
    if not _NAME.fullmatch(sketch.name) or not 0 < len(set(names)) == len(names) <= _MOST_PARAMETERS:
        raise ToolDropped(ToolDropReason.DEFINITION_NAMES)
    try:
        for name in (sketch.name, *names):
            check_name(name)
    except BadName:
        raise ToolDropped(ToolDropReason.DEFINITION_NAMES) from None
    texts = (sketch.description, *(parameter.description for parameter in sketch.parameters))
    if not all(_TEXT.fullmatch(text) for text in texts):
        raise ToolDropped(ToolDropReason.DEFINITION_TEXTS)
    if sketch.result not in _RESULTS or any(parameter.type not in _PYTHON for parameter in sketch.parameters):
        raise ToolDropped(ToolDropReason.DEFINITION_TYPES)
    return sketch


def is_of(value: JsonValue, kind: str) -> bool:
    """Return whether ``value`` is of a sketch's result type."""
    return isinstance(value, _RESULTS[kind]) and (isinstance(value, bool) is (kind == "boolean"))
