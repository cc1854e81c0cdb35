"""What is learned of one tenant has nothing of another, whatever the log holds."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.log.interaction_log import InteractionLog
from evolver.config import Config, EvolverConfig, MineConfig
from evolver.evaluation.scoring import OWN, REPLAY, named
from evolver.lessons import held_back
from evolver.lessons.replay import still_right
from evolver.mining.mine import mine
from evolver.mining.turns import LoggedTurns
from evolver.store.cycle_folder import cycle_folder, mark_tenant
from evolver.store.jsonl import write_lines
from evolver.types import Mined, Trace
from tests.fakes.client_traffic import asked, log_turn
from tests.fakes.evolution import turn
from toolkit.errors import UserError

TENANTS = ("", "sales", "care")

ROWS = st.lists(
    st.tuples(
        st.sampled_from(TENANTS),
        st.sampled_from(["chat", "gateway"]),
        st.sampled_from(["s1", "s2"]),
        st.integers(2, 6),
        st.sampled_from(["works", "fails", "bad", "good"]),
    ),
    min_size=1,
    max_size=16,
)


def fill(log: InteractionLog, rows: list[tuple[str, str, str, int, str]]) -> dict[str, str]:
    """Log the rows; returns the tenant of each interaction. All tenants ask alike, in sessions of one name."""
    for tenant, source, session, number, end in rows:
        request, place = f"How is the weather in city {number}?", {"session": session, "tenant": tenant}
        if source == "gateway":
            result = "error: no such city" if end == "fails" else f"It is {number} degrees."
            told = asked(request, ("get_weather", {"city": f"city {number}"}, result), answer=f"{number} degrees.")
            identity = log_turn(log, told, owner="key", **place)
        else:
            made = turn(request, ("get_weather", {"city": f"city {number}"}, number), answer=f"{number} degrees.")
            identity = log.append(made, source="chat", **place)
        if end in ("good", "bad"):
            log.feedback(identity, end)  # type: ignore[arg-type]
    return {one.id: one.tenant for one in log.read()}


def mined_of(log: InteractionLog, tenant: str | None, after: str = "") -> Mined:
    return mine(MineConfig(), LoggedTurns.since(log, after, tenant))


def origins(traces: list[Trace] | tuple[Trace, ...]) -> set[str]:
    return {origin for trace in traces for origin in trace.provenance.interactions}


@settings(max_examples=10, deadline=None)
@given(rows=ROWS, cut=st.integers(0, 15))
def test_no_task_and_no_trace_of_a_tenant_has_a_row_of_another(
    rows: list[tuple[str, str, str, int, str]], cut: int
) -> None:
    with TemporaryDirectory() as folder, InteractionLog(Path(folder) / "interactions.db") as log:
        whose = fill(log, rows)
        after = sorted(whose)[min(cut, len(whose) - 1)]
        for tenant in TENANTS:
            theirs = {identity for identity, name in whose.items() if name == tenant}
            assert mined_of(log, tenant).interactions == len(theirs)
            for found in (mined_of(log, tenant), mined_of(log, tenant, after)):
                assert {task.tenant for task in found.tasks} <= {tenant}
                assert {task.interaction_id for task in found.tasks} | origins(found.worked) <= theirs
        assert mined_of(log, None).interactions == len(whose)


@settings(max_examples=6, deadline=None)
@given(rows=ROWS)
def test_no_replay_and_no_suite_of_a_tenant_has_a_row_of_another(rows: list[tuple[str, str, str, int, str]]) -> None:
    with TemporaryDirectory() as folder:
        data = Path(folder)
        with InteractionLog(data / "interactions.db") as log:
            whose = fill(log, rows)
            all_of_them = mined_of(log, None).worked
            # Cycle 1 was everybody's, before tenants had adapters of their own.
            kept = {1: all_of_them, **{n: mined_of(log, name).worked for n, name in enumerate(TENANTS, 2)}}
        for number, traces in kept.items():
            place = cycle_folder(data, number)
            mark_tenant(place, "" if number == 1 else TENANTS[number - 2])
            for name in ("kept.jsonl", held_back.FILE):
                write_lines(place / name, list(traces))
        config = Config(data_folder=data, evolver=EvolverConfig(per_tenant=True))
        for number, tenant in enumerate(TENANTS, 2):
            theirs = {identity for identity, name in whose.items() if name == tenant}
            right = still_right(data, before=None, tenant=tenant)
            assert origins(right) <= theirs
            assert {trace.id.split("/")[0] for trace in right} <= {f"{number:04d}", *(["0001"] if not tenant else [])}
            assert origins(held_back.held_back(data, right)) <= theirs
            if right:
                suite, _ = named(config, OWN, "base", tenant=tenant)
                assert {item.id for item in suite.items} == {trace.id for trace in right}
        assert len(still_right(data, before=None)) == sum(map(len, kept.values()))


def test_a_tenant_has_no_suite_of_lessons_that_others_were_taught(tmp_path: Path) -> None:
    config = Config(data_folder=tmp_path, evolver=EvolverConfig(per_tenant=True))
    with InteractionLog(tmp_path / "interactions.db") as log:
        fill(log, [("sales", "chat", "s1", 2, "good"), ("care", "chat", "s1", 3, "good")])
        mark_tenant(cycle_folder(tmp_path, 1), "sales")
        for name in ("kept.jsonl", held_back.FILE):
            write_lines(cycle_folder(tmp_path, 1) / name, list(mined_of(log, "sales").worked))
    shown = [item.request for item in named(config, OWN, "base", tenant="sales")[0].items]
    assert shown == ["How is the weather in city 2?"]
    for suite in (OWN, REPLAY):
        with pytest.raises(UserError, match="no cycle"):
            named(config, suite, "base", tenant="care")
