"""A cycle over turns of clients that run their own tools."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.log.interaction_log import InteractionLog
from evolver.cli.show import cycle_text
from evolver.maintenance.forget import forget
from evolver.store.seen_tools import ToolCatalogue
from tests.fakes.client_traffic import WEATHER, asked, log_turn
from tests.fakes.evolver_world import World, lines, world

CITIES = ("Bern", "Thun", "Chur", "Zug", "Basel", "Genf", "Olten", "Davos", "Visp", "Brig", "Arosa", "Uster")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(tmp_path, monkeypatch) as made:
        with InteractionLog(made.data / "interactions.db") as log:
            for number, city in enumerate(CITIES, 14):
                call = ("get_weather", {"city": city}, f"{number} degrees")
                turn = asked(f"Weather in {city}?", call, answer=f"It is {number} degrees.")
                log_turn(log, turn, tools=[WEATHER], session=city, owner="shop", tenant="acme")
        yield made


def of_clients(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The lessons with a call of the client's tool, by request."""
    return {
        row["messages"][0]["content"]: row
        for row in rows
        if row["decision"] == "call" and row["tools"][0]["function"]["name"] == "get_weather"
    }


def test_a_cycle_learns_what_worked_holds_some_back_and_forgets(here: World) -> None:
    report = here.run()
    assert report.cycle.status in ("promoted", "rejected"), report.cycle.reason
    assert "12 of them judged by the log or their schema, not executed" in cycle_text(report)
    folder = here.data / "cycles" / "0001"
    requests = {f"Weather in {city}?" for city in CITIES}
    held = {row["request"] for row in lines(folder / "own.jsonl") if row["client_turn"]}
    assert len(held) == len(CITIES) // 4
    rows = [row for side in ("train", "valid") for row in lines(folder / "dataset" / f"{side}.jsonl")]
    learned = of_clients(rows)
    assert learned.keys() == requests - held
    assert all(row["provenance"]["not_executed"] for row in learned.values())
    assert [one["function"]["name"] for one in next(iter(learned.values()))["tools"]] == ["get_weather"]

    gone = next(iter(learned))
    with here.ledger() as ledger:
        forget(here.data, ledger, learned[gone]["provenance"]["interaction_id"])
        (seen,) = ToolCatalogue(ledger).tools()
    assert gone.removeprefix("Weather in ").removesuffix("?") in CITIES
    rows = [row for side in ("train", "valid") for row in lines(folder / "dataset" / f"{side}.jsonl")]
    assert of_clients(rows).keys() == requests - held - {gone}
    assert all(gone not in file.read_text() for file in folder.rglob("*.jsonl"))
    assert (seen.owner, seen.tenant, seen.calls) == ("shop", "acme", len(CITIES))


def test_the_next_cycle_replays_them_while_their_tool_is_in_use(here: World) -> None:
    here.run()
    here.log("add 5 and 6 to prices, please", ("add_prices", {"first": 5, "second": 6}, 11))
    here.run()
    folder = here.data / "cycles" / "0002" / "dataset"
    rows = [row for side in ("train", "valid") for row in lines(folder / f"{side}.jsonl")]
    held = {row["request"] for row in lines(here.data / "cycles" / "0001" / "own.jsonl")}
    assert of_clients(rows)
    assert held.isdisjoint(of_clients(rows))
