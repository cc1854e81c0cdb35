from pathlib import Path
from typing import Any

import pytest

from tests.fakes.sandbox import InProcessSandbox
from toolkit.config import ToolkitConfig
from toolkit.execute import Executor
from toolkit.sources import load_tools
from toolkit.tool import ToolCall, ToolErrorKind, ToolResult


@pytest.fixture(scope="module")
def executor() -> Executor:
    return Executor(load_tools(ToolkitConfig()), InProcessSandbox())


def _execute(executor: Executor, name: str, arguments: dict[str, Any] | None, **more: Any) -> ToolResult:
    return executor.execute(ToolCall(id="c1", name=name, arguments=arguments), **more)


def test_a_good_call_has_a_value(executor: Executor) -> None:
    result = _execute(executor, "add_days_to_date", {"date": "2024-02-28", "days": 2})
    assert (result.ok, result.value, result.call_id) == (True, "2024-03-01", "c1")


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "message"),
    [
        ("add_days_to_date", {"date": "2024-02-28", "days": "three"}, "invalid_arguments",
         "'days' must be integer, got \"three\"; write it as digits, without quotes"),
        ("add_days_to_date", {"date": "2024-02-28"}, "invalid_arguments", "'days' is required; add it"),
        ("add_days_to_date", {}, "invalid_arguments", "'date' and 'days' are required; add them"),
        ("count_words", {"text": "a", "lang": "en"}, "invalid_arguments", "unknown argument lang; allowed: text"),
        ("count_words", {"txt": "a"}, "invalid_arguments", "unknown argument txt; did you mean text? allowed: text"),
        ("change_case", {"text": "a", "case": "big"}, "invalid_arguments",
         "'case' must be one of \"upper\", \"lower\", \"title\", got \"big\""),
        ("average", {"numbers": [1, "2"]}, "invalid_arguments",
         "'numbers.1' must be number, got \"2\"; write it as digits, without quotes"),
        ("count_word", {}, "unknown_tool",
         "there is no tool named count_word; did you mean count_words or count_working_days or sort_words?"),
        ("zzzz", {}, "unknown_tool", "there is no tool named zzzz; use one of the tools listed"),
        ("count_words", None, "malformed_call", "the arguments are no JSON object"),
        ("circle_area", {"radius": -1}, "tool_failed", "radius must be greater than 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_fix(
    executor: Executor, name: str, arguments: dict[str, Any] | None, kind: str, message: str
) -> None:
    result = _execute(executor, name, arguments)
    assert result.error is not None
    assert result.error.kind is ToolErrorKind(kind)
    assert message.split(" or ", maxsplit=1)[0] in result.error.message


def test_only_tools_with_state_see_the_workspace(executor: Executor, tmp_path: Path) -> None:
    _execute(executor, "save_note", {"title": "a", "text": "b"}, workspace=tmp_path)
    assert '"title": "a"' in (tmp_path / "records" / "notes.json").read_text()
    before = sorted(tmp_path.rglob("*"))
    _execute(executor, "count_words", {"text": "a"}, workspace=tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_huge_unknown_name_is_cut(executor: Executor) -> None:
    error = _execute(executor, "x" * 100_000, {}).error
    assert error is not None
    assert len(error.message) < 200
