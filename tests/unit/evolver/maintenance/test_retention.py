"""What nothing refers to goes; everything else stays."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.adapters import active
from agent.serving.serving_state import ServingState
from evolver.config import ReleaseConfig
from evolver.maintenance.retention import removable, retire, sweep
from evolver.release import release
from evolver.store.ledger import Ledger
from tests.fakes.evolution import publish_adapter
from tests.fakes.model_server import ModelServer
from toolkit.errors import UserError

HOUR = 3600.0
ONE = ReleaseConfig(keep_adapters=1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    """Five adapters of as many cycles; the first and the second served, the second still does."""
    with Ledger(tmp_path / "evolution.db", now=clock) as opened:
        for n in range(1, 6):
            number = opened.open_cycle().number
            opened.add_adapter(publish_adapter(tmp_path, f"adapter-{n:04d}"), number, "base", "d")
            opened.end_cycle(number, "rejected", "")
        for n in (1, 2):
            release.promote(f"adapter-{n:04d}", tmp_path, opened, None, reason="test")
        clock.now = 2 * HOUR
        yield opened


def names(data: Path) -> list[int]:
    return sorted(int(folder.name[-4:]) for folder in (data / "adapters").glob("adapter-*"))


def gone(data: Path, ledger: Ledger, now: float = 2 * HOUR) -> list[int]:
    return sorted(int(row.name[-4:]) for row in removable(ONE, data, ledger, now))


def test_what_serves_what_served_before_and_the_newest_stay(tmp_path: Path, ledger: Ledger) -> None:
    assert gone(tmp_path, ledger) == [3, 4]
    assert retire(ONE, tmp_path, ledger, None, 2 * HOUR) == ["adapter-0004", "adapter-0003"]
    assert names(tmp_path) == [1, 2, 5]
    assert gone(tmp_path, ledger) == []
    with pytest.raises(UserError, match="no longer kept"):
        release.promote("adapter-0003", tmp_path, ledger, None, reason="test")
    assert active.read(tmp_path).name == "adapter-0002"
    assert {row.name: row.state for row in ledger.adapters()}["adapter-0003"] == "removed"


def test_pins_approvals_running_cycles_and_lineage_hold_on(tmp_path: Path, ledger: Ledger) -> None:
    ledger.pin("adapter-0003", True)
    assert gone(tmp_path, ledger) == [4]
    ledger.pin("adapter-0003", False)
    ledger.set_adapter_state("adapter-0004", "waiting")
    assert gone(tmp_path, ledger) == [3]
    number = ledger.open_cycle().number
    ledger.add_adapter(publish_adapter(tmp_path, "adapter-0006"), number, "adapter-0003", "d")
    assert gone(tmp_path, ledger) == [5]


def test_what_a_turn_may_still_use_stays(tmp_path: Path, ledger: Ledger) -> None:
    release.promote("adapter-0005", tmp_path, ledger, None, reason="test")
    assert gone(tmp_path, ledger, 2.5 * HOUR) == [1, 3, 4]
    release.promote("adapter-0004", tmp_path, ledger, None, reason="test")
    assert gone(tmp_path, ledger, 2.5 * HOUR) == [1, 3]
    assert gone(tmp_path, ledger, 3.5 * HOUR) == [1, 2, 3]


def test_what_is_loaded_is_unloaded_first(tmp_path: Path, ledger: Ledger) -> None:
    with ModelServer(key="key") as server:
        server.models += ["adapter-0003", "adapter-0002"]
        serving = ServingState(pid=1, gateway_url="", vllm_url=server.url, vllm_pid=1, vllm_key="key")
        retire(ONE, tmp_path, ledger, serving, 2 * HOUR)
        assert server.models == ["base", "adapter-0002"]


def test_a_removal_that_was_cut_off_is_finished_and_work_of_ended_cycles_goes(tmp_path: Path, ledger: Ledger) -> None:
    ledger.set_adapter_state("adapter-0003", "removed")
    number = ledger.open_cycle().number
    ended, running = tmp_path / "adapters" / ".adapter-0004.work", tmp_path / "adapters" / f".adapter-{number:04d}.work"
    makers = [tmp_path / "adapters" / f"maker-{cycle:04d}" for cycle in (1, number)]
    for folder in (ended, running, tmp_path / "adapters" / ".adapter-0002.draft", *makers):
        (folder / "inner").mkdir(parents=True)
    draft = tmp_path / f".{active.FILE}.abc"
    draft.touch()
    sweep(tmp_path, ledger)
    assert names(tmp_path) == [1, 2, 4, 5]
    assert sorted(folder.name for folder in (tmp_path / "adapters").glob(".*")) == [running.name]
    assert not draft.exists()
    assert [maker.exists() for maker in makers] == [False, True]


def test_one_that_was_marked_and_not_unloaded_is_unloaded_the_next_time(tmp_path: Path, ledger: Ledger) -> None:
    """The evolver was killed in between."""
    ledger.set_adapter_state("adapter-0003", "removed")
    ledger.set_adapter_state("adapter-0004", "removed")
    with ModelServer(key="key") as vllm:
        vllm.models += ["adapter-0002", "adapter-0003"]
        serving = ServingState(pid=1, gateway_url="", vllm_url=vllm.url, vllm_pid=1, vllm_key="key")
        assert retire(ONE, tmp_path, ledger, serving, 2 * HOUR) == []
        assert vllm.models == ["base", "adapter-0002"]
    assert names(tmp_path) == [1, 2, 5]


def test_the_folder_of_a_removed_adapter_stays_while_a_server_has_it(tmp_path: Path, ledger: Ledger) -> None:
    """Its manifest says whom it answers, as long as it can."""
    for name in ("adapter-0003", "adapter-0004"):
        ledger.set_adapter_state(name, "removed")
    with ModelServer(key="key") as vllm:
        vllm.models += ["adapter-0003"]
        serving = ServingState(pid=1, gateway_url="", vllm_url=vllm.url, vllm_pid=1, vllm_key="key")
        sweep(tmp_path, ledger, serving)
        assert names(tmp_path) == [1, 2, 3, 5]
    ledger.set_adapter_state("adapter-0005", "removed")
    sweep(tmp_path, ledger, serving)
    assert names(tmp_path) == [1, 2, 3, 5], "a server that does not answer may have it"
    sweep(tmp_path, ledger)
    assert names(tmp_path) == [1, 2]
