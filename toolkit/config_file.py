"""The text of config.toml and where its data folder lies, before anything in it is checked.

Imports nothing of pydantic: `agent chat` reads no more where the running server has read the same file.
"""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import ConfigError
from toolkit.file_stamp import digest

DEFAULT_PATH = Path("config.toml")


class ConfigFile(NamedTuple):
    """A configuration that is valid TOML. ``text`` is "" where there is no file."""

    path: Path
    text: str
    values: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The folder from which relative paths in the file are taken."""
        return self.path.resolve().parent

    @property
    def digest(self) -> str:
        """The hash of the path and the text, on which every setting depends."""
        return digest(f"{self.path.resolve()}\n{self.text}")

    @property
    def data_folder(self) -> Path | None:
        """The data folder, absolute; None where the file names no path."""
        named = self.values.get("data_folder", "data")
        return (self.folder / Path(named).expanduser()).resolve() if isinstance(named, str) else None


def read_config_file(path: Path | None) -> ConfigFile:
    """Read ``path`` (None: ./config.toml if it exists, else nothing). Raises ConfigError."""
    if path is None:
        path = DEFAULT_PATH
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; give the path of a config.toml with --config") from None
    try:
        return ConfigFile(path, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}; correct that line") from None
