"""Requests to the gateway, and the evolver's way in, while servers come and go."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agent.errors import AdapterError
from agent.serving.gateway.app import Gateway
from agent.serving.upstreams import lora_api
from agent.serving.upstreams.admin_api import AdminApi
from agent.serving.upstreams.connection import Upstream
from tests.fakes.adapter_folder import make_adapter
from tests.fakes.model_gateway import running
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.pool_world import CHAT, KEY


@pytest.fixture
def gone() -> Iterator[ModelServer]:
    """A server that does not answer any more."""
    with ModelServer() as server:
        server.stop()
        yield server


class TestThroughTheGateway:
    """Requests, while servers come and go."""

    def gateway(self, data: Path, servers: list[ModelServer]) -> Gateway:
        gateway = Gateway(data)
        gateway.pool.replace([Upstream(server.url, KEY) for server in servers])
        return gateway

    def test_all_servers_share_the_work(self, tmp_path: Path, servers: list[ModelServer]) -> None:
        gateway = self.gateway(tmp_path, servers)
        with running(gateway) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            for member, busy in zip(gateway.pool.members, (2, 0, 1), strict=True):
                member.in_flight = busy
            assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
            assert [len(server.requests) for server in servers] == [0, 1, 0]
            assert [member.in_flight for member in gateway.pool.members] == [2, 0, 1]

    @pytest.mark.parametrize("stream", [False, True])
    def test_another_one_answers_when_one_is_gone(
        self, tmp_path: Path, gone: ModelServer, servers: list[ModelServer], stream: bool
    ) -> None:
        gateway = self.gateway(tmp_path, [gone, *servers])
        for member in gateway.pool.members[1:]:
            member.in_flight = 1  # so that the one that is gone is asked first
        with running(gateway) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            for _ in range(3):
                assert client.post("/v1/chat/completions", json={**CHAT, "stream": stream}).status_code == 200
            assert [member.ready for member in gateway.pool.members] == [False, True, True, True]
            servers_state = client.get("/health").json()["servers"]
        assert servers_state[0] == {"ready": False, "trouble": "cannot be reached"}

    def test_one_that_lost_an_adapter_is_passed_over(self, tmp_path: Path, servers: list[ModelServer]) -> None:
        make_adapter(tmp_path, "adapter-0001", promote=True)
        servers[0]._script = lambda _: Says("no such model", status=404)
        gateway = self.gateway(tmp_path, servers)
        for member in gateway.pool.members[1:]:
            member.in_flight = 1  # so that the one that lost it is asked first
        with running(gateway) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            answers = [client.post("/v1/chat/completions", json=CHAT) for _ in range(3)]
            assert [a.status_code for a in answers] == [200] * 3
            assert [member.ready for member in gateway.pool.members] == [False, True, True]
            unknown = client.post("/v1/chat/completions", json={**CHAT, "model": "adapter-0009"})
            assert unknown.status_code == 404  # the gateway says so itself; nothing is marked as lost
        assert [member.ready for member in gateway.pool.members] == [False, True, True]

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_server_on_a_unix_socket(self, tmp_path: Path, stream: bool) -> None:
        gateway = Gateway(tmp_path)
        here, gone = (f"unix:{tmp_path / name}.sock" for name in ("here", "gone"))
        gateway.pool.replace([Upstream(gone, KEY), Upstream(here, KEY)])
        gateway.pool.members[1].in_flight = 1  # so that the one that is gone is asked first
        with (
            ModelServer(script=lambda _: Says("hello"), key=KEY, path=here.removeprefix("unix:")) as server,
            running(gateway) as url,
            httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
        ):
            answers = [client.post("/v1/chat/completions", json={**CHAT, "stream": stream}) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200] * 3
            assert len(server.requests) == 3
            assert {server.headers[0]["host"], server.headers[0]["authorization"]} == {"localhost", f"Bearer {KEY}"}
        assert [member.trouble for member in gateway.pool.members] == ["cannot be reached", ""]


class TestDoor:
    """The evolver's way in, with the functions that it uses."""

    @pytest.fixture
    def door(self, tmp_path: Path, servers: list[ModelServer]) -> Iterator[tuple[str, str]]:
        gateway = Gateway(tmp_path)
        gateway.pool.replace([Upstream(server.url, KEY) for server in servers])
        door = AdminApi(gateway.pool, gateway.connections)
        door.app.router.lifespan_context = gateway._lifespan
        with running(door) as url:  # type: ignore[arg-type]
            yield url, door.key

    def test_it_speaks_vllms_protocol(self, tmp_path: Path, servers: list[ModelServer], door: tuple[str, str]) -> None:
        folder = make_adapter(tmp_path, "adapter-0001")
        lora_api.load(*door, "adapter-0001", folder)
        assert [server.models for server in servers] == [["base", "adapter-0001"]] * 3
        assert lora_api.loaded(*door) == {"adapter-0001"}
        with pytest.raises(AdapterError, match="is loaded already"):
            lora_api.load(*door, "adapter-0001", folder)
        lora_api.unload(*door, "adapter-0001")
        assert lora_api.loaded(*door) == set()
        with pytest.raises(AdapterError, match="not loaded"):
            lora_api.unload(*door, "adapter-0001")

    def test_a_refusal_says_why(self, tmp_path: Path, servers: list[ModelServer], door: tuple[str, str]) -> None:
        servers[1].refuses = {"adapter-0001"}
        with pytest.raises(AdapterError, match="no such rank"):
            lora_api.load(*door, "adapter-0001", make_adapter(tmp_path, "adapter-0001"))

    @pytest.mark.parametrize(
        ("path", "content", "param"),
        [
            ("load", b"{", None),
            ("load", b'{"lora_name": "adapter-0001"}', "lora_path"),
            ("load", b'{"lora_name": "../x", "lora_path": "/x"}', "lora_name"),
            ("load", b'{"lora_name": 3, "lora_path": "/x"}', "lora_name"),
            ("unload", b'{"lora_name": null}', "lora_name"),
        ],
    )
    def test_bad_input_is_refused_by_its_name(
        self, servers: list[ModelServer], door: tuple[str, str], path: str, content: bytes, param: str | None
    ) -> None:
        headers = {"authorization": f"Bearer {door[1]}"}
        url = f"{door[0]}/v1/{path}_lora_adapter"
        answer = httpx.post(url, content=content, headers=headers, trust_env=False, timeout=60)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert all(server.paths == [] for server in servers)

    def test_it_passes_on_the_rest(self, servers: list[ModelServer], door: tuple[str, str]) -> None:
        headers = {"authorization": f"Bearer {door[1]}"}
        body = {"model": "base", "messages": []}
        answer = httpx.post(door[0] + "/v1/chat/completions", json=body, headers=headers, trust_env=False, timeout=60)
        assert answer.json()["model"] == "base"

    @pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer"}])
    @pytest.mark.parametrize("path", ["/v1/models", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/x"])
    def test_without_its_key_it_stays_shut(
        self, servers: list[ModelServer], door: tuple[str, str], headers: dict[str, str], path: str
    ) -> None:
        method = "GET" if path == "/v1/models" else "POST"
        answer = httpx.request(method, door[0] + path, headers=headers, trust_env=False, timeout=60)
        assert answer.status_code == 401
        assert all(server.paths == [] for server in servers)
