"""A text is not generated to its end where only calls are scored."""

from agent.models.profile import EMBEDDED
from agent.turn.model_client import HttpModelClient
from evolver.evaluation.calls_only import CallsOnly, client_for
from tests.fakes.model_server import Says, serving

REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TEXT = "There are many things to say about that. " * 5


def test_the_beginning_of_a_text_is_enough() -> None:
    with serving(Says(TEXT)) as server, HttpModelClient(server.url) as client:
        message = client_for(client, calls_come_first=True).chat(REQUEST).message
    assert TEXT.startswith(message.content)
    assert 40 <= len(message.content) < len(TEXT)


def test_a_model_that_may_call_behind_a_text_is_heard_to_the_end() -> None:
    with serving(Says(TEXT, calls=[("add", "{}")])) as server, HttpModelClient(server.url) as client:
        message = client_for(client, calls_come_first=False).chat(REQUEST).message
    assert (message.content, len(message.tool_calls)) == (TEXT, 1)


def test_calls_are_whole() -> None:
    calls = [("add", '{"first": 1, "second": 2}'), ("now", "{}")]
    with serving(Says(calls=calls)) as server, HttpModelClient(server.url) as client:
        message = CallsOnly(client).chat(REQUEST).message
    assert [(call.name, call.raw) for call in message.tool_calls] == calls


def test_only_in_a_form_of_ours_do_calls_come_before_any_text() -> None:
    assert EMBEDDED.calls_come_first
    assert not EMBEDDED.model_copy(update={"source": "model"}).calls_come_first
    assert not EMBEDDED.model_copy(update={"source": "file"}).calls_come_first
