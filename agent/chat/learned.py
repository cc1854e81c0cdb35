"""Lessons behind an adapter, told by the package above this one, which is found by its entry point."""

from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points

from agent.config import Config
from toolkit.errors import UserError

GROUP = "apprentice.learned"
"""Entry points: each is called with the configuration, the name of an adapter and names of tools, and returns lines for
people. It raises UserError where it cannot tell."""


def about(config: Config, adapter: str, tools: Sequence[str]) -> Iterator[str]:
    """Yield lines that say what ``adapter`` learned about ``tools``; none where no installed package can tell."""
    for found in entry_points(group=GROUP):
        try:
            yield from found.load()(config, adapter, tools)
        except UserError as error:
            yield f"not known: {error}"
