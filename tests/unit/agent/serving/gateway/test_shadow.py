"""Another server answers; apprentice answers beside it, unseen, and answers itself what was switched."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.adapters import active
from agent.adapters.active import ActiveAdapter
from agent.config import ShadowConfig
from agent.log.interaction_log import FILE, InteractionLog
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.gateway.shadow import Shadow
from agent.serving.shadow import switches
from agent.serving.shadow.agreement_log import Agreement, AgreementLog
from agent.serving.upstreams.connection import Upstream
from agent.turn.model_client import HttpModelClient
from evolver.cli.main import main
from evolver.config import Config, EvolverConfig, MineConfig
from evolver.crew.local import LocalCrew
from evolver.crew.workshop import Workshop
from evolver.cycle.run import _Run
from evolver.evaluation.suites import read_suite
from evolver.mining.mine import mine
from evolver.mining.turns import LoggedTurns
from evolver.store.ledger import Ledger
from tests.fakes import shop_tools
from tests.fakes.adapter_folder import write_manifest
from tests.fakes.evolution import turn
from tests.fakes.gateway_door import CHAT, WITH_TOOLS
from tests.fakes.model_gateway import KEY, running
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.model_tools import ADD, SQUARE
from tests.fakes.waiting import wait_until

THEIRS = "their-model"
ADD_12, ADD_21 = '{"a": 1, "b": 2}', '{"a": 2, "b": 1}'
BOTH = {**CHAT, "tools": [ADD.schema(), SQUARE.schema()]}


class World:
    """A gateway with our server and that of others, which say what a test tells them to."""

    def __init__(self, data: Path, gateway: Gateway, url: str, theirs: ModelServer, ours: ModelServer) -> None:
        self.data, self.gateway, self.url, self.theirs, self.ours = data, gateway, url, theirs, ours

    @property
    def shadow(self) -> Shadow:
        assert self.gateway.shadow is not None
        return self.gateway.shadow

    def say(self, theirs: Says, ours: Says) -> None:
        self.theirs._script, self.ours._script = lambda _: theirs, lambda _: ours

    def ask(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        return httpx.post(self.url + "/v1/chat/completions", json=body, headers=headers, trust_env=False, timeout=60)

    def compare(self, body: dict[str, Any], count: int = 1) -> None:
        """Ask, and wait until the answers are compared."""
        for _ in range(count):
            before = self.shadow.compared
            assert self.ask(body).status_code == 200
            wait_until(lambda before=before: self.shadow.compared > before)

    def agreements(self) -> dict[str, Agreement]:
        with AgreementLog.open_readonly(self.data / FILE) as log:
            return {one.tool: one for one in log.agreements()}

    def logged(self, count: int) -> list[tuple[str, str]]:
        def read() -> list[tuple[str, str]]:
            with InteractionLog.open_readonly(self.data / FILE) as log:
                return [(one.trajectory.adapter, one.trajectory.answer) for one in log.read()]

        wait_until(lambda: len(read()) >= count)
        return read()


@contextmanager
def world(data: Path, **settings: Any) -> Iterator[World]:
    """A running gateway in shadow mode."""
    config = ShadowConfig(url="http://127.0.0.1:1", model=THEIRS, **settings)
    with (
        ModelServer(script=lambda _: Says("theirs"), key="their-key") as theirs,
        ModelServer(script=lambda _: Says("ours"), key=KEY) as ours,
        InteractionLog(data / FILE) as log,
        AgreementLog(data / FILE) as agreements,
    ):
        gateway = Gateway(data, log=CaptureLog(log))
        gateway.pool.replace([Upstream(ours.url, KEY, pid=4711)])
        gateway.shadow = Shadow(config, Upstream(theirs.url, "their-key"), data, gateway.proxy, agreements)
        with running(gateway) as url:
            yield World(data, gateway, url, theirs, ours)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def result_of(answer: httpx.Response, value: str) -> dict[str, Any]:
    """The client's next request, with the result of the call that ``answer`` makes."""
    said = answer.json()["choices"][0]["message"]
    (call,) = said["tool_calls"]
    tool = {"role": "tool", "tool_call_id": call["id"], "content": value}
    return {**WITH_TOOLS, "messages": [*WITH_TOOLS["messages"], said, tool]}


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


class TestSwitching:
    """Who answers the calls of a tool."""

    def test_a_request_whose_tools_are_switched_is_ours(self, place: World) -> None:
        switches.choose(place.data, "add", "ours")
        assert place.ask(WITH_TOOLS).json()["choices"][0]["message"]["content"] == "ours"
        assert place.theirs.requests == []
        switches.choose(place.data, "add", "upstream")
        assert place.ask(WITH_TOOLS).json()["choices"][0]["message"]["content"] == "theirs"

    def test_a_request_without_tools_stays_theirs(self, place: World) -> None:
        switches.choose(place.data, "add", "ours")
        assert place.ask(CHAT).json()["choices"][0]["message"]["content"] == "theirs"

    @pytest.mark.parametrize("stream", [False, True])
    def test_with_some_tools_switched_our_call_of_one_is_the_answer(self, place: World, stream: bool) -> None:
        switches.choose(place.data, "add", "ours")
        place.say(Says("theirs"), Says(calls=[("add", ADD_12)]))
        answer = place.ask({**BOTH, "stream": stream})
        assert answer.headers["x-apprentice-adapter"] == "base"
        assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
        assert '"add"' in answer.text
        assert place.theirs.requests == []
        assert [adapter for adapter, _ in place.logged(1)] == ["base"]

    @pytest.mark.parametrize("says", [Says("ours"), Says(calls=[("square", '{"n": 2}')])])
    def test_any_other_answer_of_ours_is_not(self, place: World, says: Says) -> None:
        switches.choose(place.data, "add", "ours")
        place.say(Says(calls=[("square", '{"n": 2}')]), says)
        place.compare(BOTH)
        assert len(place.ours.requests) == 1  # asked once, and compared
        assert place.logged(1) == [(f"upstream:{THEIRS}", "")]

    def test_results_go_to_whoever_asked_for_the_call(self, place: World) -> None:
        place.say(Says(calls=[("add", ADD_12)], call_id="theirs-"), Says(calls=[("add", ADD_12)], call_id="ours-"))
        theirs = place.ask(WITH_TOOLS)
        switches.choose(place.data, "add", "ours")
        ours = place.ask({**WITH_TOOLS, "messages": [{"role": "user", "content": "another"}]})
        place.say(Says("theirs"), Says("ours"))
        for answer, expected in ((theirs, "theirs"), (ours, "ours")):
            assert place.ask(result_of(answer, "3")).json()["choices"][0]["message"]["content"] == expected

    def test_results_of_a_call_that_nobody_remembers_go_to_them(self, place: World) -> None:
        switches.choose(place.data, "add", "ours")
        call = {"id": "x", "type": "function", "function": {"name": "add", "arguments": ADD_12}}
        said = {"role": "assistant", "content": None, "tool_calls": [call]}
        tool = {"role": "tool", "tool_call_id": "x", "content": "3"}
        body = {**WITH_TOOLS, "messages": [*WITH_TOOLS["messages"], said, tool]}
        assert place.ask(body).json()["choices"][0]["message"]["content"] == "theirs"

    def test_a_damaged_file_of_choices_leaves_all_with_them(self, place: World) -> None:
        switches.path(place.data).write_text("{")
        assert place.ask(WITH_TOOLS).json()["choices"][0]["message"]["content"] == "theirs"

    def test_what_was_measured_switches_where_the_setting_lets_it(self, tmp_path: Path) -> None:
        agree = Says(calls=[("add", ADD_12)], call_id="c-")
        with world(tmp_path, switch_automatically=True, threshold=0.4, minimum_calls=4) as place:
            place.say(agree, agree)
            place.compare(WITH_TOOLS, 3)
            assert place.shadow._measured["base"] == frozenset()
            place.compare(WITH_TOOLS)
            asked = len(place.theirs.requests)
            assert place.ask(WITH_TOOLS).headers["x-apprentice-adapter"] == "base"
            assert len(place.theirs.requests) == asked
            switches.choose(tmp_path, "add", "upstream")  # the way back holds
            assert place.ask(WITH_TOOLS).headers["x-apprentice-adapter"] == f"upstream:{THEIRS}"

    def test_another_adapter_has_to_show_it_again(self, tmp_path: Path) -> None:
        agree = Says(calls=[("add", ADD_12)], call_id="c-")
        with world(tmp_path, switch_automatically=True, threshold=0.4, minimum_calls=4) as place:
            place.say(agree, agree)
            place.compare(WITH_TOOLS, 4)
            write_manifest(tmp_path / "adapters" / "adapter-0001", None)
            active.write(tmp_path, ActiveAdapter(name="adapter-0001", sha256="a" * 64))
            assert place.ask(WITH_TOOLS).headers["x-apprentice-adapter"] == f"upstream:{THEIRS}"

    def test_without_the_setting_nothing_switches_by_itself(self, tmp_path: Path) -> None:
        agree = Says(calls=[("add", ADD_12)])
        with world(tmp_path, threshold=0.4, minimum_calls=1) as place:
            place.say(agree, agree)
            place.compare(WITH_TOOLS, 5)
            assert place.ask(WITH_TOOLS).headers["x-apprentice-adapter"] == f"upstream:{THEIRS}"


class TestLearning:
    """What they wrote is never learned from."""

    def mined(self, place: World, **options: Any) -> Any:
        with InteractionLog.open_readonly(place.data / FILE) as log:
            return mine(MineConfig(), LoggedTurns.since(log, ""), **options)

    def test_a_turn_of_theirs_is_a_task_and_no_lesson(self, place: World) -> None:
        place.say(Says(calls=[("add", ADD_12)], call_id="t-"), Says("ours"))
        answer = place.ask(WITH_TOOLS)
        place.say(Says("It is 3, says the other."), Says("ours"))
        place.ask(result_of(answer, "3"))
        assert len(place.logged(2)) == 2
        assert self.mined(place).worked == ()
        assert [task.request for task in self.mined(place).tasks] == ["hi"]
        assert len(self.mined(place, learn_from_upstream=True).worked) == 1

    def test_a_cycle_that_is_unsure_of_a_request_asks_ours_alone(self, place: World) -> None:
        with InteractionLog(place.data / FILE) as log:
            log.append(turn("do you add prices"), session="s", source="chat")
        config = Config(data_folder=place.data, evolver=EvolverConfig(mine=MineConfig(uncertainty_sampling=1)))
        with HttpModelClient(place.url) as client, Ledger(place.data / "evolution.db") as ledger:
            crew: Any = LocalCrew(Workshop(shop_tools.executor(), client, None), 1)  # type: ignore[arg-type]
            serving: Any = None
            cycle = _Run(config, ledger, read_suite(), serving, 1, place.data, lambda *_: None, crew)
            assert cycle._mine().interactions == 1
        assert (len(place.ours.requests), place.theirs.requests) == (4, [])

    def test_a_turn_of_ours_is_a_lesson_as_ever(self, place: World) -> None:
        switches.choose(place.data, "add", "ours")
        place.say(Says("theirs"), Says(calls=[("add", ADD_12)], call_id="o-"))
        answer = place.ask(WITH_TOOLS)
        place.say(Says("theirs"), Says("It is 3."))
        place.ask(result_of(answer, "3"))
        assert len(place.logged(2)) == 2
        (lesson,) = self.mined(place).worked
        assert lesson.provenance.model == "base"


def evolver(data: Path, *arguments: str) -> int:
    file = data / "config.toml"
    if not file.exists():
        table = '[agent.serving.shadow]\nurl = "http://127.0.0.1:1"\nmodel = "m"\nminimum_calls = 4\nthreshold = 0.4\n'
        file.write_text(f'data_folder = "."\n{table}')
    sys.argv = ["evolver", "shadow", *arguments, "--config", str(file)]
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


class TestCommand:
    """``evolver shadow``."""

    def measured(self, data: Path, agreeing: int, differing: int = 0) -> None:
        from agent.serving.shadow.agreement import Comparison

        found = [Comparison("add", same_call=True, same_arguments=n < agreeing) for n in range(agreeing + differing)]
        with AgreementLog(data / FILE) as log:
            log.add(found, adapter="base", upstream=THEIRS)

    def test_it_shows_rates_with_intervals_and_who_answers(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.measured(tmp_path, 3, 1)
        assert evolver(tmp_path, "--json") == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert (row["tool"], row["compared"], row["answers"]) == ("add", 4, "upstream")
        assert row["same_arguments"]["hits"] == 3
        assert row["same_arguments"]["low"] < 0.75 < row["same_arguments"]["high"]
        assert evolver(tmp_path) == 0
        assert "75% (3/4, 30–95)" in capsys.readouterr().out

    def test_a_tool_is_switched_and_back(self, tmp_path: Path) -> None:
        self.measured(tmp_path, 5)
        assert evolver(tmp_path, "switch", "add") == 0
        assert switches.read(tmp_path).tools == {"add": "ours"}
        assert evolver(tmp_path, "switch", "add", "--back") == 0
        assert switches.read(tmp_path).tools == {"add": "upstream"}

    def test_below_the_threshold_it_is_not_switched_but_by_force(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.measured(tmp_path, 2, 3)
        assert evolver(tmp_path, "switch", "add") == 2
        assert "switch all the same with --force" in capsys.readouterr().err
        assert switches.read(tmp_path).tools == {}
        assert evolver(tmp_path, "switch", "add", "--force") == 0
        assert switches.read(tmp_path).tools == {"add": "ours"}

    def test_a_tool_that_was_never_compared_is_one_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert evolver(tmp_path, "switch", "fly") == 2
        assert "was not compared with base yet" in capsys.readouterr().err

    @pytest.mark.parametrize("options", [(), ("--back",), ("--force",)])
    @pytest.mark.parametrize("tool", ["", " "])
    def test_a_tool_without_a_name_is_one_line(
        self, tmp_path: Path, tool: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert evolver(tmp_path, "switch", tool, *options) == 2
        assert capsys.readouterr().err == "evolver: name a tool to switch; see them all with: evolver shadow\n"
        assert not switches.path(tmp_path).exists()

    def test_nothing_compared_yet_says_how_to_begin(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert evolver(tmp_path) == 0
        assert "set [agent.serving.shadow] url" in capsys.readouterr().err


def test_an_address_without_a_model_is_refused() -> None:
    with pytest.raises(ValueError, match="name the model"):
        ShadowConfig(url="https://api.example.com")
