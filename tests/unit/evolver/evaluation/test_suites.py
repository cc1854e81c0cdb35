"""The held-out requests, and that other stages know of them only by fingerprints."""

import json
import re
from importlib.resources import files
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import pytest

from evolver.errors import StageError
from evolver.evaluation import suites
from evolver.evaluation.evaluate import expected_results
from evolver.evaluation.suites import Fingerprints, Item
from evolver.lessons.execution_policy import harmless
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


SHIPPED = (suites.HELD_OUT, suites.DEVELOPMENT, suites.SEALED)
FIRST = {suites.HELD_OUT: 80, suites.DEVELOPMENT: 155, suites.SEALED: 0}
"""So many requests of each suite are older than the rules for words, and stay as they are."""
_WORD = re.compile(r"[a-z']+|[0-9.]+")
_STOP = frozenset(
    _WORD.findall(
        "a an and are as at be by can do for from give how i if in into is it its many me much my of on or please tell "
        "that the there this to was what when which will with would you your have has i'd i'm what's whats who all any"
    )
)
_FAILING = {"develop-058"}
"""It deletes a note that is not there: the error is what the expected call returns."""


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_suite_is_large_enough_and_a_quarter_calls_more_than_once(name: str) -> None:
    suite = suites.read_suite(name)
    assert len({item.id for item in suite.items}) == len(suite.items)
    calling = [item for item in suite.items if item.expected]
    assert len(calling) >= 200
    assert sum(not item.expected for item in suite.items) >= 60
    assert sum(len(item.expected) > 1 for item in calling) >= len(calling) / 4


@pytest.mark.parametrize("name", SHIPPED)
def test_every_expected_call_works_in_a_fresh_workspace(name: str) -> None:
    executor = Executor(load_local_tools(ToolkitConfig()), InProcessSandbox(), allows=harmless)
    broken = [
        (item.id, result.error.message)
        for item in suites.read_suite(name).items
        for result in expected_results(item, executor)
        if result.error and item.id not in _FAILING
    ]
    assert broken == []


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_suite_asks_for_tools_of_all_families(name: str) -> None:
    registry = load_local_tools(ToolkitConfig())
    called = [registry.get(call.name) for item in suites.read_suite(name).items for call in item.expected]
    newer = {f"toolkit.builtin.{name}" for name in ("pets", "plants", "world_clock")}
    families = {tool.module for tool in registry} - newer
    asked = {tool.module for tool in called if tool is not None}
    assert families - asked == set()


def content(item: Item) -> frozenset[str]:
    """The words of a request that carry its meaning, without the values of its calls."""
    values = set(_WORD.findall(json.dumps([call.arguments for call in item.expected]).lower()))
    return frozenset(_WORD.findall(item.request.lower())) - values - _STOP


def test_no_two_suites_nor_the_demo_ask_nearly_the_same() -> None:
    """Of the words that two requests have, more than 70 % in common are too many."""
    groups = {name: list(suites.read_suite(name).items) for name in SHIPPED}
    shown = files("evolver.demo").joinpath("demo_requests.jsonl").read_text(encoding="utf-8").splitlines()
    groups["demo"] = [Item(id=f"demo-{n}", request=json.loads(line)["request"]) for n, line in enumerate(shown)]
    said = {
        name: [(item.id, content(item), n < FIRST.get(name, len(items))) for n, item in enumerate(items)]
        for name, items in groups.items()
    }
    near = [
        (one, other)
        for first, second in combinations(said.values(), 2)
        for one, words, is_old in first
        for other, others, is_old_too in second
        if not (is_old and is_old_too) and len(words & others) > max(1.0, 0.7 * len(words | others))
    ]
    assert near == []


@pytest.mark.parametrize(
    ("name", "first", "last"), [("heldout", "h001", "h080"), ("develop", "develop-001", "develop-155")]
)
def test_the_first_requests_of_a_suite_keep_their_ids(name: str, first: str, last: str) -> None:
    items = suites.read_suite(name).items[: FIRST[name]]
    assert (items[0].id, items[-1].id) == (first, last)


def test_an_unknown_suite_is_named_with_those_that_there_are(folder: Path) -> None:
    write(folder, "hello")
    with pytest.raises(StageError, match=r"'other'; there is: mine"):
        suites.read_suite("other")


@pytest.mark.parametrize("line", ['{"id": "1"}', "{", '{"id": "1", "request": "r", "extra": 1}', "[]"])
def test_a_damaged_suite_is_an_error(folder: Path, line: str) -> None:
    (folder / "mine.jsonl").write_text(line)
    with pytest.raises(StageError, match="mine is damaged"):
        suites.read_suite("mine")


def test_the_hash_is_of_the_file(folder: Path) -> None:
    write(folder, "hello")
    first = suites.read_suite("mine")
    assert first == suites.read_suite("mine")
    write(folder, "hello", "you")
    assert suites.read_suite("mine").sha256 != first.sha256


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


def test_requests_that_are_free_are_not_held_out(folder: Path) -> None:
    write(folder, "What is 3 plus 4?", "What is 3 plus 5?")
    held_out = Fingerprints(["what is 3 plus 4"])
    assert not held_out("What is 3 plus 4?")
    assert held_out("What is 3 plus 5?")


def test_fingerprints_say_what_they_know() -> None:
    known = Fingerprints().names
    assert {"develop", "heldout"} <= set(known)
    assert ("bfcl" in known) is (find_spec("bfcl_eval") is not None)
