"""One evolution cycle: the stages in order. The only file that composes stages.

Each stage gets the values before it and returns a frozen value; it is stored in the cycle's folder when the stage is
done, its marker. A cycle that was cut off goes on at the first stage without one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from agent.errors import AdapterError, ModelUnavailable
from agent.interaction_log import InteractionLog
from agent.messages import BASE
from agent.model_client import HttpModelClient
from agent.serving import active_adapter, default_model, state, vllm_admin
from agent.serving.gateway import ALIAS
from agent.serving.state import ServingState
from evolver import (
    adapter_files,
    base_model,
    dataset,
    gate,
    lease,
    make,
    mine,
    own_maker,
    proof,
    release,
    request_log,
    retention,
    suites,
    tool_makers,
    vary,
    verify,
)
from evolver.config import Config
from evolver.cycle_report import CycleReport, report_of
from evolver.earlier import still_right
from evolver.effects import harmless
from evolver.errors import DiskFull, StageError, disk_is_full
from evolver.generate import Generator
from evolver.jsonl import read_lines
from evolver.ledger import CycleRow, Ledger
from evolver.markers import cycle_folder, read_marker
from evolver.probe import probe
from evolver.proof import Proved
from evolver.request_log import RequestLog
from evolver.scoring import REPLAY, named, score_requests
from evolver.stages import Progress, Stages, summary
from evolver.suites import Suite
from evolver.tool_pool import ToolPool
from evolver.train import TrainConfig, progress_remark, train
from evolver.types import (
    Adapter,
    Call,
    CycleStatus,
    Dataset,
    EvalReport,
    GateDecision,
    Made,
    Mined,
    OwnMaker,
    ToolsMade,
    Trace,
    Varied,
    Verified,
)
from toolkit.errors import SandboxUnavailable, UserError
from toolkit.execute import Executor, open_executor
from toolkit.search import ToolIndex

_REPAIRABLE = 200
"""Interactions before the new ones that a new turn may repair."""

STAGES = ("mine", "make", "verify", "vary", "dataset", "train", "load", "evaluate", "gate", "promote")


def run_cycle(
    config: Config, ledger: Ledger, *, on_progress: Progress = lambda stage, share, remark: None
) -> CycleReport:
    """Run a cycle to its end, or go on with the one that was cut off.

    What goes wrong in a stage is recorded with its cause and ends the cycle as ``failed``; the report says so. Raises
    ModelUnavailable when no server runs, DiskFull when there is no room: then the cycle stays open, and the next call
    goes on with it. Raises UserError when another process runs a cycle on this data folder, or has taken this one over.
    """
    with lease.held(ledger, config.evolver.daemon.lease_seconds) as check:

        def say(stage: str, share: float, remark: str) -> None:
            check()
            on_progress(stage, share, remark)

        return _run_cycle(config, ledger, say)


def _run_cycle(config: Config, ledger: Ledger, on_progress: Progress) -> CycleReport:
    serving = state.read(config.data_folder)
    if serving is None:
        raise ModelUnavailable("no server is running; start it with: agent serve")
    release.reconcile(config.data_folder, ledger)
    retention.sweep(config.data_folder, ledger, serving)
    cycle = ledger.open_cycle()
    run = _Run(config, ledger, serving, cycle, on_progress)
    try:
        with ExitStack() as stack:
            run.open(stack)
            run.all_stages()
    except (StageError, SandboxUnavailable, AdapterError, OSError) as error:
        if disk_is_full(error):
            raise DiskFull from error
        ledger.end_cycle(cycle.number, "failed", f"{type(error).__name__}: {error}")
        retention.sweep(config.data_folder, ledger)
    return report_of(config, ledger, cycle.number)


class _Run:
    """One cycle in progress: what its stages need, and what they gave."""

    def __init__(
        self, config: Config, ledger: Ledger, serving: ServingState, cycle: CycleRow, on_progress: Progress
    ) -> None:
        self._config = config
        self._evolver = config.evolver
        self._ledger = ledger
        self._serving = serving
        self._number = cycle.number
        self._pool = ToolPool(config.data_folder, ledger)
        self._folder = cycle_folder(config.data_folder, cycle.number)
        self._say = on_progress
        self._stages = Stages(cycle.number, self._folder, ledger, on_progress)

    def open(self, stack: ExitStack) -> None:
        self._executor: Executor = stack.enter_context(
            open_executor(self._config.toolkit, allows=harmless, insist=True)
        )
        self._servers = proof.servers(self._config.agent.serving, self._serving)
        url, key = self._serving.gateway_url, self._serving.gateway_key
        self._client = stack.enter_context(HttpModelClient(url, key))
        self._record = RequestLog(self._folder / request_log.NAME)
        serves = active_adapter.read(self._config.data_folder).name
        self._generator = stack.enter_context(self._asking(serves if self._evolver.make.maker == "solver" else BASE))

    def all_stages(self) -> None:
        mined = self._stages.run("mine", Mined, self._mine)
        own = self._stages.run("maker", OwnMaker, self._own_maker) if self._evolver.make.maker == "own" else None
        with self._making(own) as generator:
            if tool_makers.wanted(self._evolver.make):
                self._stages.run("tools", ToolsMade, lambda: self._make_tools(mined, generator))
            self._lessons = tool_makers.lesson_executor(self._executor, self._pool)
            made = self._stages.run("make", Made, lambda: self._make(mined, generator))
        verified = self._stages.run("verify", Verified, lambda: self._verify(made))
        if not any(maker != "small_talk" for maker in verified.kept_by_maker):
            self._end("nothing_to_do", "no trace with a call was kept", mined)
            return
        varied = self._stages.run("vary", Varied, lambda: self._vary(made, verified))
        data = self._stages.run("dataset", Dataset, lambda: self._dataset(verified, varied))
        adapter = self._stages.run("train", Adapter, lambda: self._train(data))
        proved = self._stages.run("load", Proved, lambda: self._load(adapter, data))
        incumbent = self._stages.run("incumbent", EvalReport, self._incumbent)
        candidate = self._stages.run("evaluate", EvalReport, lambda: self._evaluate(adapter, data))
        decision = self._stages.run("gate", GateDecision, lambda: self._decide(proved, incumbent, candidate))
        self._finish(adapter, mined, incumbent.model, candidate, decision)

    def _mine(self) -> Mined:
        with InteractionLog.open_readonly(self._config.data_folder / "interactions.db") as log:
            new = log.read(since_id=self._ledger.mined_up_to() or None)
            newest = log.read(limit=len(new) + _REPAIRABLE)
        earlier = [interaction for interaction in newest if new and interaction.id < new[0].id]
        config = self._evolver.mine
        return mine.mine(config, new, context=earlier, probe=self._probe())

    def _asking(self, model: str) -> Generator:
        url, key, most = self._serving.gateway_url, self._serving.gateway_key, self._evolver.make.concurrency
        return Generator(url, api_key=key, model=model, concurrency=most, record=self._record)

    def _own_maker(self) -> OwnMaker:
        config = self._evolver.train.model_copy(update={"max_minutes": self._evolver.make.own_minutes})
        return own_maker.learn(
            self._evolver.make,
            self._replayable(self._executor),
            self._executor,
            self._folder / "maker",
            seed=self._evolver.seed + self._number,
            made_tools={tool.name for tool in self._pool.tools()},
            base=self._generator,
            train=lambda lessons: self._trained(f"maker-{self._number:04d}", lessons, config, stage="maker"),
            asking=self._asking_own,
            judged=lambda traces, folder: self._verified(traces, self._executor, folder),
        )

    @contextmanager
    def _asking_own(self, maker: Adapter) -> Iterator[Generator]:
        """It is loaded meanwhile."""
        try:
            release.load(maker, self._serving, self._servers, base_sha256=self._base_sha256())
            with self._asking(maker.name) as generator:
                yield generator
        finally:
            with suppress(AdapterError, ModelUnavailable):
                vllm_admin.unload(self._serving.vllm_url, self._serving.vllm_key, maker.name)

    def _making(self, own: OwnMaker | None) -> AbstractContextManager[Generator]:
        """Who makes; nobody has to where a cycle goes on after that."""
        made = read_marker(self._folder / "make.json", Made)
        if own is None or own.adapter is None or not own.makes or made is not None:
            return nullcontext(self._generator)
        return self._asking_own(own.adapter)

    def _probe(self) -> mine.Probe:
        index, shown = ToolIndex(self._executor.registry), self._config.agent.prompt.tools_in_prompt
        max_tokens = self._evolver.evaluate.max_tokens
        concurrency, record = self._evolver.make.concurrency, self._record
        return lambda texts: probe(
            texts,
            ALIAS,
            self._client,
            index,
            shown=shown,
            max_tokens=max_tokens,
            concurrency=concurrency,
            record=record,
        )

    def _make_tools(self, mined: Mined, generator: Generator) -> ToolsMade:
        known = suites.Fingerprints()
        return tool_makers.make_tools(
            self._evolver.make,
            mined,
            self._executor,
            generator,
            self._pool,
            cycle=self._number,
            seed=self._evolver.seed + self._number,
            held_out=known,
            held_out_tool=known.tool,
        )

    def _make(self, mined: Mined, generator: Generator) -> Made:
        return make.make(
            self._evolver.make,
            self._lessons.registry,
            self._lessons,
            generator,
            mined,
            self._folder / "traces.jsonl",
            seed=self._evolver.seed + self._number,
            on_progress=lambda share, traces: self._say("make", share, f"{traces} traces"),
        )

    def _verify(self, made: Made) -> Verified:
        def say(share: float, fit: int) -> None:
            self._say("verify", share, f"{fit} fit")

        return self._verified(read_lines(made.file, Trace), self._lessons, self._folder, say)

    def _verified(
        self,
        traces: Sequence[Trace],
        executor: Executor,
        folder: Path,
        on_progress: Callable[[float, int], None] = lambda share, fit: None,
    ) -> Verified:
        known = suites.Fingerprints()
        found = verify.verify(
            self._evolver.verify,
            traces,
            executor,
            folder,
            index=ToolIndex(executor.registry),
            generator=self._generator,
            earlier=self._replayable(executor),
            held_out=known,
            allow_reads=self._evolver.make.allow_reads,
            on_progress=on_progress,
        )
        return found.model_copy(update={"against": known.names})

    def _vary(self, made: Made, verified: Verified) -> Varied:
        return vary.vary(
            self._evolver.vary,
            list(read_lines(verified.file, Trace)),
            read_lines(made.file, Trace),
            self._lessons,
            self._folder / "varied.jsonl",
            earlier=self._replayable(self._lessons),
            held_out=suites.Fingerprints(),
            seed=self._evolver.seed + self._number,
            personal_data=self._evolver.verify.drop_personal_data,
            on_progress=lambda share, more: self._say("vary", share, f"{more} more"),
        )

    def _dataset(self, verified: Verified, varied: Varied) -> Dataset:
        return dataset.build(
            self._evolver.dataset,
            [*read_lines(verified.file, Trace), *read_lines(varied.file, Trace)],
            self._replayable(self._lessons),
            list(self._lessons.registry),
            self._folder / "dataset",
            shown=self._config.agent.prompt.tools_in_prompt,
            seed=self._evolver.seed + self._number,
            executor=self._lessons,
            held_out=suites.Fingerprints(),
            personal_data=self._evolver.verify.drop_personal_data,
        )

    def _tenants(self) -> dict[str, int]:
        """Whose logged turns the lessons, and those of earlier cycles that they may replay, come from, and how many;
        empty where no turn is anybody's."""
        origins: set[str] = set()
        for trace in [*self._earlier, *read_lines(self._folder / "kept.jsonl", Trace)]:
            origins |= {trace.origin, *trace.also_from} - {""}
        with InteractionLog.open_readonly(self._config.data_folder / "interactions.db") as log:
            tenants = log.tenants(origins)
        return tenants if set(tenants) - {""} else {}

    def _train(self, data: Dataset) -> Adapter:
        tenants, parent = self._tenants(), self._parent()
        return self._trained(
            f"adapter-{self._number:04d}",
            data.folder,
            self._evolver.train,
            stage="train",
            parent=parent,
            tenants=tenants,
        )

    def _trained(
        self,
        name: str,
        lessons: Path,
        config: TrainConfig,
        *,
        stage: str,
        parent: Path | None = None,
        tenants: Mapping[str, int] | None = None,
    ) -> Adapter:
        folder = release.adapters_folder(self._config.data_folder) / name
        train(
            config,
            lessons,
            self._model_folder(),
            folder,
            name=name,
            parent=parent,
            tenants=tenants,
            on_progress=lambda event: self._say_training(event, stage),
        )
        return Adapter(name=name, folder=folder, sha256=adapter_files.manifest_sha256(folder))

    def _parent(self) -> Path | None:
        """The folder of what serves, where training goes on from that."""
        serving = active_adapter.read(self._config.data_folder).name
        if self._evolver.train.start == "base" or serving == BASE:
            return None
        return release.adapters_folder(self._config.data_folder) / serving

    def _say_training(self, event: dict[str, Any], stage: str) -> None:
        if event["event"] == "loaded":
            self._say(stage, 0.0, event["unshared"] or "")
        elif event["event"] == "step":
            self._say(stage, event["step"] / event["steps"], progress_remark(event))

    def _load(self, adapter: Adapter, data: Dataset) -> Proved:
        manifest = adapter_files.read_manifest(adapter.folder)
        if manifest.tenants:
            self._ledger.note(self._number, "tenants", manifest.tenants)
        self._ledger.add_adapter(adapter, self._number, manifest.parent or BASE, data.sha256)
        return release.load(adapter, self._serving, self._servers, base_sha256=self._base_sha256())

    def _incumbent(self) -> EvalReport:
        """The scores of what serves now, taken once per adapter and suite."""
        return self._score(active_adapter.read(self._config.data_folder).name, "incumbent")

    def _evaluate(self, adapter: Adapter, data: Dataset) -> EvalReport:
        self._load(adapter, data)  # the server may have been restarted since
        return self._score(adapter.name, "evaluate")

    def _score(self, model: str, stage: str, suite: Suite | None = None, variant: str = "") -> EvalReport:
        """An answer on file for the same model, prompt and tools is not asked again."""
        report = score_requests(
            self._config,
            suite or suites.load(suites.HELD_OUT),
            model,
            variant=variant,
            client=self._client,
            executor=self._executor,
            on_progress=lambda share: self._say(stage, share, model),
        )
        self._ledger.record_evaluation(report)
        return report

    def _decide(self, proved: Proved, incumbent: EvalReport, candidate: EvalReport) -> GateDecision:
        guards: list[tuple[EvalReport, EvalReport]] = []
        for name in self._evolver.gate.guard_suites:
            if name == REPLAY and incumbent.model == BASE:
                continue  # it has no skill to lose
            try:
                found = named(self._config.data_folder, name, candidate.model, self._executor)
            except UserError as error:
                raise StageError(f"[evolver.gate] guard_suites: {error}") from error
            old, new = (self._score(model, "gate", *found) for model in (incumbent.model, candidate.model))
            guards.append((old, new))
        return gate.decide(self._evolver.gate, incumbent, candidate, guards, unproved=proved.missing)

    def _finish(
        self, adapter: Adapter, mined: Mined, incumbent: str, candidate: EvalReport, decision: GateDecision
    ) -> None:
        self._say("promote", 0.0, "")
        changes = [change for change in self._ledger.releases() if change.cycle == self._number]
        if changes:
            # It was cut off after its promotion. Whoever changed what serves since then is not overruled.
            promoted = any(change.adapter == adapter.name for change in changes)
            self._end("promoted" if promoted else "waiting", "; ".join(decision.reasons), mined)
            return
        self._ledger.judge_adapter(adapter.name, "candidate", summary(candidate))
        place = (self._config.data_folder, self._ledger)
        waits = release.why_it_waits(self._evolver.release, *place, better_than=incumbent)
        if not decision.promote:
            self._judged("rejected", adapter, mined, decision.reasons)
        elif waits:
            self._judged("waiting", adapter, mined, (waits, *decision.reasons))
        elif share := self._evolver.release.canary_share:
            release.begin_trial(
                adapter.name, *place, self._serving, share=share, cycle=self._number, base_sha256=self._base_sha256()
            )
            self._end("waiting", "; ".join((f"on trial with {share:.0%} of the sessions", *decision.reasons)), mined)
        else:
            reason = f"cycle {self._number}"
            release.promote(
                adapter.name, *place, self._serving, reason=reason, cycle=self._number, base_sha256=self._base_sha256()
            )
            self._end("promoted", "; ".join(decision.reasons), mined)
        self._say("promote", 1.0, "")

    def _judged(
        self, state: Literal["rejected", "waiting"], adapter: Adapter, mined: Mined, reasons: tuple[str, ...]
    ) -> None:
        with self._ledger.together():
            self._ledger.judge_adapter(adapter.name, state)
            self._end(state, "; ".join(reasons), mined)

    def _end(self, status: CycleStatus, reason: str, mined: Mined) -> None:
        self._ledger.end_cycle(self._number, status, reason, mined.last_interaction_id)

    @cached_property
    def _earlier(self) -> list[Trace]:
        """What earlier cycles kept and is still right. Nobody forgets while the cycle holds the lease."""
        failed = {cycle.number for cycle in self._ledger.cycles() if cycle.status == "failed"}
        return still_right(self._config.data_folder, before=self._number, failed=failed)

    def _replayable(self, executor: Executor) -> list[Trace]:
        """Those of them whose calls the tools still take: people change their tools."""

        def taken(call: Call) -> bool:
            tool = executor.registry.get(call.name)
            return tool is not None and executor.problem(tool, call.arguments) is None

        return [trace for trace in self._earlier if all(map(taken, trace.calls))]

    def _model_folder(self) -> Path:
        return default_model.resolve(self._config.agent.serving.model, self._config.data_folder)

    def _base_sha256(self) -> str:
        return base_model.sha256(self._model_folder(), self._ledger)
