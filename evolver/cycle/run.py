"""One evolution cycle: the stages in order. The only file that composes stages.

Each stage gets the values before it and returns a frozen value; it is stored in the cycle's folder when the stage is
done, its marker. A cycle that was cut off goes on at the first stage without one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from agent.adapters import active, package
from agent.errors import AdapterError
from agent.log.interaction_log import InteractionLog
from agent.models import default_model
from agent.models.chosen import configured_profile
from agent.models.template_markers import Markers, configured_markers
from agent.serving import serving_state
from agent.serving.serving_state import ServingState
from agent.turn.choice import MOST_JUDGED
from agent.turn.messages import BASE
from evolver.augmentation.vary import vary
from evolver.config import Config
from evolver.context import Say, StageContext
from evolver.crew.crew import Crew
from evolver.crew.opening import open_crew
from evolver.crew.setup import Setup
from evolver.crew.workshop import Rules
from evolver.cycle import curves, evidence, stages, training_log
from evolver.cycle.client_tools import client_tools
from evolver.cycle.earlier_lessons import earlier_lessons, replayable, tenants
from evolver.cycle.evidence import Exam
from evolver.cycle.progress import ProgressFile
from evolver.cycle.promotion import CycleEnd, finish
from evolver.cycle.report import CycleReport, report_of
from evolver.cycle.stage_runner import Progress, StageRunner
from evolver.dataset.build import build
from evolver.errors import DiskFull, StageError, disk_is_full
from evolver.evaluation import gate
from evolver.evaluation.scoring import REPLAY, named, own_suite, score_requests, soft_scoring
from evolver.evaluation.soft_score import call_likelihood
from evolver.evaluation.suites import Suite
from evolver.generation.make import make
from evolver.lessons.client_tools import OwnTools
from evolver.lessons.held_back import without
from evolver.maintenance import retention
from evolver.mining.mine import mine
from evolver.mining.turns import LoggedTurns
from evolver.mining.uncertainty import sample_calls
from evolver.model import request_log
from evolver.model.request_log import RequestLog
from evolver.release import release, served_weights
from evolver.release.served_weights import Proved
from evolver.scores import EvalReport, GateDecision
from evolver.selection.select import select
from evolver.store import base_model, lease
from evolver.store.cycle_folder import cycle_folder, mark_tenant
from evolver.store.jsonl import read_lines
from evolver.store.ledger import Ledger
from evolver.store.seen_tools import SeenTool, ToolCatalogue
from evolver.store.tenants import check_cycle, mined_up_to, open_cycle, rows_of, seen_by, why_not_continued
from evolver.tool_making.pool import ToolPool
from evolver.tool_making.stage import make_tools
from evolver.training.supervisor import tell_progress, train
from evolver.types import Adapter, Dataset, Made, Mined, Selected, Trace, TraceKind, Varied
from evolver.verification.verify import verify
from toolkit.errors import SandboxUnavailable, UserError


def run_cycle(
    config: Config,
    ledger: Ledger,
    *,
    exam: Exam | None = None,
    on_progress: Progress = lambda stage, share, remark: None,
) -> CycleReport:
    """Run a cycle to its end, or go on with the one that was cut off. ``exam``: None for the shipped requests.

    What goes wrong in a stage is recorded with its cause and ends the cycle as ``failed``; the report says so. So ends
    one that was cut off, if tenants' rows count otherwise now than when it began. Raises
    ModelUnavailable when no server runs, DiskFull when there is no room: then the cycle stays open, and the next call
    goes on with it. Raises UserError when another process runs a cycle on this data folder, or has taken this one over,
    where the base model is quantised, where TensorBoard is wanted and missing, and for a tenant that has no adapter of
    its own. The tenant is the ledger's.
    """
    curves.check(config.evolver.tensorboard)
    with lease.held(ledger, config.evolver.daemon.lease_seconds) as check:

        def say(stage: str, share: float, remark: str) -> None:
            check()
            on_progress(stage, share, remark)

        return _run_cycle(config, ledger, exam, say)


def _run_cycle(config: Config, ledger: Ledger, exam: Exam | None, on_progress: Progress) -> CycleReport:
    check_cycle(config, ledger.tenant)
    base_model.check_trainable(config)
    serving = serving_state.running(config.data_folder)
    serving_state.check_settings(serving, config.agent)
    release.reconcile(config.data_folder, ledger)
    retention.sweep(config.data_folder, ledger, serving)
    cycle = open_cycle(config, ledger)
    number = cycle.number
    if reason := why_not_continued(config, cycle):
        ledger.end_cycle(number, "failed", reason)
        retention.sweep(config.data_folder, ledger, serving)
        return report_of(config, ledger, number)
    try:
        with _opened(config, ledger, exam or Exam(), serving, number, on_progress) as run:
            run.all_stages()
    except (StageError, SandboxUnavailable, AdapterError, OSError) as error:
        if disk_is_full(error):
            raise DiskFull from error
        ledger.end_cycle(number, "failed", f"{type(error).__name__}: {error}")
        retention.sweep(config.data_folder, ledger, serving)
    return report_of(config, ledger, number)


@contextmanager
def _opened(
    config: Config, ledger: Ledger, exam: Exam, serving: ServingState, number: int, on_progress: Progress
) -> "Iterator[_Run]":
    """Open what the stages use."""
    folder = cycle_folder(config.data_folder, number)
    mark_tenant(folder, ledger.tenant)
    shown = ProgressFile(folder)

    def say(stage: str, share: float, remark: str) -> None:
        shown.say(stage, share, remark)
        on_progress(stage, share, remark)

    evolver = config.evolver
    rules = Rules(exam.held_out, evolver.verify.drop_personal_data, evolver.make.allow_reads)
    at_once = max(evolver.make.concurrency, evolver.evaluate.concurrency)
    profile = configured_profile(config.agent.serving, config.data_folder)
    setup = Setup(config.toolkit, serving.gateway_url, serving.gateway_key, at_once, rules, _markers(config), profile)
    record = RequestLog(folder / request_log.NAME)
    with open_crew(setup, config.cluster, record=record) as crew:
        yield _Run(config, ledger, exam.suite, serving, number, folder, say, crew.limited(evolver.make.concurrency))


@dataclass(frozen=True)
class _Run:
    """One cycle in progress: its stages in order, each with what it needs."""

    config: Config
    ledger: Ledger
    shipped: Suite
    serving: ServingState
    number: int
    folder: Path
    say: Progress
    crew: Crew

    def all_stages(self) -> None:
        """Run every stage whose value is not stored yet, and end the cycle."""
        config = self.config.evolver
        run = StageRunner(self.number, self.folder, self.ledger, self.say).run
        mined = run(stages.MINE, lambda say: self._mine())
        end = CycleEnd(self.ledger, self.number, mined.last_interaction_id)
        pool = ToolPool(self.config.data_folder, self.ledger)
        if config.make.tools_per_cycle:
            context = self._context(self.crew)
            run(stages.TOOLS, lambda say: make_tools(replace(context, say=say), config.make, mined, pool))
        earlier = earlier_lessons(self.config, self.ledger, self.number)
        context = self._context(pool.lesson_crew(self.crew), earlier)
        made = run(stages.MAKE, lambda say: self._make(replace(context, say=say), mined))
        traces = read_lines(made.file, Trace)
        verified = run(stages.VERIFY, lambda say: verify(replace(context, say=say), config.verify, traces))
        if not verified.kept_by_kind.keys() - {TraceKind.NO_TOOL}:
            end.record("nothing_to_do", ["no trace with a call was kept"])
            return
        kept = read_lines(verified.file, Trace)
        selected = run(stages.SELECT, lambda say: self._select(replace(context, say=say), kept))
        if not selected.by_kind.keys() - {TraceKind.NO_TOOL}:
            end.record(
                "nothing_to_do", [f"nothing is new: {selected.model} makes all {selected.known} kept calls already"]
            )
            return
        chosen = read_lines(selected.file, Trace)
        varied = run(stages.VARY, lambda say: vary(replace(context, say=say), config.vary, chosen, traces))
        data = run(stages.DATASET, lambda say: self._dataset(context, earlier, kept, chosen, varied))
        adapter = run(stages.TRAIN, lambda say: self._train(data, [*earlier, *kept], say))
        proved = run(stages.LOAD, lambda say: self._load(adapter, data))
        incumbent = run(stages.INCUMBENT, lambda say: self._score(self._active_name(), say))
        candidate = run(stages.EVALUATE, lambda say: self._evaluate(adapter, data, say))
        decision = run(stages.GATE, lambda say: self._decide(proved, incumbent, candidate, say))
        self.say(stages.PROMOTE.name, 0.0, "")
        finish(
            self.config, self.serving, end, adapter, candidate, decision,
            better_than=incumbent.model, base_sha256=_base_sha256(self.config, self.ledger),
        )  # fmt: skip
        self.say(stages.PROMOTE.name, 1.0, "")

    def _mine(self) -> Mined:
        sampling = partial(
            sample_calls,
            model=self._active_name(),  # shadow mode has another server answer the alias
            crew=self.crew,
            prompt=self.config.agent.prompt,
            max_tokens=self.config.evolver.evaluate.max_tokens,
        )
        with InteractionLog.open_readonly(self.config.data_folder / "interactions.db") as log:
            ToolCatalogue(self.ledger).refresh(log)
            whose = rows_of(self.config, self.ledger.tenant)
            turns = LoggedTurns.since(log, mined_up_to(self.config, self.ledger), whose)
            return mine(
                self.config.evolver.mine,
                turns,
                own=OwnTools(self.crew.here.executor.registry),
                sample_calls=sampling,
                learn_from_upstream=self.config.agent.serving.shadow.learn_from_upstream,
            )

    def _make(self, context: StageContext, mined: Mined) -> Made:
        lessons = [*mined.worked, *context.earlier]
        with InteractionLog.open_readonly(self.config.data_folder / "interactions.db") as log:
            clients = client_tools(self.config.evolver.make, self._seen(), context.policy.own, lessons, log)
        return make(context, self.config.evolver.make, mined, clients=clients)

    def _context(self, crew: Crew, earlier: Sequence[Trace] = ()) -> StageContext:
        """Context of a stage that makes lessons, or tools for them, with the tools of ``crew``."""
        return StageContext(
            cycle=self.number,
            folder=self.folder,
            seed=self.config.evolver.seed + self.number,
            crew=crew,
            earlier=replayable(earlier, crew.here.executor, self._seen()),
        )

    def _seen(self) -> Sequence[SeenTool]:
        return seen_by(self.config, self.ledger.tenant, ToolCatalogue(self.ledger).tools())

    def _active_name(self) -> str:
        return active.serving(self.config.data_folder, self.ledger.tenant).name

    def _select(self, context: StageContext, kept: Sequence[Trace]) -> Selected:
        model = self._active_name()
        likelihood = partial(call_likelihood, soft_scoring(self.config, model))
        return select(context, self.config.evolver.select, kept, model=model, likelihood=likelihood)

    def _dataset(
        self,
        context: StageContext,
        earlier: Sequence[Trace],
        kept: Sequence[Trace],
        chosen: Sequence[Trace],
        varied: Varied,
    ) -> Dataset:
        """Build lessons of the ``chosen`` ones of the ``kept`` traces; the others may be replayed."""
        held = evidence.hold_back(
            self.config.data_folder, self.number, kept, earlier,
            tools=self.crew.here.executor.registry, share=self.config.evolver.gate.own_share, seed=context.seed,
        )  # fmt: skip
        learned = without([*chosen, *read_lines(varied.file, Trace)], held)
        new = {trace.id for trace in chosen}
        known = without([trace for trace in kept if trace.id not in new], held)
        before = context.earlier if self.config.evolver.dataset.replay_share else ()
        context = replace(context, earlier=[*without(before, held), *known])
        # An adapter that starts from the base model can do nothing yet.
        refill = 0 if self._parent() else len(known)
        prompt = self.config.agent.prompt
        shown, candidates = prompt.tools_in_prompt, MOST_JUDGED if prompt.judge_tools else 0
        return build(context, self.config.evolver.dataset, learned, shown=shown, candidates=candidates, refill=refill)

    def _train(self, data: Dataset, lessons: Sequence[Trace], say: Say) -> Adapter:
        """Train an adapter on ``data``; ``lessons`` are the traces that it and its parent may have learned."""
        folder, config = self.config.data_folder, self.config.evolver.train
        name, adapters = f"adapter-{self.number:04d}", release.adapters_folder(folder)
        parent = self._parent()

        with curves.curves(folder, self.number, wanted=self.config.evolver.tensorboard) as draw:

            def told(event: dict[str, Any]) -> None:
                training_log.note(self.folder, event)
                draw(event)
                tell_progress(say, event)

            train(
                config,
                data.folder,
                _model_folder(self.config),
                adapters / name,
                name=name,
                parent=adapters / parent if parent else None,
                tenant=self.ledger.tenant,
                tenants=tenants(folder, lessons),
                markers=_markers(self.config),
                profile=configured_profile(self.config.agent.serving, folder),
                cluster=self.config.cluster,
                on_progress=told,
            )
        return Adapter(name=name, folder=adapters / name, sha256=package.manifest_sha256(adapters / name))

    def _parent(self) -> str:
        """Return the adapter from which training starts, or "" for the base model."""
        pointer = active.serving(self.config.data_folder, self.ledger.tenant)
        if self.config.evolver.train.start == "base" or pointer.name == BASE:
            return ""
        release.check_served(pointer.name, pointer.sha256, self.config.data_folder)
        return pointer.name

    def _load(self, adapter: Adapter, data: Dataset) -> Proved:
        manifest = package.read_manifest(adapter.folder)
        if manifest.tenants:
            self.ledger.note(self.number, "tenants", manifest.tenants)
        self.ledger.add_adapter(adapter, self.number, manifest.parent or BASE, data.sha256)
        servers = served_weights.servers(self.config.agent.serving, self.serving)
        base_sha256 = _base_sha256(self.config, self.ledger)
        return release.load_candidate(adapter, self.serving, servers, base_sha256=base_sha256)

    def _evaluate(self, adapter: Adapter, data: Dataset, say: Say) -> EvalReport:
        self._load(adapter, data)  # the server may have been restarted since
        return self._score(adapter.name, say)

    def _score(self, model: str, say: Say, suite: Suite | None = None, variant: str = "") -> EvalReport:
        """An answer on file for the same model, prompt and tools is not asked again."""
        report = score_requests(
            self.config,
            suite or self.shipped,
            model,
            self.crew.limited(self.config.evolver.evaluate.concurrency),
            variant=variant,
            on_progress=lambda share: say(share, model),
        )
        self.ledger.record_evaluation(report)
        return report

    def _decide(self, proved: Proved, incumbent: EvalReport, candidate: EvalReport, say: Say) -> GateDecision:
        held, new = evidence.own_requests(self.config, self.ledger, self.number, self.crew.here.executor)
        own = self._both(incumbent, candidate, say, own_suite(held)) if held else None
        guards: list[tuple[EvalReport, EvalReport]] = []
        for name in self.config.evolver.gate.guard_suites:
            if name == REPLAY and incumbent.model == BASE:
                continue  # it has no skill to lose
            try:
                found = named(self.config, name, candidate.model, tenant=self.ledger.tenant)
            except UserError as error:
                raise StageError(f"[evolver.gate] guard_suites: {error}") from error
            guards.append(self._both(incumbent, candidate, say, *found))
        return gate.decide(
            self.config.evolver.gate, incumbent, candidate, guards,
            own=own, new=new, look=evidence.look(self.ledger, self.number), unproved=proved.missing,
        )  # fmt: skip

    def _both(
        self, incumbent: EvalReport, candidate: EvalReport, say: Say, suite: Suite, variant: str = ""
    ) -> tuple[EvalReport, EvalReport]:
        old, now = (self._score(one.model, say, suite, variant) for one in (incumbent, candidate))
        return old, now


def _model_folder(config: Config) -> Path:
    return default_model.resolve(config.agent.serving.model, config.data_folder)


def _base_sha256(config: Config, ledger: Ledger) -> str:
    return base_model.sha256(_model_folder(config), ledger)


def _markers(config: Config) -> Markers:
    serving = config.agent.serving
    return configured_markers(serving, default_model.present(serving.model, config.data_folder))
