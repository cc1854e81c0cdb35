"""Kills at random moments, and one kill at every step in a data folder of its own."""

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.crash_world import END, ENDS, crash_world
from tests.fakes.killed_evolver import Evolvers

KILLS = int(os.environ.get("SOAK_KILLS", "200"))
KILLED = -signal.SIGKILL
pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="module")
def evolvers() -> Iterator[Evolvers]:
    with Evolvers() as started:
        yield started


def test_random_kills(tmp_path: Path, evolvers: Evolvers) -> None:
    """Each cycle is killed again and again, sooner and later, until it comes to its end; then the next folder."""
    seed = random.SystemRandom().getrandbits(32)
    chance, kills, worlds = random.Random(seed), 0, 0
    took = calm_seconds(tmp_path / "calm", evolvers)
    print(f"seed {seed}; a cycle that nobody disturbs takes {took:.1f} s", flush=True)
    while kills < KILLS:
        worlds += 1
        with pytest.MonkeyPatch.context() as patch, crash_world(tmp_path / str(worlds), patch, evolvers) as crashes:
            longest = took / 2
            while True:
                pid = evolvers.start(crashes.job())
                time.sleep(chance.uniform(0, longest))
                kill(pid)
                code, said = evolvers.wait()
                crashes.check()
                if code == 0:
                    break
                assert code == KILLED, (seed, said)
                kills += 1
                longest *= 1.05  # on a machine that got slower it must come to its end as well
            crashes.check_traces()
            assert crashes.end() == END, seed
        print(f"{kills} kills in {worlds} cycles", flush=True)


def calm_seconds(folder: Path, evolvers: Evolvers) -> float:
    with pytest.MonkeyPatch.context() as patch, crash_world(folder, patch, evolvers) as calm:
        began = time.monotonic()
        assert calm.run() == (0, "")
        return time.monotonic() - began


def calm_steps(folder: Path, evolvers: Evolvers, script: str) -> list[str]:
    with pytest.MonkeyPatch.context() as patch, crash_world(folder, patch, evolvers, script) as calm:
        assert calm.run() == (0, "")
        return calm.steps()


def kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # not yet the leader of its group, or it has ended by itself
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("script", ENDS)
def test_one_kill_at_each_step(tmp_path: Path, evolvers: Evolvers, script: str) -> None:
    """Each time that it comes up, in a data folder of its own. Of a trial: at the steps that a cycle has not."""
    steps = calm_steps(tmp_path / "calm", evolvers, script)
    elsewhere = set(calm_steps(tmp_path / "cycle", evolvers, "cycle")) if script != "cycle" else set()
    for number, step in enumerate(steps):
        if step in elsewhere:
            continue
        occurrence = steps[: number + 1].count(step)
        with (
            pytest.MonkeyPatch.context() as patch,
            crash_world(tmp_path / str(number), patch, evolvers, script) as crashes,
        ):
            assert crashes.run(step, occurrence=occurrence)[0] == KILLED, (step, occurrence)
            crashes.check()
            assert crashes.run() == (0, ""), (step, occurrence)
            crashes.check_traces()
            assert crashes.end() == ENDS[script], (step, occurrence)
        shutil.rmtree(tmp_path / str(number))
