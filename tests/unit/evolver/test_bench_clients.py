"""The benchmark of client applications: the desks, the requests to them, what of two tenants is mixed, and the page."""

from pathlib import Path

import pytest

from agent.log.interaction_log import InteractionLog
from benchmarks.clients.__main__ import SMALL, publish
from benchmarks.clients.applications import APPLICATIONS, Application, check, has_succeeded, is_exact
from benchmarks.clients.desk import Desk, UnknownRecord
from benchmarks.clients.outcomes import Cycle, Forgetting, Learned, Outcome, Phase, Results, Start
from benchmarks.clients.page import BEGIN, END, difference, section
from benchmarks.clients.requests import MOST_SHARED, Request, check_apart, most_shared
from benchmarks.clients.run import Setup
from benchmarks.clients.tenancy import Tenancy, tenancy
from evolver.store.jsonl import append_lines
from evolver.types import Call
from tests.fakes.client_traffic import asked, log_turn
from toolkit.describing import describe
from toolkit.errors import UserError

ROOT = Path(__file__).parents[3]
EACH = pytest.mark.parametrize("application", APPLICATIONS, ids=lambda one: one.name)
SHOP, CLINIC, BUILDING = APPLICATIONS
TRACKED = Call(name="track_order", arguments={"order": "SO-4103"})
CANCELLED = Call(name="cancel_order", arguments={"order": "SO-4103"})


@EACH
def test_a_desk_has_ten_tools_that_a_framework_can_describe(application: Application) -> None:
    desk = application.opened()
    described = [describe(tool) for tool in desk.tools()]
    assert [tool.name for tool in described] == list(desk.tool_names)
    assert len(described) == 10
    assert 0 < len(desk.effects) < 10
    assert all(one["description"] for tool in described for one in tool.parameters["properties"].values())  # type: ignore[union-attr,index,call-overload]


@EACH
def test_every_request_is_served_by_its_calls_and_only_effects_change_something(application: Application) -> None:
    for request in [*application.requests("learned", 60), *application.requests("fresh", 50)]:  # each wording
        desk = application.opened()
        before = desk.state()
        for call in request.expected:
            desk.run(call)
        changes = any(call.name in desk.effects for call in request.expected)
        assert (desk.state() != before) is changes, request
        assert has_succeeded(application, request, desk), request
        assert is_exact(desk, request, list(request.expected)), request


def asked_of(application: Application, *calls: Call) -> Desk:
    """A desk after calls through the tools that frameworks get."""
    desk = application.opened()
    tools = {tool.__name__: tool for tool in desk.tools()}
    for call in calls:
        tools[call.name](**call.arguments)
    return desk


def test_success_fails_for_another_result_another_state_and_a_call_too_many() -> None:
    track, cancel = Request(text="track", expected=(TRACKED,)), Request(text="cancel", expected=(CANCELLED,))
    other = Call(name="track_order", arguments={"order": "SO-4140"})
    assert has_succeeded(SHOP, track, asked_of(SHOP, TRACKED))
    assert has_succeeded(SHOP, track, asked_of(SHOP, other, TRACKED))
    assert not has_succeeded(SHOP, track, asked_of(SHOP))
    assert not has_succeeded(SHOP, track, asked_of(SHOP, TRACKED, CANCELLED))
    assert has_succeeded(SHOP, cancel, asked_of(SHOP, CANCELLED))
    assert not has_succeeded(SHOP, cancel, asked_of(SHOP, TRACKED))
    assert not has_succeeded(SHOP, Request(text="hello"), asked_of(SHOP, TRACKED))
    assert has_succeeded(SHOP, Request(text="hello"), asked_of(SHOP))


def test_exact_are_the_expected_calls_and_no_others() -> None:
    desk, request = SHOP.opened(), Request(text="track", expected=(TRACKED,))
    assert is_exact(desk, request, [TRACKED])
    assert not is_exact(desk, request, [TRACKED, TRACKED])
    assert not is_exact(desk, request, [])
    assert not is_exact(desk, request, [Call(name="track_order", arguments={"order": "SO-4140"})])
    assert not is_exact(desk, Request(text="hello"), [Call(name="nothing", arguments={})])
    warm = Call(name="set_room_temperature", arguments={"room": "A1.10", "degrees": 21})
    as_float = Call(name="set_room_temperature", arguments={"room": "A1.10", "degrees": 21.0})
    assert is_exact(BUILDING.opened(), Request(text="warm", expected=(warm,)), [as_float])


def test_a_tool_says_what_it_does_not_know_and_a_failure_is_recorded() -> None:
    desk = SHOP.opened()
    track = next(tool for tool in desk.tools() if tool.__name__ == "track_order")
    with pytest.raises(UnknownRecord, match="SO-1"):
        track(order="SO-1")
    assert [(ran.result, ran.error) for ran in desk.ran] == [
        (None, "error: there is nothing named SO-1 among the orders")
    ]
    desk.run(CANCELLED)
    with pytest.raises(UnknownRecord, match="cannot be cancelled"):
        desk.run(CANCELLED)


@EACH
def test_fresh_requests_have_other_words_and_other_values(application: Application) -> None:
    learned, fresh = application.requests("learned", 100), application.requests("fresh", 100)
    assert (len({one.text for one in learned}), len({one.text for one in fresh})) == (100, 100)
    assert sum(not one.expected for one in fresh) == 10
    assert {call.name for one in fresh for call in one.expected} == set(application.desk.tool_names)
    assert most_shared(learned, fresh)[0] <= MOST_SHARED


@pytest.mark.parametrize("setup", [SMALL, Setup()], ids=["small", "whole"])
def test_the_requests_of_a_run_are_apart(setup: Setup) -> None:
    check(setup.learned, setup.fresh)


def test_requests_that_are_not_apart_are_refused() -> None:
    one = Request(text="Where is SO-4103 now, please?", expected=(TRACKED,))
    with pytest.raises(UserError, match="share 71% of their words"):
        check_apart([one], [Request(text="Where is SO-4140 now, please?")])
    with pytest.raises(UserError, match="needs a call that a learned request needs"):
        check_apart([one], [Request(text="Track it", expected=(TRACKED,))])
    with pytest.raises(UserError, match="too few values"):
        SHOP.requests("fresh", 5000)


def test_what_is_of_one_tenant_in_the_data_of_another_is_found(tmp_path: Path) -> None:
    own = asked("Is SO-4103 packed?", ("track_order", {"order": "SO-4103"}, "packed"), answer="It is packed.")
    tools = [tool.schema() for tool in map(describe, SHOP.opened().tools())]
    with InteractionLog(tmp_path / "interactions.db") as log:
        identity = log_turn(log, own, tools=tools, owner="shop", tenant="shop")
        log_turn(log, own, tools=tools, owner="clinic", tenant="clinic", session="other")
    lines = tmp_path / "cycles" / "0001"
    append_lines(lines / "kept.jsonl", [Request(text="Has Greta Stern an appointment?"), Request(text="hello")])
    append_lines(lines / "kept.jsonl", [Request(text=f"{identity} is of another than Greta Stern")])
    found = tenancy(tmp_path)
    assert found.interactions == {"shop": 2, "clinic": 2}
    assert found.lines == {"clinic": 2, "shop": 1}
    assert [line.partition(": ")[2] for line in found.mixed] == ["clinic, shop", "clinic, shop", "clinic, shop"]
    assert found.mixed[-1].startswith("cycles/0001/kept.jsonl:3")


def outcome(number: int, phase: Phase, exact: bool, *, tool: str = "track_order", success: bool = True) -> Outcome:
    asked = {"application": "shop", "number": number, "tool": tool, "effect": False}
    return Outcome.model_validate({**asked, "phase": phase, "exact": exact, "success": success, "called": exact})


OUTCOMES = (
    *(outcome(n, "before", exact=n < 1) for n in range(4)),
    *(outcome(n, "after", exact=n < 3) for n in range(4)),
    outcome(4, "before", False, tool=""), outcome(4, "after", False, tool="", success=False),
    outcome(0, "traffic", True), outcome(1, "traffic", False),
)  # fmt: skip


def test_differences_are_of_the_requests_that_were_asked_twice() -> None:
    extra = outcome(9, "after", True)
    told = "+50 (-42 to +142), 2 better, 0 worse, p = 0.25"
    assert difference([one for one in (*OUTCOMES, extra) if one.tool], "exact") == told
    assert difference([], "exact") == "–"


def test_the_page_has_what_was_measured() -> None:
    learned = Learned(application="shop", logged=4, right=3, made=2, dropped=5, dropped_right=1)
    found = Results(
        setting="Set.",
        start=Start(model="base", cycles=0, where="2 cores", when="2026-11-30"),
        outcomes=OUTCOMES,
        plan="3 new interactions",
        cycle=Cycle(number=1, status="rejected", reason="no gain", model="adapter-0001", lessons=9, learned=(learned,)),
        tenancy=Tenancy(interactions={"shop": 2}, lines={"shop": 7}, mixed=("kept.jsonl:1: clinic, shop",)),
        forgetting=Forgetting(
            application="shop", session="traffic-shop-1", interactions=2, values=5, adapters=("adapter-0001",),
            client_tools=(), left=(),
        ),
    )  # fmt: skip
    text = section(found)
    assert "| all with a tool | 4 | 1/4 (5–70) | 3/4 (30–95) | +50 (-42 to +142), 2 better, 0 worse, p = 0.25 |" in text
    assert "answered without a call: 1/1 (21–100) before, 0/1 (0–79) after" in text
    assert "| shop | 1/2 (9–91) | 3/4 (30–95) | 1/5 (4–62) | 2 |" in text
    assert "With something of another tenant: 1 (kept.jsonl:1: clinic, shop)." in text
    assert "`evolver forget --session traffic-shop-1 --owner shop`: 2 interactions" in text
    assert "2 interactions and 5 values made from them are deleted; marked adapters: `adapter-0001`" in text
    assert "cycle 1 rejected: no gain; 9 lessons" in text
    assert "```text\n3 new interactions\n```" in text


def test_a_page_without_a_run_says_so_and_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text(f"# Results\n\n{BEGIN}\nold\n{END}\nbehind\n")
    publish(tmp_path / "run", Setup(), page)
    text = page.read_text()
    assert "No run is published yet." in text
    assert "old" not in text
    assert text.endswith("behind\n")


def test_the_page_of_the_project_has_a_place_for_it() -> None:
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert (text.count(BEGIN), text.count(END)) == (1, 1)
