"""The held-out requests, and that other stages know of them only by fingerprints."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from evolver import suites
from evolver.errors import StageError
from evolver.suites import Fingerprints
from evolver.text import normalised
from tests.fakes.sandbox import InProcessSandbox
from toolkit.config import ToolkitConfig
from toolkit.execute import Executor
from toolkit.sources import load_local_tools


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(suites, "files", lambda _: tmp_path)
    return tmp_path


def write(folder: Path, *requests: str) -> None:
    lines = [json.dumps({"id": str(n), "request": request}) for n, request in enumerate(requests)]
    (folder / "mine.jsonl").write_text("\n".join(lines) + "\n\n")


def test_the_shipped_suite() -> None:
    suite = suites.load()
    assert suites.HELD_OUT in suites.names()
    assert len({item.id for item in suite.items}) == len(suite.items) >= 60
    assert sum(not item.expected for item in suite.items) >= 15
    assert sum(bool(item.expected) for item in suite.items) >= 40


def test_the_development_suite_asks_for_every_built_in_tool_with_arguments_that_fit() -> None:
    suite, registry = suites.load(suites.DEVELOPMENT), load_local_tools(ToolkitConfig())
    calls = [call for item in suite.items for call in item.expected]
    assert {call.name for call in calls} == set(registry.names())
    executor = Executor(registry, InProcessSandbox())
    for call in calls:
        tool = registry.get(call.name)
        assert tool is not None
        assert executor.problem(tool, call.arguments) is None
    assert sum(bool(item.expected) for item in suite.items) == 125
    assert sum(not item.expected for item in suite.items) == 30


def test_the_development_suite_asks_nothing_that_is_held_out() -> None:
    held_out = {normalised(item.request) for item in suites.load().items}
    develop = [normalised(item.request) for item in suites.load(suites.DEVELOPMENT).items]
    assert len(set(develop)) == len(develop)
    assert not sum(request in held_out for request in develop)


def test_an_unknown_suite_is_named_with_those_that_there_are(folder: Path) -> None:
    write(folder, "hello")
    with pytest.raises(StageError, match=r"'other'; there is: mine"):
        suites.load("other")


@pytest.mark.parametrize("line", ['{"id": "1"}', "{", '{"id": "1", "request": "r", "extra": 1}', "[]"])
def test_a_damaged_suite_is_an_error(folder: Path, line: str) -> None:
    (folder / "mine.jsonl").write_text(line)
    with pytest.raises(StageError, match="mine is damaged"):
        suites.load("mine")


def test_the_hash_is_of_the_file(folder: Path) -> None:
    write(folder, "hello")
    first = suites.load("mine")
    assert first == suites.load("mine")
    write(folder, "hello", "you")
    assert suites.load("mine").sha256 != first.sha256


def test_fingerprints_know_requests_and_long_parts_of_them(folder: Path) -> None:
    write(folder, "What is 3 plus 4?", "one two three four five six seven eight nine ten")
    held_out = Fingerprints()
    assert held_out("what is 3 plus 4")
    assert held_out("WHAT is 3, plus 4!")
    assert held_out("well: two three four five six seven eight nine, please")
    assert not held_out("what is 3 plus 5")
    assert not held_out("two three four five six seven eight")
    assert not held_out("")


def test_fingerprints_show_no_request(folder: Path) -> None:
    write(folder, "secret words of the suite that nobody else may ever read here")
    held_out = Fingerprints()
    assert "secret" not in repr(vars(held_out))
    assert held_out("secret words of the suite that nobody else may ever read here")


def test_fingerprints_say_what_they_know() -> None:
    known = Fingerprints().names
    assert {"develop", "heldout"} <= set(known)
    assert ("bfcl" in known) is (find_spec("bfcl_eval") is not None)
