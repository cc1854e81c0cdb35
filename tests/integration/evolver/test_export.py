"""An adapter that was trained, written for other programs: it must answer there as it does here."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from evolver.config import Config
from evolver.release.export import Format, export
from tests.fakes.tiny_training import make_dataset, make_model, run

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers' own making
TOKENS = torch.tensor([[72, 101, 108, 108, 111, 32, 65, 100, 100, 32, 51, 32, 97, 110, 100, 32, 50, 46]])


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A tiny Llama, and an adapter that learned to call a tool."""
    data = tmp_path_factory.mktemp("data")
    model = make_model(data / "model")
    (data / "dataset").mkdir()
    run(make_dataset(data / "dataset"), model, data / "adapters" / "adapter-0001")
    return Config.model_validate({"data_folder": data, "agent": {"serving": {"model": str(model)}}})


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(TOKENS).logits


@pytest.mark.parametrize("form", ["merged", "gguf"])
def test_a_whole_model_answers_as_the_adapter_does(config: Config, tmp_path: Path, form: Format) -> None:
    folder = export(config, "adapter-0001", form, tmp_path / form)
    base = AutoModelForCausalLM.from_pretrained(config.data_folder / "model")
    before = logits(base)
    expected = logits(PeftModel.from_pretrained(base, str(config.data_folder / "adapters" / "adapter-0001")))
    assert (expected - before).abs().max() > 1
    # transformers' reader of GGUF is another one than its writer here.
    file = {"gguf_file": "adapter-0001.gguf"} if form == "gguf" else {}
    found = logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **file))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    assert not [path for path in tmp_path.iterdir() if path != folder]
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir())
