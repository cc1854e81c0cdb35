"""One evolution cycle: the stages in order. The only file that composes stages.

Each stage gets the values before it and returns a frozen value; it is stored in the cycle's folder when the stage is
done, its marker. A cycle that was cut off goes on at the first stage without one.
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from agent.config import LoopConfig
from agent.errors import AdapterError, ModelUnavailable
from agent.interaction_log import InteractionLog
from agent.loop import Agent
from agent.messages import BASE
from agent.model_client import HttpModelClient
from agent.prompt import PROMPT_VERSION
from agent.serving import active_adapter, default_model, state
from agent.serving.lock import EVOLVE, process_lock
from agent.serving.state import ServingState
from evolver import adapter_files, dataset, evaluate, gate, make, mine, release, suites, verify
from evolver.config import Config
from evolver.errors import StageError
from evolver.generate import Generator
from evolver.jsonl import read_lines
from evolver.ledger import CycleRow, Ledger
from evolver.text import normalised
from evolver.train import train
from evolver.types import Adapter, Dataset, EvalReport, GateDecision, Made, Mined, Trace, Verified
from toolkit.errors import SandboxUnavailable, UserError
from toolkit.execute import Executor, open_executor
from toolkit.search import ToolIndex

V = TypeVar("V", bound=BaseModel)
Progress = Callable[[str, float, str], None]
"""Called with the stage, the share of it that is done, and a remark."""

STAGES = ("mine", "make", "verify", "dataset", "train", "load", "evaluate", "gate", "promote")


@dataclass(frozen=True)
class CycleReport:
    """How a cycle ended, with the values of its stages as far as it came."""

    cycle: CycleRow
    made: Made | None = None
    verified: Verified | None = None
    dataset: Dataset | None = None
    adapter: Adapter | None = None
    incumbent: EvalReport | None = None
    candidate: EvalReport | None = None
    decision: GateDecision | None = None


def run_cycle(
    config: Config, ledger: Ledger, *, on_progress: Progress = lambda stage, share, remark: None
) -> CycleReport:
    """Run a cycle to its end, or go on with the one that was cut off.

    What goes wrong in a stage is recorded with its cause and ends the cycle as ``failed``; the report says so. Raises
    ModelUnavailable when no server runs: then the cycle stays open, and the next call goes on with it. Raises UserError
    when another process runs a cycle on this data folder.
    """
    with process_lock(config.data_folder, EVOLVE) as held_by:
        if held_by is not None:
            raise UserError(f"process {held_by} runs a cycle; wait for its end, or stop it")
        return _run_cycle(config, ledger, on_progress)


def _run_cycle(config: Config, ledger: Ledger, on_progress: Progress) -> CycleReport:
    serving = state.read(config.data_folder)
    if serving is None:
        raise ModelUnavailable("no server is running; start it with: agent serve")
    release.reconcile(config.data_folder, ledger)
    cycle = ledger.open_cycle()
    run = _Run(config, ledger, serving, cycle, on_progress)
    try:
        with ExitStack() as stack:
            run.open(stack)
            run.all_stages()
    except (StageError, SandboxUnavailable, AdapterError, OSError) as error:
        ledger.end_cycle(cycle.number, "failed", f"{type(error).__name__}: {error}")
    return run.report()


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
        self._folder = cycles_folder(config.data_folder) / f"{cycle.number:04d}"
        self._say = on_progress
        self._values: dict[str, BaseModel] = {}

    def open(self, stack: ExitStack) -> None:
        self._executor: Executor = stack.enter_context(open_executor(self._config.toolkit))
        url = self._serving.gateway_url
        self._client = stack.enter_context(HttpModelClient(url))
        self._generator = stack.enter_context(Generator(url, concurrency=self._evolver.make.concurrency))

    def all_stages(self) -> None:
        mined = self._stage("mine", Mined, self._mine)
        made = self._stage("make", Made, lambda: self._make(mined))
        verified = self._stage("verify", Verified, lambda: self._verify(made))
        if not any(maker != "small_talk" for maker in verified.kept_by_maker):
            self._end("nothing_to_do", "no trace with a call was kept", mined)
            return
        data = self._stage("dataset", Dataset, lambda: self._dataset(verified))
        adapter = self._stage("train", Adapter, lambda: self._train(data))
        self._stage("load", Adapter, lambda: self._load(adapter, data))
        incumbent = self._stage("incumbent", EvalReport, self._incumbent)
        candidate = self._stage("evaluate", EvalReport, lambda: self._evaluate(adapter, data))
        decision = self._stage("gate", GateDecision, lambda: gate.decide(self._evolver.gate, incumbent, candidate))
        self._finish(adapter, mined, candidate, decision)

    def report(self) -> CycleReport:
        def value(stage: str, model: type[V]) -> V | None:
            found = self._values.get(stage)
            return found if isinstance(found, model) else None

        return CycleReport(
            cycle=self._ledger.cycles(self._number)[0],
            made=value("make", Made),
            verified=value("verify", Verified),
            dataset=value("dataset", Dataset),
            adapter=value("train", Adapter),
            incumbent=value("incumbent", EvalReport),
            candidate=value("evaluate", EvalReport),
            decision=value("gate", GateDecision),
        )

    def _stage(self, name: str, model: type[V], work: Callable[[], V]) -> V:
        """The stage's stored value, or ``work``'s, which is stored when it is whole."""
        marker = self._folder / f"{name}.json"
        value = _read_marker(marker, model)
        if value is None:
            self._ledger.stage_begins(self._number, name)
            self._say(name, 0.0, "")
            value = work()
            _write_marker(marker, value)
            self._ledger.note(self._number, name, _summary(value))
        self._values[name] = value
        self._say(name, 1.0, "")
        return value

    def _mine(self) -> Mined:
        with InteractionLog.open_readonly(self._config.data_folder / "interactions.db") as log:
            new = log.read(since_id=self._ledger.mined_up_to() or None)
        return mine.mine(self._evolver.mine, new)

    def _make(self, mined: Mined) -> Made:
        return make.make(
            self._evolver.make,
            self._executor.registry,
            self._executor,
            self._generator,
            mined,
            self._folder / "traces.jsonl",
            seed=self._evolver.seed + self._number,
            on_progress=lambda share, traces: self._say("make", share, f"{traces} traces"),
        )

    def _verify(self, made: Made) -> Verified:
        return verify.verify(
            self._evolver.verify,
            read_lines(made.file, Trace),
            self._executor,
            self._folder,
            index=ToolIndex(self._executor.registry),
            generator=self._generator if self._evolver.verify.round_trip else None,
            known={normalised(trace.request) for trace in self._earlier()},
            held_out=suites.Fingerprints(),
            on_progress=lambda share: self._say("verify", share, ""),
        )

    def _dataset(self, verified: Verified) -> Dataset:
        return dataset.build(
            self._evolver.dataset,
            read_lines(verified.file, Trace),
            self._earlier(),
            list(self._executor.registry),
            self._folder / "dataset",
            shown=self._config.agent.prompt.tools_in_prompt,
            seed=self._evolver.seed + self._number,
        )

    def _train(self, data: Dataset) -> Adapter:
        name = f"adapter-{self._number:04d}"
        folder = release.adapters_folder(self._config.data_folder) / name
        if not (folder / adapter_files.MANIFEST).exists():
            train(
                self._evolver.train,
                data.folder,
                self._model_folder(),
                folder,
                name=name,
                on_progress=lambda event: self._say("train", *_train_progress(event)),
            )
        return Adapter(name=name, folder=folder, sha256=adapter_files.manifest_sha256(folder))

    def _load(self, adapter: Adapter, data: Dataset) -> Adapter:
        self._ledger.add_adapter(adapter, self._number, BASE, data.sha256)
        release.load(adapter, self._serving, base_sha256=adapter_files.model_sha256(self._model_folder()))
        return adapter

    def _incumbent(self) -> EvalReport:
        """The scores of what serves now, taken once per adapter and suite."""
        current = active_adapter.read(self._config.data_folder).name
        return score(self._config, current, self._client, self._executor, self._say)

    def _evaluate(self, adapter: Adapter, data: Dataset) -> EvalReport:
        self._load(adapter, data)  # the server may have been restarted since
        return score(self._config, adapter.name, self._client, self._executor, self._say, stage="evaluate")

    def _finish(self, adapter: Adapter, mined: Mined, candidate: EvalReport, decision: GateDecision) -> None:
        self._say("promote", 0.0, "")
        self._ledger.judge_adapter(adapter.name, "candidate", _summary(candidate))
        if decision.promote:
            if active_adapter.read(self._config.data_folder).name != adapter.name:
                reason = f"cycle {self._number}"
                release.promote(adapter.name, self._config.data_folder, self._ledger, self._serving, reason=reason)
            self._ledger.judge_adapter(adapter.name, "promoted")
            self._end("promoted", "; ".join(decision.reasons), mined)
        else:
            self._ledger.judge_adapter(adapter.name, "rejected")
            self._end("rejected", "; ".join(decision.reasons), mined)
        self._say("promote", 1.0, "")

    def _end(self, status: str, reason: str, mined: Mined) -> None:
        self._ledger.end_cycle(self._number, status, reason, mined.last_interaction_id)  # type: ignore[arg-type]

    def _earlier(self) -> list[Trace]:
        """The traces that earlier cycles kept."""
        folders = sorted(cycles_folder(self._config.data_folder).glob("[0-9]*"))
        return [
            trace
            for folder in folders
            if folder.name < self._folder.name
            for trace in read_lines(folder / "kept.jsonl", Trace)
        ]

    def _model_folder(self) -> Path:
        return default_model.resolve(self._config.agent.serving.model, self._config.data_folder)


def score(
    config: Config,
    model: str,
    client: HttpModelClient,
    executor: Executor,
    on_progress: Progress,
    *,
    suite: str = suites.HELD_OUT,
    stage: str = "incumbent",
) -> EvalReport:
    """Score ``model`` on ``suite``; an answer on file for the same model, prompt and tools is not asked again."""
    loaded = suites.load(suite)
    limits = LoopConfig(
        max_steps=config.agent.loop.max_steps, max_tokens=config.evolver.evaluate.max_tokens, temperature=0.0
    )
    agent = Agent(client, executor, ToolIndex(executor.registry), limits, config.agent.prompt)
    asked = [PROMPT_VERSION, config.agent.prompt.model_dump(), limits.model_dump(), config.agent.serving.model]
    tools = [tool.schema() for tool in executor.registry]
    setting = hashlib.sha256(json.dumps([loaded.sha256, asked, tools]).encode()).hexdigest()[:16]
    key = f"{suite}-{setting}-{model}"
    return evaluate.evaluate(
        loaded,
        model,
        agent,
        executor,
        concurrency=config.evolver.evaluate.concurrency,
        file=config.data_folder / "evaluations" / f"{key}.jsonl",
        on_progress=lambda share: on_progress(stage, share, model),
    )


def cycles_folder(data_folder: Path) -> Path:
    return data_folder / "cycles"


def _train_progress(event: dict[str, object]) -> tuple[float, str]:
    steps = event.get("steps")
    step = event.get("step")
    if not isinstance(steps, int) or not isinstance(step, int) or not steps:
        return 0.0, str(event.get("event", ""))
    return step / steps, f"loss {event.get('loss', 0.0):.3f}"


def _summary(value: BaseModel) -> dict[str, object]:
    """What of a stage's value goes into the ledger: all but the long lists."""
    return value.model_dump(mode="json", exclude={"tasks": True, "worked": True, "items": True})


def _read_marker(path: Path, model: type[V]) -> V | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None


def _write_marker(path: Path, value: BaseModel) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(value.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
