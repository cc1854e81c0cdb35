"""The gateway between a real client and a model server that follows a script."""

import threading
from pathlib import Path

import httpx
import pytest

from agent.errors import ModelUnavailable
from agent.turn.model_client import HttpModelClient
from tests.fakes.gateway_door import CHAT, WITH_TOOLS, Door
from tests.fakes.leaving import asked
from tests.fakes.model_gateway import KEY, running_gateway
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.waiting import wait_until


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


def test_credentials_of_the_client_stay_here_and_ours_is_sent(door: Door) -> None:
    door.chat(CHAT, authorization="Bearer mine", cookie="a=b")
    assert door.server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "cookie" not in door.server.headers[0]


def test_health(door: Door) -> None:
    assert door.client.get("/health").json() == {"status": "ok", "vllm_pid": 4711, "adapter": "base"}


def test_the_servers_are_told_without_their_addresses_and_keys(door: Door) -> None:
    answer = door.client.get("/servers")
    told = {"address": "HTTP", "pid": 4711, "ready": True, "trouble": "", "adapters": None, "in_flight": 0}
    assert answer.json() == {"servers": [told]}
    assert KEY not in answer.text
    assert door.server.url not in answer.text


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


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "named"),
    [
        ("POST", "/v1/images", {}, 404, "POST /v1/completions, POST /v1/embeddings, GET /v1/models"),
        ("GET", "/v1/models/no/such", {}, 404, "GET /v1/models"),
        ("GET", "/v1/chat/completions", {}, 405, "takes: POST"),
        ("POST", "/health", {}, 405, "/health takes: "),
        ("GET", "/health", {"host": "evil.example"}, 400, "allowed_hosts"),
        ("GET", "/health", {"host": ""}, 400, "localhost"),
    ],
)
def test_who_asks_in_the_wrong_place_hears_what_there_is(
    door: Door, method: str, path: str, headers: dict[str, str], status: int, named: str
) -> None:
    answer = door.client.request(method, path, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert named in error["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("raw", "message"),
    [(b"<html>Bad", "<html>Bad"), (b'{"detail": "no"}', '{"detail": "no"}'), (b"", "the model server answered 422")],
)
def test_errors_in_another_form_get_the_clients_form(door: Door, raw: bytes, message: str, stream: bool) -> None:
    door.server._script = lambda _: Says(status=422, raw=raw)
    answer = door.chat({**CHAT, "stream": stream})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")
    assert answer.json()["error"] == {
        "message": message,
        "type": "invalid_request_error",
        "param": None,
        "code": 422,
    }


def test_a_server_that_refuses_the_gateways_key_is_no_fault_of_the_client(door: Door) -> None:
    (member,) = door.gateway.pool.members
    door.server._script = lambda _: Says("wrong key", status=401)
    try:
        assert door.chat(CHAT).status_code == 503
        assert (member.ready, member.trouble) == (False, "refuses the gateway's key")
    finally:
        member.ready, member.trouble = True, ""


def test_errors_of_the_model_server_pass_through(door: Door) -> None:
    door.server._script = lambda _: Says("max_tokens is too large", status=400)
    for body in (CHAT, {**CHAT, "stream": True}):
        answer = door.chat(body)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "max_tokens is too large"


def test_without_a_model_server_one_clear_line(door: Door) -> None:
    members, door.gateway.pool.members = door.gateway.pool.members, ()
    try:
        answers = [door.chat(CHAT), door.client.get("/v1/models"), door.client.get("/health")]
    finally:
        door.gateway.pool.members = members
    assert [a.status_code for a in answers] == [503, 503, 503]
    assert answers[0].json()["error"]["message"].startswith("the model server is starting or has stopped")
    assert answers[2].json()["vllm_pid"] is None


def test_a_dead_model_server_is_the_same(tmp_path: Path) -> None:
    with ModelServer() as server, running_gateway(tmp_path, server) as (_, url):
        server.stop()
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
        pieces = answer.iter_raw()  # httpx leaves as soon as nobody holds it
        assert b"data: " in next(pieces)
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
    door.server.disconnected.clear()
    door.server._script = lambda _: Says("late", wait=threading.Event())
    with asked(str(door.client.base_url), {**CHAT, "stream": stream}):
        wait_until(lambda: door.server.requests)
        assert not door.server.disconnected.is_set()
    assert door.server.disconnected.wait(60)
    assert door.chat({**CHAT, "model": "../x"}).status_code == 404
