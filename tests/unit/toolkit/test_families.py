"""Tools that keep data in the workspace: a module of tests/unit/toolkit/families for each of toolkit.builtin.

Such a module holds ``ANSWERS`` (name, arguments, result in a fresh workspace), ``REFUSED`` (name, arguments, part of
the error) and ``STORIES`` (calls with their results, one after the other in one workspace).
"""

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.sandbox import InProcessSandbox
from toolkit.builtin import workspace_data
from toolkit.config import ToolkitConfig
from toolkit.execute import Executor
from toolkit.sources import load_local_tools
from toolkit.tool import Effect, ToolCall, ToolErrorKind, ToolResult, render_result

Case = tuple[str, dict[str, Any], Any]
MODULES = {
    found.name: importlib.import_module(f"tests.unit.toolkit.families.{found.name}")
    for found in pkgutil.iter_modules([str(Path(__file__).with_name("families"))])
}
ANSWERS: list[Case] = [case for module in MODULES.values() for case in module.ANSWERS]
REFUSED: list[Case] = [case for module in MODULES.values() for case in module.REFUSED]
STORIES: list[list[Case]] = [story for module in MODULES.values() for story in module.STORIES]
SHIPPED = Path(workspace_data.__file__).with_name("data")
LONGEST_RESULT = 300
"""Characters; a longer one cannot be a lesson (evolver.lessons.checks)."""


@pytest.fixture(scope="module")
def executor() -> Executor:
    return Executor(load_local_tools(ToolkitConfig()), InProcessSandbox())


def _call(executor: Executor, name: str, arguments: dict[str, Any], workspace: Path | None = None) -> ToolResult:
    return executor.execute(ToolCall(id="1", name=name, arguments=arguments), workspace=workspace)


def _names(cases: list[Case]) -> list[str]:
    return [name for name, *_ in cases]


@pytest.mark.parametrize(("name", "arguments", "answer"), ANSWERS, ids=_names(ANSWERS))
def test_a_good_call_finds_the_shipped_data(
    executor: Executor, name: str, arguments: dict[str, Any], answer: Any
) -> None:
    result = _call(executor, name, arguments)
    assert (result.value, result.error) == (answer, None)
    assert type(result.value) is type(answer)
    assert len(render_result(result)) <= LONGEST_RESULT


@pytest.mark.parametrize(("name", "arguments", "message"), REFUSED, ids=_names(REFUSED))
def test_a_wrong_call_fails_in_one_line(
    executor: Executor, name: str, arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    result = _call(executor, name, arguments, tmp_path)
    assert result.error is not None, result.value
    assert result.error.kind is ToolErrorKind.TOOL_FAILED
    assert message in result.error.message
    assert "Error:" not in result.error.message, "the tool itself said it, in a ValueError"
    assert len(render_result(result)) <= LONGEST_RESULT
    assert list(tmp_path.rglob("*.json")) == [], "nothing was changed"


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story[0][0])
def test_calls_see_what_earlier_ones_changed(executor: Executor, story: list[Case], tmp_path: Path) -> None:
    for name, arguments, answer in story:
        result = _call(executor, name, arguments, tmp_path)
        assert (name, result.error and result.error.message, result.value) == (name, None, answer)


def test_every_tool_of_a_family_is_called_well_and_wrongly(executor: Executor) -> None:
    families = {name for name in MODULES if name != "__init__"}
    of_families = [tool for tool in executor.registry if tool.module.rpartition(".")[2] in families]
    without_arguments = {tool.name for tool in of_families if not tool.parameters["properties"]}
    names = {tool.name for tool in of_families}
    assert names - set(_names(ANSWERS)) == set()
    assert names - set(_names(REFUSED)) - without_arguments == set()
    assert all(tool.effect is Effect.WRITES and tool.sandbox_state for tool in of_families)


def test_texts_that_a_parameter_can_be_given_are_of_the_shipped_records(executor: Executor) -> None:
    shipped = "".join(file.read_text(encoding="utf-8") for file in SHIPPED.glob("*.*"))
    marked = [(tool, name, texts) for tool in executor.registry for name, texts in tool.known.items()]
    assert len(marked) > 5
    for tool, name, texts in marked:
        assert name in tool.parameters["properties"]  # type: ignore[operator]
        quoted = [json.dumps(str(text), ensure_ascii=False)[1:-1] for text in texts if name != "query"]
        assert [text for text in quoted if text not in shipped] == [], tool.name


def test_the_queries_that_are_known_run(executor: Executor) -> None:
    queries = executor.registry.get("run_sql_query").known["query"]  # type: ignore[union-attr]
    assert len(queries) > 3
    assert [query for query in queries if not _call(executor, "run_sql_query", {"query": query}).ok] == []


def test_a_damaged_file_is_said_and_left_alone(executor: Executor, tmp_path: Path) -> None:
    assert _call(executor, "remove_contact", {"name": "Hannah Cohen"}, tmp_path).ok
    (file,) = tmp_path.rglob("*.json")
    file.write_text("{")
    result = _call(executor, "remove_contact", {"name": "Tom Becker"}, tmp_path)
    assert result.error is not None
    assert result.error.message == "records/contacts.json is damaged; delete it to begin again"
    assert file.read_text() == "{"


def test_a_record_is_found_whatever_its_capitals_and_articles() -> None:
    towns = [{"name": "The Old Mill"}, {"name": "Harbor-Side"}]
    assert workspace_data.find(towns, "old mill", "town") == towns[0]
    assert workspace_data.find(towns, "HARBOR SIDE", "town") == towns[1]
    with pytest.raises(ValueError, match=r"^there is no town 'harbour'; there is: Harbor-Side, The Old Mill$"):
        workspace_data.find(towns, "harbour", "town")
    with pytest.raises(ValueError, match=r"^there is no town ''; there is: none$"):
        workspace_data.find([], "", "town")


def test_only_the_first_of_many_names_are_shown() -> None:
    assert workspace_data.listed(["a", "b"]) == "a, b"
    assert workspace_data.listed([f"name {number}" for number in range(20)]).endswith("name 7 and 12 more")
    assert workspace_data.listed(["x" * 100, "y" * 100]) == "x" * 100 + " and 1 more"
