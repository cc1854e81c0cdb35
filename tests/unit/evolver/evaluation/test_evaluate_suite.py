"""A suite is asked through the loop that serves, and its answers are kept."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import LoopConfig, PromptConfig
from agent.errors import ModelError, ModelUnavailable
from agent.turn.model_client import HttpModelClient
from evolver.crew.local import LocalCrew
from evolver.crew.workshop import Workshop
from evolver.evaluation.evaluate import Asking, SoftScore, evaluate, report
from evolver.evaluation.suites import Item
from evolver.scores import EvalReport, ItemScore
from evolver.store.jsonl import read_lines
from tests.fakes.judged_calls import EXECUTOR, SUITE
from tests.fakes.model_server import ModelServer, Says
from toolkit.execute import Executor


class _Clever:
    """Calls what the suite expects; ``broken`` requests are refused by the server."""

    def __init__(self) -> None:
        self.broken: set[str] = set()

    def __call__(self, request: dict[str, object]) -> Says:
        messages = request["messages"]
        assert isinstance(messages, list)
        asked = messages[0]["content"]
        if asked in self.broken:
            return Says("no such model", status=404)
        if messages[-1]["role"] == "tool":
            return Says("Done.")
        if asked == "add 2 and 3":
            return Says(calls=[("add_prices", '{"first": 2, "second": 3}')])
        if asked == "boxes for 12 eggs":
            return Says(calls=[("box_count", '{"eggs": 12, "box_size": "six"}')])
        return Says("Hello!")


@pytest.fixture
def model() -> Iterator[tuple[_Clever, ModelServer]]:
    clever = _Clever()
    with ModelServer(script=clever) as server:
        yield clever, server


def run(
    server: ModelServer,
    executor: Executor,
    file: Path | None = None,
    shares: list[float] | None = None,
    soft_score: SoftScore | None = None,
) -> EvalReport:
    with HttpModelClient(server.url) as client:
        return evaluate(
            SUITE,
            Asking("m", LoopConfig(max_steps=3), PromptConfig()),
            LocalCrew(Workshop(executor, client, None), 2),  # type: ignore[arg-type]
            soft_scorer=(lambda workshop: soft_score) if soft_score else None,
            file=file,
            on_progress=(shares if shares is not None else []).append,
        )


def test_a_suite_is_asked_through_the_loop_that_serves(model: tuple[_Clever, ModelServer]) -> None:
    shares: list[float] = []
    found = run(model[1], EXECUTOR, shares=shares)
    assert [(item.id, item.exact, item.invalid_call, item.called) for item in found.items] == [
        ("add", True, False, True),
        ("boxes", False, True, True),
        ("talk", False, False, False),
    ]
    assert (found.model, found.suite, found.suite_sha256) == ("m", "tiny", "0" * 64)
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])
    assert {request["model"] for request in model[1].requests} == {"m"}
    assert all(request["temperature"] == 0 for request in model[1].requests)


def test_answers_on_file_are_not_asked_again(model: tuple[_Clever, ModelServer], tmp_path: Path) -> None:
    file = tmp_path / "scores.jsonl"
    first = run(model[1], EXECUTOR, file)
    asked = len(model[1].requests)
    assert run(model[1], EXECUTOR, file) == first
    assert len(model[1].requests) == asked
    lines = file.read_bytes().splitlines(keepends=True)
    cut = json.loads(lines[2])["id"]  # items are judged side by side: any may be the last
    file.write_bytes(b"".join(lines[:2]) + lines[2][:10])
    assert run(model[1], EXECUTOR, file) == first
    again = {request["messages"][0]["content"] for request in model[1].requests[asked:]}
    assert again == {item.request for item in SUITE.items if item.id == cut}


def test_what_could_not_be_judged_is_asked_again_the_next_time(
    model: tuple[_Clever, ModelServer], tmp_path: Path
) -> None:
    clever, server = model
    clever.broken = {"hello"}
    assert run(server, EXECUTOR, tmp_path / "scores.jsonl").failed == 1
    clever.broken = set()
    assert run(server, EXECUTOR, tmp_path / "scores.jsonl").failed == 0


def test_without_a_server_there_is_no_score(tmp_path: Path) -> None:
    with ModelServer() as server:
        pass
    with pytest.raises(ModelUnavailable):
        run(server, EXECUTOR, tmp_path / "scores.jsonl")
    assert not (tmp_path / "scores.jsonl").exists()


def test_soft_scores_stand_beside_the_exact_ones(model: tuple[_Clever, ModelServer], tmp_path: Path) -> None:
    found = run(model[1], EXECUTOR, tmp_path / "scores.jsonl", soft_score=lambda item, results: -float(len(results)))
    assert [item.logprob for item in found.items] == [-1, -1, 0]
    assert found.soft_score is not None
    assert (found.soft_score.n, found.soft_score.value) == (3, pytest.approx(-2 / 3))
    assert run(model[1], EXECUTOR, tmp_path / "scores.jsonl") == found, "those on file have them"


def test_the_soft_score_comes_first_so_that_the_turn_finds_its_prompt_in_the_cache(
    model: tuple[_Clever, ModelServer],
) -> None:
    def of_none_asked_yet(item: Item, _: object) -> float:
        asked = [request["messages"][0]["content"] for request in model[1].requests]
        return -float(asked.count(item.request))

    assert [item.logprob for item in run(model[1], EXECUTOR, soft_score=of_none_asked_yet).items] == [0, 0, 0]


def test_what_the_server_refuses_to_read_could_not_be_judged(model: tuple[_Clever, ModelServer]) -> None:
    def refused(item: Item, _: object) -> float:
        raise ModelError("too long")

    found = run(model[1], EXECUTOR, soft_score=refused)
    assert (found.failed, found.soft_score) == (3, None)


def test_scores_of_versions_without_a_soft_score_are_read(tmp_path: Path) -> None:
    old = {"id": "a", "needs_tool": True, "exact": True, "right_tool": True, "called": True, "malformed": False}
    (tmp_path / "scores.jsonl").write_text(json.dumps(old) + "\n")
    (found,) = read_lines(tmp_path / "scores.jsonl", ItemScore)
    assert found.logprob is None
    assert report(SUITE, "m", [found, found]).soft_score is None
