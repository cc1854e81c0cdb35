"""Several vLLMs behind one gateway: who gets requests, and which adapters each has."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from agent.errors import AdapterError, ModelUnavailable
from agent.serving import active_adapter, due_adapters, vllm_admin
from agent.serving.active_adapter import ActiveAdapter, Canary
from agent.serving.adapter_folder import model_sha256
from agent.serving.admin_door import AdminDoor
from agent.serving.fleet import Fleet
from agent.serving.gateway import Gateway
from agent.serving.upstream import Upstream
from tests.fakes.adapter_folder import make_adapter, sha256_of
from tests.fakes.model_gateway import running
from tests.fakes.model_server import ModelServer, Says

KEY = "key"
CHAT = {"model": "agent", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def servers() -> Iterator[list[ModelServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(ModelServer(script=lambda _: Says("hi"), key=KEY)) for _ in range(3)]


def fleet_of(data: Path, servers: list[ModelServer], *, ready: bool = True) -> tuple[Fleet, list[str]]:
    said: list[str] = []
    fleet = Fleet(data, said.append)
    fleet.replace([Upstream(server.url, KEY) for server in servers], ready=ready)
    return fleet, said


def look(fleet: Fleet, times: int = 1) -> None:
    """Let the fleet look at its servers."""
    looks = iter(range(times))

    async def sleep(_: float) -> None:
        if next(looks, None) in (None, times - 1):
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(fleet.watch(sleep=sleep))


def test_an_adapter_is_loaded_on_all(tmp_path: Path, servers: list[ModelServer]) -> None:
    fleet, _ = fleet_of(tmp_path, servers)
    folder = make_adapter(tmp_path, "adapter-0001")
    asyncio.run(fleet.load("adapter-0001", folder))
    assert [server.models for server in servers] == [["base", "adapter-0001"]] * 3
    assert due_adapters.read(tmp_path) == {"adapter-0001": sha256_of(folder)}
    asyncio.run(fleet.unload("adapter-0001"))
    assert [server.models for server in servers] == [["base"]] * 3
    assert due_adapters.read(tmp_path) == {}


def test_what_one_refuses_none_has(tmp_path: Path, servers: list[ModelServer]) -> None:
    fleet, _ = fleet_of(tmp_path, servers)
    servers[2].refuses = {"adapter-0001"}
    with pytest.raises(AdapterError, match="no such rank"):
        asyncio.run(fleet.load("adapter-0001", make_adapter(tmp_path, "adapter-0001")))
    assert [server.models for server in servers] == [["base"]] * 3
    assert due_adapters.read(tmp_path) == {}


def test_what_one_refuses_stays_where_it_was(tmp_path: Path, servers: list[ModelServer]) -> None:
    """The first has it and answers with it; that another one comes and refuses it is no reason to take it away."""
    fleet, _ = fleet_of(tmp_path, servers)
    servers[0].models.append("adapter-0001")
    servers[2].refuses = {"adapter-0001"}
    with pytest.raises(AdapterError, match="no such rank"):
        asyncio.run(fleet.load("adapter-0001", make_adapter(tmp_path, "adapter-0001", promote=True)))
    assert [server.models for server in servers] == [["base", "adapter-0001"], ["base"], ["base"]]


def test_a_server_that_refuses_to_unload_does_not_keep_the_others_from_it(
    tmp_path: Path, servers: list[ModelServer]
) -> None:
    fleet, _ = fleet_of(tmp_path, servers)
    asyncio.run(fleet.load("adapter-0001", make_adapter(tmp_path, "adapter-0001")))
    servers[0].refuses = {"adapter-0001"}
    servers[1].__exit__()
    with pytest.raises(AdapterError, match="no such rank"):
        asyncio.run(fleet.unload("adapter-0001"))
    assert servers[2].models == ["base"]
    assert [member.ready for member in fleet.members] == [True, False, True]


def test_without_a_server_nothing_is_loaded(tmp_path: Path) -> None:
    fleet, _ = fleet_of(tmp_path, [])
    with pytest.raises(ModelUnavailable):
        asyncio.run(fleet.load("adapter-0001", make_adapter(tmp_path, "adapter-0001")))
    assert due_adapters.read(tmp_path) == {}


def test_a_server_that_comes_is_brought_up_to_date_before_it_is_asked(
    tmp_path: Path, servers: list[ModelServer]
) -> None:
    make_adapter(tmp_path, "adapter-0002", promote=True)
    due_adapters.write(tmp_path, {"adapter-0001": sha256_of(make_adapter(tmp_path, "adapter-0001"))})
    fleet, _ = fleet_of(tmp_path, servers, ready=False)
    assert fleet.pick() is None
    look(fleet)
    assert [server.models for server in servers] == [["base", "adapter-0002", "adapter-0001"]] * 3
    assert all(member.ready for member in fleet.members)


def test_a_server_that_is_down_gets_what_it_missed_when_it_is_back(tmp_path: Path) -> None:
    with ModelServer(key=KEY) as first, ModelServer(key=KEY) as second:
        fleet, said = fleet_of(tmp_path, [first, second])
        port = int(second.url.rpartition(":")[2])
        second.__exit__()
        look(fleet)
        assert [member.ready for member in fleet.members] == [True, False]
        asyncio.run(fleet.load("adapter-0001", make_adapter(tmp_path, "adapter-0001")))
        with ModelServer(key=KEY, port=port) as back:
            assert {fleet.pick().upstream.url for _ in range(5)} == {first.url}  # type: ignore[union-attr]
            look(fleet)
            assert back.models == ["base", "adapter-0001"]
        assert [member.ready for member in fleet.members] == [True, True]
        assert said[-1] == f"{second.url} is ready"


def test_a_server_that_lost_its_adapters_between_two_looks_gets_them_again(
    tmp_path: Path, servers: list[ModelServer]
) -> None:
    fleet, _ = fleet_of(tmp_path, servers)
    asyncio.run(fleet.load("adapter-0001", make_adapter(tmp_path, "adapter-0001")))
    servers[0].models = ["base"]
    look(fleet)
    assert servers[0].models == ["base", "adapter-0001"]


def rewrite(folder: Path) -> None:
    """Another adapter under the same name, whole by its own manifest."""
    shutil.rmtree(folder)
    make_adapter(folder.parent.parent, folder.name, base_sha256="c" * 64)


def link(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    weights.rename(folder.parent / "weights")
    weights.symlink_to(folder.parent / "weights")


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "other weights": (lambda f: (f / "adapter_model.safetensors").write_text("x"), "does not match its manifest"),
    "another adapter": (rewrite, "manifest.json is not the one that was loaded first"),
    "weights that may run code": (lambda f: (f / "adapter_model.bin").touch(), "foreign files: adapter_model.bin"),
    "no configuration": (lambda f: (f / "adapter_config.json").unlink(), "missing or foreign files: adapter_config"),
    "weights elsewhere": (link, "adapter_model.safetensors is no plain file"),
}


@pytest.mark.parametrize(("harm", "said_so"), HARM.values(), ids=HARM.keys())
def test_a_damaged_adapter_that_does_not_serve_holds_nothing_up(
    tmp_path: Path, servers: list[ModelServer], harm: Callable[[Path], object], said_so: str
) -> None:
    folder = make_adapter(tmp_path, "adapter-0001")
    due_adapters.write(tmp_path, {"adapter-0001": sha256_of(folder), "adapter-0009": "0" * 64})
    harm(folder)
    fleet, said = fleet_of(tmp_path, servers[:1], ready=False)
    look(fleet)
    assert fleet.members[0].ready
    assert servers[0].models == ["base"]
    assert any("not loaded again: adapter adapter-0001: " in line and said_so in line for line in said)
    assert "adapter-0001" not in due_adapters.read(tmp_path)


@pytest.mark.parametrize(("harm", "said_so"), HARM.values(), ids=HARM.keys())
def test_a_damaged_adapter_that_serves_does_not(
    tmp_path: Path, servers: list[ModelServer], harm: Callable[[Path], object], said_so: str
) -> None:
    harm(make_adapter(tmp_path, "adapter-0001", promote=True))
    fleet, _ = fleet_of(tmp_path, servers[:1], ready=False)
    look(fleet)
    assert not fleet.members[0].ready
    assert said_so in fleet.members[0].trouble


def test_what_is_on_trial_is_the_one_that_the_pointer_names(tmp_path: Path, servers: list[ModelServer]) -> None:
    """Also where the list of what is due was rewritten with the folder."""
    folder = make_adapter(tmp_path, "adapter-0002")
    canary = Canary(name="adapter-0002", sha256=sha256_of(folder), share=0.5)
    active_adapter.write(tmp_path, ActiveAdapter(canary=canary))
    rewrite(folder)
    due_adapters.write(tmp_path, {"adapter-0002": sha256_of(folder)})
    fleet, said = fleet_of(tmp_path, servers[:1], ready=False)
    look(fleet)
    assert servers[0].models == ["base"]
    assert any("is not the one that was loaded first" in line for line in said)


def test_an_adapter_of_another_model_is_refused_at_every_load(tmp_path: Path, servers: list[ModelServer]) -> None:
    folder = make_adapter(tmp_path, "adapter-0001", base_sha256="a" * 64)
    fleet, said = fleet_of(tmp_path, servers[:1])
    fleet.base_sha256 = lambda: "b" * 64
    with pytest.raises(AdapterError, match="trained on another model"):
        asyncio.run(fleet.load("adapter-0001", folder))
    due_adapters.write(tmp_path, {"adapter-0001": sha256_of(folder)})
    look(fleet)
    assert servers[0].models == ["base"]
    assert any("trained on another model" in line for line in said)
    fleet.base_sha256 = lambda: "a" * 64
    asyncio.run(fleet.load("adapter-0001", folder))
    assert servers[0].models == ["base", "adapter-0001"]


def test_a_model_is_identified_by_its_configuration_and_weights(tmp_path: Path) -> None:
    for name in ("config.json", "model-1.safetensors", "model-2.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text(name)
    before = model_sha256(tmp_path)
    (tmp_path / "model-2.safetensors").write_text("other")
    assert model_sha256(tmp_path) != before


def test_folders_are_named_as_the_server_sees_them(tmp_path: Path) -> None:
    assert Upstream("u", "k").folder_of(tmp_path / "a-1") == tmp_path / "a-1"
    assert Upstream("u", "k", adapters_folder=Path("/mnt")).folder_of(tmp_path / "a-1") == Path("/mnt/a-1")


class TestThroughTheGateway:
    """Requests, while servers come and go."""

    def gateway(self, data: Path, servers: list[ModelServer]) -> Gateway:
        gateway = Gateway(data)
        gateway.fleet.replace([Upstream(server.url, KEY) for server in servers])
        return gateway

    def test_all_servers_share_the_work(self, tmp_path: Path, servers: list[ModelServer]) -> None:
        gateway = self.gateway(tmp_path, servers)
        with running(gateway) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            for member, busy in zip(gateway.fleet.members, (2, 0, 1), strict=True):
                member.in_flight = busy
            assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
            assert [len(server.requests) for server in servers] == [0, 1, 0]
            assert [member.in_flight for member in gateway.fleet.members] == [2, 0, 1]

    @pytest.mark.parametrize("stream", [False, True])
    def test_another_one_answers_when_one_is_gone(
        self, tmp_path: Path, servers: list[ModelServer], stream: bool
    ) -> None:
        gone = ModelServer()
        gone._server.server_close()
        gateway = self.gateway(tmp_path, [gone, *servers])
        with running(gateway) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            for _ in range(3):
                assert client.post("/v1/chat/completions", json={**CHAT, "stream": stream}).status_code == 200
            assert [member.ready for member in gateway.fleet.members] == [False, True, True, True]
            servers_state = client.get("/health").json()["servers"]
        assert servers_state[0] == {"ready": False, "trouble": "cannot be reached"}

    def test_one_that_lost_an_adapter_is_passed_over(self, tmp_path: Path, servers: list[ModelServer]) -> None:
        make_adapter(tmp_path, "adapter-0001", promote=True)
        servers[0]._script = lambda _: Says("no such model", status=404)
        gateway = self.gateway(tmp_path, servers)
        with running(gateway) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            answers = [client.post("/v1/chat/completions", json=CHAT) for _ in range(3)]
            assert [a.status_code for a in answers] == [200] * 3
            assert [member.ready for member in gateway.fleet.members] == [False, True, True]
            unknown = client.post("/v1/chat/completions", json={**CHAT, "model": "adapter-0009"})
            assert unknown.status_code == 200  # the fake knows every name; nothing is marked as lost
        assert gateway.fleet.members[1].ready


class TestDoor:
    """The evolver's way in, with the functions that it uses."""

    @pytest.fixture
    def door(self, tmp_path: Path, servers: list[ModelServer]) -> Iterator[tuple[str, str]]:
        gateway = Gateway(tmp_path)
        gateway.fleet.replace([Upstream(server.url, KEY) for server in servers])
        door = AdminDoor(gateway.fleet, gateway.connections)
        door.app.router.lifespan_context = gateway._lifespan
        with running(door) as url:  # type: ignore[arg-type]
            yield url, door.key

    def test_it_speaks_vllms_protocol(self, tmp_path: Path, servers: list[ModelServer], door: tuple[str, str]) -> None:
        folder = make_adapter(tmp_path, "adapter-0001")
        vllm_admin.load(*door, "adapter-0001", folder)
        assert [server.models for server in servers] == [["base", "adapter-0001"]] * 3
        assert vllm_admin.loaded(*door) == {"adapter-0001"}
        with pytest.raises(AdapterError, match="is loaded already"):
            vllm_admin.load(*door, "adapter-0001", folder)
        vllm_admin.unload(*door, "adapter-0001")
        assert vllm_admin.loaded(*door) == set()
        with pytest.raises(AdapterError, match="not loaded"):
            vllm_admin.unload(*door, "adapter-0001")

    def test_a_refusal_says_why(self, tmp_path: Path, servers: list[ModelServer], door: tuple[str, str]) -> None:
        servers[1].refuses = {"adapter-0001"}
        with pytest.raises(AdapterError, match="no such rank"):
            vllm_admin.load(*door, "adapter-0001", make_adapter(tmp_path, "adapter-0001"))

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


SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "content", ["", "{", '["adapter-0002"]', f'{{"../x": "{SHA256}", "base": "{SHA256}", "b": 3, "good": "{SHA256}"}}']
)
def test_the_list_of_what_is_due_may_be_damaged(tmp_path: Path, content: str) -> None:
    due_adapters.path(tmp_path).write_text(content)
    assert due_adapters.read(tmp_path) == ({"good": SHA256} if "good" in content else {})
