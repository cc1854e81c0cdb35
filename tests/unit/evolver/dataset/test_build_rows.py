"""Rows of a dataset: their contexts, candidates and validation."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.dataset.rows import NO_TOOL
from evolver.types import TraceKind
from tests.fakes.evolution import turn
from tests.fakes.lesson_pool import QUICK, TOOLS, built, called_in, calling, names_in, plain, pool, request_of
from tests.fakes.stages import dataset
from toolkit.search import ToolIndex


def test_answers_are_learned_for_the_share_asked_for(tmp_path: Path) -> None:
    def answers(share: float) -> int:
        _, train, _ = built(plain(answer_share=share), pool(40, 4), [], tmp_path / f"d{share}")
        return sum(len(row["targets"]) == 2 for row in train)

    assert answers(0.0) == 0
    assert 0 < answers(0.5) < answers(1.0)


def test_hidden_tools_take_their_share_of_what_calls_nothing(tmp_path: Path) -> None:
    def declined(share: float) -> tuple[int, int]:
        config = plain(declined_share=share, no_call_share=0.4)
        _, train, _ = built(config, pool(40, 20), [], tmp_path / f"d{share}")
        kinds = [row["decision"] for row in train]
        return kinds.count(None), kinds.count("no_call")

    assert declined(0.0)[0] == 0
    assert declined(1.0)[1] == 0
    assert all(declined(0.5))


def test_some_contexts_show_fewer_tools_than_serving_does(tmp_path: Path) -> None:
    def shown(share: float) -> set[int]:
        _, train, _ = built(plain(narrow_share=share, no_call_share=0.4), pool(40, 20), [], tmp_path / f"d{share}")
        assert all(called_in(row)[0] in names_in(row) for row in train if row["decision"] == "call")
        return {len(names_in(row)) for row in train}

    assert shown(0.0) == {3}
    assert shown(1.0) == {1, 2}
    assert shown(0.5) > {3}


def test_the_bias_is_fitted_on_requests_that_have_nothing_to_do_with_what_is_shown_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evolver.dataset.build._NEAR", 3)
    _, train, valid = built(plain(validation_share=0.3), pool(40, 20), [], tmp_path / "dataset")
    far = [row for row in valid if row["id"].startswith("far-")]
    calls = {request_of(row) for row in valid if row["decision"] == "call"}
    assert {request_of(row) for row in far} == calls
    for row in far:
        best = ToolIndex(TOOLS).top(request_of(row), 3)
        assert not {tool.name for tool in best} & set(names_in(row))
        assert row["decision"] == "no_call"
        assert row["messages"][-1]["content"] == NO_TOOL
    assert {len(names_in(row)) for row in far} == {1, 2, 3}
    assert not [row for row in train if row["id"].startswith("far-")]


@QUICK
@given(st.integers(0, 2**32), st.floats(0.1, 0.4))
def test_no_session_is_on_both_sides(seed: int, share: float) -> None:
    kept = [
        calling(n, TOOLS[n % len(TOOLS)])
        .model_copy(update={"kind": TraceKind.LOGGED})
        .sourced(interaction_id=str(n), session=f"s{n % 7}")
        for n in range(21)
    ]
    with tempfile.TemporaryDirectory() as folder:
        _, train, valid = built(plain(validation_share=share), kept, [], Path(folder) / "d", seed=seed)
    sessions = [
        {int(one) % 7 for row in side if (one := row["provenance"]["interaction_id"])} for side in (train, valid)
    ]
    assert sessions[0].isdisjoint(sessions[1])
    assert sessions[0] | sessions[1] == set(range(7))


def test_a_row_says_which_trace_and_which_model_it_comes_from(tmp_path: Path) -> None:
    kept = [one.sourced(model="maker-0002") for one in pool(12, 0)]
    earlier = [one.model_copy(update={"id": f"0001/{one.id}"}).sourced(model="base") for one in pool(12, 0, "earlier ")]
    _, train, valid = built(plain(composed_share=0.3, replay_share=0.4), kept, earlier, tmp_path / "d")
    known = {one.id: one for one in (*kept, *earlier)}
    for row in train + valid:
        parts = row["trace"].split("+")
        assert row["provenance"]["model"] == known[parts[0]].provenance.model
        assert all(known[part].request.rstrip(".?!").lower() in request_of(row).lower() for part in parts)
    assert any("+" in row["trace"] for row in train)
    assert any(row["trace"].startswith("0001/") for row in train)


def test_what_is_composed_to_a_held_out_request_is_dropped(tmp_path: Path) -> None:
    config, kept = plain(composed_share=0.5), pool(12, 0)
    made = dataset(config, kept, [], TOOLS, tmp_path / "a")
    none = dataset(config, kept, [], TOOLS, tmp_path / "b", held_out=lambda request: True)
    assert made.composed[TraceKind.PARALLEL] > 0
    assert none.composed == {}
    assert none.dropped == {"held_out": made.composed[TraceKind.PARALLEL]}


def test_what_was_said_before_keeps_its_tools_and_is_never_without_them(tmp_path: Path) -> None:
    before = turn("paint a wall", ("paint_wall", {"n": 1}, 1)).messages
    talked = [
        one.model_copy(update={"history": before}).sourced(interaction_id=str(n), session=str(n)) if one.calls else one
        for n, one in enumerate(pool(30, 10))
    ]
    config = plain(renamed_share=1.0, no_call_share=0.5, declined_share=0.5, validation_share=0.3)
    _, train, valid = built(config, talked, [], tmp_path)
    rows = [row for row in [*train, *valid] if row["provenance"]["interaction_id"]]
    assert len(rows) > 20
    for row in rows:
        assert [message["role"] for message in row["messages"][:5]] == [
            "user",
            "assistant",
            "tool",
            "assistant",
            "user",
        ]
        assert min(row["targets"]) == 5
        (call,) = row["messages"][5]["tool_calls"]
        assert call["function"]["name"] in {tool["function"]["name"] for tool in row["tools"]} & {t.name for t in TOOLS}


def test_the_bias_is_chosen_on_held_out_requests_with_the_candidates_of_the_choice(tmp_path: Path) -> None:
    kept = pool(60, 40)
    made = dataset(plain(validation_share=0.5), kept, [], TOOLS, tmp_path, candidates=4)
    rows = [json.loads(line) for line in (made.folder / "choice.jsonl").read_text().splitlines()]
    learned = {request_of(json.loads(line)) for line in (made.folder / "train.jsonl").read_text().splitlines()}
    index, known = ToolIndex(TOOLS), {trace.request: trace for trace in kept}
    by_request: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_request.setdefault(row["candidate"][0], []).append(row)
    assert not {request_of(row) for row in rows} & learned
    assert {row["decision"] for row in rows} == {"call", "no_call"}
    for found in by_request.values():
        request = request_of(found[0])
        best = index.ranked(request)[:4]
        assert {row["decision"] for row in found} == {"call" if known[request].calls else "no_call"}
        assert [names_in(row) for row in found] == [[TOOLS[place].name] for place, _ in best]
        assert [row["candidate"][1] for row in found] == [points for _, points in best]


def test_a_request_whose_tools_are_out_of_sight_is_no_call_for_the_bias(tmp_path: Path) -> None:
    many = [tool.model_copy(update={"name": f"{tool.name}_{n}"}) for n in range(4) for tool in TOOLS]
    kept = [calling(n, many[n % len(many)]) for n in range(60)]
    made = dataset(plain(validation_share=0.5), kept, [], many, tmp_path, candidates=4)
    rows = [json.loads(line) for line in (made.folder / "choice.jsonl").read_text().splitlines()]
    own, index = {trace.request: trace.calls[0].name for trace in kept}, ToolIndex(many)
    hidden = [row for row in rows if row["decision"] == "no_call"]
    assert hidden
    for row in hidden:
        near = {tool.name for tool in index.top(request_of(row), 10)}
        assert not {own[request_of(row)], *near} & set(names_in(row))


def test_without_a_choice_there_are_no_candidates(tmp_path: Path) -> None:
    made = dataset(plain(validation_share=0.5), pool(12, 12), [], TOOLS, tmp_path)
    assert (made.folder / "choice.jsonl").read_text() == ""
