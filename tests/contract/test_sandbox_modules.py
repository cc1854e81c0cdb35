"""Users' modules and Python modules as tools, described and called in the real sandbox."""

from pathlib import Path
from typing import Any

import pytest

from toolkit.config import SandboxConfig, ToolkitConfig, ToolsConfig
from toolkit.declare import Effect
from toolkit.errors import ConfigError, SandboxUnavailable
from toolkit.execute import open_executor
from toolkit.sandbox import opening, self_check
from toolkit.sandbox.bubblewrap import BubblewrapSandbox
from toolkit.sources import load_tools
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


def test_its_workers_are_tried_before_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a module does to its own process when it is imported is no escape."""
    (tmp_path / "eager_tools.py").write_text(f"{OWN}\nos.environ['SHOP'] = 'open'\nos.umask(0)\n")
    tried: list[str] = []
    require_sound = opening.require_sound

    def remembered(sandbox: BubblewrapSandbox) -> None:
        require_sound(sandbox)
        tried.append(sandbox.name)

    monkeypatch.setattr(opening, "require_sound", remembered)
    tools = ToolsConfig(builtin=False, modules=("eager_tools",), python_modules=("math",), folder=tmp_path)
    with open_executor(ToolkitConfig(tools=tools)) as executor:
        assert tried == ["builtin", "modules"]
        assert executor.execute(ToolCall(id="1", name="math_sqrt", arguments={"x": 9})).value == 3
    harmless = self_check._Attempt("add", "def attempt():\n    return 1 + 1", lambda result: result.value != 2)

    def unsound(sandbox: BubblewrapSandbox) -> None:
        monkeypatch.setattr(self_check, "_ATTEMPTS", (harmless,) if sandbox.name == "modules" else ())
        require_sound(sandbox)

    monkeypatch.setattr(opening, "require_sound", unsound)
    with (
        pytest.raises(SandboxUnavailable, match=r"does not hold: add \(returned 2\)"),
        open_executor(ToolkitConfig(tools=tools)),
    ):
        pytest.fail("opened")


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


def test_one_name_in_two_sources_names_both(tmp_path: Path) -> None:
    own = "from toolkit.declare import tool\n\n\n@tool\ndef math_sqrt(x: float) -> float:\n    return x\n"
    (tmp_path / "taking_tools.py").write_text(own)
    tools = ToolsConfig(modules=("taking_tools",), folder=tmp_path, python_modules=("math",))
    with pytest.raises(ConfigError, match="two tools are named math_sqrt: module:taking_tools and python:math; rename"):
        load_tools(ToolkitConfig(tools=tools))


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
