"""The tools that there are: by name, each name once."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from types import ModuleType

from toolkit import builtin
from toolkit.config import ToolkitConfig
from toolkit.declare import declaration_of
from toolkit.describing import describe
from toolkit.errors import ConfigError
from toolkit.tool import Tool


class ToolRegistry:
    """Tools by name, in the order in which they were added."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            self.add(tool)

    def add(self, tool: Tool) -> None:
        """Raises ConfigError when the name is taken, naming both sources."""
        other = self._tools.get(tool.name)
        if other is not None:
            raise ConfigError(f"two tools are named {tool.name}: {other.source} and {tool.source}; rename one")
        self._tools[tool.name] = tool

    def get(self, name: str) -> Tool | None:
        return self._tools.get(name)

    def names(self) -> list[str]:
        return list(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)


def load_tools(config: ToolkitConfig) -> ToolRegistry:
    """The tools that ``config`` asks for. Raises ConfigError."""
    registry = ToolRegistry()
    if config.tools.builtin:
        for name in builtin_modules():
            for tool in tools_of(importlib.import_module(name), source="builtin"):
                registry.add(tool)
    return registry


def builtin_modules() -> list[str]:
    """Full names of the modules of toolkit.builtin."""
    return [f"{builtin.__name__}.{found.name}" for found in pkgutil.iter_modules(builtin.__path__)]


def tools_of(module: ModuleType, *, source: str) -> list[Tool]:
    """The functions that ``module`` itself defines and marks with ``@tool``."""
    functions = [
        function
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if declaration_of(function) is not None and function.__module__ == module.__name__
    ]
    functions.sort(key=lambda function: function.__code__.co_firstlineno)
    return [describe(function, source=source) for function in functions]
