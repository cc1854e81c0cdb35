"""The key that a vLLM on the network asks for."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from agent.serving.vllm.command_line import KEY_CHECK
from agent.serving.vllm_plugin.key_check import KeyCheck


def opened(monkeypatch: pytest.MonkeyPatch, key: str) -> TestClient:
    async def said(_: Request) -> PlainTextResponse:
        return PlainTextResponse("said")

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    paths = ("/health", "/invocations", "/v1/models", "/health/more", "/metrics")
    app = Starlette(
        routes=[*(Route(path, said, methods=["GET", "POST"]) for path in paths), WebSocketRoute("/w", talk)]
    )
    monkeypatch.setenv("VLLM_API_KEY", key)
    app.add_middleware(KeyCheck)
    return TestClient(app)


def test_every_route_but_health_takes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    client, right = opened(monkeypatch, "k"), {"authorization": "Bearer k"}
    assert client.get("/health").status_code == 200
    for path in ("/invocations", "/v1/models", "/health/more", "/metrics"):
        assert client.post(path).status_code == 401
        assert client.post(path, headers={"authorization": "Bearer "}).status_code == 401
        assert client.post(path, headers={"authorization": "Bearer other"}).status_code == 401
        assert client.post(path, headers=right).text == "said"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/w"):
        pass
    with client.websocket_connect("/w", headers=right):
        pass


def test_without_a_key_nobody_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    client = opened(monkeypatch, "")
    assert client.get("/v1/models", headers={"authorization": "Bearer "}).status_code == 401


def test_vllm_is_told_the_name_of_that_class() -> None:
    assert f"{KeyCheck.__module__}.{KeyCheck.__name__}" == KEY_CHECK
