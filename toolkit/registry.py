"""The tools that there are: by name, each name once."""

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from toolkit import builtin
from toolkit.config import ToolkitConfig
from toolkit.declare import declaration_of
from toolkit.describing import describe
from toolkit.errors import ConfigError, PrerequisiteError
from toolkit.made import read_approved
from toolkit.names import MAX_LENGTH, BadName, check_name, skeleton
from toolkit.tool import Tool, neutral

if TYPE_CHECKING:
    from toolkit.mcp.servers import McpServers

_SHOWN = 80


class NameTaken(ConfigError):
    """Two sources have a tool of one name; the message names both."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A function that a source has but that became no tool, and why."""

    source: str
    name: str
    reason: str


SERVER = "(server)"
"""The name in a LeftOut for a server of which nothing could be had."""


class ToolRegistry:
    """Tools by name, in the order in which they were added."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        self._skeletons: dict[str, Tool] = {}
        self.left_out: list[LeftOut] = []
        for tool in tools:
            self.add(tool)

    def add(self, tool: Tool) -> None:
        """Raises ConfigError for a name that no tool may have or that equals or looks like another's, and of these
        NameTaken where it equals one of another source."""
        try:
            check_name(tool.name)
        except BadName as error:
            shown = ascii(tool.name[:MAX_LENGTH])
            raise ConfigError(f"{tool.source} has a tool named {shown}: {error}; rename it") from None
        other = self._skeletons.get(skeleton(tool.name))
        if other is not None:
            both = f"{other.source} and {tool.source}; rename one, or leave a source out of config.toml"
            if other.name != tool.name:
                raise ConfigError(f"{other.name} and {tool.name} look alike: {both}")
            raise (NameTaken if other.source != tool.source else ConfigError)(
                f"two tools are named {tool.name}: {both}"
            )
        self._tools[tool.name] = self._skeletons[skeleton(tool.name)] = tool

    def add_usable(self, tool: Tool) -> None:
        """``add`` for one of many tools that a source from outside has: a name that cannot be is noted in ``left_out``.
        Raises NameTaken, for whether to do without the one source or the other is for a person to say."""
        try:
            self.add(tool)
        except NameTaken:
            raise
        except ConfigError as error:
            self.left_out.append(LeftOut(tool.source, neutral(tool.function)[:_SHOWN], str(error)))

    def lost_servers(self) -> list[LeftOut]:
        """The MCP servers that could not be started, reached or listed."""
        return [each for each in self.left_out if each.name == SERVER]

    def get(self, name: str) -> Tool | None:
        return self._tools.get(name)

    def names(self) -> list[str]:
        return list(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)


def load_tools(config: ToolkitConfig) -> ToolRegistry:
    """The tools that ``config`` asks for, also those of MCP servers, which are started and ended for it.

    Raises ConfigError, and like open_sandbox for users' modules.
    """
    registry = load_local_tools(config)
    if config.mcp:
        with open_servers(config) as servers:
            servers.add_to(registry)
    return registry


def open_servers(config: ToolkitConfig) -> "McpServers":
    """The MCP servers of ``config``, to be entered as a context. Raises PrerequisiteError without the package mcp."""
    if importlib.util.find_spec("mcp") is None:
        raise PrerequisiteError("toolkit.mcp needs the package mcp; install it: pip install 'apprentice[mcp]'")
    from toolkit.mcp.servers import McpServers

    return McpServers(config.mcp, output_kib=config.sandbox.output_kib)


def load_local_tools(config: ToolkitConfig) -> ToolRegistry:
    """The tools of ``config`` but for those of MCP servers."""
    registry = ToolRegistry()
    if config.tools.builtin:
        for name in builtin_modules():
            for tool in tools_of(importlib.import_module(name), source="builtin"):
                registry.add(tool)
    if config.tools.modules or config.tools.python_modules:
        from toolkit.modules import add_modules

        add_modules(registry, config)
    for made in read_approved(config.tools.approved):
        registry.add(made.tool())
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
