"""Two processes that each hold a part of the base model (FSDP) train as one process with all of it does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from agent.adapters.manifest import Manifest
from agent.adapters.package import PEFT_CONFIG, WEIGHTS, check_adapter
from evolver.config import Config, EvolverConfig, TrainConfig
from evolver.errors import TrainError
from evolver.training.launcher import Launcher
from evolver.training.supervisor import train
from tests.fakes.tiny_training import CONFIG, make_dataset, make_model, run

torch.set_num_threads(1)

pytestmark = pytest.mark.skipif(torch.cuda.is_available() and torch.cuda.device_count() < 2, reason="needs two GPUs")

CHANGES = {"epochs": 3, "patience": 3, "packs_per_step": 3}
"""Three packs a step: one process makes a pass that counts for nothing, else the other would wait for it."""


def test_two_parts_have_the_loss_curve_and_the_adapter_of_the_whole(tmp_path: Path) -> None:
    model, data = make_model(tmp_path / "model"), make_dataset(tmp_path)
    alone: list[dict[str, Any]] = []
    whole = run(data, model, tmp_path / "one", alone.append, **CHANGES)

    together: list[dict[str, Any]] = []
    config = CONFIG.model_copy(update={**CHANGES, "processes": 2, "shard_model": True})
    parts = train(config, data, model, tmp_path / "two", name="two", on_progress=together.append).manifest

    assert check_adapter(tmp_path / "two") == parts
    assert _losses(together) == pytest.approx(_losses(alone), rel=2e-3)
    assert parts.metrics.loss_valid == pytest.approx(whole.metrics.loss_valid, rel=2e-3)
    assert parts.probe is not None
    assert whole.probe is not None
    assert parts.probe.base_logprobs == pytest.approx(whole.probe.base_logprobs, abs=1e-3)
    one, two = (load_file(tmp_path / name / WEIGHTS) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=0.02, atol=2e-3)
    one, two = (json.loads((tmp_path / name / PEFT_CONFIG).read_text()) for name in ("one", "two"))
    assert one == two
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), str(tmp_path / "two"))


def test_where_one_part_lacks_memory_all_start_again_with_smaller_packs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evolver.training import supervisor

    model, data = make_model(tmp_path / "model"), make_dataset(tmp_path)
    manifest = run(data, model, tmp_path / "one")
    halvings: list[int] = []

    def out_of_memory_once(launcher: Launcher, spec: dict[str, Any], *_: object) -> Manifest:
        halvings.append(spec["halvings"])
        if len(halvings) == 1:
            raise TrainError("memory", "it is full")
        return manifest

    monkeypatch.setattr(supervisor, "_supervise", out_of_memory_once)
    config = CONFIG.model_copy(update={"processes": 2, "shard_model": True})
    assert train(config, data, model, tmp_path / "two", name="two").manifest == manifest
    assert halvings == [0, 1]


def test_a_part_that_lacks_memory_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evolver.training.model import Adapted
    from evolver.training.team import Team

    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Team, "sharded", True)
    monkeypatch.setattr(Adapted, "score", no_memory)
    events: list[dict[str, Any]] = []
    with pytest.raises(TrainError, match="memory"):
        run(make_dataset(tmp_path), make_model(tmp_path / "model"), tmp_path / "one", events.append)
    assert "out_of_memory" not in {event["event"] for event in events}


def test_one_process_cannot_hold_parts() -> None:
    with pytest.raises(ValueError, match="shard_model needs processes above 1"):
        Config(evolver=EvolverConfig(train=TrainConfig(shard_model=True)))


def _losses(events: list[dict[str, Any]]) -> dict[str, float]:
    """By step, and by look at the validation data."""
    return {f"{event['event']} {event['step']}": event["loss"] for event in events if event.get("loss") is not None}
