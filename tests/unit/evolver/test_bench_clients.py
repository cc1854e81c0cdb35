"""The benchmark of client applications: the desks, the requests to them, what of two tenants is mixed, and the page."""

import json
import re
from pathlib import Path

import pytest

from agent.adapters import active
from agent.log.interaction_log import InteractionLog
from benchmarks.clients.__main__ import SMALL, beginning, publish
from benchmarks.clients.applications import APPLICATIONS, Application, check, has_succeeded, is_exact
from benchmarks.clients.desk import Desk, UnknownRecord
from benchmarks.clients.forgetting import Session, left, to_forget
from benchmarks.clients.learned import judged
from benchmarks.clients.outcomes import Cycle, Forgetting, Learned, Outcome, Phase, Results, Start
from benchmarks.clients.page import BEGIN, END, difference, section
from benchmarks.clients.requests import MOST_SHARED, Request, check_apart, most_shared
from benchmarks.clients.run import Setup
from benchmarks.clients.tenancy import Answer, Tenancy, tenancy
from benchmarks.clients.traffic import OBJECTION
from evolver.cycle.plan import Plan, Teacher
from evolver.store.jsonl import append_lines
from evolver.types import Call, ClientTurn, Trace, TraceKind, TraceVerdict
from tests.fakes.client_traffic import asked, log_turn
from toolkit.config import ToolkitConfig
from toolkit.describing import describe
from toolkit.errors import UserError
from toolkit.sources import load_local_tools

ROOT = Path(__file__).parents[3]
EACH = pytest.mark.parametrize("application", APPLICATIONS, ids=lambda one: one.name)
SHOP, CLINIC, BUILDING = APPLICATIONS
TRACKED = Call(name="track_order", arguments={"order": "SO-4103"})
CANCELLED = Call(name="void_order", arguments={"order": "SO-4103"})


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


@EACH
def test_tools_people_and_marks_are_unknown_to_the_built_in_tools_and_the_suites(application: Application) -> None:
    names = {tool.name for tool in load_local_tools(ToolkitConfig())}
    assert names.isdisjoint(application.desk.tool_names)
    shipped = "\n".join(
        file.read_text(encoding="utf-8").lower()
        for folder in ("toolkit/builtin", "evolver/evaluation/suites", "evolver/demo")
        for file in sorted((ROOT / folder).rglob("*")) if file.suffix in (".py", ".json", ".jsonl")
    )  # fmt: skip
    people = {
        row["name"] for table in ("customers", "patients", "visitors") for row in application.tables().get(table, ())
    }
    assert people <= application.marks()
    known = [one for one in (*application.desk.tool_names, *application.marks()) if _holds(shipped, one)]
    assert known == []


def _holds(text: str, word: str) -> bool:
    return word.lower() in text and re.search(rf"(?<![\w-]){re.escape(word.lower())}(?![\w-])", text) is not None


@EACH
def test_a_fifth_of_the_traffic_is_in_conversations_and_some_is_repeated_objected_to_and_judged(
    application: Application,
) -> None:
    talks = application.traffic(100)
    assert talks == application.traffic(100)
    turns = [turn for talk in talks for turn in talk]
    assert [turn.number for turn in turns] == list(range(100))
    assert [{turn.session for turn in talk} for talk in talks] == [{number} for number in range(len(talks))]
    longer = [talk for talk in talks if len(talk) > 1]
    assert sum(map(len, longer)) == 20
    assert {len(talk) for talk in longer} == {2, 3}
    assert len({turn.request.text for turn in turns}) == 90
    objected = [talk for talk in longer if talk[1].request.text.startswith(OBJECTION)]
    assert len(objected) == 4
    assert all(said.request.expected[0].name == meant.request.expected[0].name for said, meant in objected)
    judged = [turn for turn in turns if turn.judged]
    assert len(judged) == 10
    assert all(turn.request.expected for turn in judged)


def test_a_run_begins_where_an_adapter_is_active(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"names no data folder .* make demo, .* ARGS='--from data'"):
        beginning(None, tmp_path / "run")
    with pytest.raises(UserError, match=r"no adapter is active in .* make demo"):
        beginning(tmp_path, tmp_path / "run")
    active.write(tmp_path, active.ActiveAdapter(name="adapter-0001", sha256="a" * 64))
    assert beginning(tmp_path, tmp_path / "run") == tmp_path


def test_a_made_lesson_is_one_for_a_tool_of_the_client_and_not_for_ours_of_that_name() -> None:
    made = Trace(id="made", kind=TraceKind.BACK_TRANSLATION, request="Where is it?", calls=(TRACKED,))
    clients = made.model_copy(update={"client_turn": ClientTurn(tools=(), messages=(), targets=())})
    assert judged(SHOP, [TraceVerdict.of(made)], 20)["made"] == 0
    assert judged(SHOP, [TraceVerdict.of(clients)], 20)["made"] == 1
    assert judged(SHOP, [TraceVerdict.of(clients, "duplicate")], 20)["made"] == 0


def test_what_is_left_of_a_session_is_found_in_any_file(tmp_path: Path) -> None:
    gone = Session(application="shop", name="s", interactions=("0123456789ab-0000",), texts=('say "so" to SO-4103',))
    (tmp_path / "serve.log").write_text(f"asked: {json.dumps(gone.texts[0])}")
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "weights.bin").write_bytes(b"\xff\xfe0123456789ab-0000\x00")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "empty").touch()
    assert list(left(tmp_path, gone)) == ["adapters/weights.bin: ids", "serve.log: texts"]


def test_of_a_forgotten_session_are_searched_the_texts_that_nobody_else_has(tmp_path: Path) -> None:
    packed = ("track_order", {"order": "SO-4103"}, "packed, and it arrives on 2027-04-01")
    with InteractionLog(tmp_path / "interactions.db") as log:
        told = asked("Is SO-4103 packed?", packed, answer="It will be there on 2027-04-01.")
        log_turn(log, told, session="a", owner="shop", tenant="shop")
        log_turn(log, asked("Is SO-4103 packed?", packed, answer="Yes."), session="b", owner="shop", tenant="shop")
    assert to_forget(tmp_path, 1, "").texts == ("It will be there on 2027-04-01.",)


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
    answers = [Answer("shop", "after shop 1", "SO-4103 is packed"), Answer("shop", "after shop 2", "ask Greta Stern")]
    found = tenancy(tmp_path, answers)
    assert found.answers == {"shop": 2}
    assert found.interactions == {"shop": 2, "clinic": 2}
    assert found.lines == {"clinic": 2, "shop": 1}
    assert {line.partition(": ")[2] for line in found.mixed} == {"clinic, shop"}
    assert len(found.mixed) == 4
    assert found.mixed[0].startswith("after shop 2")
    assert found.mixed[-1].startswith("cycles/0001/kept.jsonl:3")
    later = tenancy(tmp_path, newest_cycle=1, newest_interaction=identity)
    assert (later.lines, len(later.mixed)) == ({}, 2), "what was copied is another run's"


def outcome(number: int, phase: Phase, exact: bool, *, tool: str = "track_order", success: bool = True) -> Outcome:
    asked = {"application": "shop", "number": number, "tool": tool, "effect": False}
    return Outcome.model_validate({**asked, "phase": phase, "exact": exact, "success": success, "seconds": 2.0})


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


LEARNED = Learned(
    application="shop", turns=11, tasks={"worked": 7, "talk": 1}, quarantined=2, planned=6, logged=4, right=3, made=2,
    dropped=5, dropped_right=1, reasons={"objected_to": 5},
)  # fmt: skip
TEACHER = Teacher(
    source="gateway",
    tenant="shop",
    owner="shop",
    turns=8,
    candidates=7,
    lessons=6,
    not_executed=6,
    dropped={},
    no_candidates={},
)
PLAN = Plan(
    interactions=11, teachers=(TEACHER,), over_quota=0, quarantined={}, no_task={}, held_back=1, own_tools=0,
    client_tools=(), client_calls=0, minutes=(), make_minutes=5.0, most_minutes=13.0,
)  # fmt: skip
CYCLE = Cycle(
    number=1, status="rejected", reason="no gain", model="adapter-0001", lessons=9, over_quota=3, minutes=14.5,
    seconds={"mine": 1.0, "train": 480.2}, learned=(LEARNED,),
)  # fmt: skip


def test_the_page_has_what_was_measured() -> None:
    failed = outcome(2, "traffic", False).model_copy(update={"problem": "MaxTurnsExceeded: 4", "feedback": "bad"})
    found = Results(
        setting="Set.",
        start=Start(model="base", cycles=0, where="2 cores", when="2026-11-30"),
        outcomes=(*OUTCOMES, failed),
        plan=PLAN,
        cycle=CYCLE,
        tenancy=Tenancy(
            answers={"shop": 9}, interactions={"shop": 2}, lines={"shop": 7}, mixed=("kept.jsonl:1: clinic, shop",)
        ),
        forgetting=Forgetting(
            application="shop", session="traffic-shop-1", interactions=2, values=5, adapters=("adapter-0001",),
            client_tools=(), left=("interactions.db: texts",),
        ),
    )  # fmt: skip
    text = section(found)
    assert "| all with a tool | 4 | 1/4 (5–70) | 3/4 (30–95) | +50 (-42 to +142), 2 better, 0 worse, p = 0.25 |" in text
    assert "| shop (LangGraph), all | 4 | 1/4 (5–70) | 3/4 (30–95) |" in text
    assert "answered without a call: 1/1 (21–100) before, 0/1 (0–79) after" in text
    assert "error of the framework: shop traffic 1 of 3 (MaxTurnsExceeded 1)." in text
    assert "seconds of a turn: before 2.0 and 2.0, traffic 2.0 and 2.0, after 2.0 and 2.0." in text
    assert "The cycle took 14.5 minutes; seconds by stage: mine 1, train 480." in text
    assert "| shop | 11 | 8 | worked 7, talk 1 | 2 | 1 |" in text
    assert "| shop | 1/3 (6–79) | 6 | 3/4 (30–95) | 1/5 (4–62) | objected_to 5 | 2 |" in text
    assert "0 turns good and 1 bad" in text
    assert "| shop | 9 | 2 | 7 |" in text
    assert "With something of another tenant: 1 (kept.jsonl:1: clinic, shop)." in text
    assert "`evolver forget --session traffic-shop-1 --owner shop`: 2 interactions" in text
    assert "2 interactions and 5 values made from them are deleted; marked adapters: `adapter-0001`" in text
    assert "still hold something of it: 1 (interactions.db: texts)" in text
    assert "cycle 1 rejected: no gain; 9 lessons" in text
    assert "```text\n11 new interactions\n" in text


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
