"""Conversations, tools and scores: what people said, and what was made of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.log.interaction_log import InteractionLog
from evolver.cli.past_tables import evaluations_text
from evolver.cli.score_words import NAMES
from evolver.evaluation import suites
from evolver.scores import EvalReport, ItemScore, Mean, Rate
from evolver.store.jsonl import append_lines
from evolver.store.ledger import Ledger
from evolver.store.seen_tools import refreshed
from evolver.tool_making.pool import ToolPool
from evolver.types import Verdict
from tests.fakes.client_traffic import asked, log_turn
from tests.fakes.dashboard_world import Page, Visitor
from tests.fakes.evolution import trace, turn
from tests.fakes.evolver_world import ITEMS
from tests.fakes.waiting import wait_until
from tests.unit.evolver.tool_making.test_pool import made
from toolkit.made import read_approved
from toolkit.tool import ToolErrorKind


def said(data: Path, request: str, *calls: Any, session: str = "talk", owner: str = "", **rest: Any) -> str:
    with InteractionLog(data / "interactions.db") as log:
        return log.append(turn(request, *calls, **rest), session=session, source="gateway", owner=owner)


def words(data: Path, identity: str) -> list[tuple[str, str, str]]:
    with InteractionLog(data / "interactions.db") as log:
        found = log.find(identity)
    assert found is not None
    return [(word.verdict, word.note, word.expected) for word in found.feedback]


def requests(seen: Page) -> list[str]:
    return [row[1] for row in seen.rows("turns")] if "No turn fits" not in seen.text else []


def test_the_list_has_every_turn_newest_first(data: Path, visitor: Visitor) -> None:
    said(data, "eggs in boxes", ("box_count", {"eggs": 7}, 2), adapter="adapter-0001")
    with InteractionLog(data / "interactions.db") as log:
        logged = log.read()
    rows = visitor.get("/conversations").rows("turns")
    assert [row[1] for row in rows] == [one.trajectory.messages[0].content for one in reversed(logged)]
    assert rows[0][2:6] == ["box_count", "answered", "adapter-0001", "gateway"]


def test_turns_are_found_by_text_adapter_trouble_and_key(data: Path, visitor: Visitor) -> None:
    bad = said(data, "sum 50% of it_", owner="alice")
    said(data, "fails", ("add_prices", {}, ToolErrorKind.INVALID_ARGUMENTS), answer="Sorry.")
    said(data, "never ends", answer="", stop_reason="step_limit", adapter="adapter-0001")
    visitor.press(f"/conversations/{bad}/feedback", verdict="bad")
    found = {
        query: requests(visitor.get(f"/conversations?{query}"))
        for query in (
            "text=50%25", "text=SU+it", "text=sum+fails", "text=SORRY", "text=%22+OR+%00", "text=+",
            "trouble=unanswered", "trouble=failed+call",
            "trouble=called+bad", "trouble=called+good", "owner=alice", "adapter=adapter-0001", "source=nobody",
        )
    }  # fmt: skip
    assert found == {
        "text=50%25": ["sum 50% of it_"],
        "text=SU+it": ["sum 50% of it_"],
        "text=sum+fails": [],
        "text=SORRY": ["fails"],
        "text=%22+OR+%00": [],
        "text=+": requests(visitor.get("/conversations")),
        "trouble=unanswered": ["never ends"],
        "trouble=failed+call": ["fails"],
        "trouble=called+bad": ["sum 50% of it_"],
        "trouble=called+good": [],
        "owner=alice": ["sum 50% of it_"],
        "adapter=adapter-0001": ["never ends"],
        "source=nobody": [],
    }


def test_turns_come_by_fifty(data: Path, visitor: Visitor) -> None:
    for number in range(60):
        said(data, f"request {number}")
    first = visitor.get("/conversations?source=gateway")
    assert requests(first) == [f"request {number}" for number in range(59, 9, -1)]
    with InteractionLog(data / "interactions.db") as log:
        last = next(one.id for one in log.read() if one.trajectory.messages[0].content == "request 10")
    assert f"before={last}" in first.answer.text
    assert len(requests(visitor.get(f"/conversations?source=gateway&before={last}"))) == 10


def test_exchanges_of_one_turn_are_one_row(data: Path, visitor: Visitor) -> None:
    with InteractionLog(data / "interactions.db") as log:
        first = log.append(turn("add 1 and 2", answer=""), session="x", source="gateway")
        whole = turn("add 1 and 2", ("add_prices", {"first": 1}, 3))
        log.append(whole, session="x", source="gateway", continues=first)
    assert requests(visitor.get("/conversations")).count("add 1 and 2") == 1


def test_a_session_is_one_thread_with_calls_and_results(data: Path, visitor: Visitor) -> None:
    first = said(data, "add 3 and 4", ("add_prices", {"first": 3, "second": 4}, 7))
    second = said(data, "<b>and 5?</b>", answer="<script>alert(1)</script>")
    said(data, "another session", session="other")
    said(data, "another key's", owner="bob")
    seen = visitor.get(f"/conversations/{first}")
    for part in ("add 3 and 4", 'add_prices {"first": 3, "second": 4}', "7", "Here you are."):
        assert part in seen.of(first)
    assert "<b>and 5?</b>" in seen.of(second)
    assert "<script>alert(1)</script>" in seen.of(second)
    assert "<script>alert" not in seen.answer.text
    assert "another" not in seen.text
    assert visitor.get("/conversations/nothing").status == 404


def test_a_turn_is_called_good_bad_or_corrected(data: Path, visitor: Visitor) -> None:
    identity = said(data, "add 3 and 4", ("add_prices", {"first": 3, "second": 5}, 8))
    call = [{"name": "add_prices", "arguments": {"first": 3, "second": 4}}]
    visitor.press(f"/conversations/{identity}/feedback", verdict="good")
    seen = visitor.press(f"/conversations/{identity}/feedback", verdict="bad", note="wrong", expected=json.dumps(call))
    assert words(data, identity) == [("good", "", ""), ("bad", "wrong", json.dumps(call))]
    assert f"Right would have been: {json.dumps(call)}" in seen.of(identity)
    assert requests(visitor.get("/conversations?trouble=corrected")) == ["add 3 and 4"]
    visitor.press(f"/conversations/{identity}/feedback", verdict="bad", expected="It is 7.")
    assert words(data, identity)[-1] == ("bad", "", "It is 7.")


@pytest.mark.parametrize(
    "form", [{}, {"verdict": "so-so"}, {"verdict": "bad", "expected": "[{]"}, {"verdict": "bad", "expected": "[1]"}]
)
def test_a_word_that_cannot_be_used_is_refused(data: Path, visitor: Visitor, form: dict[str, str]) -> None:
    identity = said(data, "hello")
    assert visitor.press(f"/conversations/{identity}/feedback", **form).status in (400, 409)
    assert words(data, identity) == []


def test_a_correction_with_a_call_that_cannot_be_made_is_refused(data: Path, visitor: Visitor) -> None:
    identity = said(data, "how many words are in this?")
    call = [{"name": "count_word", "arguments": {"text": "this"}}]
    seen = visitor.press(f"/conversations/{identity}/feedback", verdict="bad", expected=json.dumps(call))
    assert (
        "there is no tool named count_word; did you mean count_words or count_working_days or sort_words?" in seen.text
    )
    assert words(data, identity) == []


def test_secrets_in_a_correction_are_not_stored(data: Path, visitor: Visitor) -> None:
    identity = said(data, "hello")
    visitor.press(f"/conversations/{identity}/feedback", verdict="bad", expected="password: hunter22hunter22")
    assert "hunter22" not in words(data, identity)[0][2]


def test_a_key_with_feedback_judges_its_own_answers_only(data: Path) -> None:
    visitor = Visitor(data, require_key=True)
    visitor.sign_in("read", "feedback", name="alice")
    own, other = said(data, "mine", owner="alice"), said(data, "his", owner="bob", session="b")
    assert f"/ui/conversations/{own}/feedback" in visitor.get(f"/conversations/{own}").actions
    assert f"/ui/conversations/{other}/feedback" not in visitor.get(f"/conversations/{other}").actions
    assert visitor.press(f"/conversations/{own}/feedback", verdict="good").status == 200
    assert visitor.press(f"/conversations/{other}/feedback", verdict="good").status == 409
    assert (len(words(data, own)), len(words(data, other))) == (1, 0)


def test_a_turn_shows_the_lessons_that_were_made_of_it(data: Path, visitor: Visitor) -> None:
    identity = said(data, "add 3 and 4")
    assert "No cycle has made a lesson of it." in visitor.get(f"/conversations/{identity}").text
    folder = data / "cycles" / "0002"
    lesson = trace("please add 3 and 4", "add_prices", {"first": 3, "second": 4}, 7, identity="mine").sourced(
        interaction_id=identity
    )
    append_lines(folder / "traces.jsonl", [lesson])
    append_lines(folder / "verdicts.jsonl", [Verdict(trace_id="mine", kept=True)])
    learned = visitor.get(f"/conversations/{identity}").of("learned")
    assert learned.startswith("please add 3 and 4 kept in cycle 2")


def test_a_turn_is_forgotten_with_what_was_made_of_it(data: Path, visitor: Visitor) -> None:
    identity = said(data, "forget me, all of you")
    seen = visitor.press(f"/conversations/{identity}/forget")
    assert seen.of("forgotten").startswith(f"{identity} is deleted")
    assert visitor.get(f"/conversations/{identity}").status == 404


def test_tools_are_shown_with_their_calls_failures_and_lessons(data: Path, visitor: Visitor) -> None:
    said(data, "lcm of 4 and 6", ("least_common_multiple", {"first": 4, "second": 6}, 12))
    said(data, "lcm of 4 and x", ("least_common_multiple", {"first": 4}, ToolErrorKind.INVALID_ARGUMENTS))
    said(data, "weather", ("get_weather", {"city": "Bern"}, "rain"))
    rows = {row[0]: row[1:] for row in visitor.get("/tools").rows("tools")}
    assert rows["least_common_multiple"][0] == "builtin"
    assert rows["least_common_multiple"][2:4] == ["2", "1 (50.0%)"]
    assert rows["get_weather"][0] == "of an MCP server or of a client"
    kept = [json.loads(line) for line in (data / "cycles" / "0002" / "kept.jsonl").read_text().splitlines()]
    wanted = sum(any(call["name"] == "box_count" for call in one["calls"]) for one in kept)
    said(data, "boxes", ("box_count", {"eggs": 7}, 2))
    fresh = {row[0]: row for row in Visitor(data).get("/tools").rows("tools")}
    assert int(fresh["box_count"][5]) >= wanted > 0


@pytest.mark.parametrize(("action", "state"), [("approve", "approved"), ("reject", "rejected")])
def test_a_made_tool_is_approved_or_rejected(data: Path, visitor: Visitor, action: str, state: str) -> None:
    tool = made()
    with Ledger(data / "evolution.db") as ledger:
        ToolPool(data, ledger).add(tool, (), cycle=1, maker="base", interaction_id="i", request="<i>ask</i>")
    seen = visitor.get("/tools")
    assert tool.source.splitlines()[0] in seen.of(tool.name)
    assert "<i>ask</i>" in seen.of(tool.name)
    visitor.press(f"/tools/{tool.name}/{action}")
    with Ledger(data / "evolution.db") as ledger:
        assert [one.state for one in ToolPool(data, ledger).tools()] == [state]
    assert bool(read_approved(data / "approved_tools")) is (action == "approve")


def test_arguments_that_are_no_object_are_refused(visitor: Visitor) -> None:
    assert visitor.press("/tools/call", name="x", arguments="[1]").status == 400
    assert visitor.press("/tools/call", name="x", arguments="{").status == 409


def test_scores_have_the_names_and_values_of_the_command(data: Path, visitor: Visitor) -> None:
    """The soft score too, which the old data folder lacks."""
    rate = Rate(hits=3, n=4, low=0.3, high=0.95)
    report = EvalReport(
        model="base",
        suite="talk",
        suite_sha256="f",
        call_accuracy=rate,
        tool_selection_accuracy=rate,
        irrelevance_accuracy=rate,
        invalid_call_rate=rate,
        failed=0,
        soft_score=Mean(value=-1.5, n=4, low=-2.0, high=-1.0),
        items=(),
    )
    with Ledger(data / "evolution.db") as ledger:
        ledger.record_evaluation(report)
        command = evaluations_text([one for one in ledger.evaluations() if one.suite == "talk"])
    seen = visitor.get("/evals")
    shown = {row[0]: row[2:] for row in seen.rows("scores")}["talk"]
    for name, value in zip(NAMES.values(), shown, strict=False):
        assert f"{name[0].upper()}{name[1:]}" in seen.text
        assert name in command
        assert value in command
    assert shown[4] == "-1.50 nats (-2.00 to -1.00)"
    assert {row[0]: row[2:] for row in seen.rows("scores")}["heldout"][4] == "–"


def test_scores_are_the_ledgers_with_the_mistakes_of_a_model(
    data: Path, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suites, "read_suite", lambda name: suites.Suite(name=name, sha256="", items=tuple(ITEMS)))
    seen = visitor.get("/evals?model=base")
    with Ledger(data / "evolution.db") as ledger:
        wanted = {(one.suite, one.model): one.scores for one in ledger.evaluations()}
    rows = {(row[0], row[1]): row[2:] for row in seen.rows("scores")}
    assert rows.keys() == wanted.keys()
    for key, scores in wanted.items():
        rate = scores["call_accuracy"]
        assert f"({rate['hits']}/{rate['n']}" in rows[key][0]
    file = next((data / "evaluations").glob("*-base.jsonl"))
    scores = [ItemScore.model_validate_json(line) for line in file.read_text().splitlines()]
    requests = {item.id: item.request for item in ITEMS}
    mistakes = [requests[one.id] for one in scores if one.needs_tool and not one.exact]
    assert [row[0] for row in seen.rows("mistakes")] == mistakes


def test_a_measurement_says_why_it_could_not_be_made(visitor: Visitor) -> None:
    visitor.press("/evals/run", suite="heldout", model="base")
    wait_until(lambda: "agent serve" in visitor.get("/evals").of("run"))
    assert visitor.get("/evals").of("run") == "base on heldout: no server is running; start it with: agent serve"
    assert visitor.press("/evals/run", suite="", model="base").status == 400


def test_a_long_session_comes_by_fifty_with_the_turn_that_was_asked_for(data: Path, visitor: Visitor) -> None:
    ids = [said(data, f"request {number}", session="long") for number in range(60)]
    seen = visitor.get(f"/conversations/{ids[55]}")
    assert "request 55" in seen.of(ids[55])
    assert "51–60 of 60" in seen.text
    assert ids[0] in visitor.get(f"/conversations/{ids[55]}?page=1").answer.text


def test_tools_of_clients_are_shown_with_their_versions(data: Path, visitor: Visitor) -> None:
    with InteractionLog(data / "interactions.db") as log:
        log_turn(log, asked("Weather?", ("get_weather", {"city": "Bern"}, "Error: no"), answer="No."), owner="<b>team")
    assert "Tools that clients bring" not in visitor.get("/tools").text  # the dashboard reads what others noted
    with Ledger(data / "evolution.db") as ledger:
        refreshed(data, ledger)
    rows = {row[0]: row[1:] for row in visitor.get("/tools").rows("seen")}
    assert rows["get_weather"][:6] == ["1", "gateway", "<b>team", "", "1", "1 (100.0%)"]
    assert rows["refund_order"][8:] == ["in use", "Refund an order."]
