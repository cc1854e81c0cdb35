"""The evolver killed at every named step, and again while it recovers; a failing disk; what is flushed before what."""

import errno
import os
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from evolver.config import DaemonConfig
from evolver.maintenance.backup import back_up
from evolver.release import release
from tests.fakes.crash_world import END, ENDS, CrashWorld, check_disk, crash_world
from tests.fakes.killed_evolver import Evolvers
from tests.fakes.postgres import PostgresServer
from tests.fakes.waiting import wait_until
from toolkit.errors import UserError

KILLED = -9
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def evolvers() -> Iterator[Evolvers]:
    with Evolvers() as started:
        yield started


@pytest.fixture
def crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evolvers: Evolvers) -> Iterator[CrashWorld]:
    with crash_world(tmp_path, monkeypatch, evolvers) as made:
        yield made


def calm_steps(folder: Path, evolvers: Evolvers, script: str, *, postgres: PostgresServer | None = None) -> list[str]:
    """The steps of a run that nobody disturbs, in order."""
    with (
        pytest.MonkeyPatch.context() as patch,
        crash_world(folder, patch, evolvers, script, postgres=postgres) as calm,
    ):
        assert calm.run() == (0, "")
        assert calm.end() == ENDS[script]
        calm.check()
        calm.check_traces()
        return calm.steps()


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory, evolvers: Evolvers) -> list[str]:
    """Those of a cycle."""
    return calm_steps(tmp_path_factory.mktemp("calm"), evolvers, "cycle")


def wait_until_stopped(pid: int) -> None:
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")


def test_the_steps_are_all_there(steps: list[str]) -> None:
    for step in (
        "fsync cycles/0001/traces.jsonl",
        "fsync cycles/0001/.verify.json.*",
        "rename cycles/0001/.gate.json.* to cycles/0001/gate.json",
        "fsync adapters/.adapter-0001.draft/adapter_model.safetensors",
        "rename adapters/.adapter-0001.draft to adapters/adapter-0001",
        "fsync adapters",
        "load adapter-0001",
        "rename .active_adapter.json.adapter-0001 to active_adapter.json",
        "sql insert evaluations base",
        "sql insert evaluations adapter-0001",
        "sql insert releases adapter-0001",
        "sql update cycles stage train",
        "commit of update cycles summary gate",
        "commit of insert releases adapter-0001, update adapters state promoted, insert settings on_trial",
        "sql update cycles status promoted",
    ):
        assert f"before {step}" in steps
        assert f"after {step}" in steps


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_each_step_in_turn_and_again_in_each_recovery(
    tmp_path: Path, evolvers: Evolvers, steps: list[str], moment: str
) -> None:
    kill_in_turn(tmp_path, evolvers, "cycle", [step for step in steps if step.startswith(moment)])


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("script", [script for script in ENDS if script != "cycle"])
def test_killed_at_each_step_of_a_trial_of_going_back_and_of_removing(
    tmp_path: Path, evolvers: Evolvers, steps: list[str], script: str, moment: str
) -> None:
    """At those that a cycle without a trial has not."""
    in_order = [step for step in calm_steps(tmp_path / "calm", evolvers, script) if step not in steps]
    for part in ("rename .active_adapter.json.base+adapter-0001 to", "rename .active_adapter.json.base to", "unload"):
        assert any(part in step for step in in_order)
    kill_in_turn(tmp_path, evolvers, script, [step for step in in_order if step.startswith(moment)])


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("script", list(ENDS))
def test_killed_at_each_statement_and_commit_on_postgres(
    tmp_path: Path, evolvers: Evolvers, postgres: PostgresServer, script: str, moment: str
) -> None:
    """Log, ledger and pointer are on the server; of a trial those that a cycle has not."""
    steps = calm_steps(tmp_path / "calm", evolvers, script, postgres=postgres)
    of_cycle = calm_steps(tmp_path / "cycle", evolvers, "cycle", postgres=postgres) if script != "cycle" else []
    in_turn = [step for step in steps if re.match(f"{moment} (sql|commit) ", step) and step not in of_cycle]
    assert f"{moment} sql insert active_adapter {'adapter-0001' if script == 'cycle' else 'base'}" in in_turn
    kill_in_turn(tmp_path, evolvers, script, in_turn, postgres=postgres)


def kill_in_turn(
    folder: Path, evolvers: Evolvers, script: str, steps: list[str], *, postgres: PostgresServer | None = None
) -> None:
    """One run is killed at the first step, its recovery at the second, and so on, until a recovery comes to its end.
    What was not reached by then is tried in a world of its own."""
    waiting = list(dict.fromkeys(steps))
    worlds = 0
    while waiting:
        worlds += 1
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            crashes = stack.enter_context(crash_world(folder / str(worlds), patch, evolvers, script, postgres=postgres))
            begun = len(waiting)
            while waiting:
                code, said = crashes.run(waiting[0])
                if code == 0:
                    break
                assert code == KILLED, (waiting[0], said)
                crashes.check()
                waiting.pop(0)
            assert len(waiting) < begun, waiting[0]
            if not waiting and crashes.end() != ENDS[script]:
                assert crashes.run() == (0, "")
            crashes.check()
            crashes.check_traces()
            assert crashes.end() == ENDS[script]


def test_killed_at_the_last_time_that_a_step_comes_up(tmp_path: Path, evolvers: Evolvers, steps: list[str]) -> None:
    """Of those that come up several times; the first time is in the tests above, the others are in the soak."""
    repeated = {step: times for step, times in Counter(steps).items() if times > 1}
    assert "after fsync cycles/0001/traces.jsonl" in repeated
    for number, (step, times) in enumerate(repeated.items()):
        with pytest.MonkeyPatch.context() as patch, crash_world(tmp_path / str(number), patch, evolvers) as crashes:
            code, said = crashes.run(step, occurrence=times)
            assert code == KILLED, (step, times, said)
            crashes.check()
            assert crashes.run() == (0, ""), step
            crashes.check_traces()
            assert crashes.end() == END, step


def test_pointer_and_ledger_are_as_they_were_when_killed_between_them(crashes: CrashWorld) -> None:
    assert crashes.run("after rename .active_adapter.json.adapter-0001 to active_adapter.json")[0] == KILLED
    crashes.check()
    assert crashes.run() == (0, "")
    assert crashes.end() == END


@pytest.mark.parametrize("moment", ["before", "after"])
def test_whoever_went_back_while_the_evolver_was_down_is_not_overruled(crashes: CrashWorld, moment: str) -> None:
    """Killed after its promotion; a person goes back; the recovery ends the cycle and lets that be."""
    step = {
        "before": "after rename .active_adapter.json.adapter-0001 to active_adapter.json",
        "after": "after sql insert releases adapter-0001",
    }
    assert crashes.run(step[moment])[0] == KILLED
    with crashes.here.ledger() as ledger:
        assert release.rollback(crashes.data, ledger, None, reason="evolver rollback") == ("adapter-0001", "base")
    assert crashes.run() == (0, "")
    end = crashes.end()
    assert end["serving"] == "base"
    assert end["cycles"] == [(1, "promoted", True)]
    assert [row[:2] for row in end["adapters"]] == [("adapter-0001", "withdrawn")]
    assert [(change[0], change[2]) for change in end["releases"]] == [
        ("base", "evolver rollback"),
        ("adapter-0001", "cycle 1"),
    ]


FAULTS = pytest.mark.parametrize(("fault", "said"), [("ENOSPC", "the disk is full; free some space"), ("EIO", "disk")])


@FAULTS
@pytest.mark.parametrize(
    "step",
    [
        "before fsync cycles/0001/.train.json.*",
        "before fsync .active_adapter.json.adapter-0001",
        "after rename .active_adapter.json.adapter-0001 to active_adapter.json",
        "before commit of update cycles summary verify",
    ],
)
def test_a_disk_that_fails_in_a_transaction_leaves_the_cycle_open_for_later(
    crashes: CrashWorld, fault: str, said: str, step: str
) -> None:
    code, words = crashes.run(step, act=fault)
    assert code == 2
    assert said in words
    crashes.check()
    assert crashes.run() == (0, "")
    crashes.check_traces()
    assert crashes.end() == END


PUBLISHING = pytest.mark.parametrize(
    "step",
    [
        "before fsync adapters/.adapter-0001.draft/adapter_model.safetensors",
        "before rename adapters/.adapter-0001.draft to adapters/adapter-0001",
    ],
)


@PUBLISHING
def test_a_disk_that_fails_while_an_adapter_is_published_fails_the_cycle_and_the_next_one_works(
    crashes: CrashWorld, step: str
) -> None:
    assert crashes.run(step, act="EIO") == (0, "")
    crashes.check()
    with crashes.here.ledger() as ledger:
        (cycle,) = ledger.cycles()
    assert cycle.status == "failed"
    assert os.strerror(errno.EIO) in cycle.reason
    assert list((crashes.data / "adapters").iterdir()) == []
    assert crashes.run() == (0, "")
    with crashes.here.ledger() as ledger:
        assert (ledger.cycles()[0].number, ledger.cycles()[0].status) == (2, "promoted")
    crashes.check()


@pytest.mark.parametrize(
    "step",
    [
        *PUBLISHING.args[1],
        "before fsync cycles/0001/traces.jsonl",
        "before fsync cycles/0001/.dataset.draft/train.jsonl",
    ],
)
def test_a_full_disk_leaves_the_cycle_open_and_says_what_to_do(crashes: CrashWorld, step: str) -> None:
    said = "the disk is full; free some space, then go on with: evolver cycle"
    assert crashes.run(step, act="ENOSPC") == (2, said)
    crashes.check()
    with crashes.here.ledger() as ledger:
        assert [cycle.status for cycle in ledger.cycles()] == ["running"]
    assert crashes.run() == (0, "")
    crashes.check_traces()
    assert crashes.end() == END


FLUSHED = {
    "make": ["cycles/0001/traces.jsonl"],
    "verify": ["cycles/0001/kept.jsonl", "cycles/0001/verdicts.jsonl"],
    "dataset": ["cycles/0001/.dataset.draft/train.jsonl", "cycles/0001/.dataset.draft/valid.jsonl"],
    "train": [
        "adapters/.adapter-0001.draft/adapter_model.safetensors",
        "adapters/.adapter-0001.draft/adapter_config.json",
        "adapters/.adapter-0001.draft/manifest.json",
        "adapters",
    ],
}
"""What must be on disk before a stage's marker says that it is done."""


def test_what_is_named_is_flushed_before(crashes: CrashWorld) -> None:
    """A file is flushed before its rename, its folder after it and before the ledger commits; a stage's files before
    its marker."""
    assert crashes.run()[0] == 0
    steps = [step.removeprefix("after ") for step in crashes.steps() if step.startswith("after ")]
    flushed: set[str] = set()
    open_folders: dict[str, str] = {}
    for step in steps:
        match step.split(" "):
            case ["fsync", path]:
                flushed.add(path)
                open_folders.pop(path, None)
            case ["rename", source, _, target]:
                assert source in flushed, step
                flushed.discard(source)
                flushed.add(target)
                open_folders[str(Path(target).parent)] = step
                stage = Path(target).stem
                if target.startswith("cycles/") and target.endswith(".json"):
                    assert set(FLUSHED.get(stage, ())) <= flushed, step
            case ["commit", *_]:
                assert not open_folders


@pytest.mark.parametrize(
    "step",
    [
        "before load adapter-0001",
        "before fsync adapters/.adapter-0001.draft/manifest.json",
        "after fsync cycles/0001/traces.jsonl",
    ],
)
def test_one_that_is_stopped_past_its_lease_wakes_up_fenced(crashes: CrashWorld, step: str) -> None:
    """SIGSTOP; another takes over and comes to the end; SIGCONT: the first writes nothing more, and says why."""
    impatient = DaemonConfig(lease_seconds=1)
    evolver = crashes.here.config.evolver.model_copy(update={"daemon": impatient})
    crashes.here.config = crashes.here.config.model_copy(update={"evolver": evolver})
    with Evolvers() as second:
        pid = second.start(crashes.job(step, act="stop"))
        wait_until_stopped(pid)
        time.sleep(1.2)
        assert crashes.run() == (0, "")
        assert crashes.end() == END
        os.kill(pid, signal.SIGCONT)
        code, said = second.wait()
    assert (code, said) == (2, "another process has taken over this cycle; this one stops")
    assert crashes.end() == END
    crashes.check()


def test_two_evolvers_at_once_one_works(crashes: CrashWorld) -> None:
    with Evolvers() as second:
        pid = second.start(crashes.job("after fsync cycles/0001/traces.jsonl", act="stop"))
        wait_until_stopped(pid)
        code, said = crashes.run()
        assert (code, said) == (2, f"process {pid} runs a cycle; wait for its end, or stop it")
        os.kill(pid, signal.SIGCONT)
        assert second.wait() == (0, "")
    crashes.check()
    crashes.check_traces()
    assert crashes.end() == END


def test_a_backup_taken_in_the_middle_goes_on_where_it_is_restored(crashes: CrashWorld, tmp_path: Path) -> None:
    """A backup during each stage: whole, and the cycle that was cut off in it comes to its end there."""
    with Evolvers() as second:
        pid = second.start(
            crashes.job("before rename adapters/.adapter-0001.draft to adapters/adapter-0001", act="stop")
        )
        wait_until_stopped(pid)
        copy = tmp_path / "backups" / "one"
        with crashes.here.ledger() as ledger:
            back_up(crashes.data, copy, ledger)
            with pytest.raises(UserError, match="exists"):
                back_up(crashes.data, copy, ledger)
        os.kill(pid, signal.SIGCONT)
        assert second.wait() == (0, "")
    assert crashes.end() == END
    check_disk(copy)
    crashes.data.rename(tmp_path / "lost")
    shutil.copytree(copy, crashes.data)
    shutil.copy(tmp_path / "lost" / "serving.json", crashes.data)
    assert crashes.end()["serving"] == "base"
    crashes.here.server.models.remove("adapter-0001")
    assert crashes.run() == (0, "")
    crashes.check()
    crashes.check_traces()
    assert crashes.end() == END
