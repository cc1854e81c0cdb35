"""config.toml is complete and true, and what is wrong in one is said in one line."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agent.config import UpstreamConfig
from evolver.config import Config
from toolkit.config import McpServerConfig, load_config
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


@pytest.mark.parametrize("section", [McpServerConfig, UpstreamConfig])
def test_the_shipped_file_shows_the_keys_of_tables_that_may_stand_often(section: type[BaseModel]) -> None:
    remarks = [line for line in SHIPPED.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    assert {key for key in section.model_fields if not any(line.startswith(f"# {key} = ") for line in remarks)} == set()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[evolver.gate]\nsignifcance = 0.1\n", ("evolver.gate.signifcance", "significance")),
        ("[evolver.gate]\nsignificance = 3\n", ("evolver.gate.significance = 3", "less than or equal to 0.5")),
        ('[evolver.make]\ncalls_per_tool = "many"\n', ("evolver.make.calls_per_tool", "whole number")),
        ('[evolver.make]\ncalls_per_tool = "12"\n', ("evolver.make.calls_per_tool", "whole number")),
        ("[evolver.make]\ncalls_per_tool = 1.5\n", ("evolver.make.calls_per_tool", "integer")),
        ('[evolver.verify]\nround_trip = "no"\n', ("evolver.verify.round_trip", "true or false")),
        ("[agent.loop]\nmax_steps = true\n", ("agent.loop.max_steps", "whole number")),
        ('[toolkit.mcp.x]\ncomand = ["y"]\n', ("toolkit.mcp.x.comand", "command", "max_tools")),
        ('[agent.serving]\nupstreams = [{ur = "http://a"}]\n', ("agent.serving.upstreams.0.ur", "key_variable")),
        ("[toolkit.tools]\nmodule = []\n", ("toolkit.tools.module", "allowed here: builtin, folder, modules, python")),
        ('[toolkit.tools]\napproved = "x"\n', ("toolkit.tools.approved", "leave it out")),
        (
            "[evolver.train]\nrank = 32\n",
            ("[evolver.train] rank = 32", "[agent.serving.vllm_process] max_lora_rank = 16"),
        ),
        ("[evolver.train]\ngpu_memory_share = 0.5\n", ("gpu_memory_share = 0.5", "gpu_memory_share = 0.6")),
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
