"""The evolver in a process group of its own that is killed, stopped or denied the disk at a named step.

Steps are what leaves the process: fsync, rename, unlink, removing a folder, each writing SQL statement, each COMMIT of
such, loading and unloading an adapter. They are caught where Python hands them over; the product's code is the one that
people run. A statement is named by what it writes, a COMMIT by its statements, so that hardly any name comes up twice.

``python -m tests.fakes.killed_evolver`` reads one job per line (JSON) and forks a process for each: see ``Job``.
"""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import agent.storage.database
import agent.storage.postgres
import toolkit.execute
from agent.adapters import active
from agent.adapters.active import ActiveAdapter
from agent.serving import serving_state
from agent.serving.upstreams import lora_api
from agent.storage.postgres import PostgresDatabase, PostgresStatements
from agent.storage.statements import LEDGER_LOCK, LOG_LOCK
from evolver.config import Config, ReleaseConfig
from evolver.cycle import run
from evolver.errors import StageError
from evolver.evaluation import suites
from evolver.maintenance import retention
from evolver.release import release
from evolver.store import lease
from evolver.store.ledger import Ledger
from tests.fakes.learner import FakeTraining
from tests.fakes.sandbox import InProcessSandbox
from tests.fakes.shop_tools import WORLD_TOOLS
from tests.fakes.written_rows import VERBS, written
from toolkit.config import ToolkitConfig
from toolkit.describing import describe
from toolkit.encoder import shared_encoder
from toolkit.errors import UserError
from toolkit.execute import Executor
from toolkit.registry import ToolRegistry

ROOT = Path(__file__).parents[2]
NAME = "adapter-0001"
_FOREVER = 1e12
"""A moment long after any turn that may still use an adapter."""


@dataclass
class Job:
    """``step`` None: run to the end. ``occurrence`` counts the times that ``step`` comes up, from 1."""

    config: str
    suites: str
    step: str | None = None
    occurrence: int = 1
    act: str = "kill"
    """kill, stop, ENOSPC or EIO."""
    trace: str = ""
    """A file to which each step is appended."""
    script: str = "cycle"
    """What is done: one of SCRIPTS."""


class Evolvers:
    """Starts evolver processes quickly: each is a fork of one that has imported everything."""

    def __enter__(self) -> "Evolvers":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.killed_evolver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._running: int | None = None
        return self

    def __exit__(self, *exc: object) -> None:
        """Kills what still runs, or was stopped: a test that failed in the middle would wait for it for ever."""
        assert self._process.stdin and self._process.stdout
        if self._running is not None:
            with suppress(ProcessLookupError):
                os.kill(self._running, signal.SIGKILL)
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, job: Job) -> int:
        """Returns the id of the process, which leads its group."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        self._running = self._hear()["pid"]
        return self._running

    def wait(self) -> tuple[int, str]:
        """Exit code (negative: the signal), and what it said."""
        heard = self._hear()
        self._running = None
        return heard["status"], heard["said"]

    def run(self, job: Job) -> tuple[int, str]:
        self.start(job)
        return self.wait()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


class Steps:
    """Counts the steps of this process, and acts at the one that the job names."""

    def __init__(self, job: Job, data: Path) -> None:
        self._job, self._data, self._seen = job, data, 0
        self._trace = os.open(job.trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if job.trace else None
        self._beating = threading.Lock()

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        self._at(f"before {name}")
        yield
        self._at(f"after {name}")

    def _at(self, step: str) -> None:
        if self._trace is not None:
            os.write(self._trace, f"{step}\n".encode())
        if step != self._job.step:
            return
        self._seen += 1
        if self._seen != self._job.occurrence:
            return
        match self._job.act:
            case "kill":
                os.killpg(0, signal.SIGKILL)
            case "stop":
                self._stop()
            case fault:
                raise OSError(getattr(errno, fault), os.strerror(getattr(errno, fault)))

    def _stop(self) -> None:
        """Stop this process between two heartbeats: in the middle of one it would keep the database locked.

        Where this thread has a transaction open, no heartbeat has one, and the wait for its end would never end.
        """
        between = self._beating.acquire(timeout=1)
        os.kill(os.getpid(), signal.SIGSTOP)
        if between:
            self._beating.release()

    def name(self, path: Any) -> str:
        """``path`` inside the data folder, without what is random in it; a draft of the pointer with what it says."""
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        if Path(path).name.startswith(f".{active.FILE}."):
            said = ActiveAdapter.model_validate_json(Path(path).read_bytes())
            return f".{active.FILE}." + "+".join([said.name, *([said.canary.name] if said.canary else [])])
        text = "." if str(path) == str(self._data) else str(path).removeprefix(f"{self._data}/")
        text = re.sub(r"(evaluations/\w+)-[0-9a-f]{16}-", r"\1-*-", text)  # a hash of this world's settings
        return re.sub(r"(\.jsonl?)\.[^./]+$", r"\1.*", text)

    def install(self) -> None:
        """Put a step around every change that outlives the process."""
        self._step_through_files()
        self._step_through_removals()
        self._step_through_loads()
        self._step_through_sql()
        self._step_through_server()

    def _step_through_files(self) -> None:
        fsync, rename, replace = os.fsync, os.rename, os.replace

        def stepping_fsync(file: Any) -> None:
            number = file if isinstance(file, int) else file.fileno()
            with self.around(f"fsync {self.name(number)}"):
                fsync(number)

        def stepping(move: Callable[..., None]) -> Callable[..., None]:
            def stepping_move(source: Any, target: Any, **rest: Any) -> None:
                with self.around(f"rename {self.name(source)} to {self.name(target)}"):
                    move(source, target, **rest)

            return stepping_move

        os.fsync, os.rename, os.replace = stepping_fsync, stepping(rename), stepping(replace)

    def _step_through_removals(self) -> None:
        unlink, rmtree = os.unlink, shutil.rmtree

        def stepping_unlink(path: Any, **rest: Any) -> None:
            if not str(path).startswith(str(self._data)):  # tempfile tries out its folder under a random name
                return unlink(path, **rest)
            with self.around(f"unlink {self.name(path)}"):
                return unlink(path, **rest)

        def stepping_rmtree(path: Any, *rest: Any, **named: Any) -> None:
            if not str(path).startswith(str(self._data)) or not Path(path).exists():
                return rmtree(path, *rest, **named)
            with self.around(f"remove {self.name(path)}"):
                return rmtree(path, *rest, **named)

        os.unlink = stepping_unlink
        shutil.rmtree = stepping_rmtree  # type: ignore[assignment]

    def _step_through_loads(self) -> None:
        """The heart beats between steps only."""
        load, unload, renew = lora_api.load, lora_api.unload, lease._Heartbeat._renew_if_mine

        def stepping_load(url: str, key: str, name: str, folder: Path, **rest: Any) -> None:
            with self.around(f"load {name}"):
                load(url, key, name, folder, **rest)

        def stepping_unload(url: str, key: str, name: str) -> None:
            with self.around(f"unload {name}"):
                unload(url, key, name)

        def renew_alone(heartbeat: lease._Heartbeat) -> None:
            with self._beating:
                renew(heartbeat)

        lora_api.load, lora_api.unload = stepping_load, stepping_unload
        lease._Heartbeat._renew_if_mine = renew_alone

    def _step_through_server(self) -> None:
        """The same statements and commits on Postgres."""
        steps = self

        class Stepping:
            def __init__(self, statements: PostgresStatements, database: "Database") -> None:
                self._statements, self._database = statements, database

            def execute(self, sql: str, parameters: Any = None, /) -> Any:
                words = sql.split()
                name = written(words, *([parameters] if parameters else [])) if words[0] in VERBS else ""
                if not name:
                    return self._statements.execute(sql, parameters)
                self._database.written = tuple(dict.fromkeys([*self._database.written, name]))
                with steps.around(f"sql {name}"):
                    return self._statements.execute(sql, parameters)

        class Database(PostgresDatabase):
            written: Sequence[str] = ()

            def __init__(self, url: str, *, lock: int = LOG_LOCK, **rest: Any) -> None:
                self._steps = lock == LEDGER_LOCK
                super().__init__(url, lock=lock, **rest)

            @contextmanager
            def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[Any]:
                with super().transaction(begin) as statements:
                    self.written = ()
                    yield Stepping(statements, self) if self._steps else statements

            def _commit(self, *, reads: bool) -> None:
                name = f"commit of {', '.join(self.written)}"
                with steps.around(name) if self.written else nullcontext():
                    super()._commit(reads=reads)

        agent.storage.postgres.PostgresDatabase = Database  # type: ignore[misc]

    def _step_through_sql(self) -> None:
        connect = agent.storage.database._connect
        steps, sqlite3 = self, agent.storage.database.sqlite3

        class Connection(sqlite3.Connection):
            written: Sequence[str] = ()

            def execute(self, sql: str, *rest: Any) -> Any:
                words = sql.split()
                if not words or "_sqlite_migrations" in sql:
                    return super().execute(sql, *rest)
                if words[0] == "BEGIN":
                    self.written = ()
                if words[0] == "COMMIT" and self.written:
                    with steps.around(f"commit of {', '.join(self.written)}"):
                        return super().execute(sql, *rest)
                name = written(words, *rest) if words[0] in VERBS else ""
                if not name:
                    return super().execute(sql, *rest)
                self.written = tuple(dict.fromkeys([*self.written, name]))
                with steps.around(f"sql {name}"):
                    return super().execute(sql, *rest)

        def stepping_connect(uri: str) -> Any:
            if "evolution.db" not in uri or "mode=ro" in uri:
                return connect(uri)
            return sqlite3.connect(uri, uri=True, timeout=30.0, check_same_thread=False, factory=Connection)

        agent.storage.database._connect = stepping_connect


def one_cycle(config: Config, ledger: Ledger) -> None:
    """A new one where none came to its end, or the rest of one."""
    if all(row.status in ("running", "failed") for row in ledger.cycles() if row.number):
        run.run_cycle(config, ledger)


def trial_won(config: Config, ledger: Ledger) -> None:
    serving = serving_state.read(config.data_folder)
    release.promote_from_trial(NAME, config.data_folder, ledger, serving, reason="no worse on trial")


def trial_lost(config: Config, ledger: Ledger) -> None:
    release.end_trial(NAME, config.data_folder, ledger, reason="worse on trial", by="monitor")


def monitor_goes_back(config: Config, ledger: Ledger) -> None:
    serving = serving_state.read(config.data_folder)
    release.rollback(config.data_folder, ledger, serving, reason="turns called bad", by="monitor", only_from=NAME)


def retire(config: Config, ledger: Ledger) -> None:
    """And what the next cycle begins with."""
    serving = serving_state.read(config.data_folder)
    retention.retire(ReleaseConfig(keep_adapters=1), config.data_folder, ledger, serving, _FOREVER)
    retention.sweep(config.data_folder, ledger)


SCRIPTS: dict[str, tuple[Callable[[Config, Ledger], None], ...]] = {
    "cycle": (one_cycle,),
    "trial won, then back": (one_cycle, trial_won, monitor_goes_back, retire),
    "trial lost": (one_cycle, trial_lost, retire),
}
"""What the daemon does, without what it decides by. Each part does nothing where it was done."""


def evolve(job: Job) -> None:
    """What the job's script says, or the rest of it, in this process."""
    config = Config.model_validate_json(job.config)
    folder = Path(job.suites)
    suites.files = lambda _: folder
    run.train = FakeTraining()  # type: ignore[assignment]

    @contextmanager
    def executor(_: ToolkitConfig, *, insist: bool = False, **options: Any) -> Iterator[Executor]:
        yield Executor(ToolRegistry(describe(function) for function in WORLD_TOOLS), InProcessSandbox(), **options)

    toolkit.execute.open_executor = executor
    Steps(job, config.data_folder).install()
    with Ledger(config.data_folder / "evolution.db") as ledger:
        for part in SCRIPTS[job.script]:
            part(config, ledger)


def _child(job: Job, said: int, loaded: int) -> int:
    os.setsid()
    before = set(sys.modules)
    try:
        evolve(job)
        os.write(loaded, " ".join(set(sys.modules) - before).encode())
    except (UserError, StageError) as error:
        os.write(said, str(error).encode())
        return 2
    except BaseException:  # noqa: BLE001  # a forked process must not go on in its parent's code
        os.write(said, traceback.format_exc().encode())
        return 1
    return 0


def main() -> None:
    """Fork for each job. What one loaded late is loaded here, so that the many hundred after it need not."""
    shared_encoder()  # it computes in one thread, so that a fork can use it
    for line in sys.stdin:
        job = Job(**json.loads(line))
        (hear, say), (names, loaded) = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(hear)
            os.close(names)
            os._exit(_child(job, say, loaded))
        os.close(say)
        os.close(loaded)
        print(json.dumps({"pid": pid}), flush=True)
        with os.fdopen(hear, encoding="utf-8") as words, os.fdopen(names, encoding="utf-8") as modules:
            said = words.read()
            late = modules.read().split()
        for name in late:
            with suppress(ImportError):
                import_module(name)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "said": said}), flush=True)


if __name__ == "__main__":
    main()
