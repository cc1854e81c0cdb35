"""The clients' tools for which lessons are made up, and what is made up for them."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.log.interaction_log import InteractionLog
from evolver.config import MakeConfig, MineConfig, VerifyConfig
from evolver.crew.workshop import Workshop
from evolver.cycle.client_tools import client_tools, reads
from evolver.generation import client_calls
from evolver.generation.client_calls import ClientCalls
from evolver.lessons.client_tools import ClientTool, OwnTools, tool_of
from evolver.lessons.drop_reason import DropReason
from evolver.mining.mine import mine
from evolver.mining.turns import LoggedTurns
from evolver.model.client import Generator
from evolver.store.ledger import Ledger
from evolver.store.seen_tools import refreshed
from evolver.types import Trace
from evolver.verification.verify import verify
from tests.fakes import shop_tools
from tests.fakes.client_traffic import TEXT, TOOLS, WHOLE, asked, log_turn, said, tool
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.stages import context

SYSTEM = "You help in a shop."
DISTANCE = tool("getDistance", "Distance between two towns.", start=TEXT, end=TEXT, axles=WHOLE)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[InteractionLog]:
    with InteractionLog(tmp_path / "interactions.db") as opened:
        yield opened


def weather(log: InteractionLog, city: str, *, owner: str = "shop", **rest: Any) -> str:
    call = ("get_weather", {"city": city}, "14 degrees")
    turn = asked(f"Weather in {city}?", call, history=said(system=SYSTEM), answer="It is 14 degrees.")
    return log_turn(log, turn, session=city, owner=owner, **rest)


def found(tmp_path: Path, log: InteractionLog, own: OwnTools | None = None, **config: Any) -> list[ClientTool]:
    with Ledger(tmp_path / "evolution.db") as ledger:
        seen = refreshed(tmp_path, ledger)
    lessons = mine(MineConfig(), LoggedTurns.since(log, ""), own=own).worked
    return client_tools(MakeConfig(**config), seen, own or OwnTools(), lessons, log)


@pytest.mark.parametrize(
    "name",
    [
        "get_weather",
        "getWeather",
        "FindOrder",
        "list-orders",
        "search",
        "is_open",
        "get_post_and_author",
        "is_in_stock",
    ],
)
def test_a_name_may_say_that_a_tool_reads(name: str) -> None:
    assert reads(name)


@pytest.mark.parametrize("name", ["refund_order", "sendMail", "getaway", "reset_and_get", "délete", "x1", ""])
def test_other_names_do_not(name: str) -> None:
    assert not reads(name)


@pytest.mark.parametrize(
    "name",
    [
        "get_or_create_user",
        "getOrCreateUser",
        "list_and_delete",
        "show_and_pay",
        "check_out_cart",
        "checkIn",
        "query_sql",
        "querySQL",
        "read_then_execute",
        "find_and_order",
        "validate-and-book",
        "get_and_set",
        "status_update",
        "track_or_cancel",
    ],
)
def test_nor_do_those_that_begin_so_and_do_more(name: str) -> None:
    assert not reads(name)


def test_tools_with_effects_are_left_out_unless_they_are_named(tmp_path: Path, log: InteractionLog) -> None:
    weather(log, "Bern")
    assert [one.tool.name for one in found(tmp_path, log)] == ["get_weather"]
    for pattern in ("refund_order", "shop/refund_order", "shop/*", "*_order"):
        named = found(tmp_path, log, client_tools=[pattern])
        assert [one.tool.name for one in named] == ["get_weather", "refund_order"]
    assert len(found(tmp_path, log, client_tools=["other/refund_order"])) == 1
    assert found(tmp_path, log, client_calls=0) == []


def test_values_are_those_of_the_same_key_and_nobodys_personal_data(tmp_path: Path, log: InteractionLog) -> None:
    newest = [weather(log, city) for city in ("Bern", "Thun", "ada@example.org", "W" * 61)][-1]
    weather(log, "Chur", owner="other")
    shop, other = found(tmp_path, log)
    assert shop.values == {"city": ("Bern", "Thun")}
    assert other.values == {"city": ("Chur",)}
    assert (shop.interactions[0], len(shop.interactions)) == (newest, 3)
    assert ([message.content for message in shop.history], len(shop.tools)) == ([SYSTEM], 2)


def test_tools_that_are_registered_here_are_left_out(tmp_path: Path, log: InteractionLog) -> None:
    weather(log, "Bern")
    (registered,) = [tool_of(one) for one in TOOLS if one["function"]["name"] == "get_weather"]
    own = OwnTools([registered])
    assert found(tmp_path, log, own) == []


def test_a_tool_whose_newest_request_was_deleted_waits_for_the_next(tmp_path: Path, log: InteractionLog) -> None:
    identity = weather(log, "Bern")
    assert len(found(tmp_path, log)) == 1
    log.forget(identity)
    assert found(tmp_path, log) == []


CLIENT = ClientTool(
    identity="getDistance-1",
    tool=tool_of(DISTANCE),
    tools=(DISTANCE,),
    history=(),
    values={"start": ("Bern",), "end": ("Thun",)},
    interactions=("one", "two"),
)


def making(config: MakeConfig) -> ClientCalls:
    return ClientCalls(config, CLIENT, seed=1)


def workshop(generator: Generator) -> Workshop:
    return Workshop(shop_tools.executor(), None, generator)  # type: ignore[arg-type]


def test_no_request_is_written_after_the_deadline() -> None:
    dropped: Counter[DropReason] = Counter()
    says = script_of({"start": "Bern", "end": "Thun", "axles": 3})
    with ModelServer(script=lambda _: says) as server, Generator(server.url, concurrency=1) as generator:
        made = making(MakeConfig(client_calls=1)).make(workshop(generator), dropped, lambda: True)
    assert (made, dropped, len(server.requests)) == ([], {"out_of_time": 1}, 1)


def test_calls_are_made_up_and_judged_without_running(tmp_path: Path) -> None:
    arguments = {"start": "Bern", "end": "Thun", "axles": 3}
    told = iter([json.dumps(arguments), "{", '{"start": "Bern"}', json.dumps(arguments)])
    prompts: list[dict[str, Any]] = []

    def script(body: dict[str, Any]) -> Says:
        prompts.append(body)
        texts = list(told) or [" How far is it from Bern to Thun with 3 axles?"]
        choices = [
            {"index": n, "text": text, "finish_reason": "stop", "logprobs": {"token_logprobs": [None, -0.5]}}
            for n, text in enumerate(texts)
        ]
        return Says(raw=json.dumps({"choices": choices}).encode())

    dropped: Counter[DropReason] = Counter()
    config = MakeConfig(client_calls=4, requests_per_call=1)
    recorded: list[Any] = []
    with (
        ModelServer(script=script) as server,
        Generator(server.url, concurrency=1, record=lambda _, body, __: recorded.append(body["sources"])) as generator,
    ):
        (made,) = making(config).make(workshop(generator), dropped, lambda: False)
    assert dropped == {"arguments_cut_off": 1, "call_invalid_arguments": 1, "same_arguments": 1}
    assert prompts[0]["n"] == 4
    assert "sources" not in prompts[0]
    assert recorded == [["one", "two"]] * 2  # so that they are found when one of these is deleted
    assert "Bern" in json.dumps(prompts[0]["structured_outputs"])
    assert made.client_turn is not None
    assert (made.results, made.answer, made.client_turn.targets) == ((), "", (1,))
    assert made.client_turn.messages[1].tool_calls[0].arguments == arguments
    assert (made.provenance.not_executed, made.provenance.interactions) == (True, {"one", "two"})
    check_judged(tmp_path, made, arguments)


def check_judged(tmp_path: Path, made: Trace, arguments: dict[str, Any]) -> None:
    """Check that ``made`` is kept, and dropped with a request that states something else."""
    with (
        ModelServer(script=lambda _: script_of(arguments)) as server,
        Generator(server.url, concurrency=1) as generator,
    ):
        stage = context(tmp_path, shop_tools.executor(), generator)
        kept = verify(stage, VerifyConfig(), [made])
        swapped = verify(
            context(tmp_path, shop_tools.executor(), generator),
            VerifyConfig(),
            [made.model_copy(update={"request": "How far is it from Thun to Bern with 4 axles?"})],
        )
    assert (kept.kept, kept.not_executed) == (1, 1)
    assert swapped.dropped == {"states_another_number": 1}


def test_the_round_trip_must_arrive_at_the_same_arguments(tmp_path: Path) -> None:
    arguments = {"start": "Bern", "end": "Thun", "axles": 3}
    call = client_calls._call(CLIENT, arguments)
    made = client_calls._trace(CLIENT, call, "How far is it from Bern to Thun with 3 axles?", -0.5)
    other = script_of({**arguments, "start": "Thun", "end": "Bern"})
    with ModelServer(script=lambda _: other) as server, Generator(server.url, concurrency=1) as generator:
        found = verify(context(tmp_path, shop_tools.executor(), generator), VerifyConfig(), [made])
    assert found.dropped == {"round_trip_differs": 1}


def script_of(arguments: dict[str, Any]) -> Says:
    choice = {
        "index": 0,
        "text": json.dumps(arguments),
        "finish_reason": "stop",
        "logprobs": {"token_logprobs": [None, -0.5]},
    }
    return Says(raw=json.dumps({"choices": [choice]}).encode())
