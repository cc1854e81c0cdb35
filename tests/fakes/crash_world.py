"""A data folder and a server that outlive the evolver, and what must hold of the folder at every moment."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.adapters import active, package
from agent.log.interaction_log import InteractionLog
from evolver.config import ReleaseConfig
from evolver.release import release
from evolver.store.jsonl import read_lines
from evolver.store.ledger import Ledger
from evolver.types import Trace
from tests.fakes.evolution import publish_adapter
from tests.fakes.evolver_world import World, world
from tests.fakes.killed_evolver import NAME, Evolvers, Job
from tests.fakes.postgres import PostgresServer

OLD = "adapter-0000"
"""In the scripts with a trial: one that nothing refers to, which was loaded."""
END = {
    "cycles": [(1, "promoted", True)],
    "adapters": [(NAME, "promoted", "base", 7)],
    "releases": [(NAME, "base", "cycle 1", "cycle", 1)],
    "serving": NAME,
    "loaded": ["base", NAME],
    "left over": [],
}
"""What remains of a cycle, however often it was cut off."""
_ON_TRIAL = ("base", "base", f"{NAME} answers 25% of the sessions, on trial", "cycle", 1)
_WITHDRAWN = {
    **END,
    "cycles": [(1, "waiting", True), (0, "rejected", False)],
    "adapters": [(NAME, "withdrawn", "base", 7), (OLD, "removed", "base", 0)],
    "serving": "base",
}
ENDS = {
    "cycle": END,
    "trial won, then back": {
        **_WITHDRAWN,
        "releases": [
            ("base", NAME, "turns called bad", "monitor", 0),
            (NAME, "base", "no worse on trial", "cycle", 1),
            _ON_TRIAL,
        ],
    },
    "trial lost": {**_WITHDRAWN, "releases": [("base", NAME, "worse on trial", "monitor", 0), _ON_TRIAL]},
}
"""The same of each script."""


class CrashWorld:
    """``here`` is the world; ``evolvers`` runs evolver processes in it that follow ``script``."""

    def __init__(self, here: World, evolvers: Evolvers, folder: Path, script: str) -> None:
        self.here, self.data, self._evolvers, self._folder, self.script = here, here.data, evolvers, folder, script
        self.trace = folder / "steps"
        self._logged = self._log()

    def _log(self) -> list[str]:
        with InteractionLog.open_readonly(self.data / "interactions.db") as opened:
            return [interaction.id for interaction in opened.read()]

    def run(self, step: str | None = None, *, occurrence: int = 1, act: str = "kill") -> tuple[int, str]:
        return self._evolvers.run(self.job(step, occurrence=occurrence, act=act))

    def job(self, step: str | None = None, *, occurrence: int = 1, act: str = "kill") -> Job:
        return Job(
            config=self.here.config.model_dump_json(),
            suites=str(self._folder / "suites"),
            step=step,
            occurrence=occurrence,
            act=act,
            trace=str(self.trace),
            script=self.script,
        )

    def steps(self) -> list[str]:
        """All steps since the last call, in order."""
        found = self.trace.read_text().splitlines()
        self.trace.unlink()
        return found

    def check(self) -> None:
        """What holds at every moment, also before anything is mended; and after mending, on a copy."""
        assert self._log() == self._logged
        if self.here.config.agent.database:
            return check_server(self.data)
        check_disk(self.data)
        copy = self._folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.data, copy)
        with Ledger(copy / "evolution.db") as ledger:
            release.reconcile(copy, ledger)
            releases = ledger.releases()
            assert active.read(copy).name == (releases[0].adapter if releases else "base")
            states = {row.name: row.state for row in ledger.adapters()}
            assert all(states[change.adapter] == "promoted" for change in releases[:1] if change.adapter != "base")
        return None

    def end(self) -> dict[str, Any]:
        """Compare with ENDS."""
        with Ledger(self.data / "evolution.db") as ledger:
            adapters = self.data / "adapters"
            return {
                "cycles": [(c.number, c.status, c.last_interaction_id != "") for c in ledger.cycles()],
                "adapters": [(a.name, a.state, a.parent, a.scores["call_accuracy"]["hits"]) for a in ledger.adapters()],
                "releases": [(r.adapter, r.previous, r.reason, r.by, r.cycle) for r in ledger.releases()],
                "serving": active.read(self.data).name,
                "loaded": self.here.server.models,
                "left over": sorted(p.name for p in [*adapters.glob(".*"), *self.data.glob(".*"), *adapters.glob(OLD)]),
            }

    def check_traces(self) -> None:
        """None lost or doubled: every job of the maker and every turn of the log has its traces, once."""
        folder = self.data / "cycles" / "0001"
        traces = read_lines(folder / "traces.jsonl", Trace)
        assert len({trace.id for trace in traces}) == len(traces)
        assert [trace.kind for trace in traces].count("logged") == 1
        jobs = {trace.id.rpartition("-")[0] for trace in traces if trace.kind != "logged"}
        assert jobs >= {"no_tool-0", "add_prices-0", "box_count-0", "heaviest_parcel-0", "shout_label-0"}
        kept = [trace.id for trace in read_lines(folder / "kept.jsonl", Trace)]
        assert len(set(kept)) == len(kept) and set(kept) <= {trace.id for trace in traces}
        with Ledger(self.data / "evolution.db") as ledger:
            summary = ledger.cycles(1)[0].summary
        markers = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
        assert set(markers) == set(summary)
        assert markers["make"]["traces"] == len(traces)


def check_server(data: Path) -> None:
    """The same on Postgres, where pointer and ledger change in one transaction: they never differ."""
    pointer = active.read(data)
    with Ledger(data / "evolution.db") as ledger:
        releases, adapters = ledger.releases(), ledger.adapters()
    assert pointer.name == (releases[0].adapter if releases else "base")
    for row in adapters:
        if row.state != "removed":
            package.check_adapter(data / "adapters" / row.name)
            assert package.manifest_sha256(data / "adapters" / row.name) == row.sha256
    promoted = {row.name for row in adapters if row.state in ("promoted", "withdrawn", "removed")}
    assert {change.adapter for change in releases} <= promoted | {"base"}
    for marker in data.glob("cycles/*/*.json"):
        json.loads(marker.read_text())


def check_disk(data: Path) -> None:
    """The pointer names a whole adapter or the base; ledger and log are whole; what the ledger names is there."""
    pointer = active.read(data)
    if pointer.name != "base":
        package.check_adapter(data / "adapters" / pointer.name)
        assert package.manifest_sha256(data / "adapters" / pointer.name) == pointer.sha256
    for name in ("evolution.db", "interactions.db"):
        if not (data / name).exists():
            continue
        with sqlite3.connect(data / name) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
            has_adapters = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'adapters'").fetchone()
            rows = db.execute("SELECT name, sha256, state FROM adapters").fetchall() if has_adapters else []
            named = db.execute("SELECT adapter FROM releases").fetchall() if has_adapters else []
        db.close()
        for adapter, sha256, state in rows:
            if state != "removed":
                package.check_adapter(data / "adapters" / adapter)
                assert package.manifest_sha256(data / "adapters" / adapter) == sha256
        promoted = {adapter for adapter, _, state in rows if state in ("promoted", "withdrawn", "removed")}
        assert {adapter for (adapter,) in named} <= promoted | {"base"}
    for marker in data.glob("cycles/*/*.json"):
        json.loads(marker.read_text())


@contextmanager
def crash_world(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    evolvers: Evolvers,
    script: str = "cycle",
    *,
    postgres: PostgresServer | None = None,
) -> Iterator[CrashWorld]:
    """``postgres``: the server that has log, ledger and pointer."""
    folder.mkdir(parents=True, exist_ok=True)
    with world(folder, monkeypatch, database=postgres.database() if postgres else "") as here:
        if script != "cycle":
            _for_trials(here)
        yield CrashWorld(here, evolvers, folder, script)


def _for_trials(here: World) -> None:
    """What the gate passes goes on trial, and there is an old adapter."""
    evolver = here.config.evolver.model_copy(update={"release": ReleaseConfig(canary_share=0.25)})
    here.config = here.config.model_copy(update={"evolver": evolver})
    base_sha256 = package.model_sha256(Path(here.config.agent.serving.model))
    with here.ledger() as ledger:
        with ledger.together() as db:
            db.execute("INSERT INTO cycles (number, started_at, status) VALUES (0, 0, 'rejected')")
        ledger.add_adapter(publish_adapter(here.data, OLD, base_sha256=base_sha256), 0, "base", "d")
        ledger.set_adapter_state(OLD, "rejected", {"call_accuracy": {"hits": 0}})
    here.server.models.append(OLD)
