"""The tools that there are: by name, each name once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from toolkit.errors import ConfigError
from toolkit.names import MAX_LENGTH, BadName, check_name, skeleton
from toolkit.tool import Tool, neutral

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
