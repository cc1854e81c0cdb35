"""A gateway without a socket of its own, in front of a model server that answers whatever it is asked."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from agent.adapters import active
from agent.adapters.active import ActiveAdapter
from agent.config import GatewayConfig
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.upstreams.connection import Upstream
from agent.turn.messages import Interaction
from tests.fakes.adapter_folder import write_manifest
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.tool_judge import CALL_TOKEN, judging

KEY = "upstream-key"


class World:
    """A client of the gateway, the server behind it, and what is logged."""

    def __init__(self, client: TestClient, server: ModelServer, log: InteractionLog) -> None:
        self.client, self.server, self._log = client, server, log
        self._newest: str | None = None

    def post(self, path: str, content: bytes) -> Any:
        """The answer, which comes when it is logged."""
        self.server.requests.clear()
        headers = {"content-type": "application/json", "x-apprentice-log": "wait"}
        return self.client.post(path, content=content, headers=headers)

    def answered(self) -> list[dict[str, Any]]:
        """The requests that the server answered, without those about single tools that come before."""
        return [request for request in self.server.requests if "return_tokens_as_token_ids" not in request]

    def check_logged(self, answered: int) -> list[Interaction]:
        """Check that so many turns were logged, and that the server answered each, a divided request part by part."""
        logged = self.logged()
        choices = [turn.trajectory.choice for turn in logged]
        asked = [max(1, len(choice.parts)) if choice is not None else 1 for choice in choices]
        assert len(logged) == answered
        assert len(self.answered()) == sum(asked)
        return logged

    def logged(self) -> list[Interaction]:
        """What was logged since this was asked last."""
        found = self._log.read(since_id=self._newest)
        self._newest = found[-1].id if found else self._newest
        return found


def says(request: dict[str, Any]) -> Says:
    if "prompt" in request:
        choice = {"index": 0, "text": "a text", "finish_reason": "stop"}
        whole = json.dumps({"id": "cmpl-1", "choices": [choice]}).encode()
        return Says(raw=b"data: " + whole + b"\n\ndata: [DONE]\n\n" if request.get("stream") else whole)
    tools = [tool["function"]["name"] for tool in request.get("tools", ())]
    if tools and request.get("tool_choice", "auto") != "none":
        return Says(calls=[(tools[0], '{"a": 1}')])
    return Says("hello")


class Margins(dict[str, float]):
    """Margins of tools by their names: some likely, some not."""

    def __missing__(self, name: str) -> float:
        return float(len(name) % 5 - 2)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("data")
    write_manifest(data / "adapters" / "adapter-0001", {"token_id": CALL_TOKEN, "bias": 0.5})
    active.write(data, ActiveAdapter(name="adapter-0001", sha256="a" * 64))
    judge = judging(Margins(), says)
    with InteractionLog(data / "interactions.db") as log, ModelServer(script=judge, key=KEY) as server:
        gateway = Gateway(data, GatewayConfig(requests_per_minute=0), log=CaptureLog(log))
        gateway.pool.replace([Upstream(server.url, KEY)])
        with TestClient(gateway.app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False) as client:
            yield World(client, server, log)
