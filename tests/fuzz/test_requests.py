"""Whatever a client sends, it gets an answer that it can read, and the log holds exactly what was answered."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from agent.turn.prompt import to_openai
from tests.fuzz import openai_requests as openai
from tests.fuzz.conftest import World

CHAT, COMPLETIONS, FEEDBACK = "/v1/chat/completions", "/v1/completions", "/v1/feedback"
BODIES = {CHAT: openai.chat, COMPLETIONS: openai.completion, FEEDBACK: openai.feedback}


def encoded(body: Any) -> bytes:
    """As some clients send JSON: lone surrogates and all."""
    return json.dumps(body, allow_nan=True).encode("utf-8", "surrogatepass")


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """A path and a body; rarely one that was cut off, or no object."""
    path = draw(st.sampled_from((CHAT,) * 18 + (COMPLETIONS, FEEDBACK)))
    kind = draw(st.integers(0, 40))
    if kind == 40:
        return path, draw(st.binary(max_size=20) | openai.anything.map(encoded))
    content = encoded(draw(openai.choosing if path == CHAT and kind < 6 else BODIES[path]))
    return path, content[: draw(st.integers(0, len(content)))] if kind == 39 else content


def events(text: str) -> list[Any]:
    """The JSON values of an event stream; every line must belong to one."""
    lines = [line for line in text.split("\n") if line.strip()]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


@pytest.mark.timeout(1800)
@settings(max_examples=2000, suppress_health_check=list(HealthCheck), print_blob=True)
@given(sent=requests())
def test_every_request_is_answered_and_logged_or_refused_and_not(world: World, sent: tuple[str, bytes]) -> None:
    path, content = sent
    answer = world.post(path, content)
    event(f"{path} {answer.status_code}")
    event("tools were judged" if len(world.server.requests) > len(world.answered()) else "nothing was judged")
    assert answer.status_code < 500, answer.text
    kind = answer.headers["content-type"].partition(";")[0]
    if kind == "text/event-stream":
        assert answer.status_code == 200
        assert events(answer.text)
    else:
        assert kind == "application/json"
        body = answer.json()
        if answer.status_code >= 400:
            error = body["error"]
            assert isinstance(error["message"], str)
            assert error["message"]
            assert error["code"] == answer.status_code
            assert error["param"] is None or isinstance(error["param"], str)
    logged = world.check_logged(answer.status_code == 200 and path != FEEDBACK)
    for interaction in logged:
        said = to_openai((*interaction.trajectory.history, *interaction.trajectory.messages))
        assert json.loads(json.dumps(said, ensure_ascii=False).encode()) == said
        assert interaction.trajectory.answer or interaction.trajectory.calls
