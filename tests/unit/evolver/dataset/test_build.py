"""Lessons: the split, the contexts, calling and declining, replay, a folder that is whole or absent."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.config import DatasetConfig
from evolver.dataset.rows import NO_TOOL
from tests.fakes.evolution import trace
from tests.fakes.lesson_pool import QUICK, TOOLS, built, called_in, names_in, plain, pool, request_of
from tests.fakes.stages import dataset

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
