"""The models that answer: the alias ``agent``, ``base`` or an adapter by name, each with its bias."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agent.adapters import active
from agent.adapters.active import ActiveAdapter
from agent.adapters.package import MANIFEST, folder_of, manifest_sha256, read_manifest
from agent.errors import AdapterError
from agent.turn.messages import BASE
from agent.turn.model_client import ADAPTER_HEADER, ADAPTER_SHA256_HEADER

ALIAS = "agent"

_NAME = re.compile(active.NAME_PATTERN)

T = TypeVar("T")


@dataclass(frozen=True)
class RoutedModel:
    """A model that answers, and the bias that its calibration asks for. ``tenant``: whom it answers, "" for all."""

    name: str
    sha256: str = ""
    logit_bias: dict[str, float] | None = None
    tenant: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {ADAPTER_HEADER: self.name, ADAPTER_SHA256_HEADER: self.sha256}


class CachedFile:
    """The results of ``read`` for files, read again only when a file has changed."""

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


class ModelRouter:
    """Looks models up by name. Methods raise AdapterError when the pointer or a manifest is damaged.

    ``tenant`` is that of the caller: it is answered by its own adapter, or where it has none by that of everybody.
    """

    def __init__(self, data_folder: Path) -> None:
        self._data_folder = data_folder
        self._files = CachedFile()

    def active(self, tenant: str = "") -> str:
        """Return the name of the adapter that serves now, or ``base``."""
        return self._pointer(tenant).name

    def on_trial(self, session: str, owner: str, tenant: str = "") -> RoutedModel | None:
        """Return the adapter on trial if it answers this session; None if the one that serves does."""
        canary = self._pointer(tenant).canary
        if canary is None or not session or not canary.takes(session, owner):
            return None
        model = self.intact(canary.name)
        return model if model is not None and model.sha256 == canary.sha256 else None

    def find(self, asked: object, tenant: str = "") -> RoutedModel | None:
        """Return the model of that name; None if no model can have it, or its adapter's folder is gone: then nothing
        tells whom it answers."""
        name = self.active(tenant) if asked == ALIAS else asked
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return None
        if name == BASE:
            return RoutedModel(BASE)
        folder = folder_of(self._data_folder, name)
        if asked != ALIAS and not folder.exists():
            return None
        return self._files.get(folder / MANIFEST, lambda: _routed(name, folder))

    def intact(self, name: str) -> RoutedModel | None:
        """Return the model of that name; None where there is none, and where its manifest is damaged."""
        try:
            return self.find(name)
        except AdapterError:
            return None

    def _pointer(self, tenant: str = "") -> ActiveAdapter:
        file = active.path(self._data_folder, tenant)
        pointer = self._files.get(file, lambda: active.read_here(self._data_folder, tenant))
        return active.over(pointer, self._pointer()) if pointer.name == active.SHARED and tenant else pointer


def _routed(name: str, folder: Path) -> RoutedModel:
    manifest = read_manifest(folder)
    return RoutedModel(name, manifest_sha256(folder), manifest.logit_bias, manifest.tenant)
