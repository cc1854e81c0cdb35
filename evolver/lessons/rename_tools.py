"""Tools under other names, with their parameters in another order: for evaluation (see variants.py) and for lessons, so
that the model reads the schema instead of knowing it by heart. Pure."""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from evolver.types import Call, Trace
from toolkit.frozen import Frozen
from toolkit.tool import Tool, ToolError

_LETTERS = "bcdfghjklmnpqrstvwxz"


class RenamedTool(Frozen):
    """One tool under another name. ``parameters`` maps the names that are shown to the tool's own."""

    own: str
    shown: Tool
    parameters: dict[str, str]

    def call(self, call: Call) -> Call:
        """Return ``call``, made by the own names, as a call by the shown names, in their order."""
        arguments = {new: call.arguments[old] for new, old in self.parameters.items() if old in call.arguments}
        unknown = {name: value for name, value in call.arguments.items() if name not in self.parameters.values()}
        return Call(name=self.shown.name, arguments={**arguments, **unknown})

    def error(self, error: ToolError) -> ToolError:
        """Return an error of the tool in the names that are shown."""
        listed = error.message.rfind("allowed: ")
        names = self.names

        def shown(word: re.Match[str]) -> str:
            name = word[0].strip("'")
            named = "_" in name or word[0] != name or 0 <= listed < word.start()
            return word[0].replace(name, names.get(name, name)) if named else word[0]

        return error.model_copy(update={"message": re.sub(r"'\w+'|\w+", shown, error.message)})

    @property
    def names(self) -> dict[str, str]:
        """Own names to shown ones, of the tool and of its parameters."""
        return {self.own: self.shown.name, **{old: new for new, old in self.parameters.items()}}


def shuffle_parameters(tool: Tool, rng: random.Random) -> RenamedTool:
    properties = _properties(tool)
    names = rng.sample(list(properties), len(properties))
    parameters = {**tool.parameters, "properties": {name: properties[name] for name in names}}
    return RenamedTool(
        own=tool.name,
        shown=tool.model_copy(update={"parameters": parameters}),
        parameters={name: name for name in names},
    )


def rename_tool(tool: Tool, rng: random.Random) -> RenamedTool:
    properties = _properties(tool)
    shown = dict(zip(properties, _names(len(properties), rng), strict=True))
    required = tool.parameters.get("required")
    parameters = {
        **tool.parameters,
        "properties": {shown[name]: _mentioning(field, shown) for name, field in properties.items()},
        **({"required": [shown.get(str(name), name) for name in required]} if isinstance(required, list) else {}),
    }
    described = _replaced(tool.description, {tool.name: "this", **shown})
    name = f"tool_{_names(1, rng)[0]}"
    return RenamedTool(
        own=tool.name,
        shown=tool.model_copy(update={"name": name, "description": described, "parameters": parameters}),
        parameters={new: old for old, new in shown.items()},
    )


def rename_tools(tools: Sequence[Tool], rng: random.Random) -> list[RenamedTool]:
    """Return ``tools``, renamed and shuffled, no two with the same name."""
    found: dict[str, RenamedTool] = {}
    for tool in tools:
        while True:
            new = rename_tool(shuffle_parameters(tool, rng).shown, rng)
            if new.shown.name not in found:
                break
        found[new.shown.name] = new
    return list(found.values())


def with_shown_names(trace: Trace, known: Mapping[str, RenamedTool]) -> Trace:
    """Return ``trace`` with the shown names of its tools; ``known`` maps the tools' own names."""

    def shown(call: Call) -> Call:
        return known[call.name].call(call) if call.name in known else call

    failures = tuple(
        failure.model_copy(update={"call": shown(failure.call), "error": known[failure.call.name].error(failure.error)})
        if failure.call.name in known
        else failure
        for failure in trace.failures
    )
    return trace.model_copy(update={"calls": tuple(map(shown, trace.calls)), "failures": failures})


def _properties(tool: Tool) -> dict[str, Any]:
    found = tool.parameters.get("properties")
    return found if isinstance(found, dict) else {}


def _mentioning(field: Any, shown: dict[str, str]) -> Any:
    said = field.get("description") if isinstance(field, dict) else None
    return {**field, "description": _replaced(said, shown)} if isinstance(said, str) else field


def _replaced(text: str, names: dict[str, str]) -> str:
    """``text`` with the names that could be no ordinary word replaced."""
    telling = {old: new for old, new in names.items() if "_" in old}
    return re.sub(r"\w+", lambda word: telling.get(word[0], word[0]), text)


def _names(count: int, rng: random.Random) -> Sequence[str]:
    names: list[str] = []
    while len(names) < count:
        name = "".join(rng.choices(_LETTERS, k=4))
        if name not in names:
            names.append(name)
    return names
