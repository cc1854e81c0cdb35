"""Interactions are deleted, the data folder is copied, written tools are approved."""

import json
from pathlib import Path

import pytest

from agent.log.interaction_log import InteractionLog
from evolver.store.jsonl import append_lines
from evolver.store.lease import held
from evolver.store.ledger import Ledger
from evolver.tool_making.pool import ToolPool
from evolver.types import Adapter, ToolExample
from tests.fakes.evolution import trace, turn
from tests.fakes.evolver_command import FIRST, SECOND, Evolver, refused
from tests.unit.evolver.tool_making.test_pool import made
from toolkit.made import read_approved


@pytest.mark.usefixtures("adapters")
def test_deleting_an_interaction(evolver: Evolver, data: Path) -> None:
    with InteractionLog(data / "interactions.db") as log:
        gone = log.append(turn("my own words"), session="s", source="chat")
    append_lines(data / "cycles/0001/kept.jsonl", [trace("x").sourced(interaction_id=gone)])
    with Ledger(data / "evolution.db") as ledger, held(ledger, 60.0):
        refused(evolver("forget", gone), "runs a cycle", "wait for its end")
    code, out, _ = evolver("forget", gone)
    assert code == 0
    assert FIRST in out
    assert "may have learned" in evolver("adapters")[1]
    refused(evolver("forget", gone), f"no interaction {gone}", "agent log")


@pytest.mark.usefixtures("adapters")
def test_deleting_all_of_a_key(evolver: Evolver, data: Path) -> None:
    with InteractionLog(data / "interactions.db") as log:
        origin = {"source": "gateway", "tenant": "acme"}
        gone = [
            log.append(turn(f"my own words {n}"), session=f"s{n % 2}", owner="ann", **origin)  # type: ignore[arg-type]
            for n in range(4)
        ]
        stays = log.append(turn("words of ben"), session="s0", owner="ben", **origin)  # type: ignore[arg-type]
    append_lines(data / "cycles/0001/kept.jsonl", [trace("x").sourced(interaction_id=gone[0])])
    refused(evolver("forget"), "say what to delete", "--session")
    refused(evolver("forget", gone[0], "--owner", "ann"), "say what to delete")
    refused(evolver("forget", "--tenant", "acne"), "there is no tenant acne; there is: acme")
    refused(evolver("forget", "--session", "s0"), "acme/ann, acme/ben")
    code, out, _ = evolver("forget", "--session", "s0", "--owner", "ann", "--json")
    assert (code, json.loads(out)["interactions"], json.loads(out)["values"]) == (0, 2, 1)
    code, out, _ = evolver("forget", "--owner", "ann")
    assert (code, out) == (0, "2 interactions are deleted, and 0 values that were made from them\n")
    assert "2 deleted interactions" in evolver("adapters")[1]
    assert evolver("forget", "--tenant", "acme")[1].startswith(f"{stays} is deleted")
    refused(evolver("forget", "--owner", "ann"), "there is no interaction of owner ann")


def test_a_backup_stands_for_the_data_folder(evolver: Evolver, data: Path, adapters: dict[str, Adapter]) -> None:
    copy = data.parent / "copy"
    assert evolver("backup", str(copy))[0] == 0
    refused(evolver("backup", str(copy)), "exists")
    (data.parent / "file").write_text("")
    refused(evolver("backup", str(data.parent / "file" / "copy")), "Not a directory", "name a folder in which you may")
    data.rename(data.parent / "lost")
    copy.rename(data)
    assert evolver("rollback")[:2] == (0, f"{FIRST} serves now (before: {SECOND})\n")


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
