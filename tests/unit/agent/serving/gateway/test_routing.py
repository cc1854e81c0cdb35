"""Models by name, the alias, trials and calibration, through a running gateway."""

import hashlib
from typing import Any

import pytest

from agent.adapters import active, required
from agent.adapters.active import ActiveAdapter, Canary
from tests.fakes.gateway_door import CHAT, WITH_TOOLS, Door
from tests.fakes.model_tools import ADD


def test_alias_goes_to_base_and_then_to_what_is_promoted(door: Door) -> None:
    first = door.chat(CHAT)
    assert first.json()["model"] == door.server.requests[0]["model"] == "base"
    assert (first.headers["x-apprentice-adapter"], first.headers["x-apprentice-adapter-sha256"]) == ("base", "")
    door.adapter("adapter-0001")
    second = door.chat(CHAT)
    assert second.json()["model"] == second.headers["x-apprentice-adapter"] == "adapter-0001"
    assert len(second.headers["x-apprentice-adapter-sha256"]) == 64
    active.write(door.data, ActiveAdapter())
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
    active.write(door.data, ActiveAdapter(name="adapter-0001", sha256="a" * 64, canary=canary))
    required.write(door.data, {name: digest})
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
        required.write(door.data, {})
    elif harm == "another manifest":
        manifest.write_text(manifest.read_text() + " ")
    else:
        manifest.unlink()
    who = {door.chat(CHAT, **{"x-apprentice-session": f"s{n}"}).json()["model"] for n in range(20)}
    assert who == {"adapter-0001"}


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
        ({"tools": [ADD.schema()], "logit_bias": None}, True),
        ({"tools": [ADD.schema()], "logit_bias": {}}, True),
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


def test_models(door: Door) -> None:
    door.server.models = ["base", "adapter-0001"]
    door.adapter("adapter-0001")
    models = door.client.get("/v1/models").json()["data"]
    assert [m["id"] for m in models] == ["agent", "base", "adapter-0001"]
    assert models[0]["root"] == "adapter-0001"


@pytest.mark.parametrize("name", ["../adapters/x", "", "a/b", "x" * 100, "adapter-0001\n"])
def test_a_name_that_no_adapter_can_have_is_refused(door: Door, name: str) -> None:
    answer = door.chat({**CHAT, "model": name})
    assert answer.status_code == 404
    assert "see /v1/models" in answer.json()["error"]["message"]
    assert door.server.paths == []


def test_a_damaged_pointer_is_said_and_repaired_without_a_restart(door: Door) -> None:
    active.path(door.data).write_text("{")
    answer = door.chat(CHAT)
    assert answer.status_code == 503
    assert "evolver rollback base" in answer.json()["error"]["message"]
    assert door.client.get("/health").status_code == 503
    assert door.chat({**CHAT, "model": "base"}).status_code == 200
    active.write(door.data, ActiveAdapter())
    assert door.chat(CHAT).status_code == 200
