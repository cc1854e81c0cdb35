"""The shipped config.toml and the page of all settings are true, and a mistake in a config.toml is one line."""

import re
import tomllib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from agent.config import Config as AgentsConfig
from evolver.config import Config
from scripts.configuration import PAGE, page
from toolkit.config import load_config
from toolkit.errors import ConfigError

SHIPPED = Path(__file__).parents[3] / "config.toml"


def keys(values: dict[str, Any], path: str = "") -> set[str]:
    found: set[str] = set()
    for key, value in values.items():
        found |= keys(value, f"{path}{key}.") if isinstance(value, dict) else {path + key}
    return found


def test_every_value_of_the_shipped_file_is_the_default() -> None:
    shipped = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
    assert keys(shipped) < keys(Config().model_dump())
    assert load_config(SHIPPED, Config) == load_config(None, Config)
    assert Config.model_validate(shipped) == Config()


def test_the_shipped_file_holds_at_most_fifty_keys_each_with_a_remark() -> None:
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    settings = [line for line in lines if " = " in line and not line.startswith("#")]
    assert len(settings) == len(keys(tomllib.loads("\n".join(lines))))
    assert len(settings) <= 50
    assert [line for line in settings if " # " not in line] == []


def test_every_setting_has_a_description_of_one_form() -> None:
    rows = [line.strip("| ").split(" | ") for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row[0] for row in rows if not re.fullmatch(r"(vLLM|[A-Z`]).*\.", row[-1])] == []


def test_the_page_of_all_settings_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "the config models have changed: run make docs"


def test_the_page_names_every_key_with_default_and_range() -> None:
    text = page()
    rows = dict.fromkeys(key.rpartition(".")[2] for key in keys(Config().model_dump()))
    assert [key for key in rows if f"| `{key}` | " not in text] == []
    assert (
        "| `irrelevance_floor` | `0.6` | 0 to 1 | Minimum share of no-tool requests answered without a call. |" in text
    )
    assert "| `max_minutes` | `8.0` | from 0 | " in text
    assert "| `url` | required | " in text
    assert "## `[[agent.serving.upstreams]]`" in text
    assert "## `[toolkit.mcp.NAME]`" in text


def test_a_key_that_was_renamed_is_still_read_under_its_old_name(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[evolver.mine]\nprobed = 7\n")
    assert load_config(path, Config).evolver.mine.uncertainty_sampling == 7


@pytest.mark.parametrize(
    ("old", "new", "read"),
    [
        ('tool_parser = "hermes"', "", ""),
        ('tool_parser = "llama3_json"', "", "llama3_json"),
        ('tool_parser = "llama3_json"', 'tool_parser = "xlam"', "xlam"),
        ('tool_parser = "llama3_json"', 'tool_parser = ""', ""),
        ('tool_parser = "hermes"', 'tool_parser = "xlam"', "xlam"),
        ("", 'tool_parser = "hermes"', "hermes"),
    ],
)
def test_a_key_that_moved_is_still_read_in_its_old_table(tmp_path: Path, old: str, new: str, read: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        f'[agent.serving.vllm_process]\nmax_loras = 3\n{old}\n[agent.serving.profile]\nkind = "base"\n{new}\n'
    )
    for serving in (load_config(path, Config).agent.serving, load_config(path, AgentsConfig).agent.serving):
        assert (serving.profile.tool_parser, serving.profile.kind, serving.vllm_process.max_loras) == (read, "base", 3)


def test_the_old_table_alone_is_enough_for_a_key_that_moved(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[agent.serving.vllm_process]\ntool_parser = "mistral"\n')
    assert load_config(path, Config).agent.serving.profile.tool_parser == "mistral"


@pytest.mark.parametrize("model", [Config, AgentsConfig])
@pytest.mark.parametrize(
    ("shadow", "per_tenant", "refused"),
    [
        ('url = "http://a:1"\nmodel = "m"', "true", True),
        ('url = "http://a:1"\nmodel = "m"', "false", False),
        ("learn_from_upstream = true", "true", False),
    ],
)
def test_shadow_mode_and_adapters_of_tenants_do_not_go_together(
    tmp_path: Path, model: type[Config | AgentsConfig], shadow: str, per_tenant: str, refused: bool
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[agent.serving.shadow]\n{shadow}\n[evolver]\nper_tenant = {per_tenant}\n")
    message = r"\[agent.serving.shadow\] url and \[evolver\] per_tenant = true are both set.*all tenants at once"
    with pytest.raises(ConfigError, match=message) if refused else nullcontext():
        load_config(path, model)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[evolver.gate]\nsignifcance = 0.1\n", ("evolver.gate.signifcance", "significance")),
        (
            "[evolver.gate]\nsignificance = 3\n",
            ("evolver.gate.significance = 3", "less than or equal to 0.5"),
        ),
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
        ("[agent.serving.vllm_process]\ntool_parser = 1\n", ("agent.serving.vllm_process.tool_parser", "max_loras")),
        ("[agent.serving.vllm_process]\ntool_parsr = 1\n", ("agent.serving.vllm_process.tool_parsr", "max_loras")),
        (
            '[agent.serving]\nprofile = 1\n[agent.serving.vllm_process]\ntool_parser = "x"\n',
            ("agent.serving.vllm_process.tool_parser",),
        ),
        ("[cluster]\nservers = 2\n", ("cluster: servers needs nodes", "set address too")),
        (
            '[agent.serving]\nupstreams = [{url = "http://gpu-1:8000"}]\n[cluster]\naddress = "auto"\nservers = 2\n',
            ("[cluster] servers and [[agent.serving.upstreams]] are both set",),
        ),
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
