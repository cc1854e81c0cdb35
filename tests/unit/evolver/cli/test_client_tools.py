"""``evolver tools seen`` and ``evolver audit --plan``: what clients bring, and what would be learned of it."""

import json
import sys
from pathlib import Path

import pytest

import toolkit.cli
from agent.log.interaction_log import InteractionLog
from evolver.cycle import plan
from tests.fakes.client_traffic import asked, log_turn
from tests.fakes.evolver_command import Evolver
from tests.fakes.shop_tools import registry


def test_tools_of_clients_are_listed(evolver: Evolver, data: Path) -> None:
    assert evolver("tools", "seen") == (0, "no client brings tools of its own\n", "")
    with InteractionLog(data / "interactions.db") as log:
        log_turn(log, asked("Weather?", ("get_weather", {"city": "Bern"}, "rain"), answer="Rain."), owner="team")
    rows = [line.split() for line in evolver("tools", "seen")[1].splitlines()]
    assert [row[:7] for row in rows] == [
        ["get_weather", "1", "gateway", "team", "-", "1", "0"],
        ["refund_order", "1", "gateway", "team", "-", "0", "0"],
    ]
    (weather, _) = json.loads(evolver("tools", "seen", "--json")[1])
    assert (weather["name"], weather["parameters"]["required"], weather["calls"]) == ("get_weather", ["city"], 1)


def test_toolkit_lists_them_too(
    evolver: Evolver, data: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with InteractionLog(data / "interactions.db") as log:
        log_turn(log, asked("Weather?", ("get_weather", {"city": "Bern"}, "rain"), answer="Rain."), owner="team")
    for how in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["toolkit", "list", "--seen", *how, "--config", str(file)])
        with pytest.raises(SystemExit) as ended:
            toolkit.cli.main()
        assert (ended.value.code or 0, capsys.readouterr().out) == evolver("tools", "seen", *how)[:2]


def test_retired_tools_of_clients_are_listed_on_request(evolver: Evolver, data: Path) -> None:
    with InteractionLog(data / "interactions.db", now=lambda: 1e9) as log:
        log_turn(log, asked("hello", answer="Hello!"))
    assert evolver("tools", "seen")[1] == "no client brings tools of its own; 2 are replaced or retired: --all\n"
    assert "retired" in evolver("tools", "seen", "--all")[1]


def test_the_plan_is_printed(evolver: Evolver, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "load_local_tools", lambda _: registry())
    with InteractionLog(data / "interactions.db") as log:
        turn = asked("Weather in Bern?", ("get_weather", {"city": "Bern"}, "14 degrees"), answer="It is 14 degrees.")
        log_turn(log, turn, owner="team")
    code, out, err = evolver("audit", "--plan")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split() == ["gateway", "team", "-", "1", "1", "1", "-"]
    (teacher,) = json.loads(evolver("audit", "--plan", "--json")[1])["teachers"]
    assert (teacher["lessons"], teacher["not_executed"], teacher["dropped"]) == (1, 1, {})
