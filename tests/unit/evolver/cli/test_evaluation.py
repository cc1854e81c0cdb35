"""Suites are asked of a model by hand."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import toolkit.execute
from tests.fakes.evolver_command import FIRST, Evolver, refused
from tests.fakes.evolver_world import ITEMS, World, world


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(tmp_path, monkeypatch) as made:
        monkeypatch.setattr(toolkit.execute, "open_executor", made.executor)
        yield made


def test_scoring_the_base_model(here: World, evolver: Evolver) -> None:
    code, out, _ = evolver("eval", "heldout", "--adapter", "base", "--json")
    assert code == 0
    assert len(json.loads(out)["items"]) == len(ITEMS)
    code, out, _ = evolver("eval", "heldout")
    assert out.startswith(f"base on heldout: {len(ITEMS)} requests, 0 could not be judged")
    refused(evolver("eval", "other"), "there is no suite other", "heldout")
    measured = json.loads(evolver("scores", "--json")[1])
    assert [(one["model"], one["suite"]) for one in measured] == [("base", "heldout")], "once"
    assert f"/{len(ITEMS)}" in evolver("scores", "--adapter", "base")[1]


def test_scoring_an_adapter_that_is_not_loaded_loads_it_first(here: World, evolver: Evolver) -> None:
    here.run()
    here.server.models.remove(FIRST)
    for file in (here.data / "evaluations").glob("*"):
        file.unlink()
    code, out, _ = evolver("eval", "heldout", "--adapter", FIRST, "--json")
    report = json.loads(out)
    assert (code, report["failed"], report["call_accuracy"]["hits"]) == (0, 0, 7)
    assert here.server.models == ["base", FIRST]
