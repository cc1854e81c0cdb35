"""config.toml is complete and true, and what is wrong in one is said in one line."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from evolver.config import Config
from toolkit.config import load_config
from toolkit.errors import ConfigError

SHIPPED = Path(__file__).parents[3] / "config.toml"


def keys(values: dict[str, Any], path: str = "") -> set[str]:
    found: set[str] = set()
    for key, value in values.items():
        found |= keys(value, f"{path}{key}.") if isinstance(value, dict) else {path + key}
    return found


def test_the_shipped_file_names_every_key_with_its_default() -> None:
    shipped = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
    assert keys(shipped) == keys(Config().model_dump())
    defaults: BaseModel = Config()
    assert Config.model_validate(shipped) == defaults


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[evolver.gate]\nsignifcance = 0.1\n", ("evolver.gate.signifcance", "significance")),
        ("[evolver.gate]\nsignificance = 3\n", ("evolver.gate.significance = 3", "less than or equal to 0.5")),
        ('[evolver.make]\ncalls_per_tool = "many"\n', ("evolver.make.calls_per_tool", "integer")),
        ("[evolvr]\n", ("evolvr", "evolver")),
        ("[evolver\n", ("not valid TOML",)),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path: Path, text: str, named: tuple[str, ...]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_config(path, Config)
    message = str(raised.value)
    assert "\n" not in message
    for part in named:
        assert part in message
