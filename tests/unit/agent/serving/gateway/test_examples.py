"""The Python examples of docs/serving.md, as they stand there, at a gateway before a scripted model."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.dialect_door import DialectDoor, dialect_door
from tests.fakes.event_loop import event_loop
from tests.fakes.model_server import Says

pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's packages

PAGE = Path(__file__).parents[5] / "docs" / "serving.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
ADDRESS = "http://127.0.0.1:8765"
PACKAGE = re.compile(r"^from (\w+)", re.MULTILINE)


def names() -> Iterator[str]:
    """Yield a name for each example: the package that it imports, and its place."""
    for number, code in enumerate(EXAMPLES):
        found = PACKAGE.search(code)
        yield f"{number}-{found[1] if found else 'python'}"


def answer(body: dict[str, Any]) -> Says:
    """Call ``add`` where it is shown and a person has just spoken, else answer."""
    shown = [tool["function"]["name"] for tool in body.get("tools", ())]
    if "add" in shown and body["messages"][-1]["role"] == "user":
        return Says(calls=[("add", '{"a": 1, "b": 2}')])
    return Says("It is 3.")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DialectDoor]:
    with dialect_door(tmp_path_factory.mktemp("data")) as opened:
        opened.server._script = answer
        yield opened


@pytest.mark.parametrize("code", EXAMPLES, ids=names())
def test_an_example_runs_as_it_stands(code: str, door: DialectDoor, capsys: pytest.CaptureFixture[str]) -> None:
    assert ADDRESS in code
    with event_loop():
        exec(compile(code.replace(ADDRESS, door.url), str(PAGE), "exec"), {"__name__": "example"})
    shown = capsys.readouterr().out
    assert "It is 3." in shown or "{'a': 1, 'b': 2}" in shown


def test_every_protocol_has_an_example() -> None:
    assert {name.partition("-")[2] for name in names()} >= {"openai", "anthropic", "mcp", "pydantic_ai"}
