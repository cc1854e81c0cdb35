import json
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.adapters import package
from agent.config import VllmConfig
from agent.errors import AdapterError
from agent.models.detect import profile_of
from agent.models.profile import ModelProfile
from agent.serving.vllm import command_line
from evolver.cli.main import app
from evolver.config import Config
from evolver.release.export import export
from tests.fakes.evolution import publish_adapter
from tests.fakes.model_folders import write_family
from toolkit.errors import UserError

SPOKEN = ("--chat-template", "--chat-template-content-format", "--default-chat-template-kwargs", "--generation-config",
          "--tokenizer-mode", "--tool-call-parser", "--tool-parser-plugin", "--tool-strict-level")  # fmt: skip
"""vLLM's options that say how a model is spoken to."""


def with_adapter(data: Path, family: str, **vllm: bool) -> Config:
    """A model and an adapter of it."""
    model = write_family(data / "model", family)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    publish_adapter(data, "adapter-0001", base_sha256=package.model_sha256(model))
    serving = {"model": str(model), "vllm_process": vllm}
    return Config.model_validate({"data_folder": data, "agent": {"serving": serving}})


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return with_adapter(tmp_path, "qwen3")


def command_of(folder: Path) -> list[str]:
    """The command in the README, as a shell cuts it."""
    _, _, command = (folder / "README.md").read_text().partition("In this folder:\n\n")
    return shlex.split(command.replace("\\\n", " "))


def spoken(words: list[str], folder: Path) -> dict[str, str | bytes | None]:
    """The options that say how a model is spoken to. Paths, as seen from ``folder``, are what lies there."""
    found: dict[str, str | bytes | None] = {}
    for option in SPOKEN:
        value = words[words.index(option) + 1] if option in words else None
        path = folder / (value or "absent")
        path = path / "generation_config.json" if option == "--generation-config" else path
        found[option] = path.read_bytes() if value and path.is_file() else value
    return found


def test_an_adapter_is_written_with_all_that_it_needs(config: Config, tmp_path: Path) -> None:
    folder = export(config, "adapter-0001", "peft", tmp_path / "out" / "mine")
    source = package.folder_of(tmp_path, "adapter-0001")
    for name in (package.WEIGHTS, package.PEFT_CONFIG):
        assert (folder / name).read_bytes() == (source / name).read_bytes()
    profile = ModelProfile.model_validate_json((folder / "profile.json").read_text())
    assert profile.template == (folder / "chat_template.jinja").read_text()
    stops = json.loads((folder / "generation_config.json").read_text())
    assert stops == {"eos_token_id": list(profile.stop_ids)}
    assert json.loads((folder / "call_bias.json").read_text()) == {"logit_bias": {}}
    told = (folder / "README.md").read_text()
    assert "--tool-call-parser hermes" in told
    assert "'{\"enable_thinking\": false}'" in told
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("family", ["qwen3", "llama3", "gemma-base", "chatml-base", "functiongemma"])
def test_the_command_in_the_readme_speaks_to_the_model_as_serving_does(
    tmp_path: Path, family: str, constrained: bool
) -> None:
    config = with_adapter(tmp_path, family, constrain_calls=constrained)
    folder, model = export(config, "adapter-0001", "peft", tmp_path / "out"), tmp_path / "model"
    told = command_of(folder)
    vllm = VllmConfig(constrain_calls=constrained)
    served = command_line.command(vllm, model, tmp_path / "s" / "socket", gpu=True, profile=profile_of(model))
    assert spoken(told, folder) == spoken(served, tmp_path)
    assert told[:3] == ["vllm", "serve", "BASE_MODEL"]
    assert told[told.index("--lora-modules") + 1] == "adapter-0001=."
    assert told[told.index("--max-lora-rank") + 1] == "8"  # the adapter's own
    assert {"--enable-lora", "--enable-auto-tool-choice"} < set(told)
    assert all(not Path(word).is_absolute() for word in told)


def test_what_the_command_of_a_base_model_names_lies_beside_it(tmp_path: Path) -> None:
    folder = export(with_adapter(tmp_path, "gemma-base"), "adapter-0001", "peft", tmp_path / "out")
    told = command_of(folder)
    assert told[told.index("--generation-config") + 1] == "."
    assert told[told.index("--tool-parser-plugin") + 1] == "hermes_calls.py"
    assert (folder / "hermes_calls.py").is_file()
    assert told[told.index("--chat-template-content-format") + 1] == "string"


def test_the_page_shows_the_command_of_the_readme(config: Config, tmp_path: Path) -> None:
    told = " ".join(command_of(export(config, "adapter-0001", "peft", tmp_path / "out")))
    told = told.replace("BASE_MODEL", "/models/qwen3-4b").replace("adapter-0001", "adapter-0007")
    told = told.replace("--max-lora-rank 8", "--max-lora-rank 16")
    page = (Path(__file__).parents[4] / "docs" / "models.md").read_text(encoding="utf-8")
    _, _, shown = page.partition("\nvllm serve ")
    assert " ".join(shlex.split(f"vllm serve {shown.partition('```')[0]}".replace("\\\n", " "))) == told


def test_the_command_writes_to_a_folder_named_after_the_adapter(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'data_folder = "."\n[agent.serving]\nmodel = "{config.agent.serving.model}"\n')
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["export", "adapter-0001", "--config", str(file)])
    assert done.output == "adapter-0001-peft\n"
    assert (tmp_path / "adapter-0001-peft" / package.WEIGHTS).is_file()


def test_what_cannot_be_exported_is_one_line(config: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapter adapter-0009; see: evolver adapters"):
        export(config, "adapter-0009", "peft", tmp_path / "out")
    with pytest.raises(UserError, match="exists; name a new folder with --to"):
        export(config, "adapter-0001", "peft", tmp_path)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(AdapterError, match="made for another base model"):
        export(config, "adapter-0001", "peft", tmp_path / "out")
    absent = Config(data_folder=tmp_path)
    with pytest.raises(UserError, match="default is not on this machine"):
        export(absent, "adapter-0001", "peft", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["file/out", "file/deeper/out", f"{'x' * 300}", f"{'x' * 300}/out"])
def test_a_folder_that_cannot_be_made_is_one_line(config: Config, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match=r": (Not a directory|File exists|File name too long); name a folder in which you may wri"
    ):
        export(config, "adapter-0001", "peft", tmp_path / name)


def test_a_merge_that_fails_leaves_nothing(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match=r"adapter-0001 could not be merged: .*; to see all of it run: "):
        export(config, "adapter-0001", "merged", tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))
    assert not list(tmp_path.glob(".out*"))
