"""Which web pages may use the gateway."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from agent.config import GatewayConfig
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.upstreams.connection import Upstream
from tests.fakes.model_server import ModelServer, Says

OWN = "http://127.0.0.1:8765"
CHAT = {"model": "agent", "messages": [{"role": "user", "content": "hi"}]}
ROUTES = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "agent", "prompt": "hi"},
    "/v1/feedback": {"id": "chatcmpl-1", "verdict": "good"},
    "/v1/load_lora_adapter": {"lora_name": "evil", "lora_path": "/tmp"},
    "/no/such/route": {},
}


class Door:
    """A gateway without a socket, what the model server behind it was asked, and what was logged."""

    def __init__(self, client: TestClient, server: ModelServer, log: InteractionLog) -> None:
        self.client, self.server, self.log = client, server, log

    def post(self, path: str = "/v1/chat/completions", body: Any = CHAT, **headers: str) -> Any:
        return self.client.post(path, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    @property
    def untouched(self) -> bool:
        return not self.server.requests and not self.log.read()


@pytest.fixture
def door(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Door]:
    config = GatewayConfig.model_validate({"allowed_origins": getattr(request, "param", [])})
    with (
        InteractionLog(tmp_path / "interactions.db") as log,
        ModelServer(script=lambda _: Says("hello"), key="k") as server,
    ):
        gateway = Gateway(tmp_path, config, log=CaptureLog(log))
        gateway.pool.replace([Upstream(server.url, "k")])
        with TestClient(gateway.app, base_url=OWN) as client:
            yield Door(client, server, log)


@pytest.mark.parametrize(
    "sent",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:8766", "sec_fetch_site": "same-site"},
        {"origin": "http://localhost:8765"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:99999999"},
        {"origin": "http://[::1"},
        {"origin": "http://127.0.0.1:8765.evil.example"},
        {"origin": "http://127.0.0.1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "https://127.0.0.1:8765", "sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"},
        {"origin": "https://evil.example", "content_type": "text/plain"},
    ],
)
def test_pages_of_other_origins_are_refused_on_every_route(door: Door, sent: dict[str, str]) -> None:
    for path, body in ROUTES.items():
        answer = door.post(path, body, x_apprentice_log="wait", **sent)
        assert (path, answer.status_code) == (path, 403)
        assert "allowed_origins in [agent.serving.gateway]" in answer.json()["error"]["message"]
        assert "access-control-allow-origin" not in answer.headers
    assert door.untouched


def test_a_foreign_page_reads_nothing_either(door: Door) -> None:
    page = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    for path in ("/v1/models", "/metrics", "/health"):
        assert (path, door.client.get(path, headers=page).status_code) == (path, 403)
    preflight = door.client.options("/v1/chat/completions", headers=page | {"access-control-request-method": "POST"})
    assert (preflight.status_code, "access-control-allow-origin" in preflight.headers) == (403, False)


def test_a_link_from_elsewhere_may_be_followed(door: Door) -> None:
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert door.client.get("/health", headers=followed).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"origin": OWN, "sec_fetch_site": "same-origin"},
        {"origin": OWN},
        {"origin": "http://LOCALHOST:8765", "host": "localhost:8765"},
        {"origin": "http://localhost", "host": "localhost"},
        {"origin": "http://localhost", "host": "localhost:80"},
        {"sec_fetch_site": "none"},
        {"sec_fetch_mode": "cors"},  # fetch() of Node.js
    ],
)
def test_programs_and_pages_of_its_own_origin_are_answered(door: Door, sent: dict[str, str]) -> None:
    assert door.post(**sent).status_code == 200
    assert len(door.server.requests) == 1


@pytest.mark.parametrize(
    "content_type", ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "", "json", None]
)
def test_a_body_whose_type_is_not_json_is_refused(door: Door, content_type: str | None) -> None:
    headers = {"x-apprentice-log": "wait"} | ({} if content_type is None else {"content-type": content_type})
    for path in ROUTES:
        answer = door.client.post(path, content=b'{"messages": []}', headers=headers)
        assert (path, answer.status_code, answer.json()["error"]["code"]) == (path, 415, 415)
        assert "content-type: application/json" in answer.json()["error"]["message"]
    assert door.untouched


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"])
def test_json_by_any_of_its_names_is_read(door: Door, content_type: str) -> None:
    assert door.post(content_type=content_type).status_code == 200


@pytest.mark.parametrize("door", [["https://app.example", "tauri://localhost"]], indirect=True)
def test_pages_that_the_configuration_names_are_let_in(door: Door) -> None:
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
        "access-control-request-private-network": "true",
    }
    for origin in ("https://app.example", "tauri://localhost"):
        preflight = door.client.options("/v1/chat/completions", headers={"origin": origin} | asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert preflight.headers["access-control-allow-headers"] == "authorization,content-type,x-stainless-os"
        assert preflight.headers["access-control-allow-private-network"] == "true"
        answer = door.post(origin=origin, sec_fetch_site="cross-site")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        assert "x-apprentice-adapter" in answer.headers["access-control-expose-headers"]
    for origin in ("https://evil.example", "http://app.example", "https://app.example:8443"):
        assert door.post(origin=origin).status_code == 403
    assert len(door.server.requests) == 2


@pytest.mark.parametrize("door", [["https://app.example"]], indirect=True)
def test_a_preflight_for_another_method_is_refused_as_everything_is(door: Door) -> None:
    page = {"origin": "https://app.example", "access-control-request-method": "DELETE"}
    refused = door.client.options("/v1/chat/completions", headers=page)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "Disallowed CORS method; pages may GET and POST"
    assert refused.headers["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize("origin", ["*", "app.example", "https://app.example/", "https://*.example", "null", ""])
def test_an_origin_that_is_none_is_refused_at_start(origin: str) -> None:
    with pytest.raises(ValueError, match="allowed_origins"):
        GatewayConfig.model_validate({"allowed_origins": [origin]})
