"""The supervisor of training: whom it starts, and what it makes of their end."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.cluster.config import ClusterConfig
from evolver.config import Config, EvolverConfig, TrainConfig
from evolver.errors import TrainError
from evolver.training import supervisor
from evolver.training.launcher import End, NodeLost, Progress
from evolver.training.local_launcher import LocalLauncher
from toolkit.errors import PrerequisiteError

CHECKPOINT = {"event": "checkpoint", "step": 1}
LOST = NodeLost("node 10.0.0.6 of the cluster was lost")


@dataclass
class Script:
    """A launcher whose trainings say, one after the other, what stands here. An exception is raised."""

    trainings: list[list[Progress | Exception | End]]
    specs: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def start(self, spec: dict[str, Any]) -> Iterator["Script"]:
        self.specs.append(dict(spec))
        yield self

    def events(self) -> Iterator[Progress]:
        self._end = End()
        for said in self.trainings.pop(0):
            if isinstance(said, Exception):
                raise said
            if isinstance(said, End):
                self._end = said
            else:
                yield said

    def stop(self) -> None:
        raise AssertionError

    def end(self) -> End:
        return self._end


@pytest.fixture(autouse=True)
def unpublished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_published", lambda spec: None)


def trained(script: Script, heard: list[Progress]) -> TrainError:
    with pytest.raises(TrainError) as raised:
        supervisor._train({"halvings": 0, "output_folder": ""}, script, 60, heard.append)
    assert script.trainings == []
    return raised.value


def test_a_lost_node_does_not_end_the_training_until_the_fourth_without_a_checkpoint() -> None:
    heard: list[Progress] = []
    script = Script([[LOST], [LOST], [CHECKPOINT, LOST], [LOST], [LOST], [LOST]])
    error = trained(script, heard)
    assert error is LOST
    assert error.kind == "killed"
    assert [event["event"] for event in heard] == ["lost", "lost", "checkpoint", "lost", "lost", "lost"]
    assert {spec["halvings"] for spec in script.specs} == {0}


def test_a_process_that_the_kernel_killed_for_memory_starts_again_with_smaller_packs() -> None:
    killed = End(-9, "", killed=True, short_of_memory=True)
    script = Script([[killed], [End(-9, "", killed=True)]])
    assert trained(script, []).kind == "killed"
    assert [spec["halvings"] for spec in script.specs] == [0, 1]


def test_the_last_words_of_a_crash_are_its_reason() -> None:
    error = trained(Script([[End(1, "RuntimeError: wrong")]]), [])
    assert (error.kind, error.reason) == ("crashed", "exit code 1: RuntimeError: wrong")


def test_a_failure_counts_whatever_others_say_after_it() -> None:
    failed = {"event": "failed", "kind": "data", "reason": "no lesson", "final": False}
    assert trained(Script([[failed, CHECKPOINT, End(1, "broken pipe")]]), []).reason == "no lesson"


def test_on_one_machine_ray_is_not_imported(tmp_path: Path) -> None:
    assert supervisor._launcher(TrainConfig(processes=2), ClusterConfig(address="auto")) == LocalLauncher(2)
    code = """if True:
        import sys
        from pathlib import Path
        from agent.cluster.config import ClusterConfig
        from evolver.config import TrainConfig
        from evolver.training import supervisor
        sys.executable = "/bin/false"
        spec = {"halvings": 4, "output_folder": sys.argv[1], "dataset_folder": ""}
        try:
            supervisor._train(spec, supervisor._launcher(TrainConfig(), ClusterConfig()), 60, print)
        except supervisor.TrainError as error:
            print(error.kind, "ray" in sys.modules)
    """
    command = [sys.executable, "-c", code, str(tmp_path / "absent")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "crashed False\n"


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    launcher = supervisor._launcher(TrainConfig(), ClusterConfig(address="auto", training_nodes=2))
    with pytest.raises(PrerequisiteError, match="install it: pip install"), launcher.start({}):
        pass


def test_nodes_are_those_of_a_cluster_and_are_processes_for_a_divided_model() -> None:
    with pytest.raises(ValueError, match="training_nodes needs nodes; set address too"):
        ClusterConfig(training_nodes=2)
    divided = EvolverConfig(train=TrainConfig(shard_model=True))
    Config(evolver=divided, cluster=ClusterConfig(address="auto", training_nodes=2))
    with pytest.raises(ValueError, match="shard_model needs processes above 1"):
        Config(evolver=divided)
