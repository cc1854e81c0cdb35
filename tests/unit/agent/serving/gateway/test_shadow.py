"""Another server answers; apprentice answers beside it, unseen, and answers itself what was switched."""

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.config import ShadowConfig
from agent.log.interaction_log import FILE
from agent.serving.shadow.agreement_log import Agreement, AgreementLog
from tests.fakes.gateway_door import CHAT, WITH_TOOLS
from tests.fakes.model_server import Says
from tests.fakes.shadow_world import ADD_12, ADD_21, BOTH, THEIRS, World, result_of, world
from tests.fakes.waiting import wait_until


class TestAnswering:
    """Who answers, and what people see."""

    def test_people_see_their_answer_and_never_ours(self, place: World) -> None:
        answer = place.ask(CHAT)
        assert answer.json()["choices"][0]["message"]["content"] == "theirs"
        assert answer.headers["x-apprentice-adapter"] == f"upstream:{THEIRS}"
        assert place.theirs.requests[0]["model"] == THEIRS
        wait_until(lambda: place.shadow.compared == 1)
        assert place.ours.requests[0]["model"] == "base"
        assert place.logged(1) == [(f"upstream:{THEIRS}", "theirs")]

    def test_clients_may_name_their_model(self, place: World) -> None:
        assert place.ask({**CHAT, "model": THEIRS}).json()["choices"][0]["message"]["content"] == "theirs"

    def test_an_adapter_by_name_is_ours(self, place: World) -> None:
        assert place.ask({**CHAT, "model": "base"}).json()["choices"][0]["message"]["content"] == "ours"
        assert place.theirs.requests == []

    def test_a_stream_passes_through_unchanged(self, place: World) -> None:
        place.say(Says("one two three"), Says("ours"))
        direct = httpx.post(
            place.theirs.url + "/v1/chat/completions",
            json={**CHAT, "model": THEIRS, "stream": True},
            headers={"authorization": "Bearer their-key"},
            trust_env=False,
        )
        passed = place.ask({**CHAT, "stream": True})
        assert passed.content == direct.content
        wait_until(lambda: place.shadow.compared == 1)

    def test_the_first_piece_of_a_stream_waits_for_nothing(self, place: World) -> None:
        hold, ours = threading.Event(), threading.Event()
        place.say(Says("one two three", pause=hold), Says("ours", wait=ours))
        try:
            with httpx.stream(
                "POST", place.url + "/v1/chat/completions", json={**CHAT, "stream": True}, trust_env=False, timeout=60
            ) as answer:
                assert next(answer.iter_raw())
                hold.set()
        finally:
            hold.set()
            ours.set()

    def test_our_hanging_answer_holds_nobody_up(self, place: World) -> None:
        hold = threading.Event()
        place.say(Says("theirs"), Says("ours", wait=hold))
        try:
            assert [place.ask(CHAT).status_code for _ in range(6)] == [200] * 6
            assert place.shadow.dropped == 2  # four are under way
            assert len(place.logged(6)) == 6
        finally:
            hold.set()
        wait_until(lambda: place.shadow.compared == 4)

    def test_our_failure_is_counted_and_seen_by_nobody(self, place: World) -> None:
        place.say(Says("theirs"), Says("no", status=500))
        assert place.ask(CHAT).status_code == 200
        wait_until(lambda: place.shadow.failed == 1)
        assert place.shadow.compared == 0

    def test_their_error_reaches_the_client(self, place: World) -> None:
        place.say(Says("slow down", status=429), Says("ours"))
        answer = place.ask(CHAT)
        assert (answer.status_code, answer.json()["error"]["message"]) == (429, "slow down")
        place.say(Says("theirs"), Says("ours"))
        assert place.ask(CHAT).status_code == 200  # it is asked again

    def test_their_absence_is_said_and_not_covered_up(self, place: World) -> None:
        place.say(Says(drop=True), Says("ours"))
        answer = place.ask(CHAT)
        assert answer.status_code == 503
        assert "cannot be reached" in answer.json()["error"]["message"]

    def test_what_is_not_logged_is_not_compared(self, place: World) -> None:
        assert place.ask(CHAT, **{"x-apprentice-log": "no"}).status_code == 200
        assert place.ours.requests == []

    def test_metrics_count(self, place: World) -> None:
        place.compare(CHAT)
        text = httpx.get(
            place.url + "/metrics", headers={"authorization": f"Bearer {place.gateway.own_key}"}, trust_env=False
        ).text
        assert "apprentice_shadow_compared 1.0" in text
        assert "apprentice_shadow_dropped 0.0" in text


class TestAgreement:
    """What is counted for each tool."""

    def test_equal_calls_agree_whatever_the_order_of_their_arguments(self, place: World) -> None:
        place.say(Says(calls=[("add", ADD_12)]), Says(calls=[("add", '{"b": 2, "a": 1}')]))
        place.compare(WITH_TOOLS)
        assert place.agreements()["add"] == Agreement("add", "base", 1, 1, 1, 0, 0)

    def test_other_arguments_are_the_same_call_only(self, place: World) -> None:
        place.say(Says(calls=[("add", ADD_12)]), Says(calls=[("add", ADD_21)]))
        place.compare(WITH_TOOLS)
        assert place.agreements()["add"] == Agreement("add", "base", 1, 1, 0, 0, 0)

    def test_a_call_that_only_one_side_makes_counts_against_its_tool(self, place: World) -> None:
        place.say(Says(calls=[("add", ADD_12)]), Says(calls=[("square", '{"n": 2}')]))
        place.compare(BOTH)
        assert place.agreements()["add"][2:5] == (1, 0, 0)
        assert place.agreements()["square"][2:5] == (1, 0, 0)

    def test_no_call_on_either_side_is_an_agreement_of_its_own(self, place: World) -> None:
        place.compare(WITH_TOOLS)
        assert place.agreements() == {"": Agreement("", "base", 1, 1, 1, 0, 0)}

    def test_calls_in_streams_are_compared(self, place: World) -> None:
        place.say(Says(calls=[("add", ADD_12)]), Says(calls=[("add", ADD_12)]))
        place.compare({**WITH_TOOLS, "stream": True})
        assert place.agreements()["add"].same_arguments == 1

    @pytest.mark.parametrize(("earlier", "same"), [("3", 1), ("4", 0)])
    def test_results_are_compared_where_the_client_ran_both_calls(self, place: World, earlier: str, same: int) -> None:
        place.say(Says(calls=[("add", ADD_21)], call_id="first-"), Says("ours"))
        place.compare(result_of(place.ask(WITH_TOOLS), earlier))  # the client has run 2 + 1
        wait_until(lambda: place.shadow.compared == 2)
        place.say(Says(calls=[("add", ADD_12)], call_id="second-"), Says(calls=[("add", ADD_21)]))
        answer = place.ask(WITH_TOOLS)
        wait_until(lambda: place.shadow.compared == 3)
        place.ask(result_of(answer, "3"))
        wait_until(lambda: place.agreements()["add"].results == 1)
        assert place.agreements()["add"].same_result == same

    def test_the_table_holds_nothing_that_was_said(self, place: World) -> None:
        place.say(Says("their secret answer"), Says("our secret answer"))
        place.compare({**CHAT, "messages": [{"role": "user", "content": "a secret question"}]})
        with AgreementLog.open_readonly(place.data / FILE) as log, log._db.transaction("BEGIN") as db:
            assert "secret" not in str(db.execute("SELECT * FROM shadow_comparisons").fetchall())


class _Slow(AgreementLog):
    """A log whose database hangs until ``hold`` is set; ``most``: threads that waited for it at a time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.hold, self._waiting, self.most = threading.Event(), 0, 0

    def _wait(self) -> None:
        self._waiting += 1
        self.most = max(self.most, self._waiting)
        assert self.hold.wait(60)
        self._waiting -= 1

    def add(self, found: Any, *, adapter: str, upstream: str) -> list[int]:
        self._wait()
        return super().add(found, adapter=adapter, upstream=upstream)

    def agreements(self, adapters: Any = None) -> list[Agreement]:
        self._wait()
        return super().agreements(adapters)


class TestDatabaseAway:
    """Who waits for it."""

    def test_one_thread_waits_and_every_client_is_answered(self, tmp_path: Path) -> None:
        with _Slow(tmp_path / FILE) as slow, world(tmp_path, switch_automatically=True) as place:
            place.shadow._agreements = slow
            for asked in range(1, 13):
                assert place.ask(WITH_TOOLS).json()["choices"][0]["message"]["content"] == "theirs"
                wait_until(lambda asked=asked: place.shadow.log._queue.qsize() >= asked)
            assert (slow.most, place.shadow.compared) == (1, 0)
            slow.hold.set()
            wait_until(lambda: place.shadow.compared == 12)
            assert place.shadow.log.dropped == 0


def test_an_address_without_a_model_is_refused() -> None:
    with pytest.raises(ValueError, match="name the model"):
        ShadowConfig(url="https://api.example.com")
