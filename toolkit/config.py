"""Reading config.toml, and the ``[toolkit.*]`` tables.

The path of a table is the path of the module that it configures. Each package validates the tables that it knows:
``toolkit`` its own, ``agent`` also toolkit's, ``evolver`` all. Every section is a frozen model that refuses unknown
keys; values reach the code as arguments, nothing reads configuration from deep inside.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolkit.errors import ConfigError

DEFAULT_PATH = Path("config.toml")


class Section(BaseModel):
    """A table of config.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class SandboxConfig(Section):
    """``[toolkit.sandbox]``: the limits of one tool call."""

    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 5.0
    memory_mib: Annotated[int, Field(ge=32, le=16384)] = 256
    workspace_mib: Annotated[int, Field(ge=1, le=4096)] = 16
    output_kib: Annotated[int, Field(ge=1, le=16384)] = 64
    workers: Annotated[int, Field(ge=0, le=256, description="0: one per core")] = 0


class ToolsConfig(Section):
    """``[toolkit.tools]``: which tools there are."""

    builtin: bool = True
    modules: tuple[str, ...] = ()
    """Modules with ``@tool`` functions: a file beside config.toml, or installed."""
    python_modules: tuple[str, ...] = ()
    """Modules whose functions become tools, for example ``math``."""


class McpServerConfig(Section):
    """``[toolkit.mcp.NAME]``: an MCP server, started here (``command``) or reached over HTTP (``url``)."""

    command: tuple[str, ...] = ()
    """Program and arguments; runs in a sandbox of its own. ``python`` is the interpreter of this installation."""
    url: str = ""
    """Address of a streamable HTTP endpoint."""
    network: bool = False
    """Whether a started server may use the network."""
    bind: tuple[Path, ...] = ()
    """Folders and files of this machine that a started server may read."""
    environment: tuple[str, ...] = ()
    """Names of environment variables that a started server gets."""
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    max_tools: Annotated[int, Field(ge=1, le=10_000)] = 200

    @model_validator(mode="after")
    def _one_way_to_reach_it(self) -> "McpServerConfig":
        if bool(self.command) == bool(self.url):
            raise ValueError("give either command or url")
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError("url must begin with http:// or https://")
        return self


class ToolkitConfig(Section):
    """``[toolkit]``."""

    sandbox: SandboxConfig = SandboxConfig()
    tools: ToolsConfig = ToolsConfig()
    mcp: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,30}$")], McpServerConfig] = {}


class Config(Section):
    """config.toml as the ``toolkit`` command reads it; ``agent`` and ``evolver`` check their own tables."""

    data_folder: Path = Path("data")
    toolkit: ToolkitConfig = ToolkitConfig()
    agent: dict[str, Any] = {}
    evolver: dict[str, Any] = {}


C = TypeVar("C", bound=Section)


def load_config(path: Path | None, model: type[C]) -> C:
    """Read ``path`` (None: ./config.toml if it exists, else the defaults) as ``model``.

    A relative ``data_folder`` is taken from the folder of the file. Raises ConfigError with one line that names the
    file, the key and what it allows.
    """
    if path is None:
        path = DEFAULT_PATH
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; give the path of a config.toml with --config") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}; correct that line") from None
    folder = Path(values.get("data_folder", "data")) if isinstance(values.get("data_folder", "data"), str) else None
    if folder is not None:
        values["data_folder"] = str((path.resolve().parent / folder.expanduser()).resolve())
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_problem(error, model)}") from None


def _first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(_keys_beside(model, first["loc"]))
        return f"unknown key {key}; allowed here: {allowed}"
    return f"{key} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}; correct the value"


def _keys_beside(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    section: Any = model
    for part in location[:-1]:
        field = section.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        section = field.annotation
    return sorted(section.model_fields)
