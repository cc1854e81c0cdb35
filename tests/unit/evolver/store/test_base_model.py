"""Which base models can be trained on."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig, ServingConfig
from evolver.config import Config
from evolver.store.base_model import check_trainable
from toolkit.errors import UserError


def configured(folder: Path, **model: Any) -> Config:
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **model}))
    return Config(data_folder=folder, agent=AgentConfig(serving=ServingConfig(model=str(folder))))


@pytest.mark.parametrize("method", ["awq", "gptq", "fp8", "bitsandbytes"])
def test_quantised_weights_are_refused_before_anything_is_made(tmp_path: Path, method: str) -> None:
    config = configured(tmp_path, quantization_config={"quant_method": method, "bits": 4})
    with pytest.raises(UserError, match=rf"holds quantised weights \({method}\)") as refused:
        check_trainable(config)
    assert "same model in bfloat16" in str(refused.value)


def test_others_and_a_model_that_is_not_there_yet_are_not(tmp_path: Path) -> None:
    check_trainable(configured(tmp_path))
    check_trainable(Config(data_folder=tmp_path))
