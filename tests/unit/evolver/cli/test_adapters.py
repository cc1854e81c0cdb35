"""A person chooses what serves."""

import json
from pathlib import Path

import pytest

from agent.adapters import active
from evolver.store.ledger import Ledger
from evolver.types import Adapter
from tests.fakes.evolution import tamper
from tests.fakes.evolver_command import FIRST, SECOND, Evolver, refused, with_server
from tests.fakes.model_vllm import write_model


@pytest.mark.usefixtures("adapters")
def test_going_back_needs_no_server_and_ends_at_the_base_model(evolver: Evolver, data: Path) -> None:
    for gone, back in ((SECOND, FIRST), (FIRST, "base")):
        assert evolver("rollback") == (0, f"{back} serves now (before: {gone})\n", "")
        assert active.read(data).name == back
    refused(evolver("rollback"), "nothing to go back to")
    assert evolver("rollback", SECOND)[0] == 0
    assert active.read(data).name == SECOND
    assert evolver("promote", FIRST) == (0, f"{FIRST} serves now (before: {SECOND})\n", "")


def test_with_nothing_to_go_back_to(evolver: Evolver) -> None:
    refused(evolver("rollback"), "nothing to go back to")


@pytest.mark.parametrize("command", [("rollback",), ("promote",), ("eval", "heldout", "--adapter")])
@pytest.mark.usefixtures("adapters")
def test_an_unknown_adapter(evolver: Evolver, data: Path, command: tuple[str, ...]) -> None:
    if command[0] == "eval":
        with_server(data)
    refused(evolver(*command, "adapter-0077"), "no adapter adapter-0077", "evolver adapters")
    assert active.read(data).name == SECOND


def test_a_tampered_adapter(evolver: Evolver, data: Path, adapters: dict[str, Adapter]) -> None:
    tamper(adapters[FIRST])
    refused(evolver("rollback"), FIRST, "is not the file that the manifest names")
    refused(evolver("promote", FIRST), FIRST)
    assert active.read(data).name == SECOND


@pytest.mark.parametrize(
    "command", [("rollback",), ("promote", FIRST), ("approve", FIRST), ("eval", "heldout", "--adapter", FIRST)]
)
@pytest.mark.usefixtures("adapters")
def test_an_adapter_of_another_base_model(evolver: Evolver, data: Path, file: Path, command: tuple[str, ...]) -> None:
    file.write_text(f'data_folder = "data"\n[agent.serving]\nmodel = "{write_model(data.parent / "model")}"\n')
    with Ledger(data / "evolution.db") as ledger:
        ledger.set_adapter_state(FIRST, "waiting" if command[0] == "approve" else "promoted")
    if command[0] == "eval":
        with_server(data)
    refused(evolver(*command), FIRST, "made for another base model")
    assert active.read(data).name == SECOND
    assert evolver("rollback", "base")[0] == 0


def test_the_gates_yes_waits_for_a_persons(evolver: Evolver, data: Path, adapters: dict[str, Adapter]) -> None:
    refused(evolver("approve", FIRST), f"{FIRST} does not wait for approval", "waiting: none")
    with Ledger(data / "evolution.db") as ledger:
        ledger.set_adapter_state(FIRST, "waiting")
    refused(evolver("approve", SECOND), f"waiting: {FIRST}")
    assert evolver("approve", FIRST)[:2] == (0, f"{FIRST} serves now (before: {SECOND})\n")
    assert active.read(data).name == FIRST
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
