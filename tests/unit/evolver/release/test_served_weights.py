"""Knowing the served adapter by its log-probabilities, on every server."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.manifest import Manifest
from agent.config import ServingConfig, UpstreamConfig
from agent.errors import AdapterInvalid, ModelUnavailable
from agent.serving.serving_state import ServingState
from evolver.release import release
from evolver.release.served_weights import Proved, prove, servers
from evolver.release.served_weights import Server as Address
from evolver.types import Adapter
from tests.fakes.evolution import PROBE, probe_answer, publish_adapter
from tests.fakes.model_server import ModelServer, Says
from toolkit.errors import PrerequisiteError

NAME = "adapter-0001"


class Server(ModelServer):
    """Answers under each name with the log-probabilities in ``sees``, off by ``rounding``."""

    def __init__(self) -> None:
        super().__init__(script=self._say, key="key")
        self.sees = {NAME: PROBE.logprobs, "base": PROBE.base_logprobs}
        self.rounding = 0.01

    def _say(self, request: dict[str, Any]) -> Says:
        values = [value + self.rounding * (-1) ** n for n, value in enumerate(self.sees[request["model"]])]
        return Says(raw=probe_answer(request["prompt"], values))

    @property
    def state(self) -> ServingState:
        return ServingState(pid=1, gateway_url="", vllm_url=self.url, vllm_pid=1, vllm_key="key")

    @property
    def address(self) -> Address:
        return Address(url=self.url, key="key")


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    with started:
        yield started


@pytest.fixture
def second() -> Iterator[Server]:
    """Another one behind the same gateway, which has the adapter."""
    started = Server()
    started.models.append(NAME)
    with started:
        yield started


@pytest.fixture
def adapter(tmp_path: Path) -> Adapter:
    """Published with a probe."""
    return publish_adapter(tmp_path, NAME, probe=PROBE)


def load(adapter: Adapter, server: Server, *others: Address) -> Proved:
    return release.load_candidate(adapter, server.state, [server.address, *others], base_sha256="b" * 64)


def test_the_trained_adapter_is_known_again(adapter: Adapter, server: Server) -> None:
    proved = load(adapter, server)
    (proof,) = proved.proofs
    assert proof.distinct
    assert (proved.adapter, proved.missing, proof.server) == (NAME, "", server.url)
    assert proof.rounding == pytest.approx(0.01)
    assert proof.apart == pytest.approx(0.01)
    assert proof.effect == pytest.approx(0.675)
    assert server.models == ["base", NAME]


@pytest.mark.parametrize("instead", [PROBE.base_logprobs, (-1.5, -2.2, -1.0, -3.1), (-1.0, -2.0, -0.5, -4.0)])
def test_anything_else_is_unloaded_and_refused(adapter: Adapter, server: Server, instead: tuple[float, ...]) -> None:
    server.sees[NAME] = instead
    with pytest.raises(AdapterInvalid, match=r"not the adapter that was trained: .* nats per token"):
        load(adapter, server)
    assert "/v1/unload_lora_adapter" in server.paths


def test_each_server_is_asked_and_one_that_answers_as_something_else_is_found(
    adapter: Adapter, server: Server, second: Server
) -> None:
    assert [proof.server for proof in load(adapter, server, second.address).proofs] == [server.url, second.url]
    second.sees[NAME] = PROBE.base_logprobs
    with pytest.raises(AdapterInvalid, match=f"what {second.url} serves is not the adapter"):
        load(adapter, server, second.address)


def test_servers_that_people_are_not_sent_to_are_passed_over(adapter: Adapter, server: Server, second: Server) -> None:
    """One without the adapter gets no requests until it has it; neither does one that is gone."""
    second.models.remove(NAME)
    gone = Address(url="http://127.0.0.1:9", key="")
    assert [proof.server for proof in load(adapter, server, second.address, gone).proofs] == [server.url]
    assert second.requests == []


def test_an_adapter_that_does_next_to_nothing_is_not_distinct(server: Server) -> None:
    near = tuple(value + 0.01 for value in PROBE.base_logprobs)
    server.sees[NAME] = near
    server.models.append(NAME)
    manifest = Manifest.model_construct(name=NAME, probe=PROBE.model_copy(update={"logprobs": near}))
    proved = prove(manifest, [server.address])
    assert not proved.proofs[0].distinct
    assert "0.0100 nats per token only; the base model would pass as well" in proved.missing


def test_without_a_probe_nothing_is_proved_or_asked(tmp_path: Path, server: Server) -> None:
    proved = load(publish_adapter(tmp_path, NAME), server)
    assert proved.proofs == ()
    assert "no probe" in proved.missing
    assert server.requests == []


def test_no_server_and_no_log_probabilities(server: Server) -> None:
    manifest = Manifest.model_construct(name=NAME, probe=PROBE)
    server.models.append(NAME)
    with pytest.raises(ModelUnavailable):
        prove(manifest, [Address(url="http://127.0.0.1:9", key="key")])
    with pytest.raises(AdapterInvalid, match="no log-probabilities"):
        prove(manifest, [Address(url=server.url, key="wrong")])


def test_the_servers_are_those_of_the_configuration_or_the_managed_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert servers(ServingConfig(), server.state) == [server.address]
    config = ServingConfig(
        upstreams=(
            UpstreamConfig(url="http://gpu-1:8000", key_variable="GPU_1_KEY"),
            UpstreamConfig(url="http://gpu-2:8000"),
        )
    )
    with pytest.raises(PrerequisiteError, match="no GPU_1_KEY, the key of http://gpu-1:8000"):
        servers(config, server.state)
    monkeypatch.setenv("GPU_1_KEY", "secret")
    assert servers(config, server.state) == [
        Address(url="http://gpu-1:8000", key="secret"),
        Address(url="http://gpu-2:8000", key=""),
    ]


def test_a_name_with_several_addresses_is_asked_at_each(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pods = UpstreamConfig(url="http://pods:8000", each_address=True)

    def looked_up(host: str, port: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("10.0.0.2", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    found = servers(ServingConfig(upstreams=(pods,)), server.state)
    assert [one.url for one in found] == ["http://10.0.0.1:8000", "http://10.0.0.2:8000"]

    def fails(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(ModelUnavailable, match="http://pods:8000: the name cannot be looked up"):
        servers(ServingConfig(upstreams=(pods,)), server.state)
