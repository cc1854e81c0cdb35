"""A visit to a page, and the desk that answers it: its configuration, its sessions, its templates."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from agent.http.http_error import HttpError
from agent.serving.gateway.access.auth import Caller
from dashboard.measurements import Measurements
from dashboard.sessions import Sessions
from dashboard.words import FILTERS
from evolver.config import Config

PAGE_ROWS = 50
_KEPT_SECONDS = 30.0

T = TypeVar("T")

NAVIGATION = (
    ("", "Overview"),
    ("cycles", "Cycles"),
    ("adapters", "Adapters"),
    ("releases", "Releases"),
    ("live", "Live"),
    ("conversations", "Conversations"),
    ("chat", "Chat"),
    ("tools", "Tools"),
    ("evals", "Scores"),
    ("shadow", "Shadow"),
    ("settings", "Settings"),
)


@dataclass(frozen=True)
class Visit:
    """A request, who sent it, and the fields of its form."""

    request: Request
    caller: Caller
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """Return the path below which the pages are."""
        return self.request.scope.get("root_path", "")

    @property
    def who(self) -> str:
        """Return words for the person behind a button: ``by NAME`` or ``without a key``."""
        return f"by {self.caller.name}" if self.caller.name else "without a key"

    def part(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def number(self, name: str, default: int = 0) -> int:
        """Return a whole number of the path or the query. Raises HttpError for any other text."""
        text = self.request.path_params.get(name, self.request.query_params.get(name, ""))
        if text == "":
            return default
        try:
            return int(text)
        except ValueError as error:
            raise HttpError(400, f"{name} must be a whole number, not {str(text)[:60]!r}") from error

    def link(self, **changed: object) -> str:
        """Return the query of this page with other values."""
        query = {name: value for name, value in self.request.query_params.items() if value}
        return "?" + urlencode({**query, **changed})

    def asked(self, name: str) -> str:
        """Return a parameter of the query; "" where it is missing."""
        return self.request.query_params.get(name, "")


@dataclass(frozen=True)
class Paging:
    """One page of a list: rows ``first`` to ``last``, from 1, of ``total``. ``before`` and ``after`` are links."""

    number: int
    total: int
    before: str
    after: str

    @property
    def first(self) -> int:
        return min(self.total, (self.number - 1) * PAGE_ROWS + 1)

    @property
    def last(self) -> int:
        return min(self.total, self.number * PAGE_ROWS)


def paging(visit: Visit, total: int, *, default: int = 1) -> Paging:
    """Return the page of a list that a visit asks for with ``page``; without it, the page ``default``."""
    number = min(max(1, visit.number("page", default)), max(1, -(-total // PAGE_ROWS)))
    after = visit.link(page=number + 1) if number * PAGE_ROWS < total else ""
    return Paging(number, total, visit.link(page=number - 1) if number > 1 else "", after)


def templates() -> Environment:
    """Return the templates of all pages; what is filled in is escaped."""
    found = Environment(
        loader=PackageLoader("dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(FILTERS)
    return found


class Desk:
    """Configuration, sessions and templates, for every page."""

    def __init__(self, config: Config, sessions: Sessions) -> None:
        self.config = config
        self.sessions = sessions
        self.measurements = Measurements(config)
        self._known: dict[str, tuple[float, Any]] = {}
        self._templates = templates()

    @property
    def data(self) -> Path:
        """Return the data folder."""
        return self.config.data_folder

    def kept(self, name: str, work: Callable[[], T], *, seconds: float = _KEPT_SECONDS) -> T:
        """Return the result of ``work``, at most ``seconds`` old: for figures that read thousands of turns."""
        known = self._known.get(name)
        if known is None or time.monotonic() - known[0] > seconds:
            known = self._known[name] = (time.monotonic(), work())
        return known[1]

    def page(self, visit: Visit, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Return ``template`` filled in."""
        known = {"base": visit.base, "caller": visit.caller, "navigation": NAVIGATION, "may": visit.caller.may}
        return HTMLResponse(self._templates.get_template(template).render(**known, **values), status)

    def failure(self, visit: Visit, status: int, message: str) -> Response:
        """Return the page that says why a visit had no success."""
        if visit.request.url.path.endswith(".json"):
            return JSONResponse({"error": message}, status)
        return self.page(visit, "failure.html", status, message=message)


def see(visit: Visit, path: str) -> RedirectResponse:
    """Return the redirect to the page at ``path`` that follows a button."""
    return RedirectResponse(f"{visit.base}/{path}", 303)


Handler = Callable[[Desk, Visit], Response]
