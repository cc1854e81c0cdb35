"""The evolver command: data on stdout, one line and exit code 2 for what a person can mend."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import toolkit.execute
from agent.serving import active_adapter
from evolver import cycle, release
from evolver.cli import main
from evolver.cycle import CycleReport
from evolver.errors import StageError
from evolver.ledger import Ledger
from evolver.types import Adapter
from tests.fakes import shop_tools
from tests.fakes.evolution import publish_adapter, tamper
from tests.fakes.evolver_world import ITEMS, World, world
from toolkit.config import ToolkitConfig
from toolkit.execute import Executor

FIRST, SECOND = "adapter-0001", "adapter-0002"
Evolver = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('data_folder = "data"\n')
    return path


@pytest.fixture
def data(file: Path) -> Path:
    return file.parent / "data"


@pytest.fixture
def evolver(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Evolver:
    """Runs ``evolver ARGUMENTS``; gives exit code, stdout, stderr."""

    def run(*arguments: str, config: Path = file) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["evolver", *arguments, "--config", str(config)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


@pytest.fixture
def adapters(data: Path) -> dict[str, Adapter]:
    """Two adapters, the second serves."""
    with Ledger(data / "evolution.db") as ledger:
        made = {}
        for name in (FIRST, SECOND):
            number = ledger.open_cycle().number
            ledger.note(number, "make", {"traces": 12, "by_maker": {"log": 2}})
            made[name] = publish_adapter(data, name)
            ledger.add_adapter(made[name], number, "base", "d")
            ledger.judge_adapter(name, "candidate", {"exact": {"hits": 3, "n": 4}, "no_call": {"hits": 0, "n": 0}})
            release.promote(name, data, ledger, None, reason=f"cycle {number}")
            ledger.end_cycle(number, "promoted", "it is better", "01")
    return made


def refused(shown: tuple[int, str, str], *words: str) -> None:
    """Exit code 2, nothing on stdout, one line that says it."""
    code, out, err = shown
    assert (code, out) == (2, ""), err
    (line,) = err.splitlines()
    assert line.startswith("evolver: ")
    for word in words:
        assert word in line


READ = [("status",), ("history",), ("adapters",), ("doctor",)]


@pytest.mark.parametrize("command", READ)
@pytest.mark.parametrize("empty", [True, False])
def test_every_read_command_speaks_json(
    evolver: Evolver, request: pytest.FixtureRequest, command: tuple[str, ...], empty: bool
) -> None:
    if not empty:
        request.getfixturevalue("adapters")
    if command == ("doctor",):
        request.getfixturevalue("tools")
    code, out, _ = evolver(*command, "--json")
    assert code == (1 if command == ("doctor",) else 0)
    json.loads(out)


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def opened(_: ToolkitConfig) -> Iterator[Executor]:
        yield shop_tools.executor()

    monkeypatch.setattr(toolkit.execute, "open_executor", opened)


def test_before_the_first_cycle(evolver: Evolver) -> None:
    assert json.loads(evolver("status", "--json")[1]) == {
        "active_adapter": "base",
        "server": None,
        "last_cycle": None,
        "not_due_because": "0 new interactions, 20 needed",
    }
    assert "agent serve" in evolver("status")[1]
    assert "evolver cycle" in evolver("history")[1]
    assert "evolver cycle" in evolver("adapters")[1]


@pytest.mark.usefixtures("adapters")
def test_what_is_shown_of_cycles_and_adapters(evolver: Evolver) -> None:
    status = json.loads(evolver("status", "--json")[1])
    assert (status["active_adapter"], status["last_cycle"]["number"]) == (SECOND, 2)
    assert f"serving    {SECOND}" in evolver("status")[1]
    history = json.loads(evolver("history", "--json")[1])
    assert [cycle["number"] for cycle in history["cycles"]] == [2, 1]
    assert [r["adapter"] for r in history["releases"]] == [SECOND, FIRST]
    assert f"{FIRST} -> {SECOND}  (cycle 2)" in evolver("history")[1]
    listed = json.loads(evolver("adapters", "--json")[1])
    assert [(row["name"], row["active"]) for row in listed] == [(SECOND, True), (FIRST, False)]
    lines = evolver("adapters")[1].splitlines()
    assert lines[0].startswith(f"* {SECOND}  promoted")
    assert lines[1].startswith(f"  {FIRST}  promoted")
    assert "exact call 75%" in lines[0]


@pytest.mark.usefixtures("adapters")
def test_one_cycle_in_detail(evolver: Evolver) -> None:
    (cycle_1,) = json.loads(evolver("history", "--cycle", "1", "--json")[1])["cycles"]
    assert cycle_1["summary"]["make"]["traces"] == 12
    shown = evolver("history", "--cycle", "1")[1]
    assert "traces 12" in shown
    assert "cycle 2" not in shown
    refused(evolver("history", "--cycle", "9"), "no cycle 9", "evolver history")


@pytest.mark.usefixtures("adapters")
def test_going_back_needs_no_server_and_ends_at_the_base_model(evolver: Evolver, data: Path) -> None:
    for gone, back in ((SECOND, FIRST), (FIRST, "base")):
        assert evolver("rollback") == (0, f"{back} serves now (before: {gone})\n", "")
        assert active_adapter.read(data).name == back
    refused(evolver("rollback"), "nothing to go back to")
    assert evolver("rollback", SECOND)[0] == 0
    assert active_adapter.read(data).name == SECOND
    assert evolver("promote", FIRST) == (0, f"{FIRST} serves now (before: {SECOND})\n", "")


def test_with_nothing_to_go_back_to(evolver: Evolver) -> None:
    refused(evolver("rollback"), "nothing to go back to")


@pytest.mark.parametrize("command", [("rollback",), ("promote",), ("eval", "heldout", "--adapter")])
@pytest.mark.usefixtures("adapters")
def test_an_unknown_adapter(evolver: Evolver, data: Path, command: tuple[str, ...]) -> None:
    if command[0] == "eval":
        with_server(data)
    refused(evolver(*command, "adapter-0077"), "no adapter adapter-0077", "evolver adapters")
    assert active_adapter.read(data).name == SECOND


def with_server(data: Path) -> None:
    import os

    from agent.serving import state
    from agent.serving.state import ServingState

    nowhere = "http://127.0.0.1:1"
    state.write(data, ServingState(pid=os.getpid(), gateway_url=nowhere, vllm_url=nowhere, vllm_pid=1, vllm_key="k"))


def test_a_tampered_adapter(evolver: Evolver, data: Path, adapters: dict[str, Adapter]) -> None:
    tamper(adapters[FIRST])
    refused(evolver("rollback"), FIRST, "is not the file that the manifest names")
    refused(evolver("promote", FIRST), FIRST)
    assert active_adapter.read(data).name == SECOND


@pytest.mark.parametrize("command", [("cycle",), ("eval", "heldout")])
def test_without_a_server(evolver: Evolver, command: tuple[str, ...]) -> None:
    refused(evolver(*command), "agent serve")


def test_mistakes_of_configuration(evolver: Evolver, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[evolver.gate]\nsignificans = 0.1\n")
    for command in (("status",), ("cycle",), ("rollback",), ("daemon",)):
        refused(evolver(*command, config=bad), "evolver.gate.significans")
    refused(evolver("status", config=tmp_path / "none.toml"), "none.toml", "--config")


def test_a_cycle_that_failed_is_exit_code_1(evolver: Evolver, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_cycle(config: Any, ledger: Ledger, **_: Any) -> CycleReport:
        number = ledger.open_cycle().number
        ledger.end_cycle(number, "failed", "StageError: no luck")
        return CycleReport(cycle=ledger.cycles(number)[0])

    monkeypatch.setattr(cycle, "run_cycle", run_cycle)
    code, out, _ = evolver("cycle")
    assert code == 1
    assert out.splitlines() == ["cycle 1: failed", "reason    StageError: no luck"]
    code, out, _ = evolver("cycle", "--json")
    assert (code, json.loads(out)["number"]) == (1, 2)


def test_a_bug_is_no_user_error(evolver: Evolver, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_cycle(*_: Any, **__: Any) -> CycleReport:
        raise ZeroDivisionError

    monkeypatch.setattr(cycle, "run_cycle", run_cycle)
    with pytest.raises(ZeroDivisionError):
        evolver("cycle")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(tmp_path, monkeypatch) as made:
        monkeypatch.setattr(toolkit.execute, "open_executor", made.executor)
        yield made


def test_scoring_the_base_model(here: World, evolver: Evolver) -> None:
    code, out, _ = evolver("eval", "heldout", "--adapter", "base", "--json")
    assert code == 0
    assert len(json.loads(out)["items"]) == len(ITEMS)
    code, out, _ = evolver("eval", "heldout")
    assert out.startswith(f"base on heldout: {len(ITEMS)} requests, 0 could not be judged")
    refused(evolver("eval", "other"), "no suite 'other'", "heldout")


def test_stage_errors_are_one_line(evolver: Evolver, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_cycle(*_: Any, **__: Any) -> CycleReport:
        raise StageError("the suite is damaged")

    monkeypatch.setattr(cycle, "run_cycle", run_cycle)
    refused(evolver("cycle"), "the suite is damaged")
