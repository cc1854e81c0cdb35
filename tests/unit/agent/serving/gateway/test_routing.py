"""The gateway between a real client and a model server that follows a script."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.errors import ModelUnavailable
from agent.interaction_log import InteractionLog
from agent.model_client import HttpModelClient
from agent.serving import active_adapter, due_adapters
from agent.serving.active_adapter import ActiveAdapter, Canary
from agent.serving.gateway import Gateway
from tests.fakes.model_gateway import KEY, running_gateway
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.model_tools import ADD

CHAT = {"model": "agent", "messages": [{"role": "user", "content": "hi"}]}
WITH_TOOLS = {**CHAT, "tools": [ADD.schema()]}


class Door:
    """A running gateway, the server behind it and a client in front of it."""

    def __init__(self, gateway: Gateway, server: ModelServer, client: httpx.Client, data: Path) -> None:
        self.gateway, self.server, self.client, self.data = gateway, server, client, data

    def chat(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        return self.client.post("/v1/chat/completions", json=body, headers=headers)

    def adapter(self, name: str, calibration: dict[str, Any] | None = None, *, promote: bool = True) -> str:
        """Make an adapter's folder and let it serve."""
        folder = self.data / "adapters" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text(json.dumps({"files": {}, "calibration": calibration}))
        if promote:
            active_adapter.write(self.data, ActiveAdapter(name=name, sha256="a" * 64))
        return name


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    data = tmp_path_factory.mktemp("data")
    with (
        ModelServer(script=lambda _: Says("hello")) as server,
        running_gateway(data, server) as (gateway, url),
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        yield Door(gateway, server, client, data)


@pytest.fixture
def door(running: Door) -> Door:
    for kept in (running.server.requests, running.server.headers, running.server.paths):
        kept.clear()
    active_adapter.path(running.data).unlink(missing_ok=True)
    due_adapters.path(running.data).unlink(missing_ok=True)
    running.server._script = lambda _: Says("hello")
    return running


def test_alias_goes_to_base_and_then_to_what_is_promoted(door: Door) -> None:
    first = door.chat(CHAT)
    assert first.json()["model"] == door.server.requests[0]["model"] == "base"
    assert (first.headers["x-apprentice-adapter"], first.headers["x-apprentice-adapter-sha256"]) == ("base", "")
    door.adapter("adapter-0001")
    second = door.chat(CHAT)
    assert second.json()["model"] == second.headers["x-apprentice-adapter"] == "adapter-0001"
    assert len(second.headers["x-apprentice-adapter-sha256"]) == 64
    active_adapter.write(door.data, ActiveAdapter())
    assert door.chat(CHAT).json()["model"] == "base"


def test_an_adapter_can_be_asked_by_name_while_another_serves(door: Door) -> None:
    door.adapter("adapter-0001")
    door.adapter("adapter-0002", promote=False)
    for name in ("base", "adapter-0002"):
        answer = door.chat({**CHAT, "model": name})
        assert answer.json()["model"] == answer.headers["x-apprentice-adapter"] == name


def on_trial(door: Door, share: float = 0.5) -> str:
    """adapter-0001 serves; the adapter that is returned, loaded everywhere, is on trial."""
    door.adapter("adapter-0001")
    name = door.adapter("adapter-0002", promote=False)
    digest = hashlib.sha256((door.data / "adapters" / name / "manifest.json").read_bytes()).hexdigest()
    canary = Canary(name=name, sha256=digest, share=share)
    active_adapter.write(door.data, ActiveAdapter(name="adapter-0001", sha256="a" * 64, canary=canary))
    due_adapters.write(door.data, {name: digest})
    return name


def test_a_share_of_the_sessions_goes_to_what_is_on_trial_and_stays_there(door: Door) -> None:
    name = on_trial(door)
    who = {n: door.chat(CHAT, **{"x-apprentice-session": f"s{n}"}).json()["model"] for n in range(40)}
    assert 8 < list(who.values()).count(name) < 32
    assert set(who.values()) == {name, "adapter-0001"}
    for n, model in who.items():
        answer = door.chat(CHAT, **{"x-apprentice-session": f"s{n}"})
        assert answer.headers["x-apprentice-adapter"] == model
    assert {door.chat({**CHAT, "model": asked}).json()["model"] for asked in ("base", name)} == {"base", name}


def test_a_conversation_without_a_session_keeps_its_adapter_by_how_it_began(door: Door) -> None:
    on_trial(door)
    seen = set()
    for n in range(20):
        opening = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"hello {n}"}]
        more = [*opening, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "and now?"}]
        first, second = (door.chat({**CHAT, "messages": messages}).json()["model"] for messages in (opening, more))
        assert first == second
        seen.add(first)
    assert len(seen) == 2


@pytest.mark.parametrize("harm", ["not loaded everywhere", "another manifest", "no manifest"])
def test_what_is_on_trial_gets_nothing_while_it_is_not_what_it_should_be(door: Door, harm: str) -> None:
    manifest = door.data / "adapters" / on_trial(door) / "manifest.json"
    if harm == "not loaded everywhere":
        due_adapters.write(door.data, {})
    elif harm == "another manifest":
        manifest.write_text(manifest.read_text() + " ")
    else:
        manifest.unlink()
    who = {door.chat(CHAT, **{"x-apprentice-session": f"s{n}"}).json()["model"] for n in range(20)}
    assert who == {"adapter-0001"}


def test_streams_pass_through_byte_for_byte(door: Door) -> None:
    body = {**WITH_TOOLS, "stream": True, "stream_options": {"include_usage": True}}
    door.server._script = lambda _: Says("sum: ", calls=[("add", '{"a": 1}')])
    direct = httpx.post(
        door.server.url + "/v1/chat/completions",
        json={**body, "model": "base"},
        headers={"authorization": f"Bearer {KEY}"},
        trust_env=False,
    )
    passed = door.chat(body)
    assert passed.content == direct.content
    assert passed.headers["content-type"] == "text/event-stream"
    assert passed.headers["x-apprentice-adapter"] == "base"


def test_own_client_works_through_it(door: Door) -> None:
    door.adapter("adapter-0001")
    door.server._script = lambda _: Says(calls=[("add", '{"a": 1, "b": 2}')])
    with HttpModelClient(str(door.client.base_url)) as client:
        whole = client.chat(WITH_TOOLS)
        *_, streamed = client.stream(WITH_TOOLS)
    assert whole == streamed
    assert whole.adapter == "adapter-0001"
    assert whole.message.tool_calls[0].arguments == {"a": 1, "b": 2}


def test_everything_of_the_request_but_the_model_stays_as_it_is(door: Door) -> None:
    body = {**WITH_TOOLS, "temperature": 0.3, "n": 2, "something_new": {"é": [1, None]}}
    door.chat(body)
    assert door.server.requests[0] == {**body, "model": "base"}


@pytest.mark.parametrize(
    ("extra", "biased"),
    [
        ({"tools": [ADD.schema()]}, True),
        ({"tools": [ADD.schema()], "tool_choice": "auto"}, True),
        ({"tools": [ADD.schema()], "tool_choice": None}, True),
        ({"tools": [ADD.schema()], "tool_choice": "none"}, False),
        ({"tools": [ADD.schema()], "tool_choice": "required"}, False),
        ({"tools": [ADD.schema()], "tool_choice": {"type": "function", "function": {"name": "add"}}}, False),
        ({"tools": [ADD.schema()], "logit_bias": {"7": 1.0}}, False),
        ({"tools": []}, False),
        ({}, False),
    ],
)
def test_calibration_is_applied_where_the_model_decides_whether_to_call(
    door: Door, extra: dict[str, Any], biased: bool
) -> None:
    door.adapter("adapter-0003", {"token_id": 42, "bias": -1.5})
    door.chat({**CHAT, **extra})
    expected = {"42": -1.5} if biased else extra.get("logit_bias")
    assert door.server.requests[0].get("logit_bias") == expected


def test_calibration_follows_the_adapter_that_answers(door: Door) -> None:
    door.adapter("adapter-0004", {"token_id": 42, "bias": -1.5})
    door.adapter("adapter-0005")
    door.chat(WITH_TOOLS)
    door.chat({**WITH_TOOLS, "model": "adapter-0004"})
    door.chat({**WITH_TOOLS, "model": "base"})
    assert [r.get("logit_bias") for r in door.server.requests] == [None, {"42": -1.5}, None]


def test_plain_completions_are_passed_without_bias(door: Door) -> None:
    door.adapter("adapter-0003", {"token_id": 42, "bias": -1.5})
    answer = door.client.post("/v1/completions", json={"prompt": "x", "tools": [1]})
    assert answer.status_code == 200
    assert door.server.paths == ["/v1/completions"]
    assert door.server.requests[0] == {"model": "adapter-0003", "prompt": "x", "tools": [1]}


def test_credentials_of_the_client_stay_here_and_ours_is_sent(door: Door) -> None:
    door.chat(CHAT, authorization="Bearer mine", cookie="a=b")
    assert door.server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "cookie" not in door.server.headers[0]


def test_models(door: Door) -> None:
    door.server.models = ["base", "adapter-0001"]
    door.adapter("adapter-0001")
    models = door.client.get("/v1/models").json()["data"]
    assert [m["id"] for m in models] == ["agent", "base", "adapter-0001"]
    assert models[0]["root"] == "adapter-0001"


def test_health(door: Door) -> None:
    assert door.client.get("/health").json() == {"status": "ok", "vllm_pid": 4711, "adapter": "base"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/unload_lora_adapter"),
        ("POST", "/v1/chat/completions/../load_lora_adapter"),
        ("POST", "/v1/chat/completions%2f..%2f..%2fload_lora_adapter"),
        ("POST", "//v1/load_lora_adapter"),
        ("POST", "/metrics"),
        ("POST", "/tokenize"),
        ("POST", "/sleep"),
        ("GET", "/v1/chat/completions"),
    ],
)
def test_nothing_else_of_vllm_can_be_reached(door: Door, method: str, path: str) -> None:
    answer = door.client.request(method, path, json=CHAT)
    assert answer.status_code in (404, 405)
    assert door.server.paths == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b'"x"', b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_object_is_refused(door: Door, body: bytes) -> None:
    answer = door.client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "the request's body is no JSON object"
    assert door.server.paths == []


@pytest.mark.parametrize("name", ["../adapters/x", "", 3, None, ["agent"], "a/b", "x" * 100, "adapter-0001\n"])
def test_a_name_that_no_adapter_can_have_is_refused(door: Door, name: object) -> None:
    answer = door.chat({**CHAT, "model": name})
    assert answer.status_code == 404
    assert "see /v1/models" in answer.json()["error"]["message"]
    assert door.server.paths == []


def test_errors_of_the_model_server_pass_through(door: Door) -> None:
    door.server._script = lambda _: Says("max_tokens is too large", status=400)
    for body in (CHAT, {**CHAT, "stream": True}):
        answer = door.chat(body)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "max_tokens is too large"


def test_a_damaged_pointer_is_said_and_repaired_without_a_restart(door: Door) -> None:
    active_adapter.path(door.data).write_text("{")
    answer = door.chat(CHAT)
    assert answer.status_code == 503
    assert "evolver rollback base" in answer.json()["error"]["message"]
    assert door.client.get("/health").status_code == 503
    assert door.chat({**CHAT, "model": "base"}).status_code == 200
    active_adapter.write(door.data, ActiveAdapter())
    assert door.chat(CHAT).status_code == 200


def test_without_a_model_server_one_clear_line(door: Door) -> None:
    members, door.gateway.fleet.members = door.gateway.fleet.members, ()
    try:
        answers = [door.chat(CHAT), door.client.get("/v1/models"), door.client.get("/health")]
    finally:
        door.gateway.fleet.members = members
    assert [a.status_code for a in answers] == [503, 503, 503]
    assert answers[0].json()["error"]["message"].startswith("the model server is starting or has stopped")
    assert answers[2].json()["vllm_pid"] is None


def test_a_dead_model_server_is_the_same(tmp_path: Path) -> None:
    with ModelServer() as server, running_gateway(tmp_path, server) as (_, url):
        server.__exit__()
        for body in (CHAT, {**CHAT, "stream": True}):
            assert httpx.post(url + "/v1/chat/completions", json=body, trust_env=False, timeout=60).status_code == 503


@pytest.mark.parametrize("stream", [False, True])
def test_a_connection_that_closes_when_it_is_used_again_is_replaced_once(door: Door, stream: bool) -> None:
    assert door.chat(CHAT).status_code == 200
    before = len(door.server.requests)
    replies = iter([Says(drop=True), Says("here")])
    door.server._script = lambda _: next(replies)
    assert door.chat({**CHAT, "stream": stream}).status_code == 200
    door.server._script = lambda _: Says(drop=True)
    assert door.chat({**CHAT, "stream": stream}).status_code == 503
    assert len(door.server.requests) == before + 4


def test_a_client_that_leaves_in_the_middle_of_a_stream_ends_the_generation(door: Door) -> None:
    door.server.disconnected.clear()
    door.server._script = lambda _: Says("half an answer", pause=threading.Event())
    with door.client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        assert b"data: " in next(answer.iter_raw())
        assert not door.server.disconnected.is_set()
    assert door.server.disconnected.wait(60)


def test_a_model_server_that_dies_in_the_middle_of_a_stream_is_said_in_the_stream(door: Door) -> None:
    door.server._script = lambda _: Says("half an answer", break_off=True)
    answer = door.chat({**CHAT, "stream": True})
    assert answer.text.endswith('"code": 503}}\n\n')
    with HttpModelClient(str(door.client.base_url)) as client:
        with pytest.raises(ModelUnavailable, match="the model server is starting or has stopped"):
            list(client.stream(CHAT))
        with pytest.raises(ModelUnavailable, match="the model server is starting or has stopped"):
            client.chat(CHAT)


def test_a_page_with_its_own_name_for_this_machine_is_refused(door: Door) -> None:
    assert door.chat(CHAT, host="evil.example:8765").status_code == 400
    assert door.chat(CHAT, host="localhost:1").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_generation(door: Door, stream: bool) -> None:
    never = threading.Event()
    door.server.disconnected.clear()
    door.server._script = lambda _: Says("late", wait=never)
    with pytest.raises(httpx.ReadTimeout):
        door.client.post("/v1/chat/completions", json={**CHAT, "stream": stream}, timeout=httpx.Timeout(60, read=0.05))
    assert door.server.disconnected.wait(60)
    assert door.chat({**CHAT, "model": "../x"}).status_code == 404


class TestLogging:
    """Exchanges of outside clients."""

    def exchange(self, tmp_path: Path, bodies: list[dict[str, Any]], says: Says, **headers: str) -> InteractionLog:
        log = InteractionLog(tmp_path / "interactions.db")
        with ModelServer(script=lambda _: says) as server, running_gateway(tmp_path, server, log) as (_, url):
            for body in bodies:
                httpx.post(url + "/v1/chat/completions", json=body, headers=headers, trust_env=False, timeout=60)
        return log

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_conversation_with_the_clients_own_tools(self, tmp_path: Path, stream: bool) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": [{"type": "text", "text": "1 + 2?"}, {"type": "image_url"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "3"},
        ]
        body = {**WITH_TOOLS, "messages": messages, "temperature": 0.5, "seed": 1, "max_tokens": 9, "stream": stream}
        session = {"x-apprentice-session": "s1"}
        with self.exchange(tmp_path, [body], Says("It is 3."), **session) as log:
            (found,) = log.read()
        trajectory = found.trajectory
        assert (found.session, found.source) == ("s1", "gateway")
        assert found.tool_schemas == (ADD.schema(),)
        assert [m.content for m in trajectory.history] == ["Be brief.", "hello", "hi"]
        assert [m.role for m in trajectory.messages] == ["user", "assistant", "tool", "assistant"]
        assert trajectory.messages[0].content == "1 + 2?\n[image_url]"
        assert trajectory.calls[0].arguments == {"a": 1, "b": 2}
        assert (trajectory.results[0].name, trajectory.results[0].value) == ("add", 3)
        assert trajectory.answer == "It is 3."
        assert (trajectory.tools, trajectory.adapter) == (("add",), "base")
        assert (trajectory.sampling.temperature, trajectory.sampling.max_tokens) == (0.5, 9)
        assert trajectory.latency_ms > 0

    def test_all_are_there_after_a_clean_stop(self, tmp_path: Path) -> None:
        bodies = [{**CHAT, "messages": [{"role": "user", "content": str(n)}]} for n in range(40)]
        with self.exchange(tmp_path, bodies, Says("yes")) as log:
            assert [i.trajectory.messages[0].content for i in log.read()] == [str(n) for n in range(40)]

    def test_our_own_agent_logs_for_itself(self, tmp_path: Path) -> None:
        with self.exchange(tmp_path, [CHAT], Says("yes"), **{"x-apprentice-log": "no"}) as log:
            assert log.read() == []

    def test_failures_and_broken_streams_are_no_interactions(self, tmp_path: Path) -> None:
        with self.exchange(tmp_path, [CHAT], Says("no", status=400)) as log:
            assert log.read() == []

    def test_a_client_that_goes_at_the_last_event_has_its_answer(self, tmp_path: Path) -> None:
        """It does not wait for the end of the response, and the server behind the gateway has not ended it yet."""
        body = {**CHAT, "stream": True}
        never = threading.Event()
        with (
            InteractionLog(tmp_path / "interactions.db") as log,
            ModelServer(script=lambda _: Says("a whole answer", linger=never)) as server,
            running_gateway(tmp_path, server, log) as (_, url),
            httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
        ):
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                assert any(line == "data: [DONE]" for line in answer.iter_lines())
            assert server.disconnected.wait(60)
            counted: list[str] = []
            while not counted:
                lines = client.get("/metrics").text.splitlines()
                counted = [line for line in lines if line.startswith("apprentice_requests_total{")]
        with InteractionLog(tmp_path / "interactions.db") as log:
            (found,) = log.read()
        assert found.trajectory.answer == "a whole answer"
        assert ['status="200"' in line for line in counted] == [True]

    def test_a_full_disk_is_said_and_answers_go_on(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        with (
            InteractionLog(tmp_path / "interactions.db") as log,
            ModelServer(script=lambda _: Says("yes")) as server,
            running_gateway(tmp_path, server, log) as (_, url),
        ):
            pages = log._db.raw.execute("PRAGMA page_count").fetchone()[0]
            log._db.raw.execute(f"PRAGMA max_page_count={pages}")
            big = {**CHAT, "messages": [{"role": "user", "content": "x" * 100_000}]}
            for _ in range(3):
                assert (
                    httpx.post(url + "/v1/chat/completions", json=big, trust_env=False, timeout=60).status_code == 200
                )
            while httpx.get(url + "/health", trust_env=False, timeout=60).json()["log_failures"] < 3:
                pass
        assert "the disk is full; free some space" in capfd.readouterr().err
