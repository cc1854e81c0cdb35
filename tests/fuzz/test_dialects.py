"""Whatever a client of another protocol sends, its answer has its own form, and the log holds what was answered."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.fuzz import dialect_requests as dialects
from tests.fuzz.conftest import World
from tests.fuzz.openai_requests import anything
from tests.fuzz.test_requests import encoded

RESPONSES, MESSAGES, EMBEDDINGS = "/v1/responses", "/v1/messages", "/v1/embeddings"
BODIES = {
    RESPONSES: dialects.responses,
    MESSAGES: dialects.messages,
    EMBEDDINGS: dialects.embeddings,
}
ENDS = {
    RESPONSES: {"response.completed", "response.incomplete", "response.failed", "error"},
    MESSAGES: {"message_stop"},
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """A path and a body; rarely one that was cut off, or no object."""
    path = draw(st.sampled_from((RESPONSES,) * 8 + (MESSAGES,) * 8 + (EMBEDDINGS,)))
    kind = draw(st.integers(0, 40))
    if kind == 40:
        return path, draw(st.binary(max_size=20) | anything.map(encoded))
    content = encoded(draw(BODIES[path]))
    return path, content[: draw(st.integers(0, len(content)))] if kind == 39 else content


def events(text: str) -> list[dict[str, Any]]:
    """The values of an event stream, each of which is named by its field ``type``."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if lines:
            name, data = lines
            assert name.startswith("event: ")
            assert data.startswith("data: ")
            found.append(json.loads(data[6:]))
            assert found[-1]["type"] == name[7:]
    return found


def check_refusal(path: str, status: int, body: dict[str, Any]) -> None:
    """A refusal says why, as the clients of its protocol read it."""
    error = body["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    if path == MESSAGES:
        assert (body["type"], isinstance(error["type"], str)) == ("error", True)
    else:
        assert error["code"] == status
        assert error["param"] is None or isinstance(error["param"], str)


@pytest.mark.timeout(1800)
@settings(max_examples=800, suppress_health_check=list(HealthCheck), print_blob=True)
@given(sent=requests())
def test_every_protocol_answers_in_its_own_form(world: World, sent: tuple[str, bytes]) -> None:
    path, content = sent
    answer = world.post(path, content)
    event(f"{path} {answer.status_code}")
    assert answer.status_code < 500, answer.text
    kind = answer.headers["content-type"].partition(";")[0]
    if kind == "text/event-stream":
        assert answer.status_code == 200
        found = events(answer.text)
        assert found[-1]["type"] in ENDS[path]
    else:
        assert kind == "application/json"
        body = answer.json()
        if answer.status_code >= 400:
            check_refusal(path, answer.status_code, body)
    world.check_logged(answer.status_code == 200 and path in ENDS)
