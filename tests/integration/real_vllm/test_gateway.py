"""The gateway in front of the real vLLM."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from agent.adapters import active
from agent.adapters.active import ActiveAdapter
from agent.adapters.package import folder_of, manifest_sha256
from agent.http.address import http_client
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.upstreams import lora_api
from agent.serving.upstreams.connection import Upstream
from agent.serving.vllm.process import VllmServer
from agent.turn.messages import Interaction
from agent.turn.model_client import HttpModelClient, ModelReply
from tests.fakes.adapter_folder import write_manifest
from tests.fakes.model_gateway import running
from tests.fakes.model_tools import ADD, SQUARE
from tests.fakes.waiting import wait_until

CHAT = {
    "model": "agent",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "temperature": 0,
    "max_tokens": 16,
}


@dataclass
class Door:
    """The gateway's URL, its data folder, the vLLM behind it."""

    url: str
    data: Path
    vllm: VllmServer

    def post(self, body: dict[str, Any], path: str = "/v1/chat/completions") -> httpx.Response:
        return httpx.post(self.url + path, json=body, trust_env=False, timeout=120)

    def direct(self, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.vllm.api_key}"}
        with http_client(self.vllm.url, headers=headers, timeout=120) as client:
            return client.post("/v1/chat/completions", json=body).json()

    def promote(self, name: str) -> None:
        active.write(self.data, ActiveAdapter(name=name, sha256=manifest_sha256(folder_of(self.data, name))))


def make_adapter(data: Path, model: Path, name: str, bias: dict[str, Any] | None = None) -> Path:
    """An adapter that changes nothing: its B is zero."""
    config = json.loads((model / "config.json").read_text())
    folder = folder_of(data, name)
    folder.mkdir(parents=True)
    width, rank = config["hidden_size"], 8
    prefix = "base_model.model.model.layers.{}.self_attn.q_proj"
    weights = {}
    for layer in range(config["num_hidden_layers"]):
        weights[f"{prefix.format(layer)}.lora_A.weight"] = np.ones((rank, width), np.float32)
        weights[f"{prefix.format(layer)}.lora_B.weight"] = np.zeros((width, rank), np.float32)
    save_file(weights, folder / "adapter_model.safetensors")
    peft = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(peft))
    write_manifest(folder, bias)
    return folder


@pytest.fixture(scope="module")
def door(vllm: VllmServer, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    data = tmp_path_factory.mktemp("data")
    names = ("gateway-0001", "gateway-0002", "gateway-0003")
    token = 30  # any token but the end of the text
    for name in names:
        bias = {"token_id": token, "bias": 100.0} if name == "gateway-0003" else None
        lora_api.load(vllm.url, vllm.api_key, name, make_adapter(data, model_folder, name, bias))
    with InteractionLog(data / "interactions.db") as log:
        gateway = Gateway(data, log=CaptureLog(log))
        gateway.pool.replace([Upstream(vllm.url, vllm.api_key, vllm.pid)])
        with running(gateway) as url:
            yield Door(url, data, vllm)
    for name in names:
        lora_api.unload(vllm.url, vllm.api_key, name)


@pytest.fixture(autouse=True)
def base_serves(door: Door) -> None:
    active.write(door.data, ActiveAdapter())


def test_answers_are_those_of_vllm(door: Door) -> None:
    expected = door.direct({**CHAT, "model": "base"})
    answer = door.post(CHAT)
    assert answer.json()["choices"][0]["message"] == expected["choices"][0]["message"]
    assert answer.json()["model"] == answer.headers["x-apprentice-adapter"] == "base"
    assert "Paris" in answer.text


def test_streamed_and_whole_replies_agree(door: Door) -> None:
    with HttpModelClient(door.url) as client:
        whole = client.chat(CHAT)
        *pieces, streamed = client.stream(CHAT)
    assert streamed == whole
    assert isinstance(whole, ModelReply)
    assert "".join(str(piece) for piece in pieces) == whole.message.content
    assert len(pieces) > 3


@pytest.mark.parametrize("stream", [False, True])
def test_forced_calls_arrive_parsed_and_fit_their_schema(door: Door, stream: bool) -> None:
    body = {
        **CHAT,
        "messages": [{"role": "user", "content": "Add 2 and 3."}],
        "tools": [ADD.schema(), SQUARE.schema()],
        "tool_choice": "required",
        "max_tokens": 80,
    }
    with HttpModelClient(door.url) as client:
        reply = list(client.stream(body))[-1] if stream else client.chat(body)
    assert isinstance(reply, ModelReply)
    assert reply.message.tool_calls
    for call in reply.message.tool_calls:
        wanted = {"add": {"a", "b"}, "square": {"x"}}[call.name]
        assert call.arguments is not None
        assert set(call.arguments) == wanted
        assert all(isinstance(value, int | float) for value in call.arguments.values())


def test_alias_follows_the_pointer(door: Door) -> None:
    base = door.post(CHAT).json()
    for name in ("gateway-0001", "gateway-0002"):
        door.promote(name)
        answer = door.post(CHAT)
        assert answer.json()["model"] == answer.headers["x-apprentice-adapter"] == name
        assert answer.headers["x-apprentice-adapter-sha256"] == manifest_sha256(folder_of(door.data, name))
        assert answer.json()["choices"][0]["message"] == base["choices"][0]["message"]


def test_calibration_reaches_the_sampler(door: Door) -> None:
    door.promote("gateway-0003")
    plain = door.post(CHAT).json()["choices"][0]["message"]["content"]
    biased = door.post({**CHAT, "tools": [ADD.schema()], "max_tokens": 4}).json()["choices"][0]["message"]["content"]
    assert "Paris" in plain
    assert len(set(biased)) == 1


def test_swaps_under_traffic_fail_nothing_and_mix_nothing(door: Door) -> None:
    ended = threading.Event()
    answers: list[tuple[int, str, str]] = []

    def ask() -> None:
        with httpx.Client(trust_env=False, timeout=120) as client:
            while not ended.is_set():
                answer = client.post(door.url + "/v1/chat/completions", json={**CHAT, "max_tokens": 4})
                model = answer.json().get("model", "")
                answers.append((answer.status_code, answer.headers.get("x-apprentice-adapter", ""), model))

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    for name in ("gateway-0001", "gateway-0002", "gateway-0001", "gateway-0002"):
        before = len(answers)
        door.promote(name)
        wait_until(lambda before=before: len(answers) >= before + 8)
    ended.set()
    for client in clients:
        client.join()
    assert {status for status, _, _ in answers} == {200}
    assert all(header == model for _, header, model in answers)
    assert {"gateway-0001", "gateway-0002"} <= {model for _, _, model in answers}


def test_models_that_are_not_loaded_are_not_there(door: Door) -> None:
    assert door.post({**CHAT, "model": "gateway-0009"}).status_code == 404
    names = [m["id"] for m in httpx.get(door.url + "/v1/models", trust_env=False, timeout=60).json()["data"]]
    assert {"agent", "base", "gateway-0001"} <= set(names)
    assert "gateway-0009" not in names


def test_completions_and_health(door: Door) -> None:
    answer = door.post(
        {"model": "agent", "prompt": "The capital of France is", "max_tokens": 3, "temperature": 0}, "/v1/completions"
    )
    assert "Paris" in answer.json()["choices"][0]["text"]
    health = httpx.get(door.url + "/health", trust_env=False, timeout=60).json()
    assert health == {"status": "ok", "vllm_pid": door.vllm.pid, "adapter": "base", "log_failures": 0}


@pytest.mark.parametrize("path", ["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/tokenize", "/version"])
def test_vllms_other_doors_stay_closed(door: Door, path: str) -> None:
    body = {"lora_name": "gateway-0001", "lora_path": "/"}
    assert door.post(body, path).status_code in (404, 405)
    assert httpx.get(door.url + path, trust_env=False, timeout=60).status_code in (404, 405)
    assert "gateway-0001" in lora_api.loaded(door.vllm.url, door.vllm.api_key)


def test_exchanges_are_logged(door: Door) -> None:
    text = "Say hello to the log."
    door.post({**CHAT, "messages": [{"role": "user", "content": text}]})

    def logged() -> list[Interaction]:
        with InteractionLog.open_readonly(door.data / "interactions.db") as log:
            return [one for one in log.read() if one.trajectory.messages[0].content == text]

    wait_until(logged)
    found = logged()
    assert found[0].trajectory.answer
    assert found[0].trajectory.usage.completion_tokens > 0
