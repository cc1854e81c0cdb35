"""Overview, adapters and releases: every figure is the ledger's or the log's."""

import json
import os
import time
from pathlib import Path

import pytest

from agent.adapters import active
from agent.log.interaction_log import InteractionLog
from dashboard.figures import evolution
from evolver.cycle.progress import ProgressFile
from evolver.release import release
from evolver.store import lease
from evolver.store.ledger import Ledger
from evolver.store.sessions import whole_turns
from tests.fakes.dashboard_world import OWN, Visitor
from tests.fakes.evolution import publish_adapter, turn
from toolkit.tool import ToolErrorKind


def ledger(data: Path) -> Ledger:
    return Ledger(data / "evolution.db")


def log_turn(data: Path, request: str = "hello", *calls: object, latency_ms: float = 0.0, **rest: object) -> str:
    with InteractionLog(data / "interactions.db") as log:
        trajectory = turn(request, *calls, **rest).model_copy(update={"latency_ms": latency_ms})  # type: ignore[arg-type]
        return log.append(trajectory, session="s9", source="chat")


def test_the_overview_says_what_serves_and_since_when(data: Path, visitor: Visitor) -> None:
    with ledger(data) as opened:
        since = opened.releases()[0].at
    seen = visitor.get("/")
    assert seen.of("serves") == "adapter-0001"
    assert time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since)) in seen.text


def test_the_overview_counts_the_last_day(data: Path, visitor: Visitor) -> None:
    with InteractionLog(data / "interactions.db", now=lambda: time.time() - 3 * 86400) as log:
        earlier = len(log.read())
    for number in range(9):
        log_turn(data, latency_ms=100.0 * (number + 1))
    log_turn(data, latency_ms=5000.0, stop_reason="step_limit", answer="")
    with InteractionLog(data / "interactions.db") as log:
        day = [i for i in log.read() if i.created_at > time.time() - 86400]
    assert len(day) >= 10
    seen = visitor.get("/now")
    assert seen.of("requests").split()[0] == str(len(day))
    failed = sum(i.trajectory.stop_reason != "answered" for i in day)
    assert f"{failed / len(day):.1%} without an answer" in seen.text
    latencies = sorted(i.trajectory.latency_ms for i in day)
    assert f"median {latencies[len(day) // 2]:.0f} ms" in seen.text
    assert "95 % within 5.0 s" in seen.text
    assert earlier == 4


def test_the_learning_curve_is_the_ledgers(data: Path, visitor: Visitor) -> None:
    option = visitor.json("/learning.json")
    assert option["xAxis"]["data"] == ["base", "adapter-0001", "adapter-0002"]
    line, whiskers = option["series"]
    with ledger(data) as opened:
        measured = {one.model: one.scores["call_accuracy"] for one in opened.evaluations()}
    wanted = [measured[name] for name in option["xAxis"]["data"]]
    assert [point[1] for point in line["data"]] == [round(100 * one["hits"] / one["n"], 1) for one in wanted]
    assert [point[1:] for point in whiskers["data"]] == [
        [round(100 * one["low"], 1), round(100 * one["high"], 1)] for one in wanted
    ]
    assert [mark["xAxis"] for mark in line["markLine"]["data"]] == [1]


def test_a_suite_of_other_contents_is_a_line_of_its_own(data: Path, visitor: Visitor) -> None:
    with ledger(data) as opened, opened.together() as db:
        db.execute(
            "INSERT INTO evaluations (at, model, suite, suite_sha256, scores) "
            "SELECT at, model, suite, 'ffffff', scores FROM evaluations WHERE model = 'base'"
        )
    names = {series["name"] for series in visitor.json("/learning.json")["series"]}
    assert names == {"heldout e56bea", "heldout ffffff"}


def test_the_running_cycle_is_shown_with_its_stage_and_progress(data: Path, visitor: Visitor) -> None:
    with ledger(data) as opened:
        number = opened.open_cycle().number
        opened.stage_begins(number, "train")
    folder = data / "cycles" / f"{number:04d}"
    folder.mkdir()
    times = iter((100.0, 130.0))
    progress = ProgressFile(folder, now=lambda: next(times))
    progress.say("train", 0.0, "")
    progress.say("train", 0.25, "loss 1.2")
    with ledger(data) as opened, lease.held(opened, 60):
        seen = visitor.get("/now")
    assert f"cycle {number} train, stage 8 of 13" in seen.text
    assert "25.0%" in seen.text
    assert "1 min 30 s left" in seen.text
    assert "loss 1.2" in seen.text
    assert f"By process {os.getpid()}." in seen.text
    assert "cut off" not in seen.text


def test_a_cycle_whose_process_is_gone_is_cut_off_on_every_page(data: Path, visitor: Visitor) -> None:
    with ledger(data) as opened, lease.held(opened, 60):
        number = opened.open_cycle().number
        opened.stage_begins(number, "train")
        assert visitor.get("/cycles").rows("cycles")[0][3] == "running"
        assert "running Began" in visitor.get(f"/cycles/{number}").text
    folder = data / "cycles" / f"{number:04d}"
    folder.mkdir()
    ProgressFile(folder).say("train", 0.25, "loss 1.2")
    overview = visitor.get("/now").text
    assert "cut off No process works on it. evolver cycle goes on with it." in overview
    for told in ("left in this stage", "25.0%", "loss 1.2"):
        assert told not in overview
    assert visitor.get("/cycles").rows("cycles")[0][3] == "cut off"
    page = visitor.get(f"/cycles/{number}").text
    assert "cut off Began" in page
    assert "stopped at train" in page


def test_a_cycle_that_runs_is_shown_before_one_of_a_tenant_that_was_cut_off(data: Path, visitor: Visitor) -> None:
    with ledger(data) as opened, lease.held(opened, 60):
        running = opened.open_cycle().number
        with Ledger(data / "evolution.db", tenant="sales") as other:
            cut_off = other.open_cycle().number
        assert f"cycle {running} " in visitor.get("/now").text
        rows = {row[0].split()[0]: row[3] for row in visitor.get("/cycles").rows("cycles")}
        assert (rows[str(running)], rows[str(cut_off)]) == ("running", "cut off")
    overview = visitor.get("/now").text
    assert f"cycle {cut_off} " in overview
    assert "evolver cycle --tenant sales goes on with it" in overview


def test_what_waits_for_a_person_is_listed(data: Path, visitor: Visitor) -> None:
    assert "Nothing." in visitor.get("/now").text
    with ledger(data) as opened:
        opened.set_adapter_state("adapter-0002", "waiting")
        opened.put_setting("paused", "holidays")
    seen = visitor.get("/now")
    assert seen.of("waits") == "adapter adapter-0002 cycles are paused: holidays"
    assert "paused (holidays)" in seen.of("due")


def test_the_adapters_are_the_ledgers(data: Path, visitor: Visitor) -> None:
    seen = visitor.get("/adapters")
    with ledger(data) as opened:
        for row in opened.adapters():
            shown = seen.of(row.name)
            accuracy = row.scores["call_accuracy"]
            assert row.state in shown
            assert f"({accuracy['hits']}/{accuracy['n']}" in shown
            assert row.sha256[:12] in shown
            lessons = opened.cycles(row.cycle)[0].summary["dataset"]
            assert f"{lessons['train']} ({lessons['calls']} with a call)" in shown
    assert seen.of("adapter-0001").startswith("adapter-0001 serves")
    assert not seen.of("adapter-0002").startswith("adapter-0002 serves")


def test_two_adapters_are_compared_item_by_item(data: Path, visitor: Visitor) -> None:
    file = next((data / "evaluations").glob("*-base.jsonl"))
    scores = [json.loads(line) for line in file.read_text().splitlines()]
    wrong = sum(score["needs_tool"] and not score["exact"] for score in scores)
    seen = visitor.get("/adapters/compare?one=base&other=adapter-0001")
    assert seen.of("gains").startswith(f"Of {len(scores)} requests, adapter-0001 does {wrong} rightly")
    assert visitor.get("/adapters/compare?one=base&other=adapter-0666").status == 404


@pytest.mark.parametrize(("action", "state"), [("approve", "promoted"), ("reject", "rejected")])
def test_a_waiting_adapter_is_approved_or_rejected_in_the_name_of_who_pressed(
    data: Path, action: str, state: str
) -> None:
    visitor = Visitor(data, require_key=True)
    visitor.sign_in("admin", name="alice")
    with ledger(data) as opened:
        number = opened.open_cycle().number
        opened.add_adapter(publish_adapter(data, "adapter-0003"), number, "base", "d")
        opened.set_adapter_state("adapter-0003", "waiting")
    assert f"/ui/adapters/adapter-0003/{action}" in visitor.get("/adapters").actions
    assert visitor.press(f"/adapters/adapter-0003/{action}").status == 200
    with ledger(data) as opened:
        row = opened.adapter("adapter-0003")
        assert row is not None
        assert row.state == state
        said = [opened.releases()[0].reason] if action == "approve" else opened.marks()["adapter-0003"]
    assert said == [f"dashboard: {action} by alice"]
    assert (active.read(data).name == "adapter-0003") is (action == "approve")
    again = visitor.press(f"/adapters/adapter-0003/{action}")
    assert again.status == 409
    assert "does not wait for approval" in again.text


def test_a_promotion_that_fails_says_why_and_changes_nothing(data: Path, visitor: Visitor) -> None:
    file = data / "adapters" / "adapter-0002" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    failed = visitor.press("/adapters/adapter-0002/promote")
    assert failed.status == 409
    assert "adapter-0002" in failed.text
    assert active.read(data).name == "adapter-0001"


def test_rolling_back_lets_what_served_before_serve(data: Path, visitor: Visitor) -> None:
    assert visitor.get("/adapters").actions >= {"/ui/releases/roll-back"}
    seen = visitor.press("/releases/roll-back")
    assert "/ui/releases/roll-back" not in visitor.get("/adapters").actions
    assert seen.of("serves") == "base"
    assert active.read(data).name == "base"
    change = seen.rows("changes")[0]
    assert [*change[1:4], change[-1]] == ["adapter-0001", "base", "person", "dashboard: roll back without a key"]
    with ledger(data) as opened:
        row = opened.adapter("adapter-0001")
    assert row is not None
    assert row.state == "withdrawn"


def test_an_adapter_is_pinned_and_unpinned(data: Path, visitor: Visitor) -> None:
    assert "pinned" in visitor.press("/adapters/adapter-0001/pin").of("adapter-0001")
    assert "pinned" not in visitor.press("/adapters/adapter-0001/unpin").of("adapter-0001")


def test_changes_come_by_fifty(data: Path, visitor: Visitor) -> None:
    with ledger(data) as opened:
        for number in range(60):
            opened.record_release("adapter-0001", "base", f"change {number}", by="person")
    first = visitor.get("/releases")
    assert len(first.rows("changes")) == 50
    assert first.rows("changes")[0][-1] == "change 59"
    assert "1–50 of 61" in first.text
    assert len(visitor.get("/releases?page=2").rows("changes")) == 11
    assert len(visitor.get("/releases?page=99").rows("changes")) == 11
    assert visitor.get("/releases?page=two").status == 400


def test_each_change_shows_the_turns_before_and_after_it(data: Path, visitor: Visitor) -> None:
    with InteractionLog(data / "interactions.db") as log, ledger(data) as opened:
        promoted = opened.releases()[0]
        served = [one for one in whole_turns(log.read()) if one.created_at < promoted.at]
    assert (promoted.previous, {one.trajectory.adapter for one in served}) == ("base", {"base"})
    log_turn(data, "one", adapter="adapter-0001")
    log_turn(data, "two", ("add_prices", {"first": 3}, ToolErrorKind.INVALID_ARGUMENTS), adapter="adapter-0001")
    log_turn(data, "by what does not serve", adapter="base")
    (change,) = visitor.get("/releases").rows("changes")
    assert change[4].split()[0] == str(len(served))
    assert change[5] == "2 (50.0% troubled)"
    with ledger(data) as opened:
        opened.record_release("base", "adapter-0001", "rolled back", by="person")
    newest, oldest = visitor.get("/releases").rows("changes")
    assert newest[4:6] == ["2 (50.0% troubled)", "0"]
    assert oldest[4:6] == change[4:6]


def test_a_change_for_a_tenant_shows_that_tenants_turns_between_its_own_changes(data: Path, visitor: Visitor) -> None:
    def say(tenant: str, adapter: str) -> None:
        with InteractionLog(data / "interactions.db") as log:
            log.append(turn("hi", adapter=adapter), session="s9", source="gateway", tenant=tenant)

    def change(tenant: str, adapter: str, previous: str) -> None:
        with Ledger(data / "evolution.db", tenant=tenant) as opened:
            opened.record_release(adapter, previous, "better", by="person")

    say("sales", "adapter-0001")
    say("sales", "base")
    say("care", "adapter-0001")
    change("sales", "adapter-0002", "shared")
    say("sales", "adapter-0002")
    change("", "base", "adapter-0001")
    say("sales", "adapter-0002")
    say("care", "adapter-0002")
    rows = visitor.get("/releases").rows("changes")
    assert rows[1][1:3] == ["shared", "adapter-0002 (for sales)"]
    assert [cell.split()[0] for cell in rows[1][4:6]] == ["2", "2"]
    assert rows[0][1:3] == ["adapter-0001", "base"]
    with ledger(data) as opened:
        first, second = sorted((one for one in opened.all_releases() if not one.tenant), key=lambda one: one.number)
    with InteractionLog(data / "interactions.db") as log:
        served = [one for one in whole_turns(log.read()) if one.trajectory.adapter == "adapter-0001"]
        between = [one for one in served if first.at <= one.created_at < second.at]
    assert rows[0][4].split()[0] == str(len(between))


def test_an_adapter_on_trial_for_a_tenant_waits_for_no_person(data: Path, visitor: Visitor) -> None:
    with Ledger(data / "evolution.db", tenant="sales") as opened:
        opened.set_adapter_state("adapter-0002", "waiting")
        assert evolution.waiting(data, opened).adapters == ("adapter-0002",)
        with opened.together() as db:
            db.execute("UPDATE cycles SET tenant = 'sales' WHERE number = 2")
        release.begin_trial("adapter-0002", data, opened, None, share=0.2, cycle=2)
        assert opened.adapter("adapter-0002").state == "waiting"  # type: ignore[union-attr]
        assert evolution.waiting(data, opened).adapters == ()


def test_the_monitors_figures_are_those_of_the_log(data: Path, visitor: Visitor) -> None:
    log_turn(data, "add 3 and 4", ("add_prices", {"first": 3}, "invalid_arguments"), adapter="adapter-0001")
    bad = log_turn(data, "bye", adapter="adapter-0001", latency_ms=20.0)
    with InteractionLog(data / "interactions.db") as log:
        log.feedback(bad, "bad")
    rows = {row[0]: row[1:] for row in visitor.get("/releases").rows("monitor")}
    assert rows["all"] == ["4", "2"]
    assert rows["called bad"][1] == "1 (50.0%)"
    assert rows["median duration"] == ["0 ms", "10 ms"]


def test_a_trial_is_shown_and_ended_by_rolling_back(data: Path, visitor: Visitor) -> None:
    with ledger(data) as opened:
        release.begin_trial("adapter-0002", data, opened, None, share=0.2, cycle=2)
    assert "On trial with 20.0% of the sessions" in visitor.get("/").text
    assert "on trial" in visitor.get("/adapters").of("adapter-0002")
    visitor.client.post("/ui/releases/roll-back", headers=OWN)
    assert active.read(data).canary is None
    assert active.read(data).name == "adapter-0001"


def test_an_adapter_is_tried_with_a_share_of_the_sessions(data: Path, visitor: Visitor) -> None:
    assert "on trial" in visitor.press("/adapters/adapter-0002/try", percent="20").of("adapter-0002")
    canary = active.read(data).canary
    assert canary is not None
    assert (canary.name, canary.share) == ("adapter-0002", 0.2)
    with ledger(data) as opened:
        newest = opened.releases()[0]
    assert (newest.by, newest.adapter) == ("person", "adapter-0001")
    assert newest.reason == "adapter-0002 answers 20% of the sessions, on trial (dashboard: try without a key)"
    for percent, status in (("80", 409), ("0", 409), ("x", 400)):
        assert visitor.press("/adapters/adapter-0002/try", percent=percent).status == status
    assert visitor.press("/adapters/adapter-0001/try", percent="20").status == 409
