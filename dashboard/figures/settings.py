"""The configuration as it holds, key by key, with what was left at its default."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evolver.config import Config
from toolkit.config import Section


@dataclass(frozen=True)
class Setting:
    """A key of config.toml with its value."""

    key: str
    value: Any
    is_default: bool
    description: str


def settings(section: Section, default: Section | None = None, path: str = "") -> Iterator[Setting]:
    """Yield the keys of a section and of those in it."""
    default = default if default is not None else type(section)()
    for name, field in type(section).model_fields.items():
        value, usual = getattr(section, name), getattr(default, name)
        key = f"{path}.{name}" if path else name
        if isinstance(value, Section) and isinstance(usual, Section):
            yield from settings(value, usual, key)
        elif not field.exclude:
            yield Setting(key, value, value == usual, field.description or "")


def of(config: Config) -> list[Setting]:
    """Return the whole configuration."""
    return list(settings(config))
