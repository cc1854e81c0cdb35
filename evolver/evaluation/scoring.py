"""A suite's name -> its scores. What ``evolver eval`` can measure, and how each is asked.

| name | what is asked |
| --- | --- |
| ``heldout``, ``develop`` | the shipped requests, as serving does |
| ``NAME:shuffled``, ``NAME:renamed`` | the same, with other schemas (evolver.suites.variants) |
| ``NAME:missing``, ``NAME:chained`` | made of these: without a value, or two in a row (evolver.suites.derived) |
| ``replay`` | requests that earlier cycles learned from: are old skills still there? |
| ``chat`` | the distance to the base model on requests without tools (evolver.suites.chat) |
| ``served`` | nothing: how often the people's own turns held a malformed call, from the log |
| ``bfcl:CATEGORY`` | a public benchmark (evolver.suites.bfcl) |
"""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from agent.config import LoopConfig
from agent.interaction_log import InteractionLog
from agent.loop import Agent
from agent.messages import BASE
from agent.model_client import HttpModelClient, own_headers
from agent.prompt import PROMPT_VERSION
from evolver import evaluate, suites
from evolver.config import Config
from evolver.earlier import still_right
from evolver.errors import StageError
from evolver.suites import Item, Suite, bfcl, bfcl_run, chat, variants
from evolver.suites.derived import DERIVED, derived
from evolver.types import ChatReport, EvalReport, ItemScore
from evolver.wilson import rate
from toolkit.errors import UserError
from toolkit.execute import Executor
from toolkit.search import ToolIndex

REPLAY, SERVED = "replay", "served"
_REPLAYED = 120
_ANSWER_SECONDS = 600.0

Report = EvalReport | ChatReport
Progress = Callable[[float], None]


def score_suite(
    config: Config,
    name: str,
    model: str,
    *,
    client: HttpModelClient,
    executor: Executor,
    gateway_url: str,
    gateway_key: str = "",
    limit: int | None = None,
    on_progress: Progress = lambda share: None,
) -> Report:
    """``model``'s scores on the suite ``name``, the first ``limit`` requests of it; resumable: what is on file for the
    same model, suite and setting is not asked again.

    Raises UserError for an unknown name, PrerequisiteError where a package is missing, and as ``evaluate`` does.
    """
    run = _Run(config, model, client, executor, limit, on_progress)
    if name == chat.NAME:
        suite = run.first(_without_calls(suites.load(suites.DEVELOPMENT)))
        http = httpx.Client(
            base_url=gateway_url, headers=own_headers(gateway_key), trust_env=False, timeout=_ANSWER_SECONDS
        )
        with http:
            return chat.drift(suite, model, http, concurrency=config.evolver.evaluate.concurrency)
    if name == SERVED:
        return served(config.data_folder, model, limit)
    if name.startswith(bfcl.PREFIX):
        return run.bfcl(bfcl.load(name))
    return run.suite(*named(config.data_folder, name, model, executor))


def score_requests(
    config: Config,
    suite: Suite,
    model: str,
    *,
    variant: str = "",
    client: HttpModelClient,
    executor: Executor,
    on_progress: Progress = lambda share: None,
) -> EvalReport:
    """``model``'s scores on ``suite`` or a ``variant`` of it, asked as serving does. Raises as ``evaluate`` does."""
    return _Run(config, model, client, executor, None, on_progress).suite(suite, variant)


def named(data_folder: Path, name: str, model: str, executor: Executor) -> tuple[Suite, str]:
    """The suite ``name`` as it is for ``model``, and the variant of it that is meant. Raises UserError, and
    SandboxUnavailable where ``executor`` cannot run what the suite is derived from."""
    plain, _, variant = name.partition(":")
    suite = replayed(data_folder, model) if plain == REPLAY else _shipped(plain)
    if variant in DERIVED:
        return derived(suite, variant, executor), ""
    if variant and variant not in variants.VARIANTS:
        raise UserError(f"there is no variant {variant!r}; there is: {', '.join((*variants.VARIANTS, *DERIVED))}")
    return suite, variant


def replayed(data_folder: Path, model: str) -> Suite:
    """Requests with calls that the cycles before ``model``'s own learned from, as far as they are still right; before
    none: all cycles'."""
    own = model.rpartition("-")[2] if model != BASE else ""
    earlier = still_right(data_folder, before=int(own) if own.isdigit() else None)
    items = [
        Item(id=trace.id, request=trace.request, expected=trace.calls)
        for trace in earlier
        if trace.calls and not trace.history
    ]
    if not items:
        raise UserError(f"no cycle before {model} has kept a lesson, so there is nothing to replay")
    items = random.Random(0).sample(items, min(len(items), _REPLAYED))
    text = "\n".join(item.model_dump_json() for item in items)
    return Suite(name=REPLAY, sha256=hashlib.sha256(text.encode()).hexdigest(), items=tuple(items))


def served(data_folder: Path, model: str, limit: int | None = None) -> EvalReport:
    """How often the turns that ``model`` answered for people, the newest ``limit`` of them, held a malformed call."""
    with InteractionLog.open_readonly(data_folder / "interactions.db") as log:
        turns = [found for found in log.read() if found.trajectory.adapter == model]
    turns = turns if limit is None else turns[-limit:]
    if not turns:
        raise UserError(f"{model} has answered nobody yet; see: agent log")
    items = [
        ItemScore(
            id=found.id,
            needs_tool=True,
            exact=False,
            right_tool=False,
            called=bool(found.trajectory.calls),
            malformed=evaluate.is_malformed(found.trajectory),
            failed=found.trajectory.stop_reason == "failed",
        )
        for found in turns
    ]
    empty = rate(0, 0)
    report = evaluate.report(Suite(name=SERVED, sha256="", items=()), model, items)
    return report.model_copy(update={"exact": empty, "right_tool": empty, "no_call": empty})


class _Run:
    """One evaluation: who is asked, through what, and where the scores are kept."""

    def __init__(
        self,
        config: Config,
        model: str,
        client: HttpModelClient,
        executor: Executor,
        limit: int | None,
        on_progress: Progress,
    ) -> None:
        self._config = config
        self._model = model
        self._client = client
        self._executor = executor
        self._limit = limit
        self._say = on_progress
        self._concurrency = config.evolver.evaluate.concurrency
        self._max_tokens = config.evolver.evaluate.max_tokens
        self._limits = LoopConfig(max_steps=config.agent.loop.max_steps, max_tokens=self._max_tokens, temperature=0.0)

    def first(self, suite: Suite) -> Suite:
        return suite.model_copy(update={"items": suite.items[: self._limit]})

    def suite(self, suite: Suite, variant: str) -> EvalReport:
        index = ToolIndex(self._executor.registry)
        prompt = self._config.agent.prompt
        named = self.first(suite.model_copy(update={"name": f"{suite.name}:{variant}" if variant else suite.name}))
        tools = [tool.schema() for tool in self._executor.registry]
        file = self._file(named.name, [suite.sha256, prompt.model_dump(), self._limits.model_dump(), tools])
        if not variant:
            agent = Agent(self._client, self._executor, index, self._limits, prompt)
            return evaluate.evaluate(
                named, self._model, agent, self._executor,
                concurrency=self._concurrency, file=file, on_progress=self._say,
            )  # fmt: skip

        def ask(item: Item) -> ItemScore:
            turn = variants.run(
                item.request, self._model, variant,
                client=self._client, executor=self._executor, index=index, limits=self._limits, prompt=prompt,
            )  # fmt: skip
            return evaluate.score(item, turn, self._executor)

        scores = evaluate.collect(named.items, ask, concurrency=self._concurrency, file=file, on_progress=self._say)
        return evaluate.report(named, self._model, scores)

    def bfcl(self, suite: bfcl.BfclSuite) -> EvalReport:
        def ask(item: bfcl.BfclItem) -> ItemScore:
            return bfcl_run.ask(item, suite, self._model, self._client, max_tokens=self._bfcl_tokens())

        sent = hashlib.sha256(json.dumps([item.tools for item in suite.items]).encode()).hexdigest()
        scores = evaluate.collect(
            suite.items[: self._limit], ask,
            concurrency=self._concurrency,
            file=self._file(suite.name, [suite.sha256, sent, self._bfcl_tokens()]), on_progress=self._say,
        )  # fmt: skip
        return evaluate.report(suite, self._model, scores)

    def _bfcl_tokens(self) -> int:
        """Several calls with long arguments must fit."""
        return max(self._max_tokens, 400)

    def _file(self, name: str, setting: list[Any]) -> Path:
        serving = self._config.agent.serving
        served = [serving.model, serving.vllm_process.constrain_calls, serving.vllm_process.tool_parser]
        asked = [PROMPT_VERSION, served, setting]
        key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
        return self._config.data_folder / "evaluations" / f"{name.replace(':', '-')}-{key}-{self._model}.jsonl"


def _without_calls(suite: Suite) -> Suite:
    return suite.model_copy(update={"items": tuple(item for item in suite.items if not item.expected)})


def _shipped(name: str) -> Suite:
    try:
        return suites.load(name)
    except StageError as error:
        others = f"{suites.HELD_OUT}:renamed, {REPLAY}, {SERVED}, {chat.NAME}, {bfcl.PREFIX}simple_python"
        raise UserError(f"{error}; and for example: {others}") from None
