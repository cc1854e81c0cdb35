"""The catalogue of clients' tools says what the log says, and costs what is new in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.log.interaction_log import InteractionLog
from evolver.store import seen_tools
from evolver.store.ledger import Ledger
from evolver.store.seen_tools import RETIRED_DAYS, SeenTool, ToolCatalogue, signature
from tests.fakes.client_traffic import TEXT, TOOLS, WEATHER, WHOLE, asked, log_turn, tool

pytestmark = pytest.mark.usefixtures("each_database")

DAY = 86400.0


class Clock:
    now = 1000 * DAY

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[InteractionLog]:
    with InteractionLog(tmp_path / "interactions.db", now=clock) as opened:
        yield opened


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    with Ledger(tmp_path / "evolution.db", now=clock) as opened:
        yield opened


def seen(ledger: Ledger, log: InteractionLog) -> dict[tuple[str, str, int], SeenTool]:
    catalogue = ToolCatalogue(ledger)
    catalogue.refresh(log)
    return {(one.owner, one.name, one.version): one for one in catalogue.tools()}


def test_calls_and_failures_are_counted_once_over_the_parts_of_a_turn(ledger: Ledger, log: InteractionLog) -> None:
    failed, found = ("get_weather", {"city": "Bern"}, "Error: no such city"), ("get_weather", {"city": "Thun"}, "rain")
    denied = ("refund_order", {"order": "A-1", "amount": 3}, '{"success": false}')
    log_turn(log, asked("weather in Bern", failed, [found, denied], answer="It rains."), owner="team")
    one = seen(ledger, log)["team", "get_weather", 1]
    assert (one.turns, one.calls, one.failures) == (3, 2, 1)
    other = seen(ledger, log)["team", "refund_order", 1]
    assert (other.turns, other.calls, other.failures) == (3, 1, 1)
    assert (one.description, one.source, one.state) == ("Weather of a city.", "gateway", "in use")
    assert one.sha256 == signature("get_weather", one.parameters)


def test_a_turn_of_our_own_brings_no_tools(ledger: Ledger, log: InteractionLog) -> None:
    for source in ("chat", "apprentice", "demo", "completions"):
        log_turn(log, asked("hello", answer="Hello!"), source=source)
    assert seen(ledger, log) == {}


def test_what_was_read_is_not_read_again(ledger: Ledger, log: InteractionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_tools, "_PAGE", 2)
    catalogue = ToolCatalogue(ledger)
    assert catalogue.refresh(log) == 0
    for number in range(5):
        log_turn(log, asked(f"hello {number}", answer="Hello!"))
    log.append(asked("without tools", answer="Yes."), session="s", source="gateway")
    assert (catalogue.refresh(log), catalogue.refresh(log)) == (5, 0)
    log_turn(log, asked("hello again", answer="Hello!"))
    assert catalogue.refresh(log) == 1
    assert {one.turns for one in catalogue.tools()} == {6}


def test_changed_parameters_are_a_version_and_a_changed_description_is_none(
    ledger: Ledger, log: InteractionLog, clock: Clock
) -> None:
    log_turn(log, asked("hello", answer="Hello!"))
    described = tool("get_weather", "Says how the weather is.", city=TEXT)
    log_turn(log, asked("hello", answer="Hello!"), tools=[described])
    clock.now += DAY
    log_turn(log, asked("hello", answer="Hello!"), tools=[tool("get_weather", "By days.", city=TEXT, days=WHOLE)])
    found = seen(ledger, log)
    assert found["", "get_weather", 1].description == "Says how the weather is."
    assert (found["", "get_weather", 1].state, found["", "get_weather", 2].state) == ("replaced", "in use")
    clock.now += DAY
    log_turn(log, asked("hello", answer="Hello!"), tools=[WEATHER])
    found = seen(ledger, log)
    assert {one.state for one in found.values()} == {"in use"}
    assert len(found) == 3


def test_a_tool_that_is_gone_is_retired(ledger: Ledger, log: InteractionLog, clock: Clock) -> None:
    log_turn(log, asked("hello", answer="Hello!"))
    clock.now += (RETIRED_DAYS + 1) * DAY
    log_turn(log, asked("hello", answer="Hello!"), tools=[WEATHER])
    found = seen(ledger, log)
    assert found["", "refund_order", 1].state == "retired"
    assert found["", "get_weather", 1].last_seen - found["", "get_weather", 1].first_seen == (RETIRED_DAYS + 1) * DAY


def test_each_key_has_its_own(ledger: Ledger, log: InteractionLog) -> None:
    log_turn(log, asked("weather in Bern", ("get_weather", {"city": "Bern"}, "rain"), answer="Rain."), owner="a")
    log_turn(log, asked("hello", answer="Hello!"), owner="b", tenant="acme", tools=[WEATHER])
    found = seen(ledger, log)
    assert [(key[0], one.calls, one.tenant) for key, one in found.items() if key[1] == "get_weather"] == [
        ("a", 1, ""),
        ("b", 0, "acme"),
    ]


def test_who_sends_ever_new_tools_is_not_followed(
    ledger: Ledger, log: InteractionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_tools, "_MOST_OF_AN_OWNER", 3)
    log_turn(log, asked("hello", answer="Hello!"), tools=[tool(f"tool_{n}") for n in range(5)], owner="noisy")
    log_turn(log, asked("hello", answer="Hello!"), owner="quiet")
    assert [key[0] for key in seen(ledger, log)] == ["noisy"] * 3 + ["quiet"] * len(TOOLS)


def test_an_interaction_is_forgotten(ledger: Ledger, log: InteractionLog) -> None:
    first = log_turn(log, asked("hello", answer="Hello!"), tools=[WEATHER])
    turn = asked("weather in Bern", ("get_weather", {"city": "Bern"}, "Error: no"), answer="Sorry.")
    last = log_turn(log, turn)
    catalogue = ToolCatalogue(ledger)
    assert catalogue.forget(log, [last]) == []
    assert seen(ledger, log)["", "get_weather", 1].failures == 1
    ids = [one.id for one in log.read()][1:]
    assert [(catalogue.forget(log, [one]), log.forget(one))[0] for one in ids] == [[], ["refund_order"]]
    (left,) = catalogue.tools()
    assert (left.name, left.turns, left.calls, left.failures, left.last_id) == ("get_weather", 1, 0, 0, first)


def test_the_text_of_a_forgotten_interaction_goes_with_it(
    ledger: Ledger, log: InteractionLog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_tools, "_PAGE", 2)

    def shown(description: str, owner: str = "team") -> str:
        clock.now += DAY
        described = tool("get_weather", description, city=TEXT)
        return log_turn(log, asked("hello", answer="Hello!"), tools=[described], owner=owner)

    first = shown("As it was.")
    seen_at = clock.now
    for _ in range(3):
        shown("Of another key.", owner="other")
    secret = shown("Ask ann@example.org.")
    assert seen(ledger, log)["team", "get_weather", 1].description == "Ask ann@example.org."
    catalogue = ToolCatalogue(ledger)
    assert catalogue.forget(log, [secret]) == []
    log.forget(secret)
    left = seen(ledger, log)["team", "get_weather", 1]
    assert (left.description, left.last_id, left.last_seen) == ("As it was.", first, seen_at)
    newest = shown("Ask bob@example.org.")
    seen(ledger, log)
    log.forget(first)  # the log alone: nothing tells how the tool was described before
    assert catalogue.forget(log, [newest]) == []
    left = seen(ledger, log)["team", "get_weather", 1]
    assert (left.description, left.last_id, set(left.parameters["properties"])) == ("", "", {"city"})
