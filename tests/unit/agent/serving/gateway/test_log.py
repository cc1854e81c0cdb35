"""Exchanges as a running gateway logs them."""

import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.log.interaction_log import InteractionLog
from agent.tools.schemas import prepared
from tests.fakes.gateway_door import CHAT, WITH_TOOLS
from tests.fakes.model_gateway import running_gateway
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.model_tools import ADD
from tests.fakes.waiting import wait_until


def requests_counted(client: httpx.Client) -> list[str]:
    lines = client.get("/metrics").text.splitlines()
    return [line for line in lines if line.startswith("apprentice_requests_total{")]


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
        assert found.tool_schemas == tuple(prepared([ADD.schema()]))
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

    @pytest.mark.parametrize("stream", [False, True])
    def test_of_several_choices_the_first_is_logged(self, tmp_path: Path, stream: bool) -> None:
        """Their pieces come mixed, and a whole answer need not have them in order."""

        def choices(*said: tuple[int, str, str | None]) -> bytes:
            form = "delta" if stream else "message"
            found = [{"index": n, form: {"content": text}, "finish_reason": reason} for n, text, reason in said]
            return json.dumps({"id": "chatcmpl-1", "choices": found}).encode()

        if stream:
            parts = [(0, "red", None), (1, "one", None), (1, "two", "length"), (0, " blue", None), (0, "", "stop")]
            raw = b"".join(b"data: " + choices(part) + b"\n\n" for part in parts) + b"data: [DONE]\n\n"
        else:
            raw = choices((1, "onetwo", "length"), (0, "red blue", "stop"))
        with self.exchange(tmp_path, [{**CHAT, "n": 2, "stream": stream}], Says(raw=raw)) as log:
            (found,) = log.read()
        assert (found.trajectory.answer, found.trajectory.stop_reason) == ("red blue", "answered")

    def test_an_error_in_the_stream_is_no_interaction(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        raw = b'data: {"error": {"message": "no such grammar", "code": 400}}\n\ndata: [DONE]\n\n'
        with self.exchange(tmp_path, [{**CHAT, "stream": True}], Says(raw=raw)) as log:
            assert log.read() == []
        assert "not logged" not in capfd.readouterr().err

    def test_an_answer_that_is_whole_where_a_stream_was_asked_for_is_logged(self, tmp_path: Path) -> None:
        message = {"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}
        says = Says(raw=json.dumps({"id": "x", "choices": [message]}).encode())
        with self.exchange(tmp_path, [{**CHAT, "stream": True}], says) as log:
            assert [found.trajectory.answer for found in log.read()] == ["yes"]

    def test_what_no_reader_could_read_does_not_spoil_the_log(self, tmp_path: Path) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
        deep = {"role": "tool", "tool_call_id": "c", "content": "[" * 500 + "]" * 500}
        messages = [*CHAT["messages"], {"role": "assistant", "tool_calls": [call]}, deep]
        says = Says(calls=[("add", '{"a": ' + "[" * 500 + "]" * 500 + "}")])
        with self.exchange(tmp_path, [{**WITH_TOOLS, "messages": messages}], says) as log:
            (found,) = log.read()
        assert found.trajectory.results[0].value == deep["content"]
        assert found.trajectory.calls[-1].arguments is None

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
            wait_until(lambda: requests_counted(client))
            counted = requests_counted(client)
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
            wait_until(lambda: httpx.get(url + "/health", trust_env=False, timeout=60).json()["log_failures"] == 3)
        assert "the disk is full; free some space" in capfd.readouterr().err
