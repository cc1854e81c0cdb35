"""A suite's name -> its scores. What ``evolver eval`` can measure, and how each is asked.

| name | what is asked |
| --- | --- |
| ``heldout``, ``develop`` | the shipped requests, as serving does |
| ``sealed`` | the same, for a release alone |
| ``NAME:shuffled``, ``NAME:renamed`` | the same, with other schemas (evolver.evaluation.suites.variants) |
| ``replay`` | requests that earlier cycles learned from: are old skills still there? |
| ``own`` | requests that were held back from learning (evolver.lessons.held_back) |
| ``chat`` | the distance to the base model on requests without tools (evolver.evaluation.suites.chat) |
| ``served`` | nothing: invalid-call rate of the people's own turns, from the log |
| ``bfcl:CATEGORY`` | a public benchmark (evolver.evaluation.suites.bfcl) |
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from agent.config import LoopConfig
from agent.log.interaction_log import InteractionLog
from agent.models.chosen import configured_profile
from agent.serving import serving_state
from agent.turn.choice import candidates
from agent.turn.messages import BASE
from evolver.config import Config
from evolver.crew.crew import Crew
from evolver.crew.workshop import Workshop
from evolver.errors import StageError
from evolver.evaluation import client_items, evaluate, suites
from evolver.evaluation.calls_only import client_for
from evolver.evaluation.soft_score import SoftScoring, bias_of
from evolver.evaluation.suites import Item, Suite, bfcl, bfcl_run, chat, variants
from evolver.lessons.held_back import held_back, without
from evolver.lessons.replay import still_right
from evolver.scores import ChatReport, EvalReport, ItemScore
from evolver.statistics import rate
from evolver.store import base_model
from evolver.store.tenants import rows_of
from evolver.types import Trace
from toolkit import builtin
from toolkit.errors import UserError
from toolkit.registry import ToolRegistry

OWN, REPLAY, SERVED = "own", "replay", "served"
_REPLAYED = 120
_FORM = 2
"""Version of the scores on file. Since 2, those of suites have the soft score."""

Report = EvalReport | ChatReport
Progress = Callable[[float], None]


def score_suite(
    config: Config,
    name: str,
    model: str,
    crew: Crew,
    *,
    limit: int | None = None,
    release: bool = False,
    tenant: str = "",
    on_progress: Progress = lambda share: None,
) -> Report:
    """Score ``model`` on the suite ``name``, the first ``limit`` requests of it; resumable: what is on file for the
    same model, suite and setting is not asked again. ``tenant``: whose suites ``own`` and ``replay``, and whose
    turns (``served``), are meant.

    Raises UserError for an unknown name, PrerequisiteError where a package is missing, and as ``evaluate`` does.
    """
    if name == SERVED:
        return score_turns(config.data_folder, model, limit, tenant=tenant)
    if (serving := serving_state.read(config.data_folder)) is not None:
        serving_state.check_settings(serving, config.agent)
    run = _Run(config, model, crew, limit, on_progress)
    if name == chat.NAME:
        return chat.drift(run.first(_without_calls(suites.read_suite(suites.DEVELOPMENT))), model, crew)
    if name.startswith(bfcl.PREFIX):
        return run.bfcl(bfcl.read_suite(name))
    return run.suite(*named(config, name, model, release=release, tenant=tenant))


def score_requests(
    config: Config,
    suite: Suite,
    model: str,
    crew: Crew,
    *,
    variant: str = "",
    on_progress: Progress = lambda share: None,
) -> EvalReport:
    """Score ``model`` on ``suite`` or a ``variant`` of it, asked as serving does. Raises as ``evaluate`` does."""
    return _Run(config, model, crew, None, on_progress).suite(suite, variant)


def soft_scoring(config: Config, model: str) -> SoftScoring:
    """Return the settings for the soft scores of ``model``, with the tools and the bias of serving."""
    profile = configured_profile(config.agent.serving, config.data_folder)
    bias = bias_of(model, config.data_folder)
    return SoftScoring(config.agent.prompt, model, bias, bool(profile.after_call))


def named(config: Config, name: str, model: str, *, release: bool = False, tenant: str = "") -> tuple[Suite, str]:
    """Return the suite ``name`` as it is for ``model`` and ``tenant``, and the variant of it that is meant. Raises
    UserError, also for the sealed suite where this is not for a ``release``."""
    plain, _, variant = name.partition(":")
    if plain == suites.SEALED and not release:
        raise UserError(f"the suite {suites.SEALED} is opened once per release, to judge it; if that is now: --release")
    if plain == OWN:
        suite = _own(config, tenant)
    else:
        suite = replayed(config, model, tenant) if plain == REPLAY else _shipped(plain)
    if variant and variant not in variants.VARIANTS:
        raise UserError(f"there is no variant {variant!r}; there is: {', '.join(variants.VARIANTS)}")
    return suite, variant


def replayed(config: Config, model: str, tenant: str = "") -> Suite:
    """Return the requests with calls that the cycles before ``model``'s own learned from, as far as they are still
    right; before none: all cycles'."""
    own = model.rpartition("-")[2] if model != BASE else ""
    earlier = _still_right(config, tenant, before=int(own) if own.isdigit() else None)
    held = held_back(config.data_folder, earlier)
    learned = [trace for trace in without(earlier, held) if trace.calls and (trace.client_turn or not trace.history)]
    if not learned:
        raise UserError(f"no cycle before {model} has kept a lesson, so there is nothing to replay")
    return _of_traces(REPLAY, random.Random(0).sample(learned, min(len(learned), _REPLAYED)))


def own_suite(held: Sequence[Trace]) -> Suite:
    """Return the suite of the traces that were ``held`` back from learning; evolver.lessons.held_back."""
    return _of_traces(OWN, held)


def askable(suite: Suite, tools: ToolRegistry) -> Suite:
    """Return ``suite`` without the requests whose expected tools are not among ``tools``."""
    known = set(tools.names())
    items = tuple(item for item in suite.items if item.tools or {call.name for call in item.expected} <= known)
    return suite.model_copy(update={"items": items})


def score_turns(data_folder: Path, model: str, limit: int | None = None, *, tenant: str = "") -> EvalReport:
    """Return the invalid-call rate of the newest ``limit`` turns that ``model`` answered for people, or for
    those of ``tenant``, if it is not "".

    The report has no items: the turns are in the log.
    """
    seen = Counter[str]()
    with InteractionLog.open_readonly(data_folder / "interactions.db") as log:
        for found in islice(log.of_adapter(model, tenant=tenant or None), limit):
            invalid, failed = evaluate.is_invalid_call(found.trajectory), found.trajectory.stop_reason == "failed"
            seen.update(turns=1, invalid=invalid, failed=failed)
    if not seen["turns"]:
        raise UserError(f"{model} has answered nobody{f' of {tenant}' if tenant else ''} yet; see: agent log")
    empty = rate(0, 0)
    return EvalReport(
        model=model,
        suite=SERVED,
        suite_sha256="",
        call_accuracy=empty,
        tool_selection_accuracy=empty,
        irrelevance_accuracy=empty,
        invalid_call_rate=rate(seen["invalid"], seen["turns"]),
        failed=seen["failed"],
        items=(),
    )


@dataclass(frozen=True)
class VariantOrder:
    """Asks for ``item`` with a variant of its tools, and scores the turn."""

    item: Item
    asking: evaluate.Asking
    variant: str

    def do(self, workshop: Workshop) -> ItemScore:
        """Score one request. Raises ModelUnavailable and SandboxUnavailable."""
        asking, executor = self.asking, workshop.executor
        client = client_for(workshop.client, calls_come_first=asking.calls_come_first)
        turn = variants.run(
            self.item.request, asking.model, self.variant, client=client, executor=executor,
            index=workshop.index, limits=asking.limits, prompt=asking.prompt,
        )  # fmt: skip
        return evaluate.score(self.item, turn, executor)


class _Run:
    """One evaluation: who is asked, through what, and where the scores are kept."""

    def __init__(self, config: Config, model: str, crew: Crew, limit: int | None, on_progress: Progress) -> None:
        self._config = config
        self._model = model
        self._crew = crew
        self._registry = crew.here.executor.registry
        self._limit = limit
        self._say = on_progress
        self._max_tokens = config.evolver.evaluate.max_tokens
        limits = LoopConfig(max_steps=config.agent.loop.max_steps, max_tokens=self._max_tokens, temperature=0.0)
        self._calls_first = configured_profile(config.agent.serving, config.data_folder).calls_come_first
        self._asking = evaluate.Asking(model, limits, config.agent.prompt, self._calls_first)

    def first(self, suite: Suite) -> Suite:
        return suite.model_copy(update={"items": suite.items[: self._limit]})

    def suite(self, suite: Suite, variant: str) -> EvalReport:
        suite = askable(suite, self._registry)
        asking, prompt = self._asking, self._asking.prompt
        named = self.first(suite.model_copy(update={"name": f"{suite.name}:{variant}" if variant else suite.name}))
        setting = [
            suite.sha256,
            prompt.model_dump(),
            asking.limits.model_dump(),
            self._tools(),
            self._shown(suite, variant),
        ]
        file = self._file(named.name, setting)
        if not variant:
            soft = soft_scoring(self._config, self._model)
            return evaluate.evaluate(named, asking, self._crew, soft_scorer=soft, file=file, on_progress=self._say)
        scores = evaluate.collect(
            named.items, lambda item: VariantOrder(item, asking, variant), self._crew, file=file, on_progress=self._say
        )
        return evaluate.report(named, self._model, scores)

    def _tools(self) -> list[Any]:
        """Return the tools as they are described, and a hash of the code of those that are built in."""
        code = _sha256(path.read_bytes() for path in sorted(Path(builtin.__path__[0]).glob("*.py")))
        return [code, [tool.schema() for tool in self._registry]]

    def _shown(self, suite: Suite, variant: str) -> str:
        """Return a hash of the candidates of each request, in their order: what the search makes of them all."""
        index, prompt = self._crew.here.index, self._config.agent.prompt
        found = [candidates(partial(index.top, item.request), prompt) for item in suite.items]
        shown = [[*first, *further] for first, further in found]
        if variant:
            pairs = zip(suite.items, shown, strict=True)
            shown = [
                [d.shown for d in variants.tools_of_variant(item.request, variant, tools)] for item, tools in pairs
            ]
        return _sha256(json.dumps([tool.schema() for tool in tools]).encode() for tools in shown)

    def bfcl(self, suite: bfcl.BfclSuite) -> EvalReport:
        sent = hashlib.sha256(json.dumps([item.tools for item in suite.items]).encode()).hexdigest()
        file = self._file(suite.name, [suite.sha256, sent, self._bfcl_tokens()])
        about = suite.model_copy(update={"items": ()})
        scores = evaluate.collect(
            suite.items[: self._limit],
            lambda item: bfcl_run.BfclOrder(item, about, self._model, self._bfcl_tokens(), self._calls_first),
            self._crew,
            file=file,
            on_progress=self._say,
        )
        return evaluate.report(suite, self._model, scores)

    def _bfcl_tokens(self) -> int:
        """Several calls with long arguments must fit."""
        return max(self._max_tokens, 400)

    def _file(self, name: str, setting: list[Any]) -> Path:
        """Return the file of the scores that were given to the same answers: its name has all that they depend on.

        The name of an adapter stands for its weights, which never change.
        """
        serving = self._config.agent.serving
        profile, judges = configured_profile(serving, self._config.data_folder), self._config.agent.prompt.judge_tools
        served = [serving.model, serving.vllm_process.constrain_calls, profile.tool_parser, judges]
        asked = [_FORM, profile.version, served, base_model.stamp(self._config), setting]
        key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
        return self._config.data_folder / "evaluations" / f"{name.replace(':', '-')}-{key}-{self._model}.jsonl"


def _still_right(config: Config, tenant: str, *, before: int | None) -> list[Trace]:
    upstream, whose = config.agent.serving.shadow.learn_from_upstream, rows_of(config, tenant)
    return still_right(config.data_folder, before=before, learn_from_upstream=upstream, tenant=whose)


def _own(config: Config, tenant: str) -> Suite:
    held = held_back(config.data_folder, _still_right(config, tenant, before=None))
    if not held:
        raise UserError("no cycle has held back a request yet: that takes four calls of tools that are not built in")
    return own_suite(held)


def _of_traces(name: str, traces: Sequence[Trace]) -> Suite:
    items = [
        client_items.item_of(trace)
        if trace.client_turn is not None
        else Item(id=trace.id, request=trace.request, expected=trace.calls, ordered=trace.sequential)
        for trace in traces
    ]
    text = "\n".join(item.model_dump_json() for item in items)
    return Suite(name=name, sha256=hashlib.sha256(text.encode()).hexdigest(), items=tuple(items))


def _sha256(parts: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()


def _without_calls(suite: Suite) -> Suite:
    return suite.model_copy(update={"items": tuple(item for item in suite.items if not item.expected)})


def _shipped(name: str) -> Suite:
    try:
        return suites.read_suite(name)
    except StageError as error:
        others = f"{suites.HELD_OUT}:renamed, {REPLAY}, {SERVED}, {chat.NAME}, {bfcl.PREFIX}simple_python"
        raise UserError(f"{error}; and for example: {others}") from None
