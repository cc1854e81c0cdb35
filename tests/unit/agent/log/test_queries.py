"""The log read a page at a time: the same turns as when it is read whole."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.log import queries
from agent.log.interaction_log import InteractionLog
from agent.log.queries import session_of
from agent.turn.messages import Interaction
from tests.fakes.evolution import by_session, turn

NAMES = st.sampled_from(["", "a", "b"])
VERDICTS = st.sampled_from(["", "good", "bad"])
STORED = st.lists(st.tuples(NAMES, NAMES, NAMES, NAMES, st.integers(0, 12), VERDICTS), max_size=12)
"""Session, owner, tenant, source, which earlier one it continues (0: none), verdict."""


def fill(log: InteractionLog, stored: list[tuple[str, str, str, str, int, str]]) -> None:
    ids: list[str] = []
    for number, (session, owner, tenant, source, continues, verdict) in enumerate(stored):
        made = turn(f"request {number}").model_copy(update={"latency_ms": float(number)})
        before = ids[-continues] if 0 < continues <= len(ids) else ""
        ids.append(log.append(made, session=session, source=source, owner=owner, tenant=tenant, continues=before))
        if verdict:
            log.feedback(ids[-1], verdict)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(STORED, st.integers(0, 12), st.integers(0, 12))
def test_whole_turns_are_those_of_the_whole_log(
    stored: list[tuple[str, str, str, str, int, str]], first: int, last: int
) -> None:
    with (
        TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        InteractionLog(Path(folder) / "interactions.db") as log,
    ):
        patch.setattr(queries, "_PAGE", 2)
        fill(log, stored)
        everything = log.read()
        ids = ["", *(one.id for one in everything)]
        after, until = ids[min(first, len(ids) - 1)], ids[min(last, len(ids) - 1)]
        between = [one for one in everything if after < one.id <= until]
        found = list(log.whole_turns(after=after, until=until))
        assert found == by_session(between)
        for session in {session_of(one) for one in between}:
            assert list(log.whole_turns(after=after, until=until, session=session)) == [
                one for one in found if session_of(one) == session
            ]


@pytest.mark.parametrize(("owner", "tenant"), [("a", ""), ("", "a")])
def test_what_continues_anothers_interaction_is_a_turn_of_its_own(data_folder: Path, owner: str, tenant: str) -> None:
    """As a log of before may hold it."""
    with InteractionLog(data_folder / "interactions.db") as log:
        fill(log, [("", "", "", "", 0, "good"), ("", owner, tenant, "", 1, "bad")])
        first, second = log.read()
        found = {one.id: one for one in log.whole_turns()}
        assert found == {first.id: first, second.id: second} == {one.id: one for one in by_session([first, second])}


def test_pages_of_one_adapter_are_all_of_it(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "_PAGE", 2)
    with InteractionLog(data_folder / "interactions.db") as log:
        fill(log, [("", "", "", "", 0, "good")] * 5)
        found: list[Interaction] = list(log.of_adapter("base"))
        assert found[::-1] == log.read()


def test_turns_that_nothing_continues_cost_one_query_a_page(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "interactions.db") as log:
        fill(log, [("s", "", "", "", 0, "good")] * 50)
        statements: list[str] = []
        log._db.raw.conn.set_trace_callback(statements.append)
        assert len(list(log.whole_turns())) == len(log.read()) == 50
    assert len(statements) < 12
