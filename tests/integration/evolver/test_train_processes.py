"""Two processes under ``accelerate launch`` train as one does."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from agent.adapters.package import WEIGHTS, check_adapter
from evolver.errors import TrainError
from evolver.training.supervisor import train
from tests.fakes.tiny_training import CONFIG, make_dataset, make_model

torch.set_num_threads(1)

pytestmark = pytest.mark.skipif(torch.cuda.is_available() and torch.cuda.device_count() < 2, reason="needs two GPUs")


@pytest.fixture
def in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training processes see a CPU without bf16, whose rounding differs with what a pack holds: a per cent after a
    few steps at this learning rate."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")


@pytest.mark.usefixtures("in_fp32")
def test_two_processes_have_the_loss_curve_of_one_also_when_one_is_killed(tmp_path: Path) -> None:
    model, data = make_model(tmp_path / "model"), make_dataset(tmp_path)
    alone: list[dict[str, Any]] = []
    config = CONFIG.model_copy(update={"epochs": 3, "patience": 3})
    train(config, data, model, tmp_path / "one", name="one", on_progress=alone.append)

    together: list[dict[str, Any]] = []
    config = config.model_copy(update={"processes": 2})

    def kill_the_second(event: dict[str, Any]) -> None:
        together.append(event)
        if event == {"event": "checkpoint", "step": 1}:  # long before the end, however late it is heard of
            os.kill(_workers()[1], signal.SIGKILL)

    with pytest.raises(TrainError, match="killed"):
        train(config, data, model, tmp_path / "two", name="two", on_progress=kill_the_second)
    assert _workers() == []
    result = train(config, data, model, tmp_path / "two", name="two", on_progress=together.append)
    assert "resumed" in {event["event"] for event in together}
    assert check_adapter(tmp_path / "two") == result.manifest
    assert result.manifest.environment is not None
    assert result.manifest.environment.processes == 2
    assert _losses(together) == pytest.approx(_losses(alone), rel=1e-4)
    one, two = (load_file(tmp_path / name / WEIGHTS) for name in ("one", "two"))
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=1e-3, atol=1e-4)


def _losses(events: list[dict[str, Any]]) -> dict[str, float]:
    """By step, and by look at the validation data."""
    return {f"{event['event']} {event['step']}": event["loss"] for event in events if event.get("loss") is not None}


def _workers() -> list[int]:
    """The training workers that descend from this process."""
    found, family = [], {os.getpid()}
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent in family:
            family.add(int(folder.name))
            if b"evolver.training.worker" in command and b"accelerate.commands" not in command:
                found.append(int(folder.name))
    return found
