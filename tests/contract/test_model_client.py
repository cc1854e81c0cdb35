"""The model client against a server that speaks the protocol over a socket."""

import threading

import pytest

from agent.errors import ModelError, ModelTimeout, ModelUnavailable
from agent.turn.messages import Usage
from agent.turn.model_client import HttpModelClient, ModelReply
from agent.turn.prompt import to_openai
from tests.fakes.model_server import ModelServer, Says, serving

REQUEST = {"model": "agent", "messages": [{"role": "user", "content": "hi"}]}


def ask(client: HttpModelClient, *, streamed: bool) -> ModelReply:
    if not streamed:
        return client.chat(REQUEST, timeout_seconds=60)
    *pieces, reply = client.stream(REQUEST, timeout_seconds=60)
    assert isinstance(reply, ModelReply)
    assert all(isinstance(piece, str) for piece in pieces)
    assert len(pieces) == (2 if len("".join(pieces)) > 1 else 0)
    return reply


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return request.param


def answer(says: Says, *, streamed: bool) -> ModelReply:
    with serving(says) as server, HttpModelClient(server.url) as client:
        return ask(client, streamed=streamed)


def test_text(streamed: bool) -> None:
    headers = {"x-apprentice-adapter": "adapter-0007", "x-apprentice-adapter-sha256": "ab"}
    reply = answer(Says("Paris ist schön.", headers=headers), streamed=streamed)
    assert reply.message.content == "Paris ist schön."
    assert reply.message.tool_calls == ()
    assert reply.usage == Usage(prompt_tokens=10, completion_tokens=3)
    assert (reply.finish_reason, reply.adapter, reply.adapter_sha256) == ("stop", "adapter-0007", "ab")


def test_parallel_calls(streamed: bool) -> None:
    reply = answer(Says(calls=[("add", '{"a": 1, "b": 2}'), ("now", "{}")]), streamed=streamed)
    assert [(c.id, c.name, c.arguments) for c in reply.message.tool_calls] == [
        ("id-0", "add", {"a": 1, "b": 2}),
        ("id-1", "now", {}),
    ]
    assert reply.finish_reason == "tool_calls"


@pytest.mark.parametrize("raw", ['{"a": 1', "[1]", '{"a": NaN}', "", '{"a": "\\ud800"}', "[" * 100_000])
def test_arguments_that_are_no_json_object_are_kept_as_written(raw: str) -> None:
    (call,) = answer(Says(calls=[("add", raw)]), streamed=False).message.tool_calls
    assert (call.name, call.arguments, call.raw) == ("add", None, raw)


def test_a_call_that_the_server_left_in_the_text_is_a_nameless_call(streamed: bool) -> None:
    text = 'Sure.\n<tool_call>\n{"name": "add", "arguments": {"a": 1,}}\n</tool_call>\n<tool_call>{"na'
    message = answer(Says(text), streamed=streamed).message
    assert message.content == "Sure."
    assert [(c.name, c.arguments, c.raw) for c in message.tool_calls] == [
        ("", None, '{"name": "add", "arguments": {"a": 1,}}'),
        ("", None, '{"na'),
    ]
    assert len({c.id for c in message.tool_calls}) == 2


def test_a_broken_call_in_another_form_keeps_its_opening(streamed: bool) -> None:
    message = answer(Says('[TOOL_CALLS] [{"na'), streamed=streamed).message
    assert (message.content, [call.raw for call in message.tool_calls]) == ("", ['[TOOL_CALLS] [{"na'])
    assert to_openai([message])[0]["content"] == '[TOOL_CALLS] [{"na'


def test_a_text_ends_at_its_limit_and_the_server_is_told() -> None:
    headers, more = {"x-apprentice-adapter": "adapter-0007"}, threading.Event()
    with (
        serving(Says("Paris is a city.", headers=headers, linger=more)) as server,
        HttpModelClient(server.url) as client,
    ):
        *pieces, reply = client.stream(REQUEST, timeout_seconds=60, text_limit=5)
    assert server.disconnected.wait(5)
    assert isinstance(reply, ModelReply)
    assert (pieces, reply.message.content) == (["Paris is"], "Paris is")
    assert (reply.finish_reason, reply.adapter) == ("stop", "adapter-0007")


@pytest.mark.parametrize(
    "says",
    [
        Says("Sure, I add them.", calls=[("add", '{"a": 1}')]),
        Says('<tool_call>{"name": "add", "arguments": {"a": 1,}}'),
    ],
)
def test_calls_come_to_their_end_where_a_text_has_a_limit(says: Says) -> None:
    with serving(says) as server, HttpModelClient(server.url) as client:
        *_, reply = client.stream(REQUEST, timeout_seconds=60, text_limit=40)
    assert isinstance(reply, ModelReply)
    (call,) = reply.message.tool_calls
    assert call.raw.endswith("}")


def test_own_requests_are_marked_and_carry_the_key() -> None:
    with serving(Says("yes")) as server, HttpModelClient(server.url, "secret") as client:
        client.chat(REQUEST)
    assert server.headers[0]["x-apprentice-log"] == "no"
    assert server.headers[0]["authorization"] == "Bearer secret"


def test_no_server(streamed: bool) -> None:
    with ModelServer() as server:
        url = server.url
    with (
        HttpModelClient(url) as client,
        pytest.raises(ModelUnavailable, match="no server is running; start it with: agent serve"),
    ):
        ask(client, streamed=streamed)


def test_refused_request(streamed: bool) -> None:
    with pytest.raises(ModelError, match="400: too long"):
        answer(Says("too long", status=400), streamed=streamed)


def test_server_without_a_model(streamed: bool) -> None:
    with pytest.raises(ModelUnavailable, match="the model server is starting"):
        answer(Says("the model server is starting", status=503), streamed=streamed)


def test_connection_lost_in_the_middle(streamed: bool) -> None:
    with pytest.raises((ModelUnavailable, ModelError), match=r"went away|middle"):
        answer(Says("half", break_off=True), streamed=streamed)


@pytest.mark.parametrize(
    "raw", [b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"tool_calls": 3}}]}']
)
def test_nonsense_from_the_server(raw: bytes) -> None:
    with pytest.raises(ModelError, match="no chat completion"):
        answer(Says(raw=raw), streamed=False)


@pytest.mark.parametrize(
    "raw", [b"data: {\n\n", b"data: 3\n\n", b'data: {"choices": 1}\n\n', b'data: {"error": {"message": "boom"}}\n\n']
)
def test_nonsense_in_the_stream(raw: bytes) -> None:
    with pytest.raises(ModelError, match=r"stream broke|boom"):
        answer(Says(raw=raw), streamed=True)


def test_slow_server(streamed: bool) -> None:
    never = threading.Event()
    with (
        serving(Says("late", wait=never)) as server,
        HttpModelClient(server.url) as client,
        pytest.raises(ModelTimeout),
    ):
        if streamed:
            list(client.stream(REQUEST, timeout_seconds=0.05))
        else:
            client.chat(REQUEST, timeout_seconds=0.05)
    never.set()
