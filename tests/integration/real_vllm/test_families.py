"""Tiny random models of four families through all that a real one goes through: training with shared prefixes, the real
vLLM on CPU, an adapter in a mixed batch, the proof of the served weights, a call held to its schema."""

import json
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from peft import PeftModel
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent.adapters.manifest import Manifest
from agent.config import VllmConfig
from agent.http.address import http_client
from agent.models.detect import profile_of
from agent.models.profile import ModelProfile
from agent.serving.socket_folder import VLLM, socket_folder
from agent.serving.upstreams import lora_api
from agent.serving.vllm.process import VllmServer
from agent.tools.schemas import prepared
from evolver.release.served_weights import Server, prove
from evolver.training.render import Row, tokenized
from tests.fakes.tiny_families import CONFIGS, make_family
from tests.fakes.tiny_training import TOOLS, make_dataset, run

pytestmark = pytest.mark.timeout(600)
NAME = "adapter-0001"
LORA = ("base", NAME)


@dataclass(frozen=True)
class Served:
    """One family: its vLLM, its model and adapter, and how it is spoken to."""

    family: str
    vllm: VllmServer
    model: Path
    adapter: Path
    manifest: Manifest
    profile: ModelProfile

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.vllm.api_key}"}
        with http_client(self.vllm.url, headers=headers, timeout=120) as client:
            response = client.post(path, json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def logprobs(self, model: str, tokens: list[int]) -> list[float]:
        """Of each token but the first, given those before it."""
        body = {"model": model, "prompt": tokens, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        places = self.post("/v1/completions", body)["choices"][0]["prompt_logprobs"][1:]
        return [place[str(token)]["logprob"] for place, token in zip(places, tokens[1:], strict=True)]


@pytest.fixture(scope="module", params=CONFIGS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp(request.param)
    model = make_family(folder / "model", request.param)
    (folder / "dataset").mkdir()
    manifest = run(make_dataset(folder / "dataset"), model, folder / NAME, learning_rate=0.01)
    config = VllmConfig(max_model_len=2048, max_num_seqs=16, cpu_kv_cache_gib=1, start_timeout_seconds=500)
    with (
        socket_folder(folder) as sockets,
        VllmServer.start(config, model, folder / "vllm.log", sockets / VLLM) as vllm,
    ):
        lora_api.load(vllm.url, vllm.api_key, NAME, folder / NAME)
        yield Served(request.param, vllm, model, folder / NAME, manifest, profile_of(model))


def test_it_learns_with_shared_prefixes(served: Served) -> None:
    assert served.manifest.environment is not None
    assert served.manifest.environment.unshared is None
    assert served.manifest.metrics.tokens_saved > served.manifest.metrics.tokens_computed
    assert served.manifest.metrics.loss_last < served.manifest.metrics.loss_first


def test_a_prompt_has_the_tokens_that_lessons_begin_with(served: Served) -> None:
    call = {"id": "call-0", "type": "function", "function": {"name": "add", "arguments": '{"a": 3, "b": 2}'}}
    takes_system = served.family != "mistral"
    messages: list[dict[str, Any]] = [
        *([{"role": "system", "content": "Be brief, naïvely."}] if takes_system else []),
        {"role": "user", "content": 'Add "3" & 2 <b>.'},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call-0", "content": "5"},
        {"role": "assistant", "content": "It is 5."},
    ]
    row = Row(id="x", messages=messages, tools=TOOLS, targets=[len(messages) - 3, len(messages) - 1])
    lessons = tokenized(row, AutoTokenizer.from_pretrained(served.model), served.profile)
    for lesson, end in zip(lessons, row.targets, strict=True):
        body = {"model": "base", "messages": messages[:end], "tools": prepared(TOOLS), "add_generation_prompt": True}
        assert served.post("/tokenize", body)["tokens"] == list(lesson.tokens[: lesson.targets[0]])


def test_base_and_adapter_in_one_batch_answer_as_peft_does(served: Served) -> None:
    texts = _texts(served.manifest)
    exact, rounded = (_with_peft(served, texts, dtype) for dtype in (torch.float32, torch.bfloat16))
    asked = [(model, place) for place in range(len(texts)) for model in LORA]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = pool.map(lambda pair: served.logprobs(pair[0], texts[pair[1]]), asked)
        found = dict(zip(asked, answers, strict=True))
    effect = _apart(exact[NAME], exact["base"])
    for model in LORA:
        error = _apart([found[model, place] for place in range(len(texts))], exact[model])
        rounding = _apart(rounded[model], exact[model])
        assert error < 1.5 * rounding
        assert error < effect / 4


def test_what_vllm_serves_is_proved_to_be_what_was_trained(served: Served) -> None:
    proved = prove(served.manifest, [Server(url=served.vllm.url, key=served.vllm.api_key)])
    assert proved.missing == ""


def test_a_call_is_held_to_its_schema(served: Served) -> None:
    (tool,) = prepared(TOOLS)
    body = {
        "model": NAME,
        "messages": [{"role": "user", "content": "Tell a story."}],
        "tools": [tool],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 400,
        "temperature": 0,
        # A grammar allows blanks without end between two words of JSON, and a random model writes them.
        "logit_bias": {str(token): -100 for token in _blanks(served.model)},
    }
    message = served.post("/v1/chat/completions", body)["choices"][0]["message"]
    (call,) = message["tool_calls"]
    assert call["function"]["name"] == "add"
    jsonschema.validate(json.loads(call["function"]["arguments"]), TOOLS[0]["function"]["parameters"])


def _blanks(model: Path) -> list[int]:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    return tokenizer.encode(" \t\n\r", add_special_tokens=False).ids


def _texts(manifest: Manifest) -> list[list[int]]:
    assert manifest.probe is not None
    tokens = list(manifest.probe.tokens)
    return [tokens, tokens[:1] + tokens[40:], tokens[:90]]


@torch.no_grad()
def _with_peft(served: Served, texts: list[list[int]], dtype: torch.dtype) -> dict[str, list[list[float]]]:
    """The log-probabilities of the texts' tokens, by base and adapter, of transformers and PEFT alone."""
    base: Any = AutoModelForCausalLM.from_pretrained(served.model, dtype=dtype)
    found = {"base": [_forward(base, text) for text in texts]}
    adapted = PeftModel.from_pretrained(base, str(served.adapter), autocast_adapter_dtype=False).eval()
    return {**found, NAME: [_forward(adapted, text) for text in texts]}


def _forward(model: Any, tokens: list[int]) -> list[float]:
    logits = model(torch.tensor([tokens])).logits[0, :-1].float()
    return torch.log_softmax(logits, -1)[range(len(tokens) - 1), tokens[1:]].tolist()


def _apart(one: list[list[float]], other: list[list[float]]) -> float:
    pairs = zip(one, other, strict=True)
    return statistics.fmean(abs(a - b) for texts in pairs for a, b in zip(*texts, strict=True))
