"""``evolver shadow``, and lessons from what another server answered."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.log.interaction_log import FILE, InteractionLog
from agent.serving.shadow import switches
from agent.serving.shadow.agreement_log import AgreementLog
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
from tests.fakes.evolution import turn
from tests.fakes.gateway_door import WITH_TOOLS
from tests.fakes.model_server import Says
from tests.fakes.shadow_world import ADD_12, THEIRS, World, result_of


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
