"""Users' modules and Python modules as tools, described and called in the real sandbox."""

from pathlib import Path
from typing import Any

import pytest

from toolkit.config import SandboxConfig, ToolkitConfig, ToolsConfig
from toolkit.declare import Effect
from toolkit.errors import ConfigError
from toolkit.execute import open_executor
from toolkit.registry import load_tools
from toolkit.tool import ToolCall

OWN = '''
import os
from typing import Literal
from toolkit.declare import tool

IMPORTED_BY = os.getuid()


@tool(effect="pure")
def shipping_cost(weight: float, zone: Literal["home", "abroad"]) -> float:
    """Find what a parcel costs.

    Args:
        weight: Its weight in kilograms.
        zone: Where it goes.
    """
    if weight <= 0:
        raise ValueError("weight must be greater than 0")
    return weight * (2 if zone == "home" else 5)


@tool
def who_imports() -> list[int]:
    """Tell who imported this."""
    return [IMPORTED_BY, os.getuid()]


def unmarked(value: int) -> int:
    return value
'''
PYTHON = (
    "math", "statistics", "fractions", "textwrap", "calendar", "datetime", "urllib.parse", "colorsys", "ipaddress",
    "decimal", "string", "html", "base64", "random",
)  # fmt: skip


def _call(config: ToolkitConfig, name: str, **arguments: object) -> object:
    with open_executor(config) as executor:
        result = executor.execute(ToolCall(id="1", name=name, arguments=arguments))  # type: ignore[arg-type]
        return result.value if result.ok else result.error.message  # type: ignore[union-attr]


def test_a_users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_tools_here.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    config = ToolkitConfig(tools=ToolsConfig(builtin=False, modules=("own_tools_here",)))
    tools = {tool.name: tool for tool in load_tools(config)}
    assert set(tools) == {"shipping_cost", "who_imports"}
    assert tools["shipping_cost"].effect is Effect.PURE
    assert tools["who_imports"].effect is Effect.WRITES
    assert tools["shipping_cost"].source == "module:own_tools_here"
    assert _call(config, "shipping_cost", weight=3, zone="abroad") == 15
    assert _call(config, "shipping_cost", weight=-3, zone="home") == "weight must be greater than 0"
    assert (
        _call(config, "shipping_cost", weight=3, zone="moon") == '\'zone\' must be one of "home", "abroad", got "moon"'
    )


def test_the_host_does_not_import_a_users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "imported"
    (tmp_path / "spy_tools.py").write_text(f"{OWN}\ntry: open({str(trace)!r}, 'w')\nexcept OSError: pass\n")
    monkeypatch.chdir(tmp_path)
    assert len(load_tools(ToolkitConfig(tools=ToolsConfig(builtin=False, modules=("spy_tools",))))) == 2
    assert not trace.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("value = 1", "marks no function with @tool"),
        ("from toolkit.declare import tool\n@tool\ndef f(x): return x", "parameter x has no type hint"),
        ("from toolkit.declare import tool\n@tool\ndef eval(x: int): return x", "it is a name of Python itself"),
        ("raise RuntimeError('no')", "cannot be imported: RuntimeError: no"),
    ],
)
def test_a_module_that_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    (tmp_path / "wrong_tools.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        load_tools(ToolkitConfig(tools=ToolsConfig(modules=("wrong_tools",))))


def test_a_missing_module_is_named() -> None:
    with pytest.raises(ConfigError, match="no module named nowhere_tools"):
        load_tools(ToolkitConfig(tools=ToolsConfig(modules=("nowhere_tools",))))


def test_the_standard_library_gives_more_than_150_usable_tools() -> None:
    config = ToolkitConfig(tools=ToolsConfig(builtin=False, python_modules=PYTHON), sandbox=SandboxConfig(workers=1))
    with open_executor(config) as executor:
        usable = 0
        for tool in executor.registry:
            schema: Any = tool.parameters
            arguments = {name: _sample(schema["properties"][name]) for name in schema["required"]}
            call = ToolCall(id="1", name=tool.name, arguments=arguments)  # type: ignore[arg-type]
            usable += executor.execute(call).ok
        assert usable >= 250
        assert len(executor.registry.left_out) >= 10
        assert all(each.reason for each in executor.registry.left_out)


def _sample(schema: dict[str, object]) -> object:
    """A value of the schema that most functions take."""
    if "enum" in schema:
        return schema["enum"][0]  # type: ignore[index]
    description = str(schema.get("description", ""))
    for hint, value in (("decimal", "1.25"), ("fraction", "3/4")):
        if hint in description:
            return value
    if description.startswith("As "):
        return description[3:-1]
    if schema.get("type") == "array":
        return [_sample(schema.get("items", {"type": "integer"}))] * int(str(schema.get("minItems", 2)))  # type: ignore[arg-type]
    plain = {"string": "a", "integer": 3, "number": 0.5, "boolean": True, "object": {"a": 1}}
    return plain.get(str(schema.get("type")), 2)
