"""The tools that there are: by name, each name once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count

from toolkit.errors import ConfigError
from toolkit.names import MAX_LENGTH, BadName, check_name, numbered, skeleton
from toolkit.tool import Tool, neutral

_SHOWN = 80
_NOTED = 5


class NameTaken(ConfigError):
    """Two sources have a tool of one name; the message names both."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A function that a source has but that became no tool, and why."""

    source: str
    name: str
    reason: str


def _both(tool: Tool, other: Tool) -> str:
    return f"{other.source} and {tool.source}; rename one, or leave a source out of config.toml"


def _twice(tool: Tool, other: Tool) -> str:
    return f"two tools are named {tool.name}: {_both(tool, other)}"


def _changed(tool: Tool) -> tuple[bool, str]:
    """Orders tools of one source: those that kept their name come before those that were given one."""
    return not tool.name.endswith(tool.function), tool.function


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
        """Add a tool. Raises ConfigError for a name that no tool may have or that equals or looks like another's, and
        of these NameTaken where it equals one of another source."""
        try:
            check_name(tool.name)
        except BadName as error:
            shown = ascii(tool.name[:MAX_LENGTH])
            raise ConfigError(f"{tool.source} has a tool named {shown}: {error}; rename it") from None
        other = self._skeletons.get(skeleton(tool.name))
        if other is not None:
            if other.name != tool.name:
                raise ConfigError(f"{other.name} and {tool.name} look alike: {_both(tool, other)}")
            raise (NameTaken if other.source != tool.source else ConfigError)(_twice(tool, other))
        self._tools[tool.name] = self._skeletons[skeleton(tool.name)] = tool

    def add_usable(self, tools: Iterable[Tool]) -> None:
        """Add the ``tools`` of one source from outside; a name that looks like another's gets a number.

        Which tool gets one does not depend on the order of ``tools``, so that a name means the same after a restart. A
        function that the source names twice is noted in ``left_out``. Raises NameTaken for a name that is another
        source's, for whether to do without the one source or the other is for a person to say.
        """
        tools = list(tools)
        taken = dict(self._skeletons)
        names: dict[int, str] = {}
        for index, tool in sorted(enumerate(tools), key=lambda each: (*_changed(each[1]), each[0])):
            other = taken.get(skeleton(tool.name))
            if other is not None and other.name == tool.name and other.source != tool.source:
                self.add(tool)
            if other is not None and (other.source, other.function) == (tool.source, tool.function):
                self._leave_out(tool, _twice(tool, other))
                continue
            numbers = (numbered(tool.name, number) for number in count(2))
            names[index] = next(name for name in chain((tool.name,), numbers) if skeleton(name) not in taken)
            taken[skeleton(names[index])] = tool
        for index, name in sorted(names.items()):
            self.add(tools[index].model_copy(update={"name": name}))

    def _leave_out(self, tool: Tool, reason: str) -> None:
        self.left_out.append(LeftOut(tool.source, neutral(tool.function)[:_SHOWN], reason))

    def lost_servers(self) -> list[LeftOut]:
        """Return the MCP servers that could not be started, reached or listed."""
        return [each for each in self.left_out if each.name == SERVER]

    def notes(self) -> list[str]:
        """Return lines for people about ``left_out``: servers first, then tools of servers.

        The functions of a module are only counted. The last line says where all are listed.
        """
        of_servers = [each for each in self.left_out if each.source.startswith("mcp:")]
        lines = [f"{each.source}: {each.reason}" for each in of_servers if each.name == SERVER]
        lines += [
            f"{each.source}: {each.name} is left out: {each.reason}" for each in of_servers if each.name != SERVER
        ]
        more, functions = len(lines) - _NOTED, len(self.left_out) - len(of_servers)
        counts = [f"{more} more are left out"] if more > 0 else []
        counts += [f"{functions} functions of modules are no tools"] if functions else []
        noted = lines[:_NOTED] + ([", ".join(counts)] if counts else [])
        return [*noted[:-1], f"{noted[-1]}; see toolkit list --left-out"] if noted else []

    def get(self, name: str) -> Tool | None:
        return self._tools.get(name)

    def names(self) -> list[str]:
        return list(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)
