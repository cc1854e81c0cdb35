"""``agent serve`` with a vLLM on each of two nodes of a Ray cluster, which takes no minute to start."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from agent.adapters import required
from agent.adapters.package import check_adapter, manifest_sha256, model_sha256
from agent.errors import AdapterError
from agent.serving import serving_state
from agent.serving.serving_state import HostedAddress, ServingState
from agent.serving.upstreams import lora_api
from tests.fakes import waiting
from tests.fakes.adapter_folder import make_adapter
from tests.fakes.agent_house import House, gone, health
from tests.fakes.cluster_world import Machines

pytestmark = pytest.mark.timeout(1800)
MODEL = "agent"
wait_until = partial(waiting.wait_until, seconds=600)
"""Ray's processes take as long to start as the machine is busy."""


@pytest.fixture(scope="module")
def house(cluster: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two servers on two nodes, and the gateway in front of them."""
    cluster.alive(2)
    house = House(tmp_path_factory.mktemp("hosted"), cluster=f'address = "{cluster.address}"\nservers = 2')
    started = house.agent("serve", "--detach")
    assert started.returncode == 0, started.stderr
    yield house
    pids = processes(house)
    assert house.agent("stop").returncode == 0
    assert len(pids) == 2
    assert all(map(gone, pids)), "a vLLM is left on a node"


def running(house: House) -> ServingState:
    found = serving_state.read(house.data)
    assert found is not None
    return found


def processes(house: House) -> set[int]:
    """The vLLM processes of the house, on whatever node."""
    model = str(house.folder / "model")
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if "vllm.entrypoints.openai.api_server" in words and model in words and words[1:2] == ["-m"]:
            found.add(int(entry.name))
    return found


def both_ready(house: House) -> tuple[HostedAddress, ...]:
    """Wait until two servers are ready; return them."""

    def are_ready() -> bool:
        servers: Any = health(running(house).gateway_url).get("servers", [])
        return [server["ready"] for server in servers] == [True, True]

    wait_until(are_ready)
    return running(house).hosted


def ask(house: House, text: str, model: str = MODEL) -> tuple[int, str, int]:
    """Ask through the gateway; return status, answer and the process that gave it."""
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    answer = httpx.post(f"{running(house).gateway_url}/v1/chat/completions", json=body, trust_env=False, timeout=300)
    if answer.status_code != 200:
        return answer.status_code, answer.text, 0
    said = answer.json()
    return 200, said["choices"][0]["message"]["content"], int(said["id"].removeprefix("chatcmpl-"))


def folders(server: HostedAddress) -> dict[str, Path]:
    """Return the adapters of a server, and where it reads them."""
    headers = {"authorization": f"Bearer {server.key}"}
    listed = httpx.get(f"{server.url}/v1/models", headers=headers, trust_env=False, timeout=60).json()["data"]
    return {model["id"]: Path(model["root"]) for model in listed if model["id"] != "base"}


def new_adapter(house: House, name: str) -> Path:
    return make_adapter(house.data, name, base_sha256=model_sha256(house.folder / "model"))


def test_two_servers_on_two_nodes_answer_behind_one_gateway(house: House) -> None:
    first, second = both_ready(house)
    assert first.key != second.key
    assert first.url != second.url
    with ThreadPoolExecutor(8) as people:
        answers = list(people.map(lambda number: ask(house, f"slowly {number}"), range(16)))
    assert [(status, text) for status, text, _ in answers] == [(200, f"You said: slowly {n}") for n in range(16)]
    assert {pid for *_, pid in answers} == processes(house)


def test_an_adapter_is_delivered_checked_and_loaded_on_both(house: House) -> None:
    servers, state = both_ready(house), running(house)
    here = new_adapter(house, "adapter-0001")
    lora_api.load(state.vllm_url, state.vllm_key, "adapter-0001", here)
    there = [folders(server)["adapter-0001"] for server in servers]
    assert len({here, *there}) == 3
    for copy in there:
        check_adapter(copy, sha256=manifest_sha256(here))
        assert copy.parents[1].stat().st_mode & 0o077 == 0
    assert [ask(house, f"hi {number}", "adapter-0001")[0] for number in range(8)] == [200] * 8


def test_an_adapter_that_one_refuses_is_on_none(house: House) -> None:
    servers, state = both_ready(house), running(house)
    folder = new_adapter(house, "adapter-0002")
    known = folders(servers[1])["adapter-0001"]
    copy = next(copy for copy in [known] if copy.is_dir())
    lora_api.load(state.vllm_url, state.vllm_key, "adapter-0002", folder)
    name = folders(servers[1])["adapter-0002"].name
    lora_api.unload(state.vllm_url, state.vllm_key, "adapter-0002")
    refuses = copy.parents[1] / "refuses"
    refuses.write_text(name)
    with pytest.raises(AdapterError, match="no such rank"):
        lora_api.load(state.vllm_url, state.vllm_key, "adapter-0002", folder)
    refuses.unlink()
    assert [list(folders(server)) for server in servers] == [["adapter-0001"]] * 2
    assert required.read(house.data).keys() == {"adapter-0001"}


def test_a_vllm_that_ends_is_started_again_on_its_node_with_another_key(house: House) -> None:
    before, lost = both_ready(house), ask(house, "who?")[2]
    os.kill(lost, signal.SIGKILL)
    wait_until(lambda: len(processes(house) - {lost}) == 2)
    wait_until(lambda: {one.key for one in running(house).hosted} != {one.key for one in before})
    after = both_ready(house)
    assert {server.url for server in after} == {server.url for server in before}
    assert len({one.key for one in after} - {one.key for one in before}) == 1
    assert [list(folders(server)) for server in after] == [["adapter-0001"]] * 2


def test_a_node_that_dies_fails_no_request_and_one_that_joins_gets_its_server(cluster: Machines, house: House) -> None:
    both_ready(house)
    stopped, numbers = Event(), count()

    def person(_: int) -> list[tuple[str, tuple[int, str, int]]]:
        heard = []
        while not stopped.is_set():
            text = f"slowly {next(numbers)}"
            heard.append((text, ask(house, text, "adapter-0001")))
        return heard

    with ThreadPoolExecutor(6) as people:
        asking = people.map(person, range(6))
        try:
            before = processes(house)
            wait_until(lambda: next(numbers) > 20)
            cluster.kill_one()
            wait_until(lambda: len(running(house).hosted) == 1)
            (left,) = processes(house)
            assert left in before
            cluster.join()
            both_ready(house)
        finally:
            stopped.set()
        answers = [answer for heard in asking for answer in heard]
    assert len(answers) > 20
    wrong = [(text, said) for text, said in answers if said[:2] != (200, f"You said: {text}")]
    assert wrong == []
    assert {ask(house, f"hi {number}", "adapter-0001")[2] for number in range(20)} == processes(house)
    said = (house.data / "logs" / "serve.log").read_text()
    assert "of the cluster lost its server" in said


def test_what_runs_is_told_to_who_proves_adapters(house: House) -> None:
    from agent.config import ServingConfig
    from evolver.release.served_weights import servers

    both_ready(house)
    assert [(one.url, one.key) for one in servers(ServingConfig(), running(house))] == [
        (one.url, one.key) for one in running(house).hosted
    ]
    assert json.loads(serving_state.path(house.data).read_text())["vllm_pid"] == 0
