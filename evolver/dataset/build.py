"""Kept traces -> a frozen dataset of lessons, grouped by tool context.

A context is a set of tools as serving would show them. Each carries lessons that rightly call one of its tools and
lessons that rightly do not, the same requests on both sides: what differs is whether the tool is there (docs/decisions
/0004). Lessons of one context share its tokens, which the trainer computes once.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from evolver.ask import ask
from evolver.chain import chain
from evolver.compose import compose
from evolver.config import DatasetConfig
from evolver.dataset_folder import folder_sha256, publish
from evolver.definitions import definition_rows
from evolver.disguise import disguised, retold
from evolver.jsonl import write_lines
from evolver.loosen import loosened
from evolver.markers import COMPOSED
from evolver.rows import Row, call_row, declined_row, repaired_row, spoken_row
from evolver.types import Composed, Dataset, Judged, Trace
from toolkit.execute import Executor
from toolkit.search import ToolIndex
from toolkit.tool import Tool

_NEAR = 10
"""The best so many tools for a request could have to do with it."""


def build(
    config: DatasetConfig,
    kept: Sequence[Trace],
    replay: Sequence[Trace],
    tools: Sequence[Tool],
    folder: Path,
    *,
    shown: int,
    seed: int,
    executor: Executor | None = None,
    held_out: Callable[[str], bool] = lambda request: False,
    personal_data: bool = True,
) -> Dataset:
    """Write train.jsonl and valid.jsonl into ``folder``. ``shown`` tools make a context, as in serving; ``executor``
    runs what is chained (None: nothing is). ``held_out``: whether a request stands in a suite, for those that are
    composed here; of these none with ``personal_data``, unless that is False. They stand in composed.jsonl beside
    ``folder``, with their verdicts. Raises SandboxUnavailable.

    The split is made before any row is, and a trace stands on the side of its variants, of other wordings of its call,
    and of other requests of its session: none is learned and validated. Variants are learned from only. ``replay`` are
    traces of earlier cycles; of all traces ``replay_share`` comes from them, as far as there are enough.
    """
    chooser = random.Random(seed)
    pool, replayed = _with_replay(config, kept, replay, chooser)
    learned, held = _split(config, pool, chooser)
    maker = _RowMaker(config, tools, shown, chooser)
    composed = _composed(config, learned, tools, chooser, executor, held_out, personal_data=personal_data)
    write_lines(folder.with_name(COMPOSED), [*map(Judged.of, composed.traces), *composed.unfit])
    train = maker.rows([*learned, *composed.traces], own_schemas=False)
    defining = round(config.definition_share * sum(row["decision"] == "call" for row in train))
    train += definition_rows(tools, defining, seed=seed)
    wordings = [trace for trace in held if not trace.source]
    valid = maker.rows(wordings) + maker.spoken(held) + maker.out_of_place(wordings)
    publish(folder, train=train, valid=valid)
    return Dataset(
        folder=folder,
        sha256=folder_sha256(folder),
        train=len(train),
        valid=len(valid),
        calls=sum(row["decision"] == "call" for row in train),
        no_calls=sum(row["decision"] != "call" for row in train),
        replayed=replayed,
        composed=dict(Counter(trace.maker for trace in composed.traces)),
        dropped=composed.dropped,
    )


def _composed(
    config: DatasetConfig,
    learned: Sequence[Trace],
    tools: Sequence[Tool],
    chooser: random.Random,
    executor: Executor | None,
    held_out: Callable[[str], bool],
    *,
    personal_data: bool,
) -> Composed:
    """What is made of the traces that are learned, after the split: so nothing of the others is in it."""
    pairs = compose(learned, config.composed_share, chooser)
    share = config.chained_share
    chained = chain(learned, share, chooser, executor, personal_data=personal_data) if executor else Composed()
    asking = ask(learned, tools, config.asking_share, chooser)
    dropped = {f"chained: {reason}": count for reason, count in chained.dropped.items()}
    dropped |= {f"asking: {reason}": count for reason, count in asking.dropped.items()}
    made = [*pairs, *chained.traces, *asking.traces]
    seen = {trace.id for trace in made if held_out(trace.request)}
    if seen:
        dropped["held_out"] = len(seen)
    unfit = [*chained.unfit, *asking.unfit, *(Judged.of(trace, "held_out") for trace in made if trace.id in seen)]
    unseen = tuple(trace for trace in made if trace.id not in seen)
    return Composed(traces=unseen, dropped=dropped, unfit=tuple(unfit))


def _with_replay(
    config: DatasetConfig, kept: Sequence[Trace], replay: Sequence[Trace], chooser: random.Random
) -> tuple[list[Trace], int]:
    old = list(replay)
    chooser.shuffle(old)
    wanted = max(round(len(kept) * config.replay_share / max(1 - config.replay_share, 0.01)), 0)
    taken = {trace.id for trace in kept}
    again = []
    for n, trace in enumerate(old[:wanted]):
        own = {"id": f"{trace.id}~{n}", "source": trace.source and f"{trace.source}~{n}"} if trace.id in taken else {}
        again.append(trace.model_copy(update=own))
        taken.add(trace.id)
    return [*kept, *again], len(again)


def _split(config: DatasetConfig, pool: Sequence[Trace], chooser: random.Random) -> tuple[list[Trace], list[Trace]]:
    """What is learned, and what is held back for validation: whole families of traces, others in each cycle, so that
    nothing is never learned."""
    family_of = _families(pool)
    families = list(dict.fromkeys(family_of.values()))
    chooser.shuffle(families)
    held = set(families[: round(len(families) * config.validation_share)])
    sides: tuple[list[Trace], list[Trace]] = [], []
    for trace in chooser.sample(list(pool), len(pool)):
        sides[family_of[trace.source or trace.id] in held].append(trace)
    return sides


def _families(pool: Sequence[Trace]) -> dict[str, str]:
    """The family of each trace that is no variant: those of one call, and those of one session, are one family."""
    above: dict[str, str] = {}

    def head(name: str) -> str:
        while (upper := above.setdefault(name, name)) != name:
            name = upper
        return name

    for trace in pool:
        root = head(trace.source or trace.id)
        if trace.source:
            continue
        if trace.calls:
            above[head(trace.calls_key)] = head(root)
        if trace.session:
            above[head(f"session {trace.session}")] = head(root)
    return {trace.source or trace.id: head(trace.source or trace.id) for trace in pool}


class _RowMaker:
    def __init__(self, config: DatasetConfig, tools: Sequence[Tool], shown: int, chooser: random.Random) -> None:
        self._config = config
        self._tools = {tool.name: tool for tool in tools}
        self._index = ToolIndex(tools)
        self._searched: dict[str, frozenset[str]] = {}
        self._shown = min(shown, len(self._tools))
        self._chooser = chooser

    def rows(self, traces: Sequence[Trace], *, own_schemas: bool = True) -> list[Row]:
        """Lessons of ``traces``. Unless tools shall have their ``own_schemas``, some contexts show them with other
        optional parameters (``loosened_share``), or under other names (``renamed_share``)."""
        calls = [t for t in traces if t.calls and all(call.name in self._tools for call in t.calls)]
        talk = [t for t in traces if not t.calls]
        remaining = {trace.id: self._config.contexts_per_call for trace in calls}
        rows: list[Row] = []
        talk_order: list[Trace] = []
        while any(left > 0 for left in remaining.values()):
            seed = self._chooser.choice([trace for trace in calls if remaining[trace.id] > 0])
            context = self._context(seed)
            branches = self._calling(context, seed, calls, remaining)
            wanted = round(len(branches) * self._config.no_call_share / (1 - self._config.no_call_share))
            if len(talk_order) < wanted:
                talk_order += self._chooser.sample(talk, len(talk))
            speaking = wanted - round(wanted * self._config.declined_share)
            spoken, talk_order = talk_order[:speaking], talk_order[speaking:]
            declined = self._declining(context, calls, wanted - len(spoken))
            if self._chooser.random() >= self._config.ranked_share:
                self._chooser.shuffle(context)
            number = len(rows)
            if not own_schemas:
                context, branches = self._disguised(context, branches)
            rows += [call_row(f"{number}-{n}", self._answered(trace), context) for n, trace in enumerate(branches)]
            rows += [
                repaired_row(f"{number}-r{n}", trace, context) for n, trace in enumerate(branches) if trace.failures
            ]
            rows += [declined_row(f"{number}-d{n}", trace, context) for n, trace in enumerate(declined)]
            rows += [spoken_row(f"{number}-s{n}", trace, context) for n, trace in enumerate(spoken)]
        return rows

    def _disguised(self, context: list[Tool], branches: list[Trace]) -> tuple[list[Tool], list[Trace]]:
        if self._chooser.random() < self._config.loosened_share and not any(trace.missing for trace in branches):
            names = {tool.name for tool in context}
            others = [tool for name, tool in self._tools.items() if name not in names]
            context = loosened(context, others, self._chooser)
        # What was said before names the tools as they are.
        if self._chooser.random() >= self._config.renamed_share or any(trace.history for trace in branches):
            return context, branches
        found = disguised(context, self._chooser)
        known = {disguise.own: disguise for disguise in found}
        return [disguise.shown for disguise in found], [retold(trace, known) for trace in branches]

    def _answered(self, trace: Trace) -> Trace:
        """``trace`` with its answer for a share of the lessons: stopping after a result is learned from fewer."""
        kept = trace.lived or trace.maker == "asking" or self._chooser.random() < self._config.answer_share
        return trace if kept else trace.model_copy(update={"answer": ""})

    def spoken(self, traces: Sequence[Trace]) -> list[Row]:
        """Each request that needs no tool once, with the tools that serving would show: what the bias is fitted on."""
        talk = [trace for trace in traces if not trace.calls]
        return [
            spoken_row(f"talk-{n}", trace, self._index.top(trace.request, self._shown)) for n, trace in enumerate(talk)
        ]

    def out_of_place(self, traces: Sequence[Trace]) -> list[Row]:
        """Each request that calls once, with tools that the search would show last: what the bias is fitted on, too."""
        rows: list[Row] = []
        for number, trace in enumerate(trace for trace in traces if trace.calls and not trace.history):
            near = {tool.name for tool in self._index.top(trace.request, _NEAR)} | {call.name for call in trace.calls}
            far = [tool for name, tool in self._tools.items() if name not in near]
            if far:
                shown = self._chooser.sample(far, min(self._chooser.randint(1, self._shown), len(far)))
                rows.append(declined_row(f"far-{number}", trace, shown, decision="no_call"))
        return rows

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
        if shown > len(own) and self._chooser.random() < self._config.narrow_share:
            shown = self._chooser.randint(len(own), shown - 1)
        found = self._index.top(trace.request, shown)
        missing = [self._tools[name] for name in sorted(own - {tool.name for tool in found})]
        others = [tool.name for tool in found if tool.name not in own]
        dropped = others[max(0, len(others) - len(missing)) :] if missing else []
        return [*(tool for tool in found if tool.name not in dropped), *missing]

    def _calling(self, context: list[Tool], seed: Trace, calls: list[Trace], remaining: dict[str, int]) -> list[Trace]:
        names = {tool.name for tool in context}
        most = max(1, round(self._config.branches * (1 - self._config.no_call_share)))
        fitting = [t for t in calls if remaining[t.id] > 0 and t is not seed and all(c.name in names for c in t.calls)]
        self._chooser.shuffle(fitting)
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
        self._chooser.shuffle(missing)
        near = [t for t in missing if self._found(t.request) & names]
        chosen = near[: -(-count // 2)]
        taken = {trace.id for trace in chosen}
        return [*chosen, *(t for t in missing if t.id not in taken)][:count]
