"""Reading config.toml, and the ``[toolkit.*]`` tables.

Each package validates the tables that it knows:
``toolkit`` its own, ``agent`` also toolkit's, ``evolver`` all. Every section is a frozen model that refuses unknown
keys; values reach the code as arguments, nothing reads configuration from deep inside.
"""

from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from toolkit.config_file import DEFAULT_PATH, ConfigFile, read_config_file
from toolkit.errors import ConfigError
from toolkit.frozen import Frozen

__all__ = ["DEFAULT_PATH", "Section", "ToolkitConfig", "load_config", "validated"]

APPROVED_FOLDER = "approved_tools"
"""In the data folder: one file for each tool that a model made and a person approved."""
_KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int, float), "a whole number"),
    float: ((int, float), "a number"),
}
"""Types that TOML gives for a field, and their name in messages: pydantic would convert a text or true."""


class Section(Frozen):
    """A table of config.toml."""

    model_config = ConfigDict(validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_of_its_kind(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[info.field_name or ""].annotation
        kinds, words = _KINDS.get(annotation, ((), ""))
        if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and annotation is not bool)):
            raise PydanticCustomError("wrong_type", "input should be {words}", {"words": words})
        return value


class MadeCodeConfig(Section):
    """``[toolkit.sandbox.made_code]``: limits of one call of code that the model wrote."""

    timeout_seconds: Annotated[float, Field(gt=0, le=60, description="Time limit.")] = 2.0
    memory_mib: Annotated[int, Field(ge=32, le=4096, description="Address space.")] = 128
    output_kib: Annotated[
        int, Field(ge=1, le=1024, description="Size of stdout, of stderr and of the result, each.")
    ] = 16
    workers: Annotated[int, Field(ge=0, le=256, description="Worker processes kept warm. 0: one per core.")] = 0


class SandboxConfig(Section):
    """``[toolkit.sandbox]``: limits of one tool call."""

    timeout_seconds: Annotated[float, Field(gt=0, le=300, description="Time limit.")] = 5.0
    memory_mib: Annotated[int, Field(ge=32, le=16384, description="Address space.")] = 256
    workspace_mib: Annotated[int, Field(ge=1, le=1024, description="Scratch space for files.")] = 16
    output_kib: Annotated[
        int, Field(ge=1, le=16384, description="Size of stdout, of stderr and of the result, each.")
    ] = 64
    workers: Annotated[int, Field(ge=0, le=256, description="Worker processes kept warm. 0: one per core.")] = 0
    made_code: MadeCodeConfig = MadeCodeConfig()


def _beside_config(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    return path if folder is None else folder / path.expanduser()


PathFromConfig = Annotated[Path, AfterValidator(_beside_config)]
"""A path that, where relative, is taken from the folder of config.toml."""


class ToolsConfig(Section):
    """``[toolkit.tools]``: sources of tools."""

    builtin: Annotated[bool, Field(description="Tools that come with the product.")] = True
    modules: Annotated[
        tuple[str, ...],
        Field(description='Your modules with `@tool` functions, in `folder` or installed. Example: `["my_tools"]`.'),
    ] = ()
    folder: Annotated[PathFromConfig, Field(description="Folder of your modules, relative to config.toml.")] = Path()
    python_modules: Annotated[
        tuple[str, ...],
        Field(description='Importable modules of which every function becomes a tool. Example: `["math"]`.'),
    ] = ()
    approved: Annotated[Path | None, Field(exclude=True)] = None
    """Folder of approved tools that the model wrote. load_config sets it; it is no key of the file."""

    @field_validator("modules", "python_modules")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} is named twice; name it once")
        return names


class McpServerConfig(Section):
    """``[toolkit.mcp.NAME]``: one MCP server, started in a sandbox (`command`) or reached over HTTP (`url`)."""

    command: Annotated[
        tuple[str, ...],
        Field(
            description="Program and arguments of a started server. `python` is the interpreter of this installation."
        ),
    ] = ()
    url: Annotated[str, Field(description="Address of a streamable HTTP endpoint.")] = ""
    network: Annotated[bool, Field(description="Network access of a started server.")] = False
    bind: Annotated[
        tuple[PathFromConfig, ...],
        Field(description="Folders and files that a started server may read, relative to config.toml."),
    ] = ()
    environment: Annotated[
        tuple[str, ...], Field(description="Names of the environment variables passed to a started server.")
    ] = ()
    timeout_seconds: Annotated[
        float, Field(gt=0, le=600, description="Time limit of start, listing and each call.")
    ] = 30.0
    max_tools: Annotated[
        int, Field(ge=1, le=10_000, description="Tools taken from the server. The rest is left out.")
    ] = 200

    @model_validator(mode="after")
    def _one_way_to_reach_it(self) -> "McpServerConfig":
        if bool(self.command) == bool(self.url):
            raise ValueError("give either command or url")
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError("url must begin with http:// or https://")
        return self


class ToolkitConfig(Section):
    """``[toolkit]``: tools and the sandbox."""

    sandbox: SandboxConfig = SandboxConfig()
    tools: ToolsConfig = ToolsConfig()
    mcp: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,30}$")], McpServerConfig] = Field(default_factory=dict)


class Config(Section):
    """config.toml as the ``toolkit`` command reads it; ``agent`` and ``evolver`` check their own tables."""

    data_folder: Annotated[
        Path, Field(description="Folder of logs, databases, models and adapters, relative to config.toml.")
    ] = Path("data")
    toolkit: ToolkitConfig = ToolkitConfig()
    agent: dict[str, Any] = Field(default_factory=dict)
    evolver: dict[str, Any] = Field(default_factory=dict)
    cluster: dict[str, Any] = Field(default_factory=dict)


C = TypeVar("C", bound=Section)


def load_config(path: Path | None, model: type[C]) -> C:
    """Read ``path`` (None: ./config.toml if it exists, else the defaults) as ``model``.

    A relative ``data_folder`` is taken from the folder of the file. Raises ConfigError with one line that names the
    file, the key and what it allows.
    """
    return validated(read_config_file(path), model)


def validated(file: ConfigFile, model: type[C]) -> C:
    """Return the configuration in ``file`` as ``model``. Raises ConfigError as ``load_config``."""
    values = _with_places(file)
    try:
        return model.model_validate(values, context={"folder": file.folder})
    except ValidationError as error:
        raise ConfigError(f"{file.path}: {first_problem(error, model)}") from None


def _with_places(file: ConfigFile) -> dict[str, Any]:
    """Return the values of ``file`` with the data folder as it is, and the folder of approved tools, which follows from
    it. A table of a wrong type is left to the validation."""
    values, data_folder = {**file.values}, file.data_folder
    toolkit = values.get("toolkit", {})
    tools = toolkit.get("tools", {}) if isinstance(toolkit, dict) else None
    if data_folder is None:
        return values
    values["data_folder"] = str(data_folder)
    if isinstance(tools, dict):
        if "approved" in tools:
            raise ConfigError(
                f"{file.path}: unknown key toolkit.tools.approved; it follows from data_folder: leave it out"
            )
        values["toolkit"] = {**toolkit, "tools": {**tools, "approved": str(data_folder / APPROVED_FOLDER)}}
    return values


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the worst problem of a configuration, in one clause that names the key."""
    problems = error.errors()
    # A key that is spelt wrongly is the cause where another one is missing.
    first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(_keys_beside(model, first["loc"]))
        return f"unknown key {key}; allowed here: {allowed}"
    if first["type"] == "value_error":  # a rule about several keys, in its own words
        rule = first["msg"].removeprefix("Value error, ")
        return f"{key}: {rule}" if key else rule
    return f"{key} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}; correct the value"


def _keys_beside(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys of the table at ``location``; names of a dict's entries and places of a list lead to its last type."""
    kind: Any = model
    for part in location[:-1]:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation
        else:
            kind = next(of for of in reversed(get_args(kind)) if of is not Ellipsis)
    return sorted(name for name, field in kind.model_fields.items() if not field.exclude)
