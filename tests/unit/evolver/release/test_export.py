import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.adapters import package
from agent.errors import AdapterError
from agent.models.profile import ModelProfile
from evolver.cli.main import app
from evolver.config import Config
from evolver.release.export import export
from tests.fakes.evolution import publish_adapter
from tests.fakes.model_folders import write_family
from toolkit.errors import UserError


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A model and an adapter of it."""
    model = write_family(tmp_path / "model", "qwen3")
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    publish_adapter(tmp_path, "adapter-0001", base_sha256=package.model_sha256(model))
    return Config(data_folder=tmp_path, agent={"serving": {"model": str(model)}})  # pyright: ignore


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
