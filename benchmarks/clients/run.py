"""Applications of real frameworks, their unlabelled traffic, one cycle, and the same applications again.

The applications (applications.py) are asked through the server that people use, each with an API key and a tenant of
its own: first the fresh requests, which are not logged; then the traffic (traffic.py), which nobody labels. After one
cycle its adapter, promoted or not, is asked the fresh requests again, and two applications ask it at once. Then the
answers and the data folder are searched for what is of one tenant in another's data, and one session is forgotten.

What was done is kept in the folder of the run: a run that was cut off goes on.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.adapters import active
from agent.log.interaction_log import FILE, InteractionLog
from agent.serving.gateway.access import api_keys
from agent.serving.serving_state import ServingState
from agent.turn.messages import BASE
from benchmarks.clients.applications import APPLICATIONS
from benchmarks.clients.asking import Asking, Talk
from benchmarks.clients.forgetting import Session, forget_session, to_forget
from benchmarks.clients.learned import learned
from benchmarks.clients.outcomes import Cycle, Forgetting, Outcome, Phase, Results, Start
from benchmarks.clients.tenancy import Answer, Tenancy, tenancy
from benchmarks.clients.traffic import alone
from benchmarks.evolution import StageTimes, cycle_report, place
from evolver.cli.show import ProgressBars
from evolver.config import Config
from evolver.cycle import stages
from evolver.cycle.plan import Plan, plan
from evolver.release.release import load_registered
from evolver.store.base_model import configured_sha256
from evolver.store.cycle_folder import read_marker, write_marker
from evolver.store.jsonl import read_lines
from evolver.store.ledger import Ledger
from toolkit import durable_file
from toolkit.frozen import Frozen

_OUTCOMES, _START, _CYCLE, _TENANCY, _FORGETTING = (
    "outcomes.jsonl", "start.json", "cycle.json", "tenancy.json", "forgetting.json",
)  # fmt: skip
_PLAN, _KEYS, _SESSION = "plan.json", "keys.json", "session.json"
_ANSWERED_BY_ALIAS = "agent"
_AT_ONCE = APPLICATIONS[:2]
"""The applications that ask at the same time after the cycle."""


@dataclass(frozen=True)
class Setup:
    """Size of a run: turns of traffic of all applications together, fresh requests of each, requests of each of two
    that ask at once, changes of config.toml, and how many requests are under way at a time."""

    traffic: int = 300
    fresh: int = 100
    together: int = 10
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
            f"their own data, each with its own API key and tenant; {self.traffic} unlabelled turns (a fifth of them "
            f"in conversations, some repeated, objected to or judged), one cycle, and {self.fresh} fresh requests "
            f"each before and after, with other values in other words{size}. Intervals are 95 % (Wilson)."
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
            lambda: self._ask("after"), lambda: self._ask("together"), self._search, self._forget,
        )  # fmt: skip
        for part in parts:
            part()
            published()

    def _begin(self) -> None:
        if (self._folder / _START).exists():
            return
        cycles, data = self._ledger.cycles(), self._config.data_folder
        with InteractionLog.open_readonly(data / FILE) as log:
            _, newest = log.count()
        found = Start(
            model=active.read(data).name,
            cycles=sum(bool(cycle.ended_at) and cycle.status != "failed" for cycle in cycles),
            newest_cycle=max((cycle.number for cycle in cycles), default=0),
            newest_interaction=newest,
            **place(),
        )
        write_marker(self._folder / _START, found)

    @property
    def _start(self) -> Start:
        found = read_marker(self._folder / _START, Start)
        assert found is not None
        return found

    def _ask(self, phase: Phase) -> None:
        """Put the requests of a phase that have no outcome yet."""
        file, talks = self._folder / _OUTCOMES, list(self._talks(phase))
        done = {(one.application, one.number) for one in read_lines(file, Outcome) if one.phase == phase}
        if all((one.name, turn.number) in done for one, talk in talks for turn in talk):
            return
        asking = Asking(
            phase=phase,
            model=self._model(phase),
            url=self._serving.gateway_url,
            keys=self._keys().keys,
            file=file,
            data_folder=self._config.data_folder,
            since=self._start.newest_interaction,
            at_once=self._setup.at_once,
        )
        asking.ask(talks, lambda share, name: self._bars(phase, share, name))

    def _talks(self, phase: Phase) -> Iterator[Talk]:
        """Yield the conversations of a phase; those that are put at once in turn."""
        setup = self._setup
        if phase == "together":
            asked = [alone(one.requests("learned", setup.together)) for one in _AT_ONCE]
            yield from (
                (one, talk) for talks in zip(*asked, strict=True) for one, talk in zip(_AT_ONCE, talks, strict=True)
            )
            return
        for one in APPLICATIONS:
            fresh = alone(one.requests("fresh", setup.fresh)) if phase != "traffic" else one.traffic(setup.learned)
            yield from ((one, talk) for talk in fresh)

    def _model(self, phase: Phase) -> str:
        """Return the name of the model that a phase asks; it is loaded."""
        if phase == "traffic":
            return _ANSWERED_BY_ALIAS
        cycle = read_marker(self._folder / _CYCLE, Cycle)
        model = cycle.model if phase != "before" and cycle else self._start.model
        if model != BASE:
            base = configured_sha256(self._config, self._ledger)
            load_registered(model, self._config.data_folder, self._ledger, self._serving, base_sha256=base)
        return model

    def _keys(self) -> _Keys:
        """Return the key of each application, made at the first call. Raises UserError where a name is taken."""
        file = self._folder / _KEYS
        found = read_marker(file, _Keys) or _Keys(keys={})
        for one in APPLICATIONS:
            if one.name not in found.keys:
                key = api_keys.create(self._config.data_folder, one.name, ["chat", "feedback"], one.name)
                found = _Keys(keys={**found.keys, one.name: key})
                durable_file.replace(file, found.model_dump_json().encode())
        return found

    def _plan(self) -> None:
        if read_marker(self._folder / _PLAN, Plan) is None:
            write_marker(self._folder / _PLAN, plan(self._config, self._ledger))

    def _cycle(self) -> None:
        if (self._folder / _CYCLE).exists():
            return
        planned = read_marker(self._folder / _PLAN, Plan)
        assert planned is not None
        start, watch = self._start, StageTimes(self._bars)
        report = cycle_report(start.cycles + 1, self._config, self._ledger, watch)
        adapter, data, mined = report.of(stages.TRAIN), report.of(stages.DATASET), report.of(stages.MINE)
        cycle = report.cycle
        found = Cycle(
            number=cycle.number,
            status=cycle.status,
            reason=cycle.reason,
            model=adapter.name if adapter else active.read(self._config.data_folder).name,
            lessons=data.train if data else 0,
            over_quota=mined.over_quota if mined else 0,
            minutes=round(((cycle.ended_at or cycle.started_at) - cycle.started_at) / 60, 1),
            seconds=watch.seconds,
            learned=tuple(learned(self._config, report, planned, self._setup.learned, start.newest_interaction)),
        )
        write_marker(self._folder / _CYCLE, found)

    def _search(self) -> None:
        if (self._folder / _TENANCY).exists():
            return
        start, outcomes = self._start, read_lines(self._folder / _OUTCOMES, Outcome)
        found = tenancy(
            self._config.data_folder,
            [_answer(one) for one in outcomes],
            newest_cycle=start.newest_cycle,
            newest_interaction=start.newest_interaction,
        )
        write_marker(self._folder / _TENANCY, found)

    def _forget(self) -> None:
        cycle, file = read_marker(self._folder / _CYCLE, Cycle), self._folder / _SESSION
        if (self._folder / _FORGETTING).exists() or cycle is None:
            return
        since = self._start.newest_interaction
        chosen = read_marker(file, Session) or to_forget(self._config.data_folder, cycle.number, since)
        write_marker(file, chosen)  # cut off in the middle, the same session is gone on with
        write_marker(self._folder / _FORGETTING, forget_session(self._config, self._ledger, chosen))
        durable_file.remove(file)


def read_results(folder: Path, setup: Setup) -> Results:
    """Return what a run has measured so far."""
    return Results(
        setting=setup.told(),
        start=read_marker(folder / _START, Start),
        outcomes=tuple(read_lines(folder / _OUTCOMES, Outcome)),
        plan=read_marker(folder / _PLAN, Plan),
        cycle=read_marker(folder / _CYCLE, Cycle),
        tenancy=read_marker(folder / _TENANCY, Tenancy),
        forgetting=read_marker(folder / _FORGETTING, Forgetting),
    )


def _answer(one: Outcome) -> Answer:
    """Return what came of a request, without the request."""
    said = one.model_dump_json(include={"calls", "text", "problem"})
    return Answer(one.application, f"{one.phase} {one.application} {one.number}", said)
