"""Start values of the agent in a server: `agent chat` asks it only where its own turns would be the same."""

import json
import os
from pathlib import Path

from pydantic import ConfigDict

import agent
from agent.config import Config
from toolkit.config_file import ConfigFile
from toolkit.file_stamp import digest, stamp
from toolkit.frozen import Frozen
from toolkit.sources import code_of_tools


class ChatStart(Frozen):
    """The door for `agent chat`, and what its answers depend on. The hashes and stamps are of ``toolkit.file_stamp``.

    ``socket``: the path of the door. ``package``: the file of the package ``agent``. ``config``: the configuration's
    path and text; ``settings``: those tables of it that shape a turn. ``files``: the stamps of this package, and of
    what tools are made of. ``environment``: the hashes of the variables that MCP servers are started with.
    """

    model_config = ConfigDict(extra="ignore")

    socket: str
    package: str
    config: str
    settings: str
    files: dict[str, str]
    environment: dict[str, str]


def chat_start(config: Config, file: ConfigFile, socket: Path) -> ChatStart:
    """Return what an agent that starts now is started with. ``config`` is what ``file`` says."""
    package = Path(agent.__file__ or "")
    names = {name for server in config.toolkit.mcp.values() for name in server.environment}
    return ChatStart(
        socket=str(socket),
        package=str(package),
        config=file.digest,
        settings=settings_digest(config),
        files={str(path): stamp(path) for path in (package, *code_of_tools(config.toolkit))},
        environment={name: digest(os.environ.get(name, "")) for name in sorted(names)},
    )


def settings_digest(config: Config) -> str:
    """Return the hash of all settings that shape a turn or its place in the log."""
    tables = {"toolkit": config.toolkit, "agent": config.agent}
    values = {name: table.model_dump(mode="json") for name, table in tables.items()}
    return digest(json.dumps([str(config.data_folder), values], sort_keys=True))
