"""Tools that keep records, in the real sandbox: what is shipped is there, and what changes stays in the workspace."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.toolkit.families import courses, database, documents, restaurants
from toolkit.config import SandboxConfig, ToolkitConfig
from toolkit.execute import Executor
from toolkit.sandbox.opening import open_sandbox
from toolkit.sources import builtin_modules, load_local_tools
from toolkit.tool import ToolCall

FAMILIES: list[Any] = [courses, database, documents, restaurants]


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with open_sandbox(SandboxConfig(timeout_seconds=60, workers=1), builtin_modules()) as sandbox:
        yield Executor(load_local_tools(ToolkitConfig()), sandbox)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__.rpartition(".")[2])
def test_a_story_ends_as_it_does_outside(executor: Executor, family: Any, tmp_path: Path) -> None:
    for name, arguments, answer in family.STORIES[0]:
        result = executor.execute(ToolCall(id="1", name=name, arguments=arguments), workspace=tmp_path)
        assert (result.error, result.value) == (None, answer)
    assert [path.parent for path in tmp_path.rglob("*.*") if path.name != ".lock"] == [tmp_path / "records"]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__.rpartition(".")[2])
def test_a_failed_call_leaves_no_file(executor: Executor, family: Any, tmp_path: Path) -> None:
    for name, arguments, message in family.REFUSED:
        result = executor.execute(ToolCall(id="1", name=name, arguments=arguments), workspace=tmp_path)
        assert result.error is not None
        assert message in result.error.message
    assert [path for path in tmp_path.rglob("*.*") if path.name != ".lock"] == []
