"""The evolver command: data on stdout, one line and exit code 2 for what a person can mend."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import toolkit.execute
from agent.interaction_log import InteractionLog
from agent.serving import active_adapter
from evolver import cycle, release
from evolver.cli import main
from evolver.cycle_report import CycleReport
from evolver.errors import StageError
from evolver.jsonl import append_lines
from evolver.lease import held
from evolver.ledger import Ledger
from evolver.tool_pool import ToolPool
from evolver.types import Adapter, ToolExample, Verdict
from tests.fakes import shop_tools
from tests.fakes.evolution import publish_adapter, tamper, trace, turn
from tests.fakes.evolver_world import ITEMS, World, world
from tests.fakes.model_vllm import write_model
from tests.unit.evolver.test_tool_pool import made
from toolkit.config import ToolkitConfig
from toolkit.execute import Executor
from toolkit.made import read_approved

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


READ = [("status",), ("history",), ("adapters",), ("scores",), ("doctor",)]


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
    def opened(_: ToolkitConfig, **options: Any) -> Iterator[Executor]:
        yield shop_tools.executor()

    monkeypatch.setattr(toolkit.execute, "open_executor", opened)


def test_before_the_first_cycle(evolver: Evolver) -> None:
    assert json.loads(evolver("status", "--json")[1]) == {
        "active_adapter": "base",
        "on_trial": None,
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
def test_what_a_cycle_kept_and_dropped_can_be_read(evolver: Evolver, data: Path) -> None:
    folder = data / "cycles/0001"
    append_lines(folder / "traces.jsonl", [trace("good one"), trace("bad one")])
    verdicts = [Verdict(trace_id="good one", kept=True), Verdict(trace_id="bad one", kept=False, reason="grounding")]
    append_lines(folder / "verdicts.jsonl", verdicts)
    assert "kept (1), dropped (1)" in evolver("history", "--cycle", "1")[1]
    assert "good one" in evolver("history", "--cycle", "1", "--show", "kept")[1]
    assert json.loads(evolver("history", "--cycle", "1", "--show", "dropped", "--json")[1])["trace"]["id"] == "bad one"
    assert "trial" not in evolver("history", "--cycle", "1")[1]
    append_lines(folder / "maker/own/traces.jsonl", [trace("tried one").model_copy(update={"made_by": "maker-0001"})])
    append_lines(folder / "maker/own/verdicts.jsonl", [Verdict(trace_id="tried one", kept=True)])
    assert "trial (1)" in evolver("history", "--cycle", "1")[1]
    assert "tried one, by maker-0001" in evolver("history", "--cycle", "1", "--show", "trial")[1]
    refused(evolver("history", "--show", "kept"), "--cycle N")
    refused(evolver("history", "--cycle", "1", "--show", "all"), "requests, kept, dropped, trial")
    assert "dropped: grounding" in evolver("audit", "--cycle", "1", "--sample", "10")[1]
    assert len(json.loads(evolver("audit", "--cycle", "1", "--json")[1])) == 2
    refused(evolver("audit", "--cycle", "2"), "cycle 2 has judged no trace")
    refused(evolver("audit", "--cycle", "9"), "no such cycle")


@pytest.mark.usefixtures("adapters")
def test_deleting_an_interaction(evolver: Evolver, data: Path) -> None:
    with InteractionLog(data / "interactions.db") as log:
        gone = log.append(turn("my own words"), session="s", source="chat")
    append_lines(data / "cycles/0001/kept.jsonl", [trace("x").model_copy(update={"origin": gone})])
    with Ledger(data / "evolution.db") as ledger, held(ledger, 60.0):
        refused(evolver("forget", gone), "runs a cycle", "wait for its end")
    code, out, _ = evolver("forget", gone)
    assert code == 0
    assert FIRST in out
    assert "may have learned" in evolver("adapters")[1]
    refused(evolver("forget", gone), f"no interaction {gone}", "agent log")


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


@pytest.mark.parametrize(
    "command", [("rollback",), ("promote", FIRST), ("approve", FIRST), ("eval", "heldout", "--adapter", FIRST)]
)
@pytest.mark.usefixtures("adapters")
def test_an_adapter_of_another_base_model(evolver: Evolver, data: Path, file: Path, command: tuple[str, ...]) -> None:
    file.write_text(f'data_folder = "data"\n[agent.serving]\nmodel = "{write_model(data.parent / "model")}"\n')
    with Ledger(data / "evolution.db") as ledger:
        ledger.judge_adapter(FIRST, "waiting" if command[0] == "approve" else "promoted")
    if command[0] == "eval":
        with_server(data)
    refused(evolver(*command), FIRST, "made for another base model")
    assert active_adapter.read(data).name == SECOND
    assert evolver("rollback", "base")[0] == 0


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


def test_rounds_follow_one_another_while_each_is_promoted(evolver: Evolver, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter(["promoted", "rejected", "promoted"])

    def run_cycle(config: Any, ledger: Ledger, **_: Any) -> CycleReport:
        number = ledger.open_cycle().number
        ledger.end_cycle(number, next(ends), "a test")
        return CycleReport(cycle=ledger.cycles(number)[0])

    monkeypatch.setattr(cycle, "run_cycle", run_cycle)
    code, out, _ = evolver("cycle", "--rounds", "3")
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("cycle ")] == [
        "cycle 1: promoted",
        "cycle 2: rejected",
    ]
    assert evolver("cycle", "--rounds", "4")[0] == 2


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
    measured = json.loads(evolver("scores", "--json")[1])
    assert [(one["model"], one["suite"]) for one in measured] == [("base", "heldout")], "once"
    assert f"/{len(ITEMS)}" in evolver("scores", "--adapter", "base")[1]


def test_stage_errors_are_one_line(evolver: Evolver, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_cycle(*_: Any, **__: Any) -> CycleReport:
        raise StageError("the suite is damaged")

    monkeypatch.setattr(cycle, "run_cycle", run_cycle)
    refused(evolver("cycle"), "the suite is damaged")


def test_the_gates_yes_waits_for_a_persons(evolver: Evolver, data: Path, adapters: dict[str, Adapter]) -> None:
    refused(evolver("approve", FIRST), f"{FIRST} does not wait for approval", "waiting: none")
    with Ledger(data / "evolution.db") as ledger:
        ledger.judge_adapter(FIRST, "waiting")
    refused(evolver("approve", SECOND), f"waiting: {FIRST}")
    assert evolver("approve", FIRST)[:2] == (0, f"{FIRST} serves now (before: {SECOND})\n")
    assert active_adapter.read(data).name == FIRST
    assert json.loads(evolver("history", "--json")[1])["releases"][0]["reason"] == "evolver approve"


@pytest.mark.usefixtures("adapters")
def test_pins_are_set_shown_and_taken_off(evolver: Evolver) -> None:
    def pinned() -> list[bool]:
        return [row["pinned"] for row in json.loads(evolver("adapters", "--json")[1])]

    assert evolver("pin", FIRST)[:2] == (0, f"{FIRST} is pinned\n")
    assert pinned() == [False, True]
    assert "promoted, pinned" in evolver("adapters")[1]
    assert evolver("unpin", FIRST)[0] == 0
    assert pinned() == [False, False]
    refused(evolver("pin", "adapter-0077"), "no adapter adapter-0077")


def test_pausing_and_going_on(evolver: Evolver) -> None:
    assert "evolver resume" in evolver("pause", "moving house")[1]
    assert json.loads(evolver("status", "--json")[1])["not_due_because"].startswith("paused (moving house)")
    assert evolver("resume")[0] == 0
    assert json.loads(evolver("status", "--json")[1])["not_due_because"] == "0 new interactions, 20 needed"


def test_an_adapter_is_shown_with_its_size_hash_and_lessons(
    evolver: Evolver, data: Path, adapters: dict[str, Adapter]
) -> None:
    with Ledger(data / "evolution.db") as ledger:
        ledger.note(2, "dataset", {"train": 40, "valid": 8, "calls": 25, "no_calls": 15, "folder": "x"})
    newest = json.loads(evolver("adapters", "--json")[1])[0]
    assert newest["bytes"] == sum(file.stat().st_size for file in adapters[SECOND].folder.iterdir())
    assert newest["trained_on"] == {"train": 40, "valid": 8, "calls": 25, "no_calls": 15}
    line = evolver("adapters")[1].splitlines()[0]
    for part in (SECOND, "from base", adapters[SECOND].sha256[:12], "40 lessons (25 call)"):
        assert part in line


def test_a_backup_stands_for_the_data_folder(evolver: Evolver, data: Path, adapters: dict[str, Adapter]) -> None:
    copy = data.parent / "copy"
    assert evolver("backup", str(copy))[0] == 0
    refused(evolver("backup", str(copy)), "exists")
    data.rename(data.parent / "lost")
    copy.rename(data)
    assert evolver("rollback")[:2] == (0, f"{FIRST} serves now (before: {SECOND})\n")


def test_scoring_an_adapter_that_is_not_loaded_loads_it_first(here: World, evolver: Evolver) -> None:
    here.run()
    here.server.models.remove(FIRST)
    for file in (here.data / "evaluations").glob("*"):
        file.unlink()
    code, out, _ = evolver("eval", "heldout", "--adapter", FIRST, "--json")
    report = json.loads(out)
    assert (code, report["failed"], report["exact"]["hits"]) == (0, 0, 7)
    assert here.server.models == ["base", FIRST]


def test_tools_are_listed_with_their_code_and_approved_or_rejected(data: Path, evolver: Evolver) -> None:
    assert evolver("tools", "list") == (0, "no tools were made yet\n", "")
    with Ledger(data / "evolution.db") as ledger:
        for name in ("half_bill", "bad_bill"):
            example = ToolExample(arguments={"total": 10}, result=5)
            ToolPool(data, ledger).add(
                made(name), [example], cycle=3, maker="base", interaction_id="i1", request="Halve \x1b[2J10"
            )
    code, out, _ = evolver("tools", "list")
    assert code == 0
    for part in ("half_bill  waiting", "by base", "(i1)", "|     return total / 2", '{"total": 10} -> 5'):
        assert part in out
    assert "\x1b" not in out
    code, out, _ = evolver("tools", "approve", "half_bill", "--json")
    assert [(tool["name"], tool["state"]) for tool in json.loads(out)] == [("half_bill", "approved")]
    assert [tool.name for tool in read_approved(data / "approved_tools")] == ["half_bill"]
    assert "bad_bill  rejected" in evolver("tools", "reject", "bad_bill")[1]
    _, out, _ = evolver("tools", "list", "--state", "rejected", "--json")
    assert [tool["name"] for tool in json.loads(out)] == ["bad_bill"]
    refused(evolver("tools", "approve", "bad_bill"), "bad_bill", "evolver tools list")
    refused(evolver("tools", "reject", "nothing_here"), "nothing_here", "evolver tools list")
    refused(evolver("tools", "list", "--state", "new"), "waiting, approved or rejected")
