"""Pages in a real browser: those of other origins can do nothing, those of the gateway's own origin can."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.adapters import active
from agent.adapters.active import ActiveAdapter
from agent.config import GatewayConfig
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.upstreams.admin_api import AdminApi
from agent.serving.upstreams.connection import Upstream
from tests.fakes.browser import chromium
from tests.fakes.model_gateway import KEY, running
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.waiting import wait_until

CHAT = {"model": "agent", "messages": [{"role": "user", "content": "planted by a web page"}]}
PROMOTE = {"lora_name": "adapter-0666", "lora_path": "/tmp/adapter-0666"}

# Every way by which a page sends a body; the last two do not say when it was sent.
_WAYS = {
    "plain text": "([url, body]) => fetch(url, {method: 'POST', mode: 'no-cors', body}).then(r => r.type, String)",
    "with cookies": """([url, body]) => fetch(url,
        {method: 'POST', mode: 'no-cors', credentials: 'include', body}).then(r => r.type, String)""",
    "no type": """([url, body]) => fetch(url,
        {method: 'POST', mode: 'no-cors', body: new Blob([body])}).then(r => r.type, String)""",
    "JSON": """([url, body]) => fetch(url, {method: 'POST', body,
        headers: {'content-type': 'application/json', 'x-apprentice-log': 'wait'}}).then(r => r.text(), String)""",
    "beacon": "([url, body]) => navigator.sendBeacon(url, body)",
    "form": """([url, body]) => {
        const frame = document.createElement('iframe');
        frame.name = 'frame' + document.forms.length;
        document.body.append(frame);
        const form = document.createElement('form');
        Object.assign(form, {method: 'post', action: url, enctype: 'text/plain', target: frame.name});
        const field = document.createElement('input');
        field.name = body.slice(0, -1) + ', "x": "';
        field.value = '"}';
        form.append(field);
        document.body.append(form);
        form.submit();
    }""",
}


class Recorder:
    """Passes requests on and keeps what was answered: method, path, status."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.answered: list[tuple[str, str, int]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            begins = message["type"] == "http.response.start"
            if begins and scope["path"] != "/favicon.ico":  # which a browser may ask for whenever it likes
                self.answered.append((scope["method"], scope["path"], message["status"]))
            await send(message)

        await self._app(scope, receive, noted)

    def wait_for(self, count: int) -> list[tuple[str, str, int]]:
        wait_until(lambda: len(self.answered) >= count)
        return list(self.answered)


class World:
    """A gateway that serves adapter-0001 and logs, the door for adapters, and what came to each."""

    def __init__(self, data: Path, log: InteractionLog, server: ModelServer, config: GatewayConfig) -> None:
        self.data, self.log, self.server = data, log, server
        self.gateway = Gateway(data, config, log=CaptureLog(log))
        self.gateway.pool.replace([Upstream(server.url, KEY)])
        self.door = AdminApi(self.gateway.pool, self.gateway.connections)
        self.seen = self.gateway.app = Recorder(self.gateway.app)  # pyright: ignore[reportAttributeAccessIssue]
        self.seen_by_door = self.door.app = Recorder(self.door.app)  # pyright: ignore[reportAttributeAccessIssue]
        active.write(data, ActiveAdapter(name="base"))

    def state(self) -> tuple[Any, ...]:
        """All that a request could have changed."""
        logged = [(i.id, [f.verdict for f in i.feedback]) for i in self.log.read()]
        return logged, active.read(self.data), self.server.models, len(self.server.requests)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page()
    yield opened
    opened.close()


@contextmanager
def world(data: Path, **config: Any) -> Iterator[tuple[World, str, str]]:
    with (
        InteractionLog(data / "interactions.db") as log,
        ModelServer(script=lambda _: Says("hello"), key=KEY) as server,
    ):
        opened = World(data, log, server, GatewayConfig.model_validate(config))
        with running(opened.gateway) as url, running(opened.door) as door_url:  # pyright: ignore[reportArgumentType]
            yield opened, url, door_url


@contextmanager
def foreign_site() -> Iterator[int]:
    """A web server of somebody else on this machine; its port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>recipes</title><body>soup")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        server.daemon_threads = True  # browsers open connections ahead of time, and keep them
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def send(page: Page, way: str, url: str, body: Any) -> Any:
    return page.evaluate(_WAYS[way], [url, json.dumps(body)])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # to the gateway on 127.0.0.1 same-site, and cross-site
def test_a_page_of_another_origin_can_neither_ask_nor_give_feedback_nor_promote(
    tmp_path: Path, page: Page, host: str
) -> None:
    with world(tmp_path) as (here, url, door_url), foreign_site() as port:
        page.goto(f"{url}/health")
        send(page, "JSON", f"{url}/v1/chat/completions", CHAT)
        before = here.state()
        here.seen.answered.clear()
        page.goto(f"http://{host}:{port}/")
        word = {"id": before[0][0][0], "verdict": "good"}
        for way in _WAYS:
            send(page, way, f"{url}/v1/chat/completions", CHAT)
            send(page, way, f"{url}/v1/completions", {"model": "agent", "prompt": "planted"})
            send(page, way, f"{url}/v1/feedback", word)
            send(page, way, f"{url}/v1/load_lora_adapter", PROMOTE)
            send(page, way, f"{door_url}/v1/load_lora_adapter", PROMOTE)
        answers = here.seen.wait_for(4 * len(_WAYS))
        read = page.evaluate("url => fetch(url).then(r => r.text(), String)", f"{url}/v1/models")
        assert {status for _, _, status in answers} == {403}
        assert len(answers) >= 4 * len(_WAYS)
        assert {method for method, _, _ in answers} == {"POST", "OPTIONS"}
        refused_by_door = here.seen_by_door.wait_for(len(_WAYS))
        assert {status for method, _, status in refused_by_door if method == "POST"} == {401}
        assert "Failed to fetch" in read
        assert here.state() == before


def test_a_page_of_its_own_origin_can(tmp_path: Path, page: Page) -> None:
    with world(tmp_path) as (here, url, _):
        page.goto(f"{url}/health")
        answer = json.loads(send(page, "JSON", f"{url}/v1/chat/completions", CHAT))
        assert answer["choices"][0]["message"]["content"] == "hello"
        told = json.loads(send(page, "JSON", f"{url}/v1/feedback", {"id": answer["id"], "verdict": "good"}))
        assert told["verdict"] == "good"
        (logged,) = here.log.read()
        assert [f.verdict for f in logged.feedback] == ["good"]


def test_a_page_that_the_configuration_names_can(tmp_path: Path, page: Page) -> None:
    with foreign_site() as port:
        named, other = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        with world(tmp_path, allowed_origins=[named]) as (here, url, _):
            page.goto(named)
            answer = json.loads(send(page, "JSON", f"{url}/v1/chat/completions", CHAT))
            assert answer["choices"][0]["message"]["content"] == "hello"
            page.goto(other)
            assert "Failed to fetch" in send(page, "JSON", f"{url}/v1/chat/completions", CHAT)
            assert len(here.log.read()) == len(here.server.requests) == 1
