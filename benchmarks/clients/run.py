"""Applications of real frameworks, their unlabelled traffic, one cycle, and the same applications again.

The applications (applications.py) are asked through the server that people use, each with an API key and a tenant of
its own: first the fresh requests, which are not logged; then those that are learned from, which nobody labels. After
one cycle its adapter, promoted or not, is asked the fresh requests again. Then the data folder is searched for what is
of one tenant in another's data, and one session is forgotten.

What was done is kept in the folder of the run: a run that was cut off goes on.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.adapters import active
from agent.log.entries import GATEWAY_SOURCE
from agent.log.interaction_log import FILE, InteractionLog
from agent.serving.gateway.access import api_keys
from agent.serving.serving_state import ServingState
from agent.turn.messages import BASE
from benchmarks.clients.applications import APPLICATIONS, Application, has_succeeded, is_exact
from benchmarks.clients.frameworks import Door, ask
from benchmarks.clients.outcomes import Cycle, Forgetting, Learned, Outcome, Phase, Results, Session, Start
from benchmarks.clients.requests import Request
from benchmarks.clients.tenancy import Tenancy, session_name, tenancy
from benchmarks.evolution import StageTimes, cycle_report, place
from evolver.cli.show import ProgressBars
from evolver.cli.show_plan import plan_text
from evolver.config import Config
from evolver.cycle import stages
from evolver.cycle.plan import plan
from evolver.cycle.report import CycleReport
from evolver.maintenance.audit import read_verdicts
from evolver.maintenance.forget import forget_all
from evolver.release.release import load_registered
from evolver.store.base_model import configured_sha256
from evolver.store.cycle_folder import read_marker, write_marker
from evolver.store.jsonl import append_lines, read_lines
from evolver.store.lease import held
from evolver.store.ledger import Ledger
from evolver.types import TraceKind, TraceVerdict
from toolkit import durable_file
from toolkit.frozen import Frozen

SESSION, LOG = "x-apprentice-session", "x-apprentice-log"
_OUTCOMES, _START, _CYCLE, _TENANCY, _FORGETTING = (
    "outcomes.jsonl", "start.json", "cycle.json", "tenancy.json", "forgetting.json",
)  # fmt: skip
_PLAN, _KEYS, _SESSION = "plan.txt", "keys.json", "session.json"
_ANSWERED_BY_ALIAS = "agent"


@dataclass(frozen=True)
class Setup:
    """Size of a run: turns of traffic of all applications together, fresh requests of each, changes of config.toml, and
    how many requests are under way at a time."""

    traffic: int = 300
    fresh: int = 100
    at_once: int = 4
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def learned(self) -> int:
        """Turns of traffic of each application."""
        return self.traffic // len(APPLICATIONS)

    def told(self) -> str:
        """Return the sentences that open the section."""
        size = f"; {', '.join(f'`{key} = {json.dumps(value)}`' for key, value in self.changes)}" if self.changes else ""
        return (
            f"Written by `make bench-clients`: three applications with ten tools each, which they run themselves on "
            f"their own data, each with its own API key and tenant; {self.traffic} unlabelled turns, one cycle, and "
            f"{self.fresh} fresh requests each before and after, with other values in other words{size}. "
            "Intervals are 95 % (Wilson)."
        )


class _Keys(Frozen):
    keys: dict[str, str]


class Run:
    """A run in ``folder`` against the server ``serving``, with the settings ``config``."""

    def __init__(
        self, folder: Path, setup: Setup, config: Config, serving: ServingState, ledger: Ledger, bars: ProgressBars
    ) -> None:
        self._folder, self._setup, self._config = folder, setup, config
        self._serving, self._ledger, self._bars = serving, ledger, bars

    def to_the_end(self, published: Callable[[], None]) -> None:
        """Do what has not been done; ``published`` is called after each part. Raises UserError as the cycle and the
        gateway do."""
        parts = (
            self._begin, lambda: self._ask("before"), lambda: self._ask("traffic"), self._plan, self._cycle,
            lambda: self._ask("after"), self._search, self._forget,
        )  # fmt: skip
        for part in parts:
            part()
            published()

    def _begin(self) -> None:
        if not (self._folder / _START).exists():
            ended = [cycle for cycle in self._ledger.cycles() if cycle.ended_at and cycle.status != "failed"]
            model = active.read(self._config.data_folder).name
            write_marker(self._folder / _START, Start(model=model, cycles=len(ended), **place()))

    def _ask(self, phase: Phase) -> None:
        """Put the requests of a phase that have no outcome yet."""
        file = self._folder / _OUTCOMES
        done = {(one.phase, one.application, one.number) for one in read_lines(file, Outcome)}
        count = self._setup.learned if phase == "traffic" else self._setup.fresh
        wanted = [
            (one, number, request)
            for one in APPLICATIONS
            for number, request in enumerate(one.requests("learned" if phase == "traffic" else "fresh", count))
            if (phase, one.name, number) not in done
        ]
        if not wanted:
            return
        model, keys = self._model(phase), self._keys()
        with ThreadPoolExecutor(self._setup.at_once) as pool:
            asked = pool.map(lambda each: self._outcome(phase, *each, model=model, keys=keys), wanted)
            for number, outcome in enumerate(asked, 1):
                append_lines(file, [outcome])
                self._bars(phase, number / len(wanted), outcome.application)

    def _model(self, phase: Phase) -> str:
        """Return the name of the model that a phase asks; it is loaded."""
        if phase == "traffic":
            return _ANSWERED_BY_ALIAS
        found = read_results(self._folder, self._setup)
        assert found.start is not None
        model = found.cycle.model if phase == "after" and found.cycle else found.start.model
        if model != BASE:
            base = configured_sha256(self._config, self._ledger)
            load_registered(model, self._config.data_folder, self._ledger, self._serving, base_sha256=base)
        return model

    def _outcome(
        self, phase: Phase, application: Application, number: int, request: Request, *, model: str, keys: _Keys
    ) -> Outcome:
        door = Door(
            url=self._serving.gateway_url,
            key=keys.keys[application.name],
            model=model,
            headers={SESSION: _session(phase, application, number), LOG: "wait" if phase == "traffic" else "no"},
        )
        desk = application.opened()
        got = ask(application.framework, desk, request.text, door)
        tool = request.expected[0].name if request.expected else ""
        return Outcome(
            phase=phase,
            application=application.name,
            number=number,
            tool=tool,
            effect=tool in desk.effects,
            exact=is_exact(desk, request, list(got.calls)),
            success=has_succeeded(application, request, desk),
            called=bool(got.calls),
            problem=got.problem,
        )

    def _keys(self) -> _Keys:
        """Return the key of each application, made at the first call. Raises UserError where a name is taken."""
        file = self._folder / _KEYS
        found = read_marker(file, _Keys) or _Keys(keys={})
        for one in APPLICATIONS:
            if one.name not in found.keys:
                key = api_keys.create(self._config.data_folder, one.name, ["chat"], one.name)
                found = _Keys(keys={**found.keys, one.name: key})
                durable_file.replace(file, found.model_dump_json().encode())
        return found

    def _plan(self) -> None:
        file = self._folder / _PLAN
        if not file.exists():
            durable_file.replace(file, plan_text(plan(self._config, self._ledger)).encode())

    def _cycle(self) -> None:
        if (self._folder / _CYCLE).exists():
            return
        start = read_marker(self._folder / _START, Start)
        assert start is not None
        report = cycle_report(start.cycles + 1, self._config, self._ledger, StageTimes(self._bars))
        adapter, data = report.of(stages.TRAIN), report.of(stages.DATASET)
        found = Cycle(
            number=report.cycle.number,
            status=report.cycle.status,
            reason=report.cycle.reason,
            model=adapter.name if adapter else active.read(self._config.data_folder).name,
            lessons=data.train if data else 0,
            learned=tuple(_learned(self._config, report, self._setup)),
        )
        write_marker(self._folder / _CYCLE, found)

    def _search(self) -> None:
        if not (self._folder / _TENANCY).exists():
            write_marker(self._folder / _TENANCY, tenancy(self._config.data_folder))

    def _forget(self) -> None:
        if (self._folder / _FORGETTING).exists():
            return
        data, file = self._config.data_folder, self._folder / _SESSION
        chosen = read_marker(file, Session) or _to_forget(data, self._folder)
        write_marker(file, chosen)  # cut off in the middle, the same session is gone on with
        with InteractionLog.open_readonly(data / FILE) as log:
            there = [one for one in chosen.interactions if log.find(one) is not None]
        with held(self._ledger, self._config.evolver.daemon.lease_seconds):
            gone = forget_all(data, self._ledger, there)
        found = Forgetting(
            application=chosen.application,
            session=chosen.name,
            interactions=len(chosen.interactions),
            values=gone.values,
            adapters=gone.adapters,
            client_tools=tuple(sorted(gone.client_tools)),
            left=tuple(_left(data, chosen)),
        )
        write_marker(self._folder / _FORGETTING, found)
        durable_file.remove(file)


def read_results(folder: Path, setup: Setup) -> Results:
    """Return what a run has measured so far."""
    plan_file = folder / _PLAN
    return Results(
        setting=setup.told(),
        start=read_marker(folder / _START, Start),
        outcomes=tuple(read_lines(folder / _OUTCOMES, Outcome)),
        plan=plan_file.read_text(encoding="utf-8") if plan_file.exists() else "",
        cycle=read_marker(folder / _CYCLE, Cycle),
        tenancy=read_marker(folder / _TENANCY, Tenancy),
        forgetting=read_marker(folder / _FORGETTING, Forgetting),
    )


def _session(phase: Phase, application: Application, number: int) -> str:
    return f"{phase}-{application.name}-{number}"


def _learned(config: Config, report: CycleReport, setup: Setup) -> list[Learned]:
    """Return what the cycle made of the clients' turns and tools. Only the benchmark knows which calls are right."""
    verdicts = read_verdicts(config.data_folder / "cycles" / f"{report.cycle.number:04d}")
    return [_learned_of(one, verdicts, setup) for one in APPLICATIONS]


def _learned_of(application: Application, verdicts: Sequence[TraceVerdict], setup: Setup) -> Learned:
    desk = application.opened()
    asked = {
        _session("traffic", application, number): request
        for number, request in enumerate(application.requests("learned", setup.learned))
    }
    counts = dict.fromkeys(("logged", "right", "made", "dropped", "dropped_right"), 0)
    for one in verdicts:
        trace, request = one.trace, asked.get(session_name(one.trace.provenance))
        if trace.kind in (TraceKind.LOGGED, TraceKind.REPAIRED) and request is not None:
            counts["logged" if one.verdict.kept else "dropped"] += 1
            right = is_exact(desk, request, list(trace.calls))
            counts["right" if one.verdict.kept else "dropped_right"] += right
        elif one.verdict.kept and {call.name for call in trace.calls} & set(desk.tool_names):
            counts["made"] += 1
    return Learned(application=application.name, **counts)


def _to_forget(data_folder: Path, folder: Path) -> Session:
    """Return the session of the cycle's first lesson of a logged turn, or the first session where there is none."""
    cycle = read_marker(folder / _CYCLE, Cycle)
    verdicts = read_verdicts(data_folder / "cycles" / f"{cycle.number:04d}") if cycle else []
    taught = {session_name(one.trace.provenance) for one in verdicts if one.verdict.kept} - {""}
    with InteractionLog.open_readonly(data_folder / FILE) as log:
        turns = [turn for turn in log.read() if turn.source == GATEWAY_SOURCE and turn.tenant]
    first = next((turn for turn in turns if turn.session in taught), turns[0])
    mine = [turn for turn in turns if (turn.owner, turn.session) == (first.owner, first.session)]
    return Session(
        application=first.owner,
        name=first.session,
        interactions=tuple(turn.id for turn in mine),
        request=first.trajectory.messages[0].content,
    )


def _left(data_folder: Path, gone: Session) -> list[str]:
    """Return the files of the cycles and evaluations, and the log, that still name one of these interactions or have
    the request."""
    told = [*gone.interactions, json.dumps(gone.request, ensure_ascii=False)[1:-1]]
    files = [file for name in ("cycles", "evaluations") for file in sorted((data_folder / name).rglob("*.json*"))]
    found = [str(file.relative_to(data_folder)) for file in files if _has(file, told)]
    with InteractionLog.open_readonly(data_folder / FILE) as log:
        kept = any(log.find(one) is not None for one in gone.interactions)
    return [*found, *([FILE] if kept else [])]


def _has(file: Path, texts: Sequence[str]) -> bool:
    content = file.read_text(encoding="utf-8", errors="replace")
    return any(text in content for text in texts)
