"""Who answers a request: the alias ``agent``, ``base`` or an adapter by name, and with which bias."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agent.errors import AdapterError
from agent.messages import BASE
from agent.model_client import ADAPTER_HEADER, ADAPTER_SHA256_HEADER
from agent.serving import active_adapter
from agent.serving.active_adapter import ActiveAdapter
from agent.serving.adapter_folder import MANIFEST, folder_of, read_manifest

ALIAS = "agent"

_NAME = re.compile(active_adapter.NAME_PATTERN)

T = TypeVar("T")


@dataclass(frozen=True)
class Served:
    """A model that answers, and the bias that its calibration asks for."""

    name: str
    sha256: str = ""
    logit_bias: dict[str, float] | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {ADAPTER_HEADER: self.name, ADAPTER_SHA256_HEADER: self.sha256}


class CachedFile:
    """What ``read`` makes of a file, made again only when the file has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int, int], Any]] = {}

    def get(self, file: Path, read: Callable[[], T]) -> T:
        try:
            status = file.stat()
        except OSError:
            return read()
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        known = self._known.get(file)
        if known is None or known[0] != stamp:
            known = self._known[file] = (stamp, read())
        return known[1]


class Names:
    """Looks names up. All methods raise AdapterError when the pointer or a manifest is damaged."""

    def __init__(self, data_folder: Path) -> None:
        self._data_folder = data_folder
        self._files = CachedFile()

    def active(self) -> str:
        """The name of what serves now."""
        return self._pointer().name

    def on_trial(self, session: str, owner: str) -> Served | None:
        """The adapter that answers this session in the place of what serves; None where what serves does."""
        canary = self._pointer().canary
        if canary is None or not session or not canary.takes(session, owner):
            return None
        try:
            served = self.find(canary.name)
        except AdapterError:
            return None
        return served if served is not None and served.sha256 == canary.sha256 else None

    def find(self, asked: object) -> Served | None:
        """Who serves the model that was asked for; None if no model can have that name."""
        name = self.active() if asked == ALIAS else asked
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return None
        if name == BASE:
            return Served(BASE)
        folder = folder_of(self._data_folder, name)
        if asked != ALIAS and not folder.exists():
            return Served(name)  # vLLM says itself that it does not know the name
        manifest = self._files.get(folder / MANIFEST, lambda: read_manifest(folder))
        return Served(name, manifest.sha256, manifest.logit_bias)

    def _pointer(self) -> ActiveAdapter:
        file = active_adapter.path(self._data_folder)
        return self._files.get(file, lambda: active_adapter.read(self._data_folder))
