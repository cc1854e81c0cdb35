"""The dashboard over a data folder of the first version, and its pages read as a person reads them."""

import tarfile
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from agent.config import AgentConfig, Config, GatewayConfig, ServingConfig
from agent.serving.gateway.access import api_keys
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from dashboard.app import pages

FOLDER = Path(__file__).parents[1] / "data" / "data_folder_1b3f705.tar.xz"
URL = "http://127.0.0.1:8765"
OWN = {"origin": URL}


def old_folder(target: Path) -> Path:
    """Two cycles: adapter-0001 was promoted, adapter-0002 rejected. Its markers name paths relative to ``target``."""
    with tarfile.open(FOLDER) as archive:
        archive.extractall(target, filter="data")
    return target / "data"


def gateway(data: Path, *, log: CaptureLog | None = None, **settings: Any) -> Gateway:
    """A gateway with the dashboard; ``settings`` of ``[agent.serving.gateway]``."""
    serving = ServingConfig(gateway=GatewayConfig(**settings))
    config = Config(data_folder=data, agent=AgentConfig(serving=serving))
    return Gateway(data, serving.gateway, log=log, pages={"/ui": partial(pages, config)})


class Visitor:
    """A browser without scripts, on the dashboard of ``data``."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        self.client = TestClient(gateway(data, **settings).app, base_url=URL)

    def sign_in(self, *scopes: str, name: str = "alice") -> Any:
        key = api_keys.create(self.data, name, scopes)
        return self.client.post("/ui/login", data={"key": key}, headers=OWN)

    def get(self, path: str) -> "Page":
        return Page(self.client.get(f"/ui{path}"))

    def json(self, path: str) -> Any:
        return self.client.get(f"/ui{path}").json()

    def press(self, path: str, **form: str) -> "Page":
        return Page(self.client.post(f"/ui{path}", data=form, headers=OWN))


class Page:
    """An answer: its ``status``, all its ``text``, the text of the element with an id, the cells of a table."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.status = answer.status_code
        self._reader = _Reader()
        self._reader.feed(answer.text)

    @property
    def text(self) -> str:
        return _spaced(self._reader.all)

    @property
    def actions(self) -> set[str]:
        return self._reader.actions

    def of(self, identity: str) -> str:
        return _spaced(self._reader.by_id[identity])

    def rows(self, identity: str) -> list[list[str]]:
        """The body of the table ``identity``."""
        return [[_spaced(cell) for cell in row] for row in self._reader.tables[identity] if row]


class _Reader(HTMLParser):
    _VOID = frozenset({"meta", "link", "input", "br", "img", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.all: list[str] = []
        self.by_id: dict[str, list[str]] = {}
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.actions: set[str] = set()
        self._open: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        identity = found.get("id") or ""
        if tag == "form" and found.get("method") == "post":
            self.actions.add(found.get("action") or "")
        if tag not in self._VOID:
            self._open.append((tag, identity))
        if identity:
            self.by_id[identity] = []
        table = next((name for kind, name in reversed(self._open) if kind == "table"), None)
        if table is not None and tag == "tr":
            self.tables.setdefault(table, []).append([])
        if table is not None and tag == "td":
            self.tables[table][-1].append([])

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if any(tag in ("script", "style", "title") for tag, _ in self._open):
            return
        self.all.append(data)
        for _, identity in self._open:
            if identity:
                self.by_id[identity].append(data)
        if any(tag == "td" for tag, _ in self._open):
            table = next(name for kind, name in reversed(self._open) if kind == "table")
            self.tables[table][-1][-1].append(data)


def _spaced(parts: list[str]) -> str:
    return " ".join(" ".join(parts).split())
