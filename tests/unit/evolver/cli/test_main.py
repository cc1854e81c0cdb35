"""What is told of cycles and adapters, and which mistakes a person can mend."""

import json
from pathlib import Path

import pytest

from evolver.scores import GateDecision
from evolver.store.cycle_folder import write_marker
from evolver.store.jsonl import append_lines
from evolver.store.ledger import Ledger
from evolver.types import Adapter, Verdict
from tests.fakes.evolution import trace
from tests.fakes.evolver_command import FIRST, SECOND, Evolver, refused

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
    lines = evolver("status")[1].splitlines()
    assert lines[0].startswith(f"serving:    {SECOND}, ")
    assert lines[1].startswith("last cycle: 2, ")
    assert lines[2].startswith("next cycle: not due: ")
    history = json.loads(evolver("history", "--json")[1])
    assert [cycle["number"] for cycle in history["cycles"]] == [2, 1]
    assert [r["adapter"] for r in history["releases"]] == [SECOND, FIRST]
    assert f"{FIRST} -> {SECOND}  (cycle 2)" in evolver("history")[1]
    listed = json.loads(evolver("adapters", "--json")[1])
    assert [(row["name"], row["active"]) for row in listed] == [(SECOND, True), (FIRST, False)]
    lines = evolver("adapters")[1].splitlines()
    assert lines[0].startswith(f"* {SECOND}  promoted")
    assert lines[1].startswith(f"  {FIRST}  promoted")
    assert "call accuracy 75%" in lines[0]


@pytest.mark.usefixtures("adapters")
def test_one_cycle_in_detail(evolver: Evolver) -> None:
    (cycle_1,) = json.loads(evolver("history", "--cycle", "1", "--json")[1])["cycles"]
    assert cycle_1["summary"]["make"]["traces"] == 12
    shown = evolver("history", "--cycle", "1")[1]
    assert "traces 12" in shown
    assert "cycle 2" not in shown
    refused(evolver("history", "--cycle", "9"), "no cycle 9", "evolver history")


@pytest.mark.usefixtures("adapters")
def test_a_report_for_programs(evolver: Evolver, data: Path) -> None:
    decision = GateDecision(promote=True, reasons=("passed: call accuracy",))
    write_marker(data / "cycles" / "0001" / "gate.json", decision)
    report = json.loads(evolver("report", "1", "--json")[1])
    assert (report["cycle"]["number"], report["stages"]) == (1, {"gate": decision.model_dump(mode="json")})
    refused(evolver("report", "1", "--json", "--html", "page.html"), "give one of them")


@pytest.mark.usefixtures("adapters")
def test_what_a_cycle_kept_and_dropped_can_be_read(evolver: Evolver, data: Path) -> None:
    folder = data / "cycles/0001"
    append_lines(folder / "traces.jsonl", [trace("good one"), trace("bad one")])
    verdicts = [Verdict(trace_id="good one", kept=True), Verdict(trace_id="bad one", kept=False, reason="grounding")]
    append_lines(folder / "verdicts.jsonl", verdicts)
    assert "kept (1), dropped (1)" in evolver("history", "--cycle", "1")[1]
    assert "good one" in evolver("history", "--cycle", "1", "--show", "kept")[1]
    assert json.loads(evolver("history", "--cycle", "1", "--show", "dropped", "--json")[1])["trace"]["id"] == "bad one"
    refused(evolver("history", "--show", "kept"), "--cycle N")
    refused(evolver("history", "--cycle", "1", "--show", "all"), "requests, kept, dropped")
    assert "dropped: grounding" in evolver("audit", "--cycle", "1", "--sample", "10")[1]
    assert len(json.loads(evolver("audit", "--cycle", "1", "--json")[1])) == 2
    refused(evolver("audit", "--cycle", "2"), "cycle 2 has judged no trace")
    refused(evolver("audit", "--cycle", "9"), "there is no cycle 9")


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


@pytest.mark.parametrize("command", [("cycle",), ("eval", "heldout")])
def test_without_a_server(evolver: Evolver, command: tuple[str, ...]) -> None:
    refused(evolver(*command), "agent serve")


def test_mistakes_of_configuration(evolver: Evolver, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[evolver.gate]\nsignificans = 0.1\n")
    for command in (("status",), ("cycle",), ("rollback",), ("daemon",)):
        refused(evolver(*command, config=bad), "evolver.gate.significans")
    refused(evolver("status", config=tmp_path / "none.toml"), "none.toml", "--config")


@pytest.mark.usefixtures("adapters")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("scores", "--adapter", "adaptr-0001"), "there is no adapter adaptr-0001; did you mean adapter-0001"),
        (("scores", "--adapter", "nope"), "there is no adapter nope; see: evolver adapters"),
        (("pin", "nope"), "there is no adapter nope; see: evolver adapters"),
        (("export", "--lessons", "l.jsonl", "--adapter", "nope"), "there is no adapter nope; see: evolver adapters"),
        (("eval", "heldout", "--adapter", "nope"), "there is no adapter nope; see: evolver adapters"),
        (("eval", "heldut"), "there is no suite heldut; did you mean heldout? there is: "),
        (("history", "--cycle", "99"), "there is no cycle 99; the newest is 2; see: evolver history"),
        (("report", "99"), "there is no cycle 99; the newest is 2; see: evolver history"),
        (("audit", "--cycle", "99"), "there is no cycle 99; the newest is 2; see: evolver history"),
        (("report", "1", "--html", "/nowhere/at/all.html"), "/nowhere/at/all.html: there is no folder /nowhere/at; "
         "make that folder first, or name another one"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_an_error_that_says_where_to_look(
    evolver: Evolver, words: tuple[str, ...], told: str
) -> None:
    code, out, said = evolver(*words)
    assert (code, out) == (2, "")
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.usefixtures("adapters")
def test_scores_of_what_was_never_measured_are_none(evolver: Evolver) -> None:
    for name in ("base", FIRST):
        code, out, _ = evolver("scores", "--adapter", name)
        assert (code, "nothing measured yet" in out) == (0, True)
