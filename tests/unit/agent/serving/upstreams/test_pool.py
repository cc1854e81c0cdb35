"""Several vLLMs behind one gateway: who gets requests, and which adapters each has."""

import asyncio
import shutil
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from agent.adapters import active, required
from agent.adapters.active import ActiveAdapter, Canary
from agent.adapters.package import model_sha256
from agent.errors import AdapterError, ModelUnavailable
from agent.serving.upstreams.connection import _KEEP_ALIVE, Upstream, _tcp_socket
from tests.fakes.adapter_folder import make_adapter, sha256_of
from tests.fakes.model_server import ModelServer
from tests.fakes.pool_world import KEY, look, pool_of


def test_equals_share_the_work(tmp_path: Path, servers: list[ModelServer]) -> None:
    pool, _ = pool_of(tmp_path, servers)
    pool.members[0].in_flight = 1
    picked = [pool.pick() for _ in range(100)]
    assert {picked.count(member) > 20 for member in pool.members[1:]} == {True}
    assert pool.members[0] not in picked
    assert {pool.pick(without=pool.members[:2]) for _ in range(5)} == {pool.members[2]}


def test_a_server_that_stays_keeps_its_state(tmp_path: Path, servers: list[ModelServer]) -> None:
    pool, _ = pool_of(tmp_path, servers[:2])
    busy, down = pool.members
    busy.in_flight = 3
    pool.failed(down, "cannot be reached")
    pool.replace([Upstream(server.url, KEY) for server in servers[::-1]])
    _, still_down, still_busy = pool.members
    assert (still_down, still_busy) == (down, busy)
    assert [(m.ready, m.in_flight) for m in pool.members] == [(True, 0), (False, 0), (True, 3)]
    pool.replace([Upstream(servers[0].url, "another key")])
    assert pool.members[0] is not busy


def test_an_adapter_is_loaded_on_all(tmp_path: Path, servers: list[ModelServer]) -> None:
    pool, _ = pool_of(tmp_path, servers)
    folder = make_adapter(tmp_path, "adapter-0001")
    asyncio.run(pool.load("adapter-0001", folder))
    assert [server.models for server in servers] == [["base", "adapter-0001"]] * 3
    assert required.read(tmp_path) == {"adapter-0001": sha256_of(folder)}
    asyncio.run(pool.unload("adapter-0001"))
    assert [server.models for server in servers] == [["base"]] * 3
    assert required.read(tmp_path) == {}


def test_the_adapters_of_a_server_are_known_from_the_last_look(tmp_path: Path, servers: list[ModelServer]) -> None:
    make_adapter(tmp_path, "adapter-0001", promote=True)
    pool, _ = pool_of(tmp_path, servers[:1], ready=False)
    assert pool.members[0].adapters is None
    look(pool, 2)
    assert pool.members[0].adapters == {"adapter-0001"}


def test_what_one_refuses_none_has(tmp_path: Path, servers: list[ModelServer]) -> None:
    pool, _ = pool_of(tmp_path, servers)
    servers[2].refuses = {"adapter-0001"}
    with pytest.raises(AdapterError, match="no such rank"):
        asyncio.run(pool.load("adapter-0001", make_adapter(tmp_path, "adapter-0001")))
    assert [server.models for server in servers] == [["base"]] * 3
    assert required.read(tmp_path) == {}


def test_what_one_refuses_stays_where_it_was(tmp_path: Path, servers: list[ModelServer]) -> None:
    """The first has it and answers with it; that another one comes and refuses it is no reason to take it away."""
    pool, _ = pool_of(tmp_path, servers)
    servers[0].models.append("adapter-0001")
    servers[2].refuses = {"adapter-0001"}
    with pytest.raises(AdapterError, match="no such rank"):
        asyncio.run(pool.load("adapter-0001", make_adapter(tmp_path, "adapter-0001", promote=True)))
    assert [server.models for server in servers] == [["base", "adapter-0001"], ["base"], ["base"]]


def test_a_server_that_refuses_to_unload_does_not_keep_the_others_from_it(
    tmp_path: Path, servers: list[ModelServer]
) -> None:
    pool, _ = pool_of(tmp_path, servers)
    asyncio.run(pool.load("adapter-0001", make_adapter(tmp_path, "adapter-0001")))
    servers[0].refuses = {"adapter-0001"}
    servers[1].stop()
    with pytest.raises(AdapterError, match="no such rank"):
        asyncio.run(pool.unload("adapter-0001"))
    assert servers[2].models == ["base"]
    assert [member.ready for member in pool.members] == [True, False, True]


def test_without_a_server_nothing_is_loaded(tmp_path: Path) -> None:
    pool, _ = pool_of(tmp_path, [])
    with pytest.raises(ModelUnavailable):
        asyncio.run(pool.load("adapter-0001", make_adapter(tmp_path, "adapter-0001")))
    assert required.read(tmp_path) == {}


def test_a_server_that_comes_is_brought_up_to_date_before_it_is_asked(
    tmp_path: Path, servers: list[ModelServer]
) -> None:
    make_adapter(tmp_path, "adapter-0002", promote=True)
    required.write(tmp_path, {"adapter-0001": sha256_of(make_adapter(tmp_path, "adapter-0001"))})
    pool, _ = pool_of(tmp_path, servers, ready=False)
    assert pool.pick() is None
    look(pool)
    assert [server.models for server in servers] == [["base", "adapter-0002", "adapter-0001"]] * 3
    assert all(member.ready for member in pool.members)


def test_a_server_that_is_down_gets_what_it_missed_when_it_is_back(tmp_path: Path) -> None:
    with ModelServer(key=KEY) as first, ModelServer(key=KEY) as second:
        pool, said = pool_of(tmp_path, [first, second])
        port = int(second.url.rpartition(":")[2])
        second.stop()
        look(pool)
        assert [member.ready for member in pool.members] == [True, False]
        asyncio.run(pool.load("adapter-0001", make_adapter(tmp_path, "adapter-0001")))
        with ModelServer(key=KEY, port=port) as back:
            assert {pool.pick().upstream.url for _ in range(5)} == {first.url}  # type: ignore[union-attr]
            look(pool)
            assert back.models == ["base", "adapter-0001"]
        assert [member.ready for member in pool.members] == [True, True]
        assert said[-1] == f"{second.url} is ready"


def test_what_gives_no_logprobs_is_said_once_and_looked_at_anew_when_it_is_back(
    tmp_path: Path, servers: list[ModelServer]
) -> None:
    pool, said = pool_of(tmp_path, servers[:1])
    (member,) = pool.members
    for _ in range(2):
        pool.without_logprobs(member)
    assert not member.gives_logprobs
    assert [line for line in said if "gives no log-probabilities" in line] == said
    assert len(said) == 1
    look(pool)
    assert not member.gives_logprobs
    member.silent_until = time.monotonic()  # some minutes later
    assert member.gives_logprobs
    pool.without_logprobs(member)
    assert (member.gives_logprobs, len(said)) == (False, 1)
    pool.failed(member, "cannot be reached")
    look(pool)
    assert (member.ready, member.gives_logprobs) == (True, True)


def test_a_server_that_lost_its_adapters_between_two_looks_gets_them_again(
    tmp_path: Path, servers: list[ModelServer]
) -> None:
    pool, _ = pool_of(tmp_path, servers)
    asyncio.run(pool.load("adapter-0001", make_adapter(tmp_path, "adapter-0001")))
    servers[0].models = ["base"]
    look(pool)
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
    "other weights": (
        lambda f: (f / "adapter_model.safetensors").write_text("x"),
        "is not the file that the manifest names",
    ),
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
    required.write(tmp_path, {"adapter-0001": sha256_of(folder), "adapter-0009": "0" * 64})
    harm(folder)
    pool, said = pool_of(tmp_path, servers[:1], ready=False)
    look(pool)
    assert pool.members[0].ready
    assert servers[0].models == ["base"]
    assert any("not loaded again: adapter adapter-0001: " in line and said_so in line for line in said)
    assert "adapter-0001" not in required.read(tmp_path)


@pytest.mark.parametrize(("harm", "said_so"), HARM.values(), ids=HARM.keys())
def test_a_damaged_adapter_that_serves_does_not(
    tmp_path: Path, servers: list[ModelServer], harm: Callable[[Path], object], said_so: str
) -> None:
    harm(make_adapter(tmp_path, "adapter-0001", promote=True))
    pool, _ = pool_of(tmp_path, servers[:1], ready=False)
    look(pool)
    assert not pool.members[0].ready
    assert said_so in pool.members[0].trouble


def test_what_is_on_trial_is_the_one_that_the_pointer_names(tmp_path: Path, servers: list[ModelServer]) -> None:
    """Also where the list of what is due was rewritten with the folder."""
    folder = make_adapter(tmp_path, "adapter-0002")
    canary = Canary(name="adapter-0002", sha256=sha256_of(folder), share=0.5)
    active.write(tmp_path, ActiveAdapter(canary=canary))
    rewrite(folder)
    required.write(tmp_path, {"adapter-0002": sha256_of(folder)})
    pool, said = pool_of(tmp_path, servers[:1], ready=False)
    look(pool)
    assert servers[0].models == ["base"]
    assert any("is not the one that was loaded first" in line for line in said)


def test_an_adapter_of_another_model_is_refused_at_every_load(tmp_path: Path, servers: list[ModelServer]) -> None:
    folder = make_adapter(tmp_path, "adapter-0001", base_sha256="a" * 64)
    pool, said = pool_of(tmp_path, servers[:1])
    pool.base_sha256 = lambda: "b" * 64
    with pytest.raises(AdapterError, match="made for another base model"):
        asyncio.run(pool.load("adapter-0001", folder))
    required.write(tmp_path, {"adapter-0001": sha256_of(folder)})
    look(pool)
    assert servers[0].models == ["base"]
    assert any("made for another base model" in line for line in said)
    pool.base_sha256 = lambda: "a" * 64
    asyncio.run(pool.load("adapter-0001", folder))
    assert servers[0].models == ["base", "adapter-0001"]


OTHER_TEMPLATE = (
    "adapter-0001 learned with another chat template, so it may answer worse; train a new one with: evolver cycle"
)


@pytest.mark.parametrize(("template", "warnings"), [("another", 1), ("t", 0), ("", 0)])
def test_an_adapter_that_learned_with_another_template_is_said_once_at_every_load(
    tmp_path: Path, servers: list[ModelServer], template: str, warnings: int
) -> None:
    folder = make_adapter(tmp_path, "adapter-0001")
    pool, said = pool_of(tmp_path, servers[:2])
    pool.template_sha256 = lambda: template
    for _ in range(2):
        asyncio.run(pool.load("adapter-0001", folder))
    assert said.count(OTHER_TEMPLATE) == len(said) == warnings
    pool, said = pool_of(tmp_path, servers[2:], ready=False)
    pool.template_sha256 = lambda: template
    look(pool, times=2)
    assert pool.members[0].ready
    assert servers[2].models == ["base", "adapter-0001"]
    assert said.count(OTHER_TEMPLATE) == warnings


def test_a_model_is_identified_by_its_configuration_and_weights(tmp_path: Path) -> None:
    for name in ("config.json", "model-1.safetensors", "model-2.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text(name)
    before = model_sha256(tmp_path)
    (tmp_path / "model-2.safetensors").write_text("other")
    assert model_sha256(tmp_path) != before


def test_folders_are_named_as_the_server_sees_them(tmp_path: Path) -> None:
    assert Upstream("u", "k").folder_of(tmp_path / "a-1") == tmp_path / "a-1"
    assert Upstream("u", "k", adapters_folder=Path("/mnt")).folder_of(tmp_path / "a-1") == Path("/mnt/a-1")


SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "content", ["", "{", '["adapter-0002"]', f'{{"../x": "{SHA256}", "base": "{SHA256}", "b": 3, "good": "{SHA256}"}}']
)
def test_the_list_of_what_is_due_may_be_damaged(tmp_path: Path, content: str) -> None:
    required.path(tmp_path).write_text(content)
    assert required.read(tmp_path) == ({"good": SHA256} if "good" in content else {})


def test_where_none_is_ready_one_that_answers_takes_an_adapter(tmp_path: Path, servers: list[ModelServer]) -> None:
    """What serves may be what it refuses; then another one must be able to serve."""
    make_adapter(tmp_path, "adapter-0001", promote=True)
    servers[0].refuses = {"adapter-0001"}
    pool, _ = pool_of(tmp_path, servers[:1])
    look(pool)
    assert not pool.members[0].ready
    asyncio.run(pool.load("adapter-0002", make_adapter(tmp_path, "adapter-0002")))
    assert servers[0].models == ["base", "adapter-0002"]


def test_an_adapter_is_loaded_from_where_it_was_delivered_and_from_nowhere_if_one_node_refuses_it(
    tmp_path: Path, servers: list[ModelServer]
) -> None:
    pool, _ = pool_of(tmp_path, [])
    there = {server.url: tmp_path / f"node-{number}" for number, server in enumerate(servers)}
    refusing: set[str] = set()

    def deliver(url: str, folder: Path) -> Path:
        if url in refusing:
            raise AdapterError("node 10.0.0.6: a file is damaged")
        return there[url] / folder.name

    pool.replace([Upstream(url, KEY, deliver=partial(deliver, url)) for url in there])
    asyncio.run(pool.load("adapter-0001", make_adapter(tmp_path, "adapter-0001")))
    found = [server.folders["adapter-0001"] for server in servers]
    assert found == [str(folder / "adapter-0001") for folder in there.values()]
    refusing.add(servers[2].url)
    with pytest.raises(AdapterError, match="a file is damaged"):
        asyncio.run(pool.load("adapter-0002", make_adapter(tmp_path, "adapter-0002")))
    assert [server.models for server in servers] == [["base", "adapter-0001"]] * 3


def test_a_server_whose_machine_is_gone_without_a_word_is_noticed() -> None:
    """The kernel asks for a sign of life on each connection over TCP."""
    with _tcp_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        found = [made.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in _KEEP_ALIVE]
    assert found == list(_KEEP_ALIVE.values())
    assert _KEEP_ALIVE["TCP_KEEPIDLE"] + _KEEP_ALIVE["TCP_KEEPINTVL"] * _KEEP_ALIVE["TCP_KEEPCNT"] == 25
