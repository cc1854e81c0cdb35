"""Who does the jobs: this process, without a trace of Ray, or a cluster."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agent.cluster.config import ClusterConfig
from agent.cluster.installation import Installation, installed, other_tools, tool_hashes
from evolver.crew import opening
from evolver.crew.local import LocalCrew
from evolver.crew.setup import Setup
from evolver.crew.workshop import Workshop
from tests.fakes import shop_tools
from toolkit.config import ToolkitConfig, ToolsConfig
from toolkit.errors import PrerequisiteError
from toolkit.registry import ToolRegistry

SETUP = Setup(ToolkitConfig(), "http://127.0.0.1:1", "key", 3)


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray cannot be imported, and no sandbox is opened."""

    @contextmanager
    def opened(setup: Setup, record: Any) -> Iterator[Workshop]:
        yield Workshop(shop_tools.executor(), None, None)  # type: ignore[arg-type]

    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(opening, "open_workshop", opened)


def test_without_an_address_ray_is_not_imported() -> None:
    with opening.open_crew(SETUP, ClusterConfig()) as crew:
        assert isinstance(crew, LocalCrew)
        assert crew.at_once == 3


def test_with_an_address_and_without_ray_one_line_says_what_to_install() -> None:
    with (
        pytest.raises(PrerequisiteError, match=r"needs the package ray; install it: pip install"),
        opening.open_crew(SETUP, ClusterConfig(address="auto")),
    ):
        pass


def test_an_installation_is_the_same_as_itself_and_its_differences_have_words() -> None:
    here = installed()
    assert here.difference(here) == ""
    assert dict(here.libraries).keys() >= {"pydantic", "faker"}
    older = Installation("3.9", here.code, here.libraries)
    assert older.difference(here) == f"Python 3.9 instead of {here.python}"
    other = Installation(here.python, "0" * 64, here.libraries)
    assert "another version of apprentice (code 00000000 instead of" in other.difference(here)
    newer = Installation(here.python, here.code, (("pydantic", "99"), *here.libraries[1:]))
    assert newer.difference(here).startswith("pydantic 99 instead of ")


def test_tools_differ_by_what_the_model_sees_by_their_modules_code_and_by_their_order(tmp_path: Any) -> None:
    config = ToolkitConfig(tools=ToolsConfig(modules=("mine", "kit"), folder=tmp_path))
    registry = shop_tools.registry()
    (tmp_path / "mine.py").write_text("1")
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "part.py").write_text("1")
    here = tool_hashes(registry, config)
    assert other_tools(here, tool_hashes(registry, config)) == ""
    for changed, name in ((tmp_path / "mine.py", "module mine"), (tmp_path / "kit" / "part.py", "module kit")):
        changed.write_text("2")
        assert other_tools(here, tool_hashes(registry, config)) == name
        changed.write_text("1")
    assert other_tools(here, tool_hashes(ToolRegistry(reversed(list(registry))), config)) == "their order"
    assert other_tools(here, {}) == "add_prices, box_count, heaviest_parcel and 6 more"
