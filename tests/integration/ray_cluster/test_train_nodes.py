"""Nodes of a Ray cluster train together as one process does, whatever dies meanwhile; nothing is left on them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from agent.adapters.package import WEIGHTS, check_adapter
from agent.cluster import folders
from agent.cluster.config import ClusterConfig
from agent.cluster.installation import installed
from evolver.errors import TrainError
from evolver.training import ray_group, supervisor
from evolver.training.supervisor import train
from tests.fakes.cluster_world import Machines, machines
from tests.fakes.tiny_training import CONFIG, make_dataset, make_model
from toolkit.errors import UserError

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(torch.cuda.is_available(), reason="the nodes are all on one machine, and share its GPU"),
]
Events = list[dict[str, Any]]


@pytest.fixture(scope="module")
def nodes_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the nodes have their temporary files and their caches."""
    return tmp_path_factory.mktemp("nodes")


@pytest.fixture(scope="module")
def cluster(nodes_files: Path) -> Iterator[Machines]:
    """Its processes see a CPU without bf16, as in test_train_processes, and share two cores."""
    settings = {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OMP_PROC_BIND": "false",
        "TMPDIR": str(nodes_files),
        "RAY_TMPDIR": "/tmp",  # its sockets have short names
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        with machines(nodes_files) as found:
            yield found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture
def nothing_is_left(nodes_files: Path) -> Iterator[None]:
    yield
    limit = time.monotonic() + 60
    while time.monotonic() < limit and workers(nodes_files):
        time.sleep(0.2)
    assert workers(nodes_files) == []


def test_too_few_nodes_are_told_in_one_line(cluster: Machines, model: Path, dataset: Path, tmp_path: Path) -> None:
    two = ClusterConfig(address=cluster.alive(1).address, training_nodes=2)
    with pytest.raises(UserError, match=r"has 1 of the 2 nodes with a CPU that \[cluster\] training_nodes asks for"):
        train(CONFIG, dataset, model, tmp_path / "adapter", name="adapter", cluster=two)


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        ("installed", replace(installed(), code="0" * 64), r"it has another version of apprentice \(code \w+ instead"),
        ("trainer_libraries", {"torch": "0.1"}, r"it has torch [\w.+]+ instead of 0\.1; install there"),
        ("trainer_libraries", {"no-such": "0.1"}, r"it has no-such \(none\) instead of 0\.1; install there"),
    ],
)
def test_a_node_with_another_installation_is_named_with_the_difference(
    cluster: Machines,
    model: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: object,
    refused: str,
) -> None:
    monkeypatch.setattr(ray_group, name, lambda: value)
    one = ClusterConfig(address=cluster.alive(1).address, training_nodes=1)
    with pytest.raises(UserError, match=rf"node [\d.]+ of the cluster cannot be used: {refused}"):
        train(CONFIG, dataset, model, tmp_path / "adapter", name="adapter", cluster=one)


def interrupt(_: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("act", "error", "said"),
    [
        (interrupt, KeyboardInterrupt, None),
        (lambda worker: os.kill(worker, signal.SIGSTOP), TrainError, r"\(stalled\): no progress for"),
        (lambda worker: os.kill(worker, signal.SIGKILL), TrainError, r"\(killed\): the training process was killed"),
    ],
    ids=["cancelled", "stalled", "killed"],
)
def test_a_training_that_is_ended_leaves_nothing_on_its_node(
    cluster: Machines,
    model: Path,
    dataset: Path,
    nodes_files: Path,
    tmp_path: Path,
    act: Callable[[int], None],
    error: type[BaseException],
    said: str | None,
    monkeypatch: pytest.MonkeyPatch,
    nothing_is_left: None,
) -> None:
    pat = supervisor._Watchdog.pat

    def soon(watchdog: supervisor._Watchdog) -> None:
        watchdog._seconds = 2.0
        pat(watchdog)

    if said and "stalled" in said:  # patient until the model is loaded
        monkeypatch.setattr(supervisor._Watchdog, "pat", soon)

    def once_loaded(event: dict[str, Any]) -> None:
        if event["event"] == "loaded":
            (worker,) = workers(nodes_files)
            act(worker)

    one = ClusterConfig(address=cluster.alive(1).address, training_nodes=1)
    config = CONFIG.model_copy(update={"epochs": 50})
    with pytest.raises(error, match=said):
        train(config, dataset, model, tmp_path / "adapter", name="adapter", cluster=one, on_progress=once_loaded)
    assert workers(nodes_files) == []
    assert list(nodes_files.glob("apprentice-train-*")) == []


def test_two_nodes_have_the_losses_and_the_weights_of_one_process_also_when_one_dies(
    cluster: Machines,
    model: Path,
    dataset: Path,
    nodes_files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    nothing_is_left: None,
) -> None:
    """The nodes do not have the base model."""
    monkeypatch.setattr(ray_group, "bring", partial(folders.bring, same_path=False))
    config = CONFIG.model_copy(update={"epochs": 10, "learning_rate": 1e-3, "patience": 3})
    alone: Events = []
    train(config, dataset, model, tmp_path / "one", name="one", on_progress=alone.append)

    together: Events = []

    def kill_a_node(event: dict[str, Any]) -> None:
        together.append(event)
        if event["event"] == "checkpoint" and not any(event["event"] == "checkpoint" for event in together[:-1]):
            cluster.kill_one()
            cluster.join()

    two = ClusterConfig(address=cluster.alive(2).address, training_nodes=2)
    result = train(config, dataset, model, tmp_path / "two", name="two", cluster=two, on_progress=kill_a_node)
    kinds = [event["event"] for event in together]
    assert kinds.count("lost") == 1
    assert "resumed" in kinds[kinds.index("lost") :]
    assert check_adapter(tmp_path / "two") == result.manifest
    assert result.manifest.environment is not None
    assert result.manifest.environment.processes == 2
    assert losses(together) == pytest.approx(losses(alone), rel=1e-5, abs=1.1e-5)  # rounded to five places
    weights, expected = (load_file(tmp_path / name / WEIGHTS) for name in ("two", "one"))
    for name, values in expected.items():
        torch.testing.assert_close(weights[name], values, rtol=1e-3, atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    (kept,) = (nodes_files / "cache" / "apprentice" / "folders").iterdir()
    assert kept.name == folders.listed(model).sha256


def losses(events: Events) -> dict[str, float]:
    """By step, and by look at the validation data."""
    return {f"{event['event']} {event['step']}": event["loss"] for event in events if event.get("loss") is not None}


def workers(nodes_files: Path) -> list[int]:
    """The training processes of the nodes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"evolver.training.worker" in command and str(nodes_files).encode() in command:
            found.append(int(folder.name))
    return found
