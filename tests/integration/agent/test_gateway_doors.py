"""What the gateway offers besides passing on: keys, limits, metrics, feedback, turns that keep their adapter."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.adapters import active
from agent.adapters.active import ActiveAdapter
from agent.config import GatewayConfig
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.access import api_keys
from tests.fakes.adapter_folder import write_manifest
from tests.fakes.model_gateway import running_gateway
from tests.fakes.model_server import ModelServer, Says, Script
from tests.fakes.model_tools import ADD

CHAT = {"model": "agent", "messages": [{"role": "user", "content": "hi"}]}
WITH_TOOLS = {**CHAT, "tools": [ADD.schema()]}
PATH = "/v1/chat/completions"
JSON = {"content-type": "application/json"}


class Door:
    """A gateway with a log of its own, and a client."""

    def __init__(self, data: Path, client: httpx.Client, log: InteractionLog, server: ModelServer) -> None:
        self.data, self.client, self.log, self.server = data, client, log, server

    def chat(self, body: dict[str, Any] | None = None, key: str = "", **headers: str) -> httpx.Response:
        return self.post(PATH, body or CHAT, key, **headers)

    def post(self, path: str, body: Any, key: str = "", **headers: str) -> httpx.Response:
        authorization = {"authorization": f"Bearer {key}"} if key else {}
        return self.client.post(path, json=body, headers={**authorization, **headers})

    def promote(self, name: str) -> None:
        folder = self.data / "adapters" / name
        write_manifest(folder)
        active.write(self.data, ActiveAdapter(name=name))

    def samples(self) -> dict[tuple[str, ...], float]:
        """Figures by name and label values, those in the order of the labels' names."""
        text = self.client.get("/metrics").text
        return {
            (
                sample.name.removeprefix("apprentice_"),
                *(value for _, value in sorted(sample.labels.items())),
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@contextmanager
def opened(data: Path, script: Script = lambda _: Says("hello"), **config: Any) -> Iterator[Door]:
    with (
        InteractionLog(data / "interactions.db") as log,
        ModelServer(script=script) as server,
        running_gateway(data, server, log, GatewayConfig.model_validate(config)) as (_, url),
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        yield Door(data, client, log, server)


def test_keys_guard_every_door_but_health(tmp_path: Path) -> None:
    with opened(tmp_path, require_key=True) as door:
        key = api_keys.create(tmp_path, "shop", ["chat"])
        for method, path in (("POST", PATH), ("POST", "/v1/completions"), ("GET", "/v1/models"), ("GET", "/metrics"),
            ("GET", "/servers"),
        ):  # fmt: skip
            answer = door.client.request(method, path, json=CHAT)
            assert (path, answer.status_code) == (path, 401)
        assert door.post("/v1/feedback", {"id": "x", "verdict": "good"}).status_code == 401
        assert door.server.requests == []
        assert door.client.get("/health").status_code == 200
        assert door.chat(key=key).status_code == 200
        for path in ("/metrics", "/servers"):
            assert door.client.get(path, headers={"authorization": f"Bearer {key}"}).status_code == 403
        api_keys.revoke(tmp_path, "shop")
        assert door.chat(key=key).json()["error"]["message"].startswith("an API key is needed")


def test_a_key_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    with opened(tmp_path, requests_per_minute=1) as door:
        key = api_keys.create(tmp_path, "shop", ["chat"])
        answers = [door.chat(key=key) for _ in range(2)]
        assert [a.status_code for a in answers] == [200, 429]
        assert 0 < int(answers[1].headers["retry-after"]) <= 61
        assert [door.chat().status_code for _ in range(2)] == [200, 429]


def test_one_model_is_found_by_its_name(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        assert door.client.get("/v1/models/agent").json()["root"] == "base"
        assert door.client.get("/v1/models/base").json()["id"] == "base"
        unknown = door.client.get("/v1/models/nobody")
        assert (unknown.status_code, unknown.json()["error"]["message"]) == (
            404,
            "there is no model 'nobody'; see /v1/models",
        )


def test_refusals_are_counted_without_the_names_that_clients_make_up(tmp_path: Path) -> None:
    with opened(tmp_path, require_key=True) as door:
        for name in ("a", "b"):
            assert door.client.get(f"/v1/models/{name}").status_code == 401
        admin = {"authorization": f"Bearer {api_keys.create(tmp_path, 'admin', ['admin'])}"}
        text = door.client.get("/metrics", headers=admin).text
    assert 'apprentice_requests_total{adapter="",route="/v1/models",status="401"} 2.0' in text


@pytest.mark.parametrize(
    ("config", "answered"),
    [
        ({}, {"localhost": 200, "box.lan": 400}),
        ({"allowed_hosts": ["box.lan"]}, {"localhost": 200, "box.lan": 200, "evil.example": 400}),
        ({"host": "0.0.0.0"}, {"box.lan": 200, "evil.example": 200}),
        ({"host": "0.0.0.0", "allowed_hosts": ["*.lan"]}, {"localhost": 200, "box.lan": 200, "evil.example": 400}),
    ],
)
def test_it_answers_to_its_names_only(tmp_path: Path, config: dict[str, Any], answered: dict[str, int]) -> None:
    with opened(tmp_path, **config) as door:
        for host, status in answered.items():
            assert (host, door.client.get("/health", headers={"host": f"{host}:8765"}).status_code) == (host, status)


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_beyond_the_limit_is_refused(tmp_path: Path, declared: bool) -> None:
    with opened(tmp_path, body_limit_mib=1) as door:
        big = b'{"messages": "' + b"x" * (1 << 20) + b'"}'
        answer = door.client.post(PATH, content=big if declared else iter([big[:100], big[100:]]), headers=JSON)
        assert answer.status_code == 413
        assert answer.json()["error"]["message"] == "the request is larger than 1 MiB"
        assert door.server.requests == []
        assert door.chat().status_code == 200


def test_owner_and_tenant_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        key = api_keys.create(tmp_path, "shop", ["chat"], "acme")
        door.chat(key=key, **{"x-apprentice-log": "wait"})
        door.chat(**{"x-apprentice-log": "wait"})
        found = [(i.owner, i.tenant, i.reference) for i in door.log.read()]
    assert found == [("shop", "acme", "chatcmpl-1"), ("", "", "chatcmpl-1")]


def test_feedback_is_for_ones_own_interactions(tmp_path: Path) -> None:
    numbers = iter(range(100))
    with opened(tmp_path, script=lambda _: Says("hello", id=f"chatcmpl-{next(numbers)}")) as door:
        mine, other = (api_keys.create(tmp_path, name, ["chat", "feedback"]) for name in ("mine", "other"))
        reference = door.chat(key=mine).json()["id"]
        word = {"id": reference, "verdict": "bad", "note": "too short"}
        for key in (other, ""):
            refused = door.post("/v1/feedback", word, key)
            assert (refused.status_code, "of yours" in refused.text) == (404, True)
        accepted = door.post("/v1/feedback", word, mine)
        assert accepted.status_code == 200
        (found,) = door.log.read()
        assert accepted.json() == {"id": found.id, "verdict": "bad"}
        assert [(f.verdict, f.note) for f in found.feedback] == [("bad", "too short")]
        assert door.post("/v1/feedback", {"id": found.id, "verdict": "good"}, mine).status_code == 200
        assert len(door.log.read()[0].feedback) == 2


@pytest.mark.parametrize(
    "body", [{}, {"id": "x"}, {"id": 1, "verdict": "good"}, {"id": "x", "verdict": "great"}, [], 3]
)
def test_feedback_that_is_none(tmp_path: Path, body: Any) -> None:
    with opened(tmp_path) as door:
        answer = door.post("/v1/feedback", body)
        assert (answer.status_code, "verdict" in answer.json()["error"]["message"]) == (400, True)


def test_metrics(tmp_path: Path) -> None:
    failed = {"role": "tool", "tool_call_id": "a", "content": "Error: no such city"}
    worked = {"role": "tool", "tool_call_id": "b", "content": "7"}
    with opened(tmp_path) as door:
        door.promote("adapter-0001")
        door.chat()
        door.chat({**CHAT, "stream": True, "stream_options": {"include_usage": True}})
        door.chat({**CHAT, "messages": [*CHAT["messages"], failed, worked]}, **{"x-apprentice-log": "no"})
        door.chat({**CHAT, "model": "../x"})
        door.client.post(PATH, content=b"{", headers=JSON)
        found = door.samples()
    assert found["requests_total", "adapter-0001", PATH, "200"] == 3
    assert found["requests_total", "", PATH, "404"] == found["requests_total", "", PATH, "400"] == 1
    assert found["tokens_total", "adapter-0001", "prompt"] == 30
    assert found["tokens_total", "adapter-0001", "completion"] == 9
    assert found["tool_results_total", "adapter-0001"] == 2
    assert found["tool_errors_total", "adapter-0001"] == 1
    assert found["active_adapter", "adapter-0001"] == 1
    assert found["request_seconds_count", PATH] == 5
    assert found["first_byte_seconds_count", PATH] == 1
    assert found["log_failures",] == found["requests_in_flight",] == 0
    assert found["servers_ready",] == 1
    assert ("log_queue_depth",) in found


def test_names_that_clients_make_up_do_not_fill_the_memory(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        for n in range(70):
            door.chat({**CHAT, "model": f"made-up-{n}"})
        adapters = {key[1] for key in door.samples() if key[0] == "requests_total"}
    assert adapters == {""}  # the gateway itself refuses them: no server is asked, no label made


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_keeps_the_adapter_that_began_it(tmp_path: Path, stream: bool) -> None:
    numbers = iter(range(100))

    def script(request: dict[str, Any]) -> Says:
        if request["messages"][-1]["role"] == "tool":
            return Says("It is 3.")
        return Says(calls=[("add", '{"a": 1, "b": 2}')], call_id=f"call-{next(numbers)}-")

    with opened(tmp_path, script=script) as door:
        door.promote("adapter-0001")
        first = door.chat({**WITH_TOOLS, "stream": stream})
        assert first.headers["x-apprentice-adapter"] == "adapter-0001"
        call = {"id": "call-0-0", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
        door.promote("adapter-0002")
        turn = [
            *WITH_TOOLS["messages"],
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call-0-0", "content": "3"},
        ]
        second = door.chat({**WITH_TOOLS, "messages": turn, "stream": stream}, **{"x-apprentice-log": "wait"})
        assert second.headers["x-apprentice-adapter"] == "adapter-0001"
        done = [*turn, {"role": "assistant", "content": "It is 3."}, {"role": "user", "content": "and 4 + 5?"}]
        third = door.chat({**WITH_TOOLS, "messages": done, "stream": stream})
        assert third.headers["x-apprentice-adapter"] == "adapter-0002"
        asked_by_name = door.chat({**WITH_TOOLS, "messages": turn, "model": "adapter-0002"})
        assert asked_by_name.headers["x-apprentice-adapter"] == "adapter-0002"
        begun, continued, *_ = door.log.read()
    assert (begun.continues, continued.continues) == ("", begun.id)
    assert [i.trajectory.adapter for i in (begun, continued)] == ["adapter-0001"] * 2


def test_a_turn_whose_ids_the_client_renames_keeps_its_adapter_and_its_place(tmp_path: Path) -> None:
    """The server behind it gives all calls the same id, and two conversations are under way."""

    def script(request: dict[str, Any]) -> Says:
        return Says("It is 3.") if request["messages"][-1]["role"] == "tool" else Says(calls=[("add", '{"a": 1}')])

    wait = {"x-apprentice-log": "wait"}
    call = {"id": "call_0", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    turns = [[{"role": "user", "content": words}] for words in ("1 + 2?", "2 + 1?")]
    with opened(tmp_path, script=script) as door:
        for name, turn in zip(("adapter-0001", "adapter-0002"), turns, strict=True):
            door.promote(name)
            door.chat({**WITH_TOOLS, "messages": turn}, **wait)
        for turn in turns:
            asked = {"role": "assistant", "content": None, "tool_calls": [call]}
            answer = {"role": "tool", "tool_call_id": "call_0", "content": "3"}
            door.chat({**WITH_TOOLS, "messages": [*turn, asked, answer]}, **wait)
        first, second, *ended = door.log.read()
    assert [turn.continues for turn in ended] == [first.id, second.id]
    assert [turn.trajectory.adapter for turn in ended] == ["adapter-0001", "adapter-0002"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("error (tool_failed): no such city", True),
        ("Error: no such city\n Please fix your mistakes.", True),
        ("An error occurred while running the tool. Please try again.", True),
        ("Traceback (most recent call last):", True),
        ("errors are human", False),
        ("no error", False),
        ('{"error": null}', False),
    ],
)
def test_results_that_are_errors_are_known(tmp_path: Path, text: str, error: bool) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages = [
        *CHAT["messages"],
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": text},
    ]
    with opened(tmp_path) as door:
        door.chat({**WITH_TOOLS, "messages": messages}, **{"x-apprentice-log": "wait"})
        (result,) = door.log.read()[0].trajectory.results
    assert (result.name, result.ok) == ("add", not error)


@pytest.mark.parametrize("stream", [False, True])
def test_completions_are_kept_too(tmp_path: Path, stream: bool) -> None:
    choice = {"index": 0, "text": "Paris", "finish_reason": "stop"}
    body = {"id": "cmpl-7", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    whole = json.dumps(body).encode()
    raw = b"data: " + whole + b"\n\ndata: [DONE]\n\n" if stream else whole
    with opened(tmp_path, script=lambda _: Says(raw=raw)) as door:
        door.post("/v1/completions", {"prompt": "France:", "stream": stream}, **{"x-apprentice-log": "wait"})
        (found,) = door.log.read()
    assert (found.source, found.reference, found.trajectory.answer) == ("completions", "cmpl-7", "Paris")
    assert found.trajectory.messages[0].content == "France:"
    assert found.trajectory.usage.prompt_tokens == 3


@pytest.mark.parametrize("stream", [False, True])
def test_who_waits_for_the_log_hears_when_it_fails(tmp_path: Path, stream: bool) -> None:
    with opened(tmp_path) as door:
        pages = door.log._db.raw.execute("PRAGMA page_count").fetchone()[0]
        door.log._db.raw.execute(f"PRAGMA max_page_count={pages}")
        big = {**CHAT, "messages": [{"role": "user", "content": "x" * 100_000}], "stream": stream}
        assert "could not be stored" in door.chat(big, **{"x-apprentice-log": "wait"}).text
        assert "could not be stored" not in door.chat(big).text


def test_a_log_that_is_behind_makes_new_requests_wait_and_loses_nothing(tmp_path: Path) -> None:
    """The writer stands still behind another writer's transaction."""
    with opened(tmp_path, log_queue=4) as door, InteractionLog(tmp_path / "interactions.db") as other:
        door.chat(**{"x-apprentice-log": "wait"})
        answered = []

        def ask(n: int) -> None:
            body = {**CHAT, "messages": [{"role": "user", "content": str(n)}]}
            answered.append(door.chat(body).status_code)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
        with other._db.transaction():
            for thread in threads[:4]:
                thread.start()
            for thread in threads[:4]:
                thread.join()
            assert door.samples()["log_queue_depth",] == 4
            for thread in threads[4:]:
                thread.start()
            time.sleep(0.3)
            assert len(answered) == 4
        for thread in threads[4:]:
            thread.join()
        assert answered == [200] * 20
    with InteractionLog(tmp_path / "interactions.db") as log:
        texts = [i.trajectory.messages[0].content for i in log.read()]
    assert sorted(texts) == sorted(["hi", *map(str, range(20))])
