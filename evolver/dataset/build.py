"""Kept traces -> a frozen dataset of lessons, grouped by tool context.

A context is a set of tools as serving would show them. Each carries lessons that rightly call one of its tools and
lessons that rightly do not, the same requests on both sides: what differs is whether the tool is there (docs/decisions
/0004). Lessons of one context share its tokens, which the trainer computes once.
"""

import random
from collections import Counter
from collections.abc import Sequence

from evolver.config import DatasetConfig
from evolver.context import StageContext
from evolver.dataset.client_rows import client_rows, without_served
from evolver.dataset.parallel import compose
from evolver.dataset.rows import Row, call_row, candidate_row, declined_row, repaired_row, spoken_row
from evolver.dataset.split import split
from evolver.lessons.rename_tools import rename_tools, with_shown_names
from evolver.store.cycle_folder import COMPOSED
from evolver.store.dataset_files import folder_sha256, write_dataset
from evolver.store.jsonl import write_lines
from evolver.types import Dataset, Trace
from toolkit.search import ToolIndex
from toolkit.tool import Tool

_NEAR = 10
"""The best so many tools for a request could have to do with it."""
_JUDGED_REQUESTS = 30
"""Requests of each side whose candidates are judged."""


def build(
    context: StageContext,
    config: DatasetConfig,
    kept: Sequence[Trace],
    *,
    shown: int,
    candidates: int = 0,
    refill: int = 0,
) -> Dataset:
    """Write a dataset of ``kept`` and earlier traces, of these ``refill`` beside their share.

    ``shown`` tools make a context, and so many ``candidates`` are judged for a choice, as in serving; 0: no choice.
    Variants and composed traces are learned from only. Nothing is executed.
    """
    rng = random.Random(context.seed)
    sides = split(config, kept, context.earlier, rng, refill=refill)
    # Of learned traces only, so that nothing of those held back is in them.
    judged = compose(sides.learned, config.composed_share, context.policy, rng)
    composed = [one.trace for one in judged if one.verdict.kept]
    write_lines(context.folder / COMPOSED, judged)
    maker = _RowMaker(config, list(context.tools), shown, rng)
    learned, held = (without_served(side) for side in (sides.learned, sides.held))
    train = maker.rows([*learned, *composed], own_schemas=False)
    wordings = [trace for trace in held if not trace.provenance.derived_from]
    valid = maker.rows(wordings) + maker.spoken(held) + maker.out_of_place(wordings)
    train += client_rows(config, sides.learned, rng)
    valid += client_rows(config, sides.held, rng)
    folder = context.folder / "dataset"
    write_dataset(folder, train=train, valid=valid, choice=maker.candidates(held, candidates))
    return Dataset(
        folder=folder,
        sha256=folder_sha256(folder),
        train=len(train),
        valid=len(valid),
        calls=sum(row["decision"] == "call" for row in train),
        no_calls=sum(row["decision"] != "call" for row in train),
        replayed=sides.replayed,
        composed=dict(Counter(trace.kind for trace in composed)),
        dropped=dict(Counter(one.verdict.reason for one in judged if not one.verdict.kept)),
    )


class _RowMaker:
    def __init__(self, config: DatasetConfig, tools: Sequence[Tool], shown: int, rng: random.Random) -> None:
        self._config = config
        self._tools = {tool.name: tool for tool in tools}
        self._index = ToolIndex(tools)
        self._searched: dict[str, frozenset[str]] = {}
        self._shown = min(shown, len(self._tools))
        self._rng = rng

    def rows(self, traces: Sequence[Trace], *, own_schemas: bool = True) -> list[Row]:
        """Lessons of ``traces``. Unless tools shall have their ``own_schemas``, some contexts show them under
        other names (``renamed_share``)."""
        calls = [t for t in traces if t.calls and all(call.name in self._tools for call in t.calls)]
        talk = [t for t in traces if not t.calls]
        remaining = {trace.id: self._config.contexts_per_call for trace in calls}
        rows: list[Row] = []
        talk_order: list[Trace] = []
        while any(left > 0 for left in remaining.values()):
            seed = self._rng.choice([trace for trace in calls if remaining[trace.id] > 0])
            context = self._context(seed)
            branches = self._calling(context, seed, calls, remaining)
            wanted = round(len(branches) * self._config.no_call_share / (1 - self._config.no_call_share))
            if len(talk_order) < wanted:
                talk_order += self._rng.sample(talk, len(talk))
            speaking = wanted - round(wanted * self._config.declined_share)
            spoken, talk_order = talk_order[:speaking], talk_order[speaking:]
            declined = self._declining(context, calls, wanted - len(spoken))
            if self._rng.random() >= self._config.ranked_share:
                self._rng.shuffle(context)
            number = len(rows)
            if not own_schemas:
                context, branches = self._renamed(context, branches)
            rows += [call_row(f"{number}-{n}", self._answered(trace), context) for n, trace in enumerate(branches)]
            rows += [
                repaired_row(f"{number}-r{n}", trace, context) for n, trace in enumerate(branches) if trace.failures
            ]
            rows += [declined_row(f"{number}-d{n}", trace, context) for n, trace in enumerate(declined)]
            rows += [spoken_row(f"{number}-s{n}", trace, context) for n, trace in enumerate(spoken)]
        return rows

    def _renamed(self, context: list[Tool], branches: list[Trace]) -> tuple[list[Tool], list[Trace]]:
        # What was said before names the tools as they are.
        if self._rng.random() >= self._config.renamed_share or any(trace.history for trace in branches):
            return context, branches
        found = rename_tools(context, self._rng)
        known = {renamed.own: renamed for renamed in found}
        return [renamed.shown for renamed in found], [with_shown_names(trace, known) for trace in branches]

    def _answered(self, trace: Trace) -> Trace:
        """``trace`` with its answer for a share of the lessons: stopping after a result is learned from fewer."""
        kept = trace.lived or self._rng.random() < self._config.answer_share
        return trace if kept else trace.model_copy(update={"answer": ""})

    def spoken(self, traces: Sequence[Trace]) -> list[Row]:
        """Show each request without a tool once, with the tools that serving would show: what the bias is fitted on."""
        talk = [trace for trace in traces if not trace.calls]
        return [
            spoken_row(f"talk-{n}", trace, self._index.top(trace.request, self._shown)) for n, trace in enumerate(talk)
        ]

    def out_of_place(self, traces: Sequence[Trace]) -> list[Row]:
        """Show each request that calls once, with tools that the search would show last: for the bias, too."""
        rows: list[Row] = []
        for number, trace in enumerate(trace for trace in traces if trace.calls and not trace.history):
            near = {tool.name for tool in self._index.top(trace.request, _NEAR)} | {call.name for call in trace.calls}
            far = [tool for name, tool in self._tools.items() if name not in near]
            if far:
                shown = self._rng.sample(far, min(self._rng.randint(1, self._shown), len(far)))
                rows.append(declined_row(f"far-{number}", trace, shown, decision="no_call"))
        return rows

    def candidates(self, traces: Sequence[Trace], judged: int) -> list[Row]:
        """Show each request with the ``judged`` best tools of the search, one at a time, as the choice of a tool does.

        Requests that call stand on the other side too, without the tools that they could mean. Each side has so many
        that the bias is steady; they are read once, after the training.
        """
        calls, talk = ([t for t in traces if bool(t.calls) is called] for called in (True, False))
        hidden = [t for t in calls if not t.history]
        few = _JUDGED_REQUESTS
        spoken = self._rng.sample(talk, min(few, len(talk)))
        sides = [
            ("call", self._rng.sample(calls, min(few, len(calls))), False),
            ("no_call", spoken, False),
            ("no_call", self._rng.sample(hidden, min(few - len(spoken), len(hidden))), True),
        ]
        tools = list(self._tools.values())
        return [
            candidate_row(f"choice-{side}-{number}-{n}", trace, tools[place], decision, (f"{side}-{trace.id}", points))
            for side, (decision, chosen, far) in enumerate(sides if judged else ())
            for number, trace in enumerate(chosen)
            for n, (place, points) in enumerate(self._ranked(trace, far=far)[:judged])
        ]

    def _ranked(self, trace: Trace, *, far: bool) -> list[tuple[int, float]]:
        """Return places and points of the search; ``far``: without the tools that the request could have to do with."""
        ranked, own = self._index.ranked(trace.request), {call.name for call in trace.calls}
        names = list(self._tools)
        return [found for found in ranked[_NEAR:] if names[found[0]] not in own] if far else ranked

    def _found(self, request: str) -> frozenset[str]:
        """The names of the tools that serving would show; every context asks about every request."""
        if request not in self._searched:
            self._searched[request] = frozenset(tool.name for tool in self._index.top(request, self._shown))
        return self._searched[request]

    def _context(self, trace: Trace) -> list[Tool]:
        """The tools that serving would show for ``trace``, best first; its own in place of the last where missing. In
        ``narrow_share`` of the contexts fewer, as from clients that bring tools of their own."""
        own = {call.name for call in trace.calls}
        shown = self._shown
        if shown > len(own) and self._rng.random() < self._config.narrow_share:
            shown = self._rng.randint(len(own), shown - 1)
        found = self._index.top(trace.request, shown)
        missing = [self._tools[name] for name in sorted(own - {tool.name for tool in found})]
        others = [tool.name for tool in found if tool.name not in own]
        dropped = others[max(0, len(others) - len(missing)) :] if missing else []
        return [*(tool for tool in found if tool.name not in dropped), *missing]

    def _calling(self, context: list[Tool], seed: Trace, calls: list[Trace], remaining: dict[str, int]) -> list[Trace]:
        names = {tool.name for tool in context}
        most = max(1, round(self._config.branches * (1 - self._config.no_call_share)))
        fitting = [t for t in calls if remaining[t.id] > 0 and t is not seed and all(c.name in names for c in t.calls)]
        self._rng.shuffle(fitting)
        # Most are calls of the seed's own tool, which mostly stands first: as in serving, where the best match is right
        # for three of four requests whose tool is shown (docs/decisions/0002).
        own = [t for t in fitting if t.calls[0].name == seed.calls[0].name][: most * 3 // 4]
        others = [t for t in fitting if t.calls[0].name != seed.calls[0].name]
        branches = [seed, *[*own, *others][: most - 1]]
        for trace in branches:
            remaining[trace.id] -= 1
        return branches

    def _declining(self, context: list[Tool], calls: list[Trace], count: int) -> list[Trace]:
        """Requests whose tool is missing from ``context``; half of them would nearly fit it. None of those before which
        such a tool may have been called."""
        names = {tool.name for tool in context}
        missing = [t for t in calls if not t.history and all(call.name not in names for call in t.calls)]
        self._rng.shuffle(missing)
        near = [t for t in missing if self._found(t.request) & names]
        chosen = near[: -(-count // 2)]
        taken = {trace.id for trace in chosen}
        return [*chosen, *(t for t in missing if t.id not in taken)][:count]
