"""What a cycle would learn, from whom, at what cost: without a model, a sandbox or a cycle."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import ShadowConfig
from agent.log.interaction_log import InteractionLog
from evolver.cli.show_plan import plan_text
from evolver.config import Config, EvolverConfig, MakeConfig, MineConfig
from evolver.cycle import plan as module
from evolver.cycle.plan import Plan, plan
from evolver.store.ledger import Ledger
from evolver.types import CycleStatus
from tests.fakes.client_traffic import asked, log_turn, said
from tests.fakes.evolution import turn
from tests.fakes.shop_tools import registry

CITIES = ("Bern", "Thun", "Chur", "Zug", "Basel", "Genf", "Olten", "Davos")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(module, "load_local_tools", lambda _: registry())
    return Config(data_folder=tmp_path, evolver=EvolverConfig(make=MakeConfig(client_tools=("shop/refund*",))))


@pytest.fixture
def ledger(config: Config) -> Iterator[Ledger]:
    with Ledger(config.data_folder / "evolution.db", now=Clock()) as opened:
        yield opened


def log_all(config: Config) -> None:
    with InteractionLog(config.data_folder / "interactions.db", now=Clock()) as log:
        for number, city in enumerate(CITIES):
            call = ("get_weather", {"city": city}, f"{number + 14} degrees")
            answer = f"It is {number + 14} degrees." if number else "Done."
            log_turn(log, asked(f"Weather in {city}?", call, answer=answer), session=city, owner="shop", tenant="acme")
        log.append(
            turn("add 3 and 4 to prices, please", ("add_prices", {"first": 3, "second": 4}, 7)),
            session="s",
            source="chat",
        )
        log.append(turn("good morning"), session="s", source="chat")


def test_it_tells_what_each_key_would_teach(config: Config, ledger: Ledger) -> None:
    log_all(config)
    found = plan(config, ledger)
    shop, chat = found.teachers
    assert (shop.source, shop.tenant, shop.owner) == ("gateway", "acme", "shop")
    assert (shop.turns, shop.candidates, shop.lessons, shop.not_executed) == (8, 8, 7, 7)
    assert shop.dropped == {"no_sign_of_success": 1}
    assert (chat.source, chat.turns, chat.lessons, chat.not_executed) == ("chat", 2, 1, 0)
    assert (shop.no_candidates, chat.no_candidates, found.no_task) == ({}, {"talk": 1}, {})
    assert (found.interactions, found.held_back) == (18, 1)
    assert found.client_tools == ("get_weather", "refund_order")
    assert not (config.data_folder / "cycles").exists()
    assert ledger.cycles() == []


@pytest.mark.parametrize(("upstream", "lessons"), [(False, 0), (True, 2)])
def test_it_learns_of_another_model_what_a_cycle_would(
    config: Config, ledger: Ledger, upstream: bool, lessons: int
) -> None:
    with InteractionLog(config.data_folder / "interactions.db", now=Clock()) as log:
        for city in ("Bern", "Thun"):
            said = asked(
                f"Weather in {city}?", ("get_weather", {"city": city}, "14 degrees"), answer="It is 14 degrees."
            )
            log_turn(log, said.model_copy(update={"adapter": "upstream:gpt"}), session=city, owner="shop")
    shadow = ShadowConfig(learn_from_upstream=upstream)
    serving = config.agent.serving.model_copy(update={"shadow": shadow})
    agent = config.agent.model_copy(update={"serving": serving})
    (shop,) = plan(config.model_copy(update={"agent": agent}), ledger).teachers
    assert (shop.turns, shop.lessons) == (2, lessons)
    assert shop.no_candidates == ({} if upstream else {"another_model": 2})


def test_it_is_the_same_again(config: Config, ledger: Ledger) -> None:
    log_all(config)
    assert plan(config, ledger) == plan(config, ledger)


def test_limits_and_quarantine_are_told(config: Config, ledger: Ledger) -> None:
    log_all(config)
    mine = MineConfig(per_user=3, quarantine=("chat",))
    narrow = config.model_copy(update={"evolver": config.evolver.model_copy(update={"mine": mine})})
    found = plan(narrow, ledger)
    assert [one.turns for one in found.teachers] == [3]
    assert (found.over_quota, found.quarantined) == (5, {"chat": 2})
    assert "in quarantine: chat, 2 turns" in plan_text(found)


def test_the_cost_is_that_of_earlier_cycles_within_the_limits(config: Config, ledger: Ledger) -> None:
    first = plan_text(plan(config, ledger)).splitlines()[-1]
    assert first.startswith("cost, by the limits of the configuration: 13 minutes at most (generation 5, training 8);")
    clock = ledger.now
    assert isinstance(clock, Clock)
    ended: list[tuple[int, CycleStatus]] = [(20, "promoted"), (1, "failed"), (24, "rejected")]
    for minutes, status in ended:
        number = ledger.open_cycle().number
        clock.now += minutes * 60
        ledger.end_cycle(number, status, "")
    found = plan(config, ledger)
    assert (found.minutes, found.most_minutes) == ((24.0, 20.0), 13.0)
    text = plan_text(found)
    assert "cost: 22 minutes as earlier cycles; generation and training: 13 minutes at most" in text


def test_a_row_a_key_for_people(config: Config, ledger: Ledger) -> None:
    log_all(config)
    lines = plan_text(plan(config, ledger)).splitlines()
    assert lines[0] == "18 new interactions"
    assert lines[1].split() == ["gateway", "shop", "acme", "8", "7", "7", "no_sign_of_success", "1"]
    assert lines[2].split()[:6] == ["chat", "-", "-", "2", "1", "0"]


def test_rare_reasons_are_one() -> None:
    teacher = module.Teacher(
        source="gateway", tenant="", owner="", turns=9, candidates=9, lessons=0, not_executed=0,
        dropped={"duplicate": 3, "secret": 2, "held_out": 1, "call_repeated": 1, "objected_to": 1},
        no_candidates={"talk": 4},
    )  # fmt: skip
    found = Plan(
        interactions=9, teachers=(teacher,), over_quota=0, quarantined={}, no_task={}, held_back=0, own_tools=0,
        client_tools=(), client_calls=6, minutes=(), make_minutes=5, most_minutes=None,
    )  # fmt: skip
    assert "talk 4, duplicate 3, secret 2, held_out 1, others 2" in plan_text(found)
    assert "generation 5 minutes at most, training as long as it takes" in plan_text(found)
    assert "no limit of training" in plan_text(found.model_copy(update={"minutes": (20.0,)}))


def test_turns_that_are_no_candidates_are_counted_by_reason(config: Config, ledger: Ledger) -> None:
    failed, bern = (
        ("get_weather", {"city": "B"}, "Error: no such city"),
        ("get_weather", {"city": "Bern"}, "14 degrees"),
    )
    told, before = "It is 14 degrees.", said(("Hello?", "Hi."))
    with InteractionLog(config.data_folder / "interactions.db", now=Clock()) as log:
        log_turn(log, asked("Weather in B?", failed, answer="Sorry."), session="1")
        log_turn(log, asked("Weather in Bern?", bern, answer=told), session="2")
        log_turn(log, asked("Weather in Bern please?", answer="Hm."), session="2")
        log_turn(log, asked("Weather in Basel?", bern), session="3")
        log_turn(log, asked("And in Bern?", bern, history=before, answer=told), session="4")
        log.feedback(log_turn(log, asked("Weather in Thun?", bern, answer=told), session="5"), "bad")
        theirs = asked("Weather in town?", bern, answer=told).model_copy(update={"adapter": "upstream:gpt"})
        log_turn(log, theirs, session="6")
        log_turn(log, theirs, session="7")
        log_turn(log, asked("I want a flight", answer="I have no tool for that."), session="8")
        log_turn(log, asked("?!", answer="Yes?"), session="9")
    found = plan(config, ledger)
    (shop,) = found.teachers
    assert (shop.turns, shop.candidates) == (7, 0)
    assert shop.no_candidates == {
        "call_failed": 1, "asked_again": 1, "talk": 1, "not_answered": 1, "history_unknown": 1, "another_model": 1,
        "unserved": 1,
    }  # fmt: skip
    assert found.no_task == {"called_bad": 1, "no_request": 1, "same_request": 1}
    text = plan_text(found)
    assert "3 turns are no task: called_bad 1, no_request 1, same_request 1" in text


@pytest.mark.parametrize("others", [True, False])
def test_one_line_says_what_to_do_where_all_is_another_models(config: Config, ledger: Ledger, others: bool) -> None:
    with InteractionLog(config.data_folder / "interactions.db", now=Clock()) as log:
        for city in ("Bern", "Thun"):
            call = ("get_weather", {"city": city}, "14 degrees")
            turn = asked(f"Weather in {city}?", call, answer="It is 14 degrees.")
            theirs = turn.model_copy(update={"adapter": "upstream:gpt" if others or city == "Bern" else "base"})
            log_turn(log, theirs, session=city, source="import:openai")
    text = plan_text(plan(config, ledger))
    assert ("learn_from_upstream = true, or import the file again with: agent import FILE --own" in text) is others
