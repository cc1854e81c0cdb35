"""The Python examples of docs/serving.md, as they stand there, at a gateway before a scripted model."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.dialect_door import DialectDoor, dialect_door
from tests.fakes.event_loop import event_loop
from tests.fakes.model_server import Says

pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's packages

PAGE = Path(__file__).parents[5] / "docs" / "serving.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
SETTINGS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
ADDRESS = "http://127.0.0.1:8765"
PACKAGE = re.compile(r"^from (\w+)", re.MULTILINE)


def names() -> Iterator[str]:
    """Yield a name for each example: the package that it imports, and its place."""
    for number, code in enumerate(EXAMPLES):
        found = PACKAGE.search(code)
        yield f"{number}-{found[1] if found else 'python'}"


def answer(body: dict[str, Any]) -> Says:
    """Call ``add`` where it is shown and a person has just spoken, else answer: smolagents by a call."""
    shown = [tool["function"]["name"] for tool in body.get("tools", ())]
    if "final_answer" in shown and "Observation" in json.dumps(body["messages"][-1]):
        return Says(calls=[("final_answer", '{"answer": "It is 3."}')])
    if "add" in shown and body["messages"][-1]["role"] == "user":
        return Says(calls=[("add", '{"a": 1, "b": 2}')])
    return Says("It is 3.")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DialectDoor]:
    with dialect_door(tmp_path_factory.mktemp("data")) as opened:
        opened.server._script = answer
        yield opened


@pytest.mark.parametrize("code", EXAMPLES, ids=names())
def test_an_example_runs_as_it_stands(
    code: str, door: DialectDoor, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ADDRESS in code
    for switch in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(switch, "false")
    file = tmp_path / "example.py"  # smolagents reads the source of a tool
    file.write_text(code.replace(ADDRESS, door.url), encoding="utf-8")
    with event_loop():
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), {"__name__": "example"})
    shown = capsys.readouterr().out
    assert "It is 3." in shown or "{'a': 1, 'b': 2}" in shown


def test_every_protocol_has_an_example() -> None:
    clients = {"openai", "anthropic", "mcp", "pydantic_ai", "agents", "langchain_core", "smolagents"}
    assert {name.partition("-")[2] for name in names()} >= clients


@pytest.mark.parametrize("text", SETTINGS)
def test_settings_of_chat_clients_name_the_agent_and_the_gateway(text: str) -> None:
    assert "apprentice" in (settings := json.dumps(yaml.safe_load(text)))
    assert f"{ADDRESS}/v1" in settings
