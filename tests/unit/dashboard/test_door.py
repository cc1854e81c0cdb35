"""Who may see a page and press a button, and what leaves with every answer."""

import hashlib
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.testclient import TestClient

from agent.adapters import active
from agent.config import Config, GatewayConfig
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.access import api_keys
from agent.serving.gateway.access.auth import Access
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.pages import installed
from dashboard.sessions import SECONDS, Sessions
from evolver.store.ledger import Ledger
from tests.fakes.dashboard_world import OWN, URL, Visitor, gateway

PIN = "/adapters/adapter-0002/pin"


def routes(data: Path, method: str) -> list[str]:
    """The paths of all pages, filled in."""
    mounted = next(route for route in gateway(data).app.routes if getattr(route, "path", "") == "/ui")
    found = [route for route in mounted.app.routes if isinstance(route, Route)]  # pyright: ignore
    values = {"name": "adapter-0001", "number": "1", "id": interaction(data), "place": "0", "session": "s"}
    return [route.path.replace(":path", "").format(**values) for route in found if method in (route.methods or ())]


def interaction(data: Path) -> str:
    with InteractionLog.open_readonly(data / "interactions.db") as log:
        return log.read()[0].id


def is_pinned(data: Path) -> bool:
    with Ledger(data / "evolution.db") as ledger:
        row = ledger.adapter("adapter-0002")
    return row is not None and row.pinned


def contents(data: Path) -> dict[str, str]:
    """All that is stored, by its place: rows of the databases, bytes of the files."""
    files = [path for path in data.rglob("*") if path.is_file() and ".db" not in path.name]
    found = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    with Ledger(data / "evolution.db") as ledger, ledger.reading() as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
        found |= {name: str(db.execute(f"SELECT * FROM {name}").fetchall()) for name in tables}
    with InteractionLog(data / "interactions.db") as log:
        found["interactions.db"] = repr(log.read())
    return found


def test_no_route_writes_on_get(data: Path) -> None:
    visitor = Visitor(data)
    before = contents(data)
    paths = routes(data, "GET")
    assert len(paths) >= 7
    answers = {path: visitor.client.get(f"/ui{path}").status_code for path in paths}
    assert {path: status for path, status in answers.items() if status >= 500} == {}
    assert contents(data) == before


def test_every_answer_lets_no_foreign_script_or_frame_in(visitor: Visitor) -> None:
    for path in ("/", "/login", "/nothing", "/learning.json", "/static/dashboard.js"):
        headers = visitor.client.get(f"/ui{path}").headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_no_page_holds_a_script_or_a_style_of_its_own(data: Path, visitor: Visitor) -> None:
    for path in routes(data, "GET"):
        text = visitor.client.get(f"/ui{path}").text
        assert "<style" not in text, path
        assert " style=" not in text, path
        assert " onclick=" not in text, path
        assert "<script>" not in text, path


def test_what_was_said_stays_text(data: Path, visitor: Visitor) -> None:
    with Ledger(data / "evolution.db") as ledger:
        ledger.mark_adapter("adapter-0002", "<script>alert(1)</script>")
        ledger.record_release("adapter-0001", "base", "<img src=x onerror=alert(2)>", by="person")
    pages = [visitor.client.get(f"/ui{path}").text for path in ("/adapters", "/releases")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages[0]
    assert "&lt;img src=x" in pages[1]
    assert not any("<script>alert" in page or "<img" in page for page in pages)


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "http://evil.example"}, {"origin": "null"}, {**OWN, "sec-fetch-site": "cross-site"}],
    ids=str,
)
def test_a_button_works_on_own_pages_only(data: Path, visitor: Visitor, headers: dict[str, str]) -> None:
    answer = visitor.client.post(f"/ui{PIN}", headers=headers, data={"x": "y"}, follow_redirects=False)
    assert answer.status_code in (403, 415)
    assert not is_pinned(data)
    assert visitor.client.post(f"/ui{PIN}", headers=OWN, follow_redirects=False).status_code == 303
    assert is_pinned(data)


def test_a_page_that_the_configuration_allows_to_ask_may_not_press_buttons(data: Path) -> None:
    visitor = Visitor(data, allowed_origins=("https://app.example",))
    assert visitor.client.post(f"/ui{PIN}", headers={"origin": "https://app.example"}).status_code == 403
    assert not is_pinned(data)


def test_without_a_key_only_the_sign_in_is_shown(data: Path) -> None:
    visitor = Visitor(data, require_key=True)
    for path in routes(data, "GET"):
        answer = visitor.client.get(f"/ui{path}", follow_redirects=False)
        if path == "/login":
            assert answer.status_code == 200
        elif path.endswith(".json"):
            assert answer.status_code == 401
        else:
            assert (answer.status_code, answer.headers["location"]) == (303, "/ui/login"), path
    for path in routes(data, "POST"):
        if path not in ("/login", "/logout"):
            assert visitor.client.post(f"/ui{path}", headers=OWN).status_code == 401, path


def test_a_key_with_read_sees_all_and_changes_nothing(data: Path) -> None:
    visitor = Visitor(data, require_key=True)
    visitor.sign_in("read")
    before = contents(data)
    seen = visitor.get("/adapters")
    assert seen.status == 200
    assert seen.actions == {"/ui/logout"}
    for path in routes(data, "POST"):
        if path not in ("/login", "/logout"):
            refused = visitor.press(path)
            assert refused.status == 403, path
            assert "lacks the scope" in refused.text
    assert contents(data) == before


@pytest.mark.parametrize("scopes", [("chat",), ("feedback",), ("chat", "feedback")])
def test_a_key_for_requests_alone_sees_no_page(data: Path, scopes: tuple[str, ...]) -> None:
    visitor = Visitor(data, require_key=True)
    visitor.sign_in(*scopes)
    assert visitor.get("/").status == 403


def test_the_cookie_is_for_this_site_and_no_script(data: Path) -> None:
    visitor = Visitor(data, require_key=True)
    key = api_keys.create(data, "bob", ["read"])
    answer = visitor.client.post("/ui/login", data={"key": key}, headers=OWN, follow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    for part in ("httponly", "samesite=strict", "path=/ui", f"max-age={SECONDS}"):
        assert part in cookie
    assert key not in cookie


def test_a_session_ends_with_its_key_and_when_one_signs_out(data: Path) -> None:
    visitor = Visitor(data, require_key=True)
    visitor.sign_in("read", name="bob")
    assert visitor.get("/").status == 200
    api_keys.revoke(data, "bob")
    assert "Sign in" in visitor.get("/").text
    visitor.sign_in("read", name="carol")
    cookies = dict(visitor.client.cookies)
    visitor.press("/logout")
    visitor.client.cookies.update(cookies)
    assert "Sign in" in visitor.get("/").text


def test_a_session_ends_after_twelve_hours(data: Path) -> None:
    now = 0.0
    key = api_keys.create(data, "bob", ["read"])
    sessions = Sessions(Access(data, GatewayConfig(require_key=True), "own"), clock=lambda: now)
    headers = Headers({"cookie": f"apprentice_session={sessions.sign_in(key)}"})
    assert sessions.caller(headers) is not None
    now = 12 * 3600 + 1.0
    assert sessions.caller(headers) is None


@pytest.mark.parametrize("key", ["", "apprentice-guess", "sk-1234"])
def test_what_is_no_key_opens_nothing(data: Path, key: str) -> None:
    visitor = Visitor(data, require_key=True)
    refused = visitor.press("/login", key=key)
    assert refused.status == 401
    assert "no API key" in refused.text
    assert not visitor.client.cookies


def test_a_program_may_read_with_its_key_in_the_header(data: Path) -> None:
    visitor = Visitor(data, require_key=True)
    key = api_keys.create(data, "bot", ["read"])
    headers = {"authorization": f"Bearer {key}"}
    assert visitor.client.get("/ui/learning.json", headers=headers).status_code == 200


def test_a_damaged_pointer_is_said_and_the_rest_is_shown(data: Path, visitor: Visitor) -> None:
    active.path(data).write_text("{")
    seen = visitor.get("/")
    assert seen.status == 200
    assert "is damaged" in seen.text
    assert visitor.get("/adapters").status == 200


def test_a_mistake_in_the_evolvers_tables_keeps_the_gateway_running(data: Path) -> None:
    said: list[str] = []
    config = Config(data_folder=data, evolver={"daemon": {"every_hours": -1}})
    found = installed(config, said.append)
    assert list(found) == ["/ui"]
    client = TestClient(Gateway(data, pages=found).app, base_url=URL)
    assert client.get("/ui/").status_code == 503
    assert "every_hours" in said[0]
    assert client.get("/v1/models").status_code == 503  # no server, but a gateway
