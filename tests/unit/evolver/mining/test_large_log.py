"""Readers of the log hold a few turns at a time, however many there are."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.adapters import active
from agent.adapters.active import ActiveAdapter, Canary
from agent.log.interaction_log import InteractionLog
from evolver.config import Config, EvolverConfig, MineConfig
from evolver.cycle.schedule import why_not_due
from evolver.evaluation.scoring import score_turns
from evolver.mining.mine import mine
from evolver.mining.turns import LoggedTurns
from evolver.release import canary
from evolver.store.ledger import Ledger
from tests.fakes.evolution import ListedTurns, turn

TURNS = 3000
MOST_MIB = 8
"""All of the turns at once take 30 MiB."""
FEW = MineConfig(per_session=10, per_source=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("large")
    with InteractionLog(data / "interactions.db", now=lambda: 1000.0) as log, log.batch() as add:
        for number in range(TURNS):
            made = turn(f"add {number} and 2, please", ("add", {"a": number, "b": 2}, number + 2), answer="word " * 200)
            add(log.entry(made, session=f"s{number // 40}", source="chat"), "")
    active.write(data, ActiveAdapter(canary=Canary(name="adapter-0001", sha256="c" * 64, share=0.5)))
    return data


def peak_mib(work: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def test_what_is_compared_with(folder: Path) -> None:
    with InteractionLog.open_readonly(folder / "interactions.db") as log:
        assert peak_mib(log.read) > 3 * MOST_MIB


def test_mining(folder: Path) -> None:
    with InteractionLog.open_readonly(folder / "interactions.db") as log:
        assert peak_mib(lambda: mine(FEW, LoggedTurns.since(log, ""))) < MOST_MIB


def test_scores_of_what_people_were_served(folder: Path) -> None:
    assert peak_mib(lambda: score_turns(folder, "base")) < MOST_MIB


def test_a_trial(folder: Path) -> None:
    with Ledger(folder / "evolution.db", now=lambda: 0.0) as ledger:
        ledger.record_release("base", "base", "on trial")
        config = Config(data_folder=folder)
        assert peak_mib(lambda: canary.standing(config, ledger, 1e6)) < MOST_MIB


def test_whether_a_cycle_is_due(folder: Path, tmp_path: Path) -> None:
    config = Config(data_folder=folder, evolver=EvolverConfig(mine=MineConfig(minimum_interactions=TURNS + 1)))
    with Ledger(tmp_path / "evolution.db") as ledger:
        active.write(folder, ActiveAdapter())
        told: list[str] = []
        assert peak_mib(lambda: told.append(why_not_due(config, ledger, 1e6))) < MOST_MIB
    assert told == [f"{TURNS} new interactions, {TURNS + 1} needed"]


@pytest.mark.parametrize("mined", [0, 1, 100, 2950, TURNS])
def test_what_is_mined_is_the_same_as_of_turns_in_memory(folder: Path, mined: int) -> None:
    with InteractionLog.open_readonly(folder / "interactions.db") as log:
        everything = log.read()
        up_to = everything[mined - 1].id if mined else ""
        found = mine(FEW, LoggedTurns.since(log, up_to))
        assert found == mine(FEW, ListedTurns(everything[mined:], everything[max(0, mined - 200) : mined]))
        assert found.interactions == TURNS - mined
