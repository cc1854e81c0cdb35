"""Live figures, chat and settings."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from agent.log.interaction_log import InteractionLog
from agent.serving import serving_state
from agent.serving.gateway.access import api_keys
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.serving_state import ServingState
from agent.serving.upstreams.connection import Upstream
from evolver.store.ledger import Ledger
from tests.fakes.dashboard_world import OWN, URL, Page, Visitor, gateway
from tests.fakes.evolution import turn
from tests.fakes.model_gateway import KEY, running
from tests.fakes.model_server import ModelServer, Says
from toolkit.tool import ToolErrorKind


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A data folder in which nothing has happened."""
    return tmp_path / "data"


def test_every_page_shows_an_empty_data_folder(empty: Path) -> None:
    visitor = Visitor(empty)
    for path in (
        "/",
        "/cycles",
        "/adapters",
        "/releases",
        "/live",
        "/conversations",
        "/chat",
        "/tools",
        "/evals",
        "/shadow",
        "/settings",
    ):
        assert visitor.get(path).status == 200, path
    for path in ("/learning.json", "/live/troubles.json", "/live/latency.json"):
        assert visitor.json(path)["series"] == [], path


def test_the_hours_count_what_went_wrong_by_adapter(empty: Path) -> None:
    visitor = Visitor(empty)
    error = ToolErrorKind.INVALID_ARGUMENTS
    with InteractionLog(empty / "interactions.db") as log:
        log.append(turn("a", adapter="adapter-0001"), session="s", source="gateway")
        log.append(
            turn("b", ("f", {}, error), ("f", {"x": 1}, 2), adapter="adapter-0001"), session="s", source="gateway"
        )
        log.append(turn("c", ("f", {}, error), adapter="adapter-0001"), session="s", source="gateway")
        bad = log.append(turn("d", answer="", stop_reason="time_limit"), session="s", source="gateway")
        log.append(turn("e", ("f", {}, ToolErrorKind.LOST)), session="s", source="gateway")
        for request in ("is it Monday?", "Is it Monday", "what else?"):
            log.append(turn(request, adapter="adapter-0002"), session="again", source="gateway")
        log.append(turn("what else?", adapter="adapter-0002"), session="another", source="gateway")
        log.feedback(bad, "good")
        log.feedback(bad, "bad")
    rows = {row[1]: row[2:] for row in visitor.get("/live").rows("hours")}
    assert rows == {
        "adapter-0001": ["3", "0", "2 (66.7%)", "1 (33.3%)", "0", "0"],
        "adapter-0002": ["4", "0", "0", "0", "0", "1 (25.0%)"],
        "base": ["2", "1 (50.0%)", "0", "0", "1 (50.0%)", "0"],
    }
    option = visitor.json("/live/troubles.json")
    assert {one["name"]: one["data"] for one in option["series"]} == {
        "adapter-0001": [66.7],
        "adapter-0002": [0.0],
        "base": [50.0],
    }


def test_latencies_are_quantiles_by_hour(empty: Path) -> None:
    visitor = Visitor(empty)
    moments = iter([time.time() - 7200] * 20 + [time.time()] * 2)
    with InteractionLog(empty / "interactions.db", now=lambda: next(moments)) as log:
        for number in range(20):
            log.append(turn("x").model_copy(update={"latency_ms": 10.0 * (number + 1)}), session="s", source="g")
        for latency in (5.0, 7.0):
            log.append(turn("x").model_copy(update={"latency_ms": latency}), session="s", source="g")
    option = visitor.json("/live/latency.json")
    median, slow = (one["data"] for one in option["series"])
    assert median == [110.0, 7.0]
    assert slow == [200.0, 7.0]
    assert (option["yAxis"]["name"], option["xAxis"]["name"]) == ("ms", "hour")


def test_latencies_of_seconds_are_shown_in_seconds(empty: Path) -> None:
    visitor = Visitor(empty)
    with InteractionLog(empty / "interactions.db") as log:
        for latency in (500.0, 12_345.6):
            log.append(turn("x").model_copy(update={"latency_ms": latency}), session="s", source="g")
    option = visitor.json("/live/latency.json")
    assert [one["data"] for one in option["series"]] == [[12.346], [12.346]]
    assert option["yAxis"]["name"] == "seconds"


def test_the_health_of_the_servers_is_shown(data: Path, visitor: Visitor) -> None:
    assert "the model server is starting" in visitor.get("/live").of("health")


@pytest.mark.parametrize("require_key", [False, True])
def test_the_servers_are_listed_with_model_adapters_and_requests(data: Path, require_key: bool) -> None:
    opened = gateway(data, require_key=require_key, host="127.0.0.1")
    opened.pool.replace([Upstream("http://127.0.0.1:1", KEY), Upstream("unix:/nowhere", KEY)])
    first, second = opened.pool.members
    first.adapters, first.in_flight = frozenset({"adapter-0001", "adapter-0002"}), 3
    opened.pool.failed(second, "cannot be reached")
    with running(opened) as url:
        state = ServingState(
            pid=os.getpid(), gateway_url=url, vllm_url="", vllm_pid=1, vllm_key=KEY, gateway_key=opened.own_key
        )
        serving_state.write(data, state)
        visitor = Visitor(data, require_key=require_key)
        if require_key:
            visitor.sign_in("read")
        seen = visitor.get("/live")
    assert seen.rows("servers") == [
        ["1", "ok", "SmolLM2-135M-Instruct", "HTTP", "adapter-0001, adapter-0002", "3"],
        ["2", "problem cannot be reached", "SmolLM2-135M-Instruct", "Unix socket", "not asked yet", "0"],
    ]
    assert KEY not in seen.answer.text


def asked(client: TestClient, body: dict[str, Any], session: str = "page-1") -> Any:
    return client.post("/ui/chat/ask", data={"body": json.dumps(body), "session": session}, headers=OWN)


@pytest.mark.parametrize("require_key", [False, True])
def test_a_turn_of_the_chat_is_asked_and_logged_in_the_visitors_name(data: Path, require_key: bool) -> None:
    with (
        InteractionLog(data / "interactions.db") as log,
        ModelServer(script=lambda _: Says("hello there"), key=KEY) as server,
    ):
        opened = gateway(data, log=CaptureLog(log), require_key=require_key, host="127.0.0.1")
        opened.pool.replace([Upstream(server.url, KEY)])
        with running(opened) as url:
            serving_state.write(
                data, ServingState(pid=os.getpid(), gateway_url=url, vllm_url=server.url, vllm_pid=1, vllm_key=KEY)
            )
            client = TestClient(opened.app, base_url=URL)
            if require_key:
                key = api_keys.create(data, "alice", ["read", "chat"])
                client.post("/ui/login", data={"key": key}, headers=OWN)
            answer = asked(client, {"model": "base", "messages": [{"role": "user", "content": "hi"}]})
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-apprentice-adapter"] == "base"
            said = "".join(
                json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
                for line in answer.text.splitlines()
                if line.startswith("data: {") and json.loads(line[6:])["choices"]
            )
            assert said == "hello there"
            refused = asked(client, {"model": "No Such Model", "messages": [{"role": "user", "content": "hi"}]})
            assert refused.status_code == 404
            if require_key:
                api_keys.revoke(data, "alice")
                assert asked(client, {"model": "base", "messages": []}).status_code == 401
        newest = log.read(limit=1)[0]
    assert (newest.owner, newest.session) == ("alice" if require_key else "", "page-1")


@pytest.mark.parametrize("body", ["", "[]", "{"])
def test_what_is_no_chat_request_is_refused(data: Path, visitor: Visitor, body: str) -> None:
    state = ServingState(pid=os.getpid(), gateway_url="http://127.0.0.1:1", vllm_url="", vllm_pid=1, vllm_key="")
    serving_state.write(data, state)
    assert visitor.press("/chat/ask", body=body, session="x").status == 400
    assert visitor.press("/chat/ask", body="{}", session="../x").status == 409
    assert visitor.press("/chat/ask", body="{}", session="x").status == 409


def test_keys_are_made_shown_once_and_revoked(data: Path, visitor: Visitor) -> None:
    seen = visitor.press("/settings/keys", name="bob", tenant="sales", **{"scope-read": "yes"})
    key = seen.of("key")
    (made,) = api_keys.read(data)
    assert (made.name, made.scopes, made.tenant) == ("bob", ("read",), "sales")
    assert made.sha256 == api_keys.sha256(key)
    later = visitor.get("/settings")
    assert key not in later.answer.text
    assert made.sha256 not in later.answer.text
    assert later.rows("keys")[0][:3] == ["bob", "read", "sales"]
    visitor.press("/settings/keys/bob/revoke")
    assert api_keys.read(data)[0].revoked_at is not None
    assert visitor.press("/settings/keys", name="bob").status == 409


def test_cycles_are_paused_and_resumed(data: Path, visitor: Visitor) -> None:
    assert visitor.press("/settings/pause", reason="holidays").of("paused") == "Paused: holidays (without a key)"
    with Ledger(data / "evolution.db") as ledger:
        assert ledger.setting("paused") == "holidays (without a key)"
    assert "Cycles begin when they are due." in visitor.press("/settings/resume").text


def test_the_configuration_tells_changed_keys_from_defaults(data: Path) -> None:
    visitor = Visitor(data, requests_per_minute=7)
    rows = {row[0]: row for row in visitor.get("/settings").rows("configuration")}
    assert rows["agent.serving.gateway.requests_per_minute"][1] == "7"
    assert rows["agent.serving.gateway.port"][1] == "8765 default"
    assert "evolver.daemon.every_hours" in rows
    page = visitor.get("/settings").answer.text
    assert "<b>agent.serving.gateway.requests_per_minute</b>" in page
    assert "<b>agent.serving.gateway.port</b>" not in page


def test_a_backup_lies_beside_the_data_folder(data: Path, visitor: Visitor) -> None:
    seen: Page = visitor.press("/settings/backup")
    target = Path(seen.of("copy").removeprefix("Copied to ").removesuffix(" ."))
    assert target.parent == data.parent
    with Ledger(target / "evolution.db") as ledger:
        assert len(ledger.cycles()) == 2


def test_the_doctor_says_what_is_missing(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    from dashboard.pages import settings
    from evolver.maintenance.doctor import Check

    found = [Check(name="server", ok=False, found="not running; start it with: agent serve")]
    monkeypatch.setattr(settings, "examine", lambda config: found)
    rows = visitor.press("/settings/doctor").rows("doctor")
    assert rows == [["problem", "server", "not running; start it with: agent serve"]]
