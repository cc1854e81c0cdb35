"""Promotions and rollbacks while 32 people, whose tools run on their side, are being answered by the real vLLM."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.adapters import package
from agent.config import GatewayConfig
from agent.errors import ModelError
from agent.log.interaction_log import InteractionLog
from agent.serving import serving_state
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.serving_state import ServingState
from agent.serving.upstreams import lora_api
from agent.serving.upstreams.connection import Upstream
from agent.serving.vllm.process import VllmServer
from agent.turn.messages import Interaction
from agent.turn.model_client import ReplyBuilder
from evolver.release import release
from evolver.store.ledger import Ledger
from evolver.types import Adapter
from tests.fakes.evolution import manifest_of
from tests.fakes.model_gateway import running
from tests.fakes.waiting import wait_until

ADAPTERS = ("adapter-0001", "adapter-0002")
STREAMS, SWITCHES, SECONDS = 32, 6, 36.0
CALL_TOKENS, TEXT_TOKENS = 48, 32
TOOL = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Write down a season.",
        "parameters": {
            "type": "object",
            "properties": {"season": {"type": "string", "enum": ["spring"]}},
            "required": ["season"],
        },
    },
}
QUESTION = {"role": "user", "content": "Which season of the year do you like best, and why? Write it down."}
FORCED = {"type": "function", "function": {"name": "note"}}
pytestmark = pytest.mark.timeout(900)


def begins_like(text: str, known: dict[str, set[str]]) -> set[str]:
    """Return the models one of whose texts ``text`` follows longest."""
    shared = {
        name: max(
            sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, one, strict=False))) for one in own
        )
        for name, own in known.items()
    }
    return {name for name, length in shared.items() if length == max(shared.values())}


@dataclass
class Reply:
    """One streamed answer: a call, of which every model says the same, or a text."""

    id: str
    adapter: str
    first_token: float
    call_id: str
    text: str


@dataclass
class Answer:
    """One interaction of two requests: the call of a tool, and, with its result, the text."""

    began: float
    call: Reply
    text: Reply


@dataclass
class Load:
    """Streams that ask without pause. An interaction is two requests, both to ``agent``."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._person) for _ in range(STREAMS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _person(self) -> None:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=300) as client:
            while not self._stop.is_set():
                try:
                    self.answers.append(self._interaction(client, "agent"))
                except (httpx.HTTPError, ModelError, AssertionError) as error:
                    self.failures.append(repr(error))

    def _interaction(self, client: httpx.Client, model: str) -> Answer:
        began = time.monotonic()
        call = self._ask(client, model, [QUESTION], tool_choice=FORCED, max_tokens=CALL_TOKENS)
        assert call.call_id
        function = {"name": "note", "arguments": '{"season": "spring"}'}
        done = [
            {"role": "assistant", "tool_calls": [{"id": call.call_id, "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": call.call_id, "content": "It is written down."},
        ]
        text = self._ask(client, model, [QUESTION, *done], tool_choice="none", max_tokens=TEXT_TOKENS, ignore_eos=True)
        return Answer(began, call, text)

    def _ask(self, client: httpx.Client, model: str, messages: list[Any], **options: object) -> Reply:
        body = {"model": model, "messages": messages, "tools": [TOOL], "temperature": 0, "stream": True, **options}
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            assert response.status_code == 200, response.read()
            lines = (line for line in response.iter_lines() if line)
            first = next(lines)
            moment = time.monotonic()
            rest = [first, *lines]
        assert rest[-1] == "data: [DONE]", rest[-1]
        chunks = [json.loads(line.removeprefix("data: ")) for line in rest[:-1]]
        adapter = response.headers["x-apprentice-adapter"]
        assert {chunk["model"] for chunk in chunks} == {adapter}
        builder = ReplyBuilder()
        for line in rest:
            builder.add(line)
        call_id, *_ = builder.calls.get(0, ("", "", ""))
        return Reply(chunks[0]["id"], adapter, moment, call_id, builder.text)

    def alone(self, model: str) -> Answer:
        """What ``model`` answers when nobody else asks."""
        with httpx.Client(base_url=self.url, trust_env=False, timeout=300) as client:
            return self._interaction(client, model)

    def wait_for(self, adapter: str, since: float) -> float:
        """Seconds from ``since`` to the first answer by ``adapter`` to an interaction that began after it."""
        while True:
            found = [a.call.first_token for a in self.answers if a.began >= since and a.call.adapter == adapter]
            if found:
                return min(found) - since
            assert not self.failures
            time.sleep(0.01)


def register(data: Path, ledger: Ledger, source: Path, name: str) -> None:
    """The random adapter in ``source``, published as training publishes."""
    draft = data / "adapters" / f".{name}.draft"
    draft.mkdir(parents=True)
    for file in (package.WEIGHTS, package.PEFT_CONFIG):
        shutil.copy(source / file, draft)
    folder = draft.with_name(name)
    package.publish(draft, folder, manifest_of(draft, name, base_sha256="", dataset_sha256=""))
    adapter = Adapter(name=name, folder=folder, sha256=package.manifest_sha256(folder))
    ledger.add_adapter(adapter, ledger.open_cycle().number, "base", "")


def logged(data: Path, count: int) -> list[Interaction]:
    """All interactions in the log, once there are ``count`` of them; they are written after they were answered."""
    with InteractionLog(data / "interactions.db") as log:
        wait_until(lambda: log.count()[0] >= count)
        return log.read()


@pytest.fixture(scope="module")
def serving(vllm: VllmServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, ServingState]]:
    data = tmp_path_factory.mktemp("data")
    log = InteractionLog(data / "interactions.db")
    gateway = Gateway(data, GatewayConfig(requests_per_minute=0), log=CaptureLog(log))
    gateway.pool.replace([Upstream(vllm.url, vllm.api_key, pid=vllm.pid)])
    with log, running(gateway) as url:
        announced = ServingState(
            pid=os.getpid(), gateway_url=url, vllm_url=vllm.url, vllm_pid=vllm.pid, vllm_key=vllm.api_key
        )
        serving_state.write(data, announced)
        yield data, announced
    for name in lora_api.loaded(vllm.url, vllm.api_key) & set(ADAPTERS):
        lora_api.unload(vllm.url, vllm.api_key, name)


def test_nobody_fails_and_nobody_is_answered_by_two(
    serving: tuple[Path, ServingState], random_adapters: Path, vllm: VllmServer
) -> None:
    data, running_server = serving
    waits, switching = [], []
    with Ledger(data / "evolution.db") as ledger:
        for source, name in zip("ab", ADAPTERS, strict=True):
            register(data, ledger, random_adapters / source, name)
            lora_api.load(vllm.url, vllm.api_key, name, release.adapters_folder(data) / name)
        each_alone = {name: Load(running_server.gateway_url).alone(name) for name in ("base", *ADAPTERS)}
        known = {name: {answer.text.text} for name, answer in each_alone.items()}
        # Rounding differs with the others in the batch, in bfloat16 more, and then a text goes on in other words.
        with ThreadPoolExecutor(STREAMS) as pool:
            mixed = [name for _ in range(STREAMS // 3) for name in known]
            together = list(pool.map(Load(running_server.gateway_url).alone, mixed))
        for name, answer in zip(mixed, together, strict=True):
            known[name].add(answer.text.text)
        assert len(set().union(*known.values())) == sum(map(len, known.values()))
        for name in ADAPTERS:  # a promotion loads what is not loaded, as after a cycle
            lora_api.unload(vllm.url, vllm.api_key, name)
        with Load(running_server.gateway_url) as load:
            load.wait_for("base", time.monotonic())
            for number in range(SWITCHES):
                until = time.monotonic() + SECONDS / SWITCHES
                decided = time.monotonic()
                if number % 3 == 2:
                    _, target = release.rollback(data, ledger, running_server, reason="test")
                else:
                    target = ADAPTERS[number % 2] if number % 3 == 0 or number % 2 else "base"
                    release.promote(target, data, ledger, running_server, reason="test")
                switching.append(time.monotonic() - decided)
                waits.append(load.wait_for(target, decided))
                time.sleep(max(0.0, until - time.monotonic()))
            begun = time.monotonic()
            config = data / "config.toml"
            config.write_text(f'data_folder = "{data}"\n')
            subprocess.run(
                [sys.executable, "-m", "evolver.cli.main", "rollback", "base", "--config", str(config)], check=True
            )
            by_hand = time.monotonic() - begun
    answers = load.answers
    print(
        f"{len(answers)} interactions of {STREAMS} streams, {SWITCHES} switches; decision to first answer: median "
        f"{statistics.median(waits):.2f} s, most {max(waits):.2f} s; the switch itself: most {max(switching):.3f} s; "
        f"evolver rollback as a command: {by_hand:.2f} s"
    )
    assert load.failures == []
    answered_by = [(answer.call.adapter, answer.text.adapter) for answer in answers]
    assert [pair for pair in answered_by if pair[0] != pair[1]] == []
    assert {first for first, _ in answered_by} == {"base", *ADAPTERS}
    texts = [(answer.text.adapter, answer.text.text) for answer in answers]
    assert [text for name, text in texts for other in known.keys() - {name} if text in known[other]] == []
    own = sum(name in begins_like(text, known) for name, text in texts)
    assert own > 0.95 * len(texts), Counter(name for name, text in texts if name not in begins_like(text, known))
    assert vllm.alive

    both = [*each_alone.values(), *together, *answers]
    replies = [reply for answer in both for reply in (answer.call, answer.text)]
    found = logged(data, len(replies))
    assert Counter(i.reference for i in found) == Counter(reply.id for reply in replies)
    by_reference = {i.reference: i for i in found}
    assert {i.reference: i.trajectory.adapter for i in found} == {reply.id: reply.adapter for reply in replies}
    assert all(by_reference[a.text.id].continues == by_reference[a.call.id].id for a in both)
