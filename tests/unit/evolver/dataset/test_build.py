"""Lessons: the split, the contexts, calling and declining, replay, a folder that is whole or absent."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolver.config import DatasetConfig
from evolver.dataset.rows import NO_TOOL
from evolver.types import Dataset, Trace, TraceKind
from tests.fakes.evolution import trace, turn
from tests.fakes.stages import dataset
from toolkit.search import ToolIndex
from toolkit.tool import Tool

TOOLS = [
    Tool(
        name=f"{verb}_{thing}",
        description=f"{verb.title()} a {thing}.",
        parameters={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    )
    for verb, thing in (
        ("paint", "wall"),
        ("cook", "soup"),
        ("count", "sheep"),
        ("fold", "paper"),
        ("plant", "tree"),
        ("paint", "door"),
    )
]
QUICK = settings(max_examples=25, deadline=None)


def plain(**settings: Any) -> DatasetConfig:
    """Without lessons of two calls and other schemas, so that rows can be held against traces."""
    own = {"composed_share": 0.0, "renamed_share": 0.0, "answer_share": 1.0}
    return DatasetConfig(**{**own, **settings})


def calling(number: int, tool: Tool, prefix: str = "t") -> Trace:
    """Its request fits its tool."""
    return trace(
        f"{tool.description} {prefix}{number}",
        tool.name,
        {"n": number},
        number,
        identity=f"{tool.name}-{number}",
        answer=f"It is {number}.",
    )


def pool(calls: int, talk: int, prefix: str = "t") -> list[Trace]:
    made = [calling(n, TOOLS[n % len(TOOLS)], prefix) for n in range(calls)]
    return made + [trace(f"hello {prefix}{n}", identity=f"no_tool-{n}") for n in range(talk)]


def built(
    config: DatasetConfig,
    kept: list[Trace],
    replay: list[Trace],
    folder: Path,
    *,
    shown: int = 3,
    seed: int = 0,
    tools: list[Tool] = TOOLS,
) -> tuple[Dataset, list[dict[str, Any]], list[dict[str, Any]]]:
    made = dataset(config, kept, replay, tools, folder, shown=shown, seed=seed)
    train, valid = (
        [json.loads(line) for line in (made.folder / name).read_text().splitlines()]
        for name in ("train.jsonl", "valid.jsonl")
    )
    return made, train, valid


def request_of(row: dict[str, Any]) -> str:
    return row["messages"][0]["content"]


def names_in(row: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in row["tools"]]


def called_in(row: dict[str, Any]) -> list[str]:
    return [call["function"]["name"] for message in row["messages"] for call in message.get("tool_calls", ())]


CONFIGS = st.builds(
    DatasetConfig,
    contexts_per_call=st.integers(1, 3),
    branches=st.integers(2, 16),
    no_call_share=st.floats(0, 0.8),
    replay_share=st.floats(0, 0.9),
    validation_share=st.floats(0.02, 0.5),
    composed_share=st.just(0.0),
    renamed_share=st.just(0.0),
)


@QUICK
@given(CONFIGS, st.integers(0, 20), st.integers(0, 8), st.integers(0, 12), st.integers(1, 6), st.integers(0, 99))
def test_what_every_dataset_keeps(
    config: DatasetConfig, calls: int, talk: int, earlier: int, shown: int, seed: int
) -> None:
    kept, replay = pool(calls, talk), pool(earlier, earlier // 2, "earlier ")
    by_request = {t.request: t for t in kept + replay}
    with tempfile.TemporaryDirectory() as folder:
        made, train, valid = built(config, kept, replay, Path(folder) / "dataset", shown=shown, seed=seed)
    assert not {request_of(row) for row in train} & {request_of(row) for row in valid}
    assert made.calls + made.no_calls == made.train == len(train)
    assert made.valid == len(valid)
    for rows in (train, valid):
        assert len({row["id"] for row in rows}) == len(rows)
    for row in train + valid:
        source = by_request[request_of(row)]
        names = names_in(row)
        assert 1 <= len(names) == len(set(names)) <= shown
        assert row["messages"][0]["role"] == "user"
        assert all(row["messages"][target]["role"] == "assistant" for target in row["targets"])
        if row["decision"] == "call":
            assert called_in(row) == [source.calls[0].name]
            assert source.calls[0].name in names
            (call,) = row["messages"][1]["tool_calls"]
            assert json.loads(call["function"]["arguments"]) == source.calls[0].arguments
        else:
            assert called_in(row) == []
            if source.calls:
                assert source.calls[0].name not in names
                assert row["messages"][1]["content"] == NO_TOOL
            else:
                assert row["messages"][1]["content"] == source.answer


@QUICK
@given(CONFIGS, st.integers(1, 20), st.integers(0, 20), st.integers(0, 9))
def test_every_kept_call_appears_in_as_many_contexts_as_asked_for(
    config: DatasetConfig, calls: int, earlier: int, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made, train, valid = built(config, pool(calls, 2), pool(earlier, 0, "earlier "), Path(folder) / "d", seed=seed)
    times: dict[str, int] = {}
    for row in train + valid:
        if row["decision"] == "call":
            times[request_of(row)] = times.get(request_of(row), 0) + 1
    kept = {t.request for t in pool(calls, 0)}
    assert kept <= set(times)
    assert set(times.values()) == {config.contexts_per_call}
    assert len(set(times) - kept) <= made.replayed


@pytest.mark.timeout(60)
def test_traces_of_two_cycles_with_the_same_ids_are_two(tmp_path: Path) -> None:
    config = plain(contexts_per_call=1, replay_share=0.5)
    made, train, valid = built(config, pool(12, 0), pool(12, 0, "earlier "), tmp_path / "d")
    assert made.replayed == 12
    requests = [request_of(row) for row in train + valid if row["decision"] == "call"]
    assert sorted(requests) == sorted(t.request for t in pool(12, 0) + pool(12, 0, "earlier "))


@QUICK
@given(st.integers(1, 40), st.integers(0, 40), st.floats(0, 0.9))
def test_replay_is_of_the_share_asked_for_as_far_as_there_is_some(kept: int, earlier: int, share: float) -> None:
    config = plain(replay_share=share)
    with tempfile.TemporaryDirectory() as folder:
        made, train, valid = built(config, pool(kept, 0), pool(earlier, 0, "earlier "), Path(folder) / "d")
    old = {request_of(row) for row in train + valid if row["decision"] == "call" and "earlier " in request_of(row)}
    assert len(old) == made.replayed <= earlier
    if made.replayed < earlier:
        assert made.replayed / (kept + made.replayed) == pytest.approx(share, abs=0.6 / kept)


def test_requests_of_two_calls_are_learned_and_not_validated_on(tmp_path: Path) -> None:
    _, train, valid = built(DatasetConfig(composed_share=0.5, renamed_share=0.0), pool(20, 4), [], tmp_path / "d")
    calls = [[len(m.get("tool_calls") or ()) for m in row["messages"]] for row in train + valid]
    assert sum(2 in counts for counts in calls) > 0
    assert all(2 not in [len(m.get("tool_calls") or ()) for m in row["messages"]] for row in valid)


def test_without_replay_nothing_old_comes_in(tmp_path: Path) -> None:
    made, train, valid = built(plain(replay_share=0), pool(6, 2), pool(30, 9, "earlier "), tmp_path / "d")
    assert made.replayed == 0
    assert not [row for row in train + valid if "earlier " in request_of(row)]


def test_the_share_of_no_calls(tmp_path: Path) -> None:
    for share in (0.0, 0.25, 0.5):
        config = plain(no_call_share=share, branches=12)
        made, _, _ = built(config, pool(60, 40), [], tmp_path / f"d{share}")
        assert made.no_calls / made.train == pytest.approx(share, abs=0.08)


def test_the_highest_share_of_no_calls_that_the_configuration_allows(tmp_path: Path) -> None:
    most = DatasetConfig.model_fields["no_call_share"].metadata
    limit = next(bound for rule in most if (bound := getattr(rule, "le", None)) is not None)
    made, _, _ = built(plain(no_call_share=limit), pool(12, 4), [], tmp_path / "d")
    assert made.calls > 0


def test_the_same_request_is_seen_with_and_without_its_tool(tmp_path: Path) -> None:
    _, train, _ = built(plain(no_call_share=0.5), pool(30, 0), [], tmp_path / "d")
    both = {request_of(r) for r in train if r["decision"] == "call"} & {
        request_of(r) for r in train if r["decision"] != "call"
    }
    assert len(both) > 5


def test_lessons_of_one_context_lie_together(tmp_path: Path) -> None:
    _, train, _ = built(plain(), pool(30, 10), [], tmp_path / "d")
    blocks = [row["id"].split("-")[0] for row in train]
    assert [b for n, b in enumerate(blocks) if n == 0 or blocks[n - 1] != b] == sorted(set(blocks), key=int)
    for block in set(blocks):
        assert len({json.dumps(row["tools"]) for row in train if row["id"].split("-")[0] == block}) == 1


def test_an_answer_that_tells_the_result_is_learned_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    tool = TOOLS[0].name
    traces = [
        trace("paint wall one", tool, {"n": 1}, 41, answer="It took 41 minutes."),
        trace("paint wall two", tool, {"n": 2}, 42, answer="It took a while."),
        trace("paint wall three", tool, {"n": 3}, False, answer="No, it is dry."),
        trace("paint wall four", tool, {"n": 4}, True, answer="No, it is dry."),
        trace("paint wall five", tool, {"n": 5}, None, answer="Done."),
    ]
    _, train, valid = built(plain(no_call_share=0), traces, [], tmp_path / "d")
    told = {request_of(row): row for row in train + valid if len(row["targets"]) == 2}
    assert set(told) == {"paint wall one", "paint wall three"}
    row = told["paint wall one"]
    assert [message["role"] for message in row["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert (row["messages"][2]["content"], row["messages"][3]["content"]) == ("41", "It took 41 minutes.")


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    hashes = [
        built(plain(), pool(20, 9), pool(9, 0, "earlier "), tmp_path / str(n), seed=seed)[0].sha256
        for n, seed in enumerate((1, 1, 2))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_draft_left_by_a_crash_is_thrown_away_and_an_older_dataset_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    for old in (folder, tmp_path / ".dataset.draft"):
        old.mkdir()
        (old / "rubbish.jsonl").write_text("half a li")
    made, _, _ = built(plain(), pool(6, 2), [], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset"]
    assert sorted(path.name for path in folder.iterdir()) == ["choice.jsonl", "train.jsonl", "valid.jsonl"]
    assert made == dataset(plain(), pool(6, 2), [], TOOLS, tmp_path)


def test_calls_of_tools_that_are_gone_are_left_out(tmp_path: Path) -> None:
    made, train, _ = built(plain(), [*pool(6, 0), trace("use it", "gone_tool", {}, 1)], [], tmp_path / "d")
    assert made.calls > 0
    assert "use it" not in {request_of(row) for row in train}


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
