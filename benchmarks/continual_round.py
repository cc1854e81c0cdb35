"""One round of a run of continual learning: its log, its cycle, its scores."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agent.log.interaction_log import InteractionLog
from agent.models.chosen import configured_profile
from agent.serving.serving_state import ServingState
from agent.turn.messages import BASE
from benchmarks.continual_batches import Batch
from benchmarks.continual_page import Scores
from evolver.cli.show import ProgressBars
from evolver.config import Config
from evolver.crew import setup as crew_setup
from evolver.crew.crew import Crew
from evolver.crew.opening import open_crew
from evolver.crew.workshop import Rules
from evolver.demo.run import answer
from evolver.evaluation.scoring import score_requests, score_suite
from evolver.evaluation.suites import Fingerprints, Suite, bfcl
from evolver.generation.back_translation import Batch as Order
from evolver.lessons.admission import LessonPolicy, reject
from evolver.release.release import load_registered
from evolver.scores import EvalReport, Rate
from evolver.store.base_model import configured_sha256
from evolver.store.ledger import Ledger
from evolver.types import Trace
from toolkit import execute
from toolkit.frozen import Frozen

_ROUNDS_OF_MAKING = 3


@dataclass(frozen=True)
class Setup:
    """Size of a run: ``tools`` of a batch at least, ``unlabelled`` requests for the log and ``scored`` ones (None:
    all) per batch, and so many items of each of BFCL's categories (None: none, 0: all). ``changes`` of config.toml."""

    batches: int = 6
    cycles: int = 6
    tools: int = 30
    seed: int = 7
    unlabelled: int = 60
    scored: int | None = None
    bfcl_items: int | None = None
    changes: tuple[tuple[str, Any], ...] = ()

    def told(self) -> str:
        """Return the sentences that open the section."""
        size = f"; {', '.join(f'`{key} = {value}`' for key, value in self.changes)}" if self.changes else ""
        return (
            f"Written by `make bench-continual`: {self.cycles} cycles, {self.batches} batches of at least {self.tools} "
            f"built-in tools as tools of one's own{size}. With each batch some {self.unlabelled} "
            "requests without labels come into the log. The requests that score a batch were divided from those by "
            "seed; the gate asks neither. Intervals are 95 % (Wilson)."
        )


class Text(Frozen):
    """A request, as it is kept in a file."""

    request: str


@dataclass(frozen=True)
class Round:
    """What one round asks the server."""

    number: int
    config: Config
    serving: ServingState
    ledger: Ledger
    bars: ProgressBars
    setup: Setup

    def log(self, sessions: str, requests: Sequence[str]) -> None:
        """Ask those of ``requests`` that the log has not yet."""
        with InteractionLog(self.config.data_folder / "interactions.db") as log:
            known = {turn.trajectory.messages[0].content for turn in log.read()}
        missing = [request for request in requests if request not in known]
        if missing:
            with execute.open_executor(self.config.toolkit) as executor:
                sessions = f"{sessions}-{len(requests) - len(missing)}"
                answer(missing, sessions, self.config, self.serving, executor, self.bars)

    def scores(self, batch: Batch, model: str) -> Scores:
        return Scores.of(self.report(batch.suite(self.setup.scored), model))

    def report(self, suite: Suite, model: str) -> EvalReport:
        self._loaded(model)
        with self._crew() as crew:
            return score_requests(
                self.config, suite, model, crew, on_progress=lambda share: self.bars(suite.name, share, model)
            )

    def bfcl(self, model: str) -> dict[str, Rate]:
        """Return the rates of the even half of each category, where they are asked for."""
        found: dict[str, Rate] = {}
        if self.setup.bfcl_items is None:
            return found
        with self._crew() as crew:
            for category in bfcl.CATEGORIES:
                report = score_suite(
                    self.config, f"{bfcl.PREFIX}{category}:even", model, crew, limit=self.setup.bfcl_items or None,
                    on_progress=lambda share, category=category: self.bars(category, share, model),
                )  # fmt: skip
                assert isinstance(report, EvalReport)
                found[category] = report.call_accuracy if report.call_accuracy.n else report.irrelevance_accuracy
        return found

    def written(self, batch: Batch, count: int) -> list[str]:
        """Return some ``count`` requests that the base model writes for the tools of ``batch``, one per call."""
        make, found = self.config.evolver.make, list[str]()
        with self._crew(Rules(Fingerprints())) as crew, ThreadPoolExecutor(make.concurrency) as pool:
            policy = crew.here.policy
            tools = [tool for tool in policy.tools if tool.name in batch.tools and policy.may_run(tool)]
            for number in range(_ROUNDS_OF_MAKING):
                if len(found) >= count:
                    break
                rng = random.Random(f"requests {self.setup.seed} {number}")  # of no cycle
                orders = [Order(make, tool.name, rng.getrandbits(31), examples=number > 0) for tool in tools]
                traces = pool.map(lambda order: order.make(crew.here, Counter(), lambda: False), orders)
                found += _one_per_call([trace for made in traces for trace in made], policy)
        return found

    @contextmanager
    def _crew(self, rules: Rules | None = None) -> Iterator[Crew]:
        at_once = max(self.config.evolver.evaluate.concurrency, self.config.evolver.make.concurrency)
        url, key = self.serving.gateway_url, self.serving.gateway_key
        profile = configured_profile(self.config.agent.serving, self.config.data_folder)
        with open_crew(
            crew_setup.Setup(self.config.toolkit, url, key, at_once, rules, profile=profile), self.config.cluster
        ) as crew:
            yield crew.limited(self.config.evolver.evaluate.concurrency)

    def _loaded(self, model: str) -> None:
        if model != BASE:
            base = configured_sha256(self.config, self.ledger)
            load_registered(model, self.config.data_folder, self.ledger, self.serving, base_sha256=base)


def _one_per_call(traces: Sequence[Trace], policy: LessonPolicy) -> list[str]:
    fit = [trace for trace in traces if reject(trace, policy) is None]
    best = {trace.calls_key: trace for trace in sorted(fit, key=lambda trace: trace.mean_logprob)}
    return [trace.request for trace in best.values()]
