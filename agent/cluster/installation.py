"""Comparison of the apprentice and the tools of this machine with those of another one."""

import hashlib
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from toolkit.config import ToolkitConfig
from toolkit.registry import ToolRegistry

_DISTRIBUTION = "apprentice-agent"
_PACKAGES = ("toolkit", "agent", "evolver")
_ROOT = Path(__file__).parents[2]
_SHOWN = 3


@dataclass(frozen=True)
class Installation:
    """Versions and code of an installation. ``code`` is the hash of all files of its packages."""

    python: str
    code: str
    libraries: tuple[tuple[str, str], ...]

    def difference(self, other: "Installation") -> str:
        """Return the differences to ``other`` in words; "" where they are the same."""
        if self.python != other.python:
            return f"Python {self.python} instead of {other.python}"
        if self.code != other.code:
            return f"another version of apprentice (code {self.code[:8]} instead of {other.code[:8]})"
        theirs = dict(other.libraries)
        different = [f"{name} {v} instead of {theirs.get(name)}" for name, v in self.libraries if theirs.get(name) != v]
        return _some(different)


@cache
def installed() -> Installation:
    """Return the installation that this process runs from."""
    return Installation(".".join(platform.python_version_tuple()[:2]), _code_sha256(), tuple(_libraries()))


def tool_hashes(registry: ToolRegistry, config: ToolkitConfig) -> dict[str, str]:
    """Return a hash of each tool as the model sees it, in the order of ``registry``, and of each module in ``folder``
    of the configuration."""
    found = {tool.name: hashlib.sha256(tool.model_dump_json().encode()).hexdigest() for tool in registry}
    for name in config.tools.modules:
        path = config.tools.folder / name.replace(".", "/")
        files = [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else sorted(path.rglob("*.py"))
        found[f"module {name}"] = _hash_of(path.parent, files)
    return found


def other_tools(here: dict[str, str], there: dict[str, str]) -> str:
    """Compare two results of ``tool_hashes``. Return the names that differ, in words; "" if none does."""
    if list(here.items()) == list(there.items()):
        return ""
    different = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    return _some(different) or "their order"


def _some(words: list[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return f"{', '.join(words[:_SHOWN])}{more}"


def _code_sha256() -> str:
    files = (path for package in _PACKAGES for path in sorted((_ROOT / package).rglob("*")))
    return _hash_of(_ROOT, (path for path in files if path.is_file() and path.suffix != ".pyc"))


def _hash_of(root: Path, files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in files:
        found.update(f"{path.relative_to(root).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def _libraries() -> Iterable[tuple[str, str]]:
    """Yield name and version of each required library, without those of extras."""
    for wanted in metadata.requires(_DISTRIBUTION) or ():
        name = re.split(r"[^\w.-]", wanted, maxsplit=1)[0]
        if "extra ==" not in wanted:
            try:
                yield name, metadata.version(name)
            except metadata.PackageNotFoundError:  # one for another platform
                continue
