"""Sources of tools: config.toml -> a registry of the built-in ones, users' modules, MCP servers and made tools."""

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import builtin
from toolkit.config import ToolkitConfig
from toolkit.describing import tools_of
from toolkit.errors import ConfigError, PrerequisiteError
from toolkit.made import read_approved
from toolkit.modules import add_modules
from toolkit.registry import ToolRegistry
from toolkit.sandbox.binds import is_installed, source_of

if TYPE_CHECKING:
    from toolkit.mcp.servers import McpServers


def load_tools(config: ToolkitConfig) -> ToolRegistry:
    """Load the tools that ``config`` asks for, also those of MCP servers, which are started and ended for it.

    Raises ConfigError, and like open_sandbox for users' modules.
    """
    registry = load_local_tools(config)
    if config.mcp:
        with open_servers(config) as servers:
            servers.add_to(registry)
    return registry


def open_servers(config: ToolkitConfig) -> "McpServers":
    """Return the MCP servers of ``config``, to be entered as a context. Raises PrerequisiteError without the package
    mcp."""
    if importlib.util.find_spec("mcp") is None:
        raise PrerequisiteError("toolkit.mcp needs the package mcp; install it: pip install 'apprentice-agent[mcp]'")
    from toolkit.mcp.servers import McpServers

    return McpServers(config.mcp, output_kib=config.sandbox.output_kib)


def load_local_tools(config: ToolkitConfig) -> ToolRegistry:
    """Load the tools of ``config`` but for those of MCP servers."""
    registry = ToolRegistry()
    if config.tools.builtin:
        for name in builtin_modules():
            for tool in tools_of(importlib.import_module(name), source="builtin"):
                registry.add(tool)
    if config.tools.modules or config.tools.python_modules:
        add_modules(registry, config)
    for made in read_approved(config.tools.approved):
        registry.add(made.tool())
    return registry


def builtin_modules() -> list[str]:
    """Return the full names of the modules of toolkit.builtin."""
    return [f"{builtin.__name__}.{found.name}" for found in pkgutil.iter_modules(builtin.__path__)]


def code_of_tools(config: ToolkitConfig) -> Iterator[Path]:
    """Yield the files and folders whose change gives other tools: users' modules, what MCP servers are started from,
    approved tools. One that is not there yet is named too."""
    for top in dict.fromkeys(name.partition(".")[0] for name in (*config.tools.modules, *config.tools.python_modules)):
        try:
            source = source_of(top, config.tools.folder)
        except ConfigError:
            source = config.tools.folder / f"{top}.py"
        if source is not None:  # an installer writes a package anew
            yield source / "__init__.py" if source.is_dir() and is_installed(source) else source
    for server in config.mcp.values():
        yield from (path for path in (*map(Path, server.command), *server.bind) if path.is_file())
    if config.tools.approved is not None:
        yield config.tools.approved
