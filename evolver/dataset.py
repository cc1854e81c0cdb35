"""Kept traces -> a frozen dataset of lessons, grouped by tool context.

A context is a set of tools as serving would show them. Each carries lessons that rightly call one of its tools and
lessons that rightly do not, the same requests on both sides: what differs is whether the tool is there (docs/decisions
/0004). Lessons of one context share its tokens, which the trainer computes once.
"""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.messages import Message
from agent.prompt import to_openai
from evolver.config import DatasetConfig
from evolver.text import states
from evolver.types import Dataset, Trace
from toolkit.search import ToolIndex
from toolkit.tool import Tool, ToolCall, ToolResult, render_result

NO_TOOL = "I have no tool for that."
"""The one way to decline: a small model that must choose among several openings ends up calling instead (FunctionGemma
and our own first rounds; docs/decisions/0004)."""

Row = dict[str, Any]


def build(
    config: DatasetConfig,
    kept: Sequence[Trace],
    replay: Sequence[Trace],
    tools: Sequence[Tool],
    folder: Path,
    *,
    shown: int,
    seed: int,
) -> Dataset:
    """Write train.jsonl and valid.jsonl into ``folder``. ``shown`` tools make a context, as in serving.

    The split is by trace, before any row is made: no request stands on both sides. ``replay`` are traces of earlier
    cycles; at least ``replay_share`` of what is learned from comes from them, as far as there are enough.
    """
    chooser = random.Random(seed)
    pool, replayed = _with_replay(config, kept, replay, chooser)
    chooser.shuffle(pool)
    held = round(len(pool) * config.validation_share)
    maker = _RowMaker(config, tools, shown, chooser)
    train, valid = maker.rows(pool[held:]), maker.rows(pool[:held]) + maker.spoken(pool[:held])
    _publish(folder, {"train.jsonl": train, "valid.jsonl": valid})
    return Dataset(
        folder=folder,
        sha256=_sha256(folder),
        train=len(train),
        valid=len(valid),
        calls=sum(row["decision"] == "call" for row in train),
        no_calls=sum(row["decision"] != "call" for row in train),
        replayed=replayed,
    )


def _with_replay(
    config: DatasetConfig, kept: Sequence[Trace], replay: Sequence[Trace], chooser: random.Random
) -> tuple[list[Trace], int]:
    old = list(replay)
    chooser.shuffle(old)
    wanted = max(round(len(kept) * config.replay_share / max(1 - config.replay_share, 0.01)), 0)
    pool = [*kept, *old[:wanted]]
    # Ids are unique within a cycle only.
    return [trace.model_copy(update={"id": str(n)}) for n, trace in enumerate(pool)], min(wanted, len(old))


class _RowMaker:
    def __init__(self, config: DatasetConfig, tools: Sequence[Tool], shown: int, chooser: random.Random) -> None:
        self._config = config
        self._tools = {tool.name: tool for tool in tools}
        self._index = ToolIndex(tools)
        self._shown = min(shown, len(self._tools))
        self._chooser = chooser

    def rows(self, traces: Sequence[Trace]) -> list[Row]:
        calls = [t for t in traces if t.calls and all(call.name in self._tools for call in t.calls)]
        talk = [t for t in traces if not t.calls]
        remaining = {trace.id: self._config.contexts_per_call for trace in calls}
        rows: list[Row] = []
        talk_order: list[Trace] = []
        while any(remaining.values()):
            seed = self._chooser.choice([trace for trace in calls if remaining[trace.id]])
            context = self._context(seed)
            branches = self._calling(context, seed, calls, remaining)
            wanted = round(len(branches) * self._config.no_call_share / (1 - self._config.no_call_share))
            if len(talk_order) < wanted:
                talk_order += self._chooser.sample(talk, len(talk))
            spoken, talk_order = talk_order[: wanted // 2], talk_order[wanted // 2 :]
            declined = self._declining(context, calls, wanted - len(spoken))
            shuffled = self._chooser.sample(context, len(context))
            number = len(rows)
            rows += [_call_row(f"{number}-{n}", trace, shuffled) for n, trace in enumerate(branches)]
            rows += [_declined_row(f"{number}-d{n}", trace, shuffled) for n, trace in enumerate(declined)]
            rows += [_spoken_row(f"{number}-s{n}", trace, shuffled) for n, trace in enumerate(spoken)]
        return rows

    def spoken(self, traces: Sequence[Trace]) -> list[Row]:
        """Each request that needs no tool once, with the tools that serving would show: what the bias is fitted on."""
        talk = [trace for trace in traces if not trace.calls]
        return [
            _spoken_row(f"talk-{n}", trace, self._index.top(trace.request, self._shown)) for n, trace in enumerate(talk)
        ]

    def _context(self, trace: Trace) -> list[Tool]:
        """The tools that serving would show for ``trace``, its own among them."""
        own = [self._tools[name] for name in dict.fromkeys(call.name for call in trace.calls)]
        others = [tool for tool in self._index.top(trace.request, self._shown) if tool not in own]
        return [*own, *others][: max(self._shown, len(own))]

    def _calling(self, context: list[Tool], seed: Trace, calls: list[Trace], remaining: dict[str, int]) -> list[Trace]:
        names = {tool.name for tool in context}
        most = max(1, round(self._config.branches * (1 - self._config.no_call_share)))
        fitting = [t for t in calls if remaining[t.id] and t is not seed and all(c.name in names for c in t.calls)]
        branches = [seed, *self._chooser.sample(fitting, min(len(fitting), most - 1))]
        for trace in branches:
            remaining[trace.id] -= 1
        return branches

    def _declining(self, context: list[Tool], calls: list[Trace], count: int) -> list[Trace]:
        """Requests whose tool is missing from ``context``; half of them would nearly fit it."""
        names = {tool.name for tool in context}
        missing = [t for t in calls if all(call.name not in names for call in t.calls)]
        self._chooser.shuffle(missing)
        near = [t for t in missing if {x.name for x in self._index.top(t.request, self._shown)} & names]
        chosen = near[: -(-count // 2)]
        taken = {trace.id for trace in chosen}
        return [*chosen, *(t for t in missing if t.id not in taken)][:count]


def _call_row(identity: str, trace: Trace, tools: Sequence[Tool]) -> Row:
    calls = tuple(ToolCall(id=f"call-{n}", name=c.name, arguments=c.arguments) for n, c in enumerate(trace.calls))
    messages = [Message(role="user", content=trace.request), Message(role="assistant", tool_calls=calls)]
    targets = [1]
    results = [
        ToolResult(call_id=call.id, name=call.name, value=value)
        for call, value in zip(calls, trace.results, strict=False)
    ]
    if trace.answer and all(_told(trace.answer, result) for result in results):
        messages += [Message(role="tool", content=render_result(result), tool_result=result) for result in results]
        targets.append(len(messages))
        messages.append(Message(role="assistant", content=trace.answer))
    return _row(identity, messages, tools, targets, "call")


def _told(answer: str, result: ToolResult) -> bool:
    """Whether ``answer`` states the result; yes and no stand for booleans."""
    if isinstance(result.value, bool):
        return answer.lower().startswith("yes" if result.value else "no")
    return result.value is not None and states(answer, result.value)


def _declined_row(identity: str, trace: Trace, tools: Sequence[Tool]) -> Row:
    """Carries no decision: serving seldom hides a tool, and a bias fitted on such rows makes the model shy."""
    messages = [Message(role="user", content=trace.request), Message(role="assistant", content=NO_TOOL)]
    return _row(identity, messages, tools, [1], None)


def _spoken_row(identity: str, trace: Trace, tools: Sequence[Tool]) -> Row:
    messages = [Message(role="user", content=trace.request), Message(role="assistant", content=trace.answer)]
    return _row(identity, messages, tools, [1], "no_call")


def _row(
    identity: str, messages: Sequence[Message], tools: Sequence[Tool], targets: list[int], decision: str | None
) -> Row:
    return {
        "id": identity,
        "messages": to_openai(messages),
        "tools": [tool.schema() for tool in tools],
        "targets": targets,
        "decision": decision,
        "weight": 1.0,
    }


def _publish(folder: Path, files: dict[str, list[Row]]) -> None:
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name, rows in files.items():
        with (draft / name).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _sha256(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.jsonl")):
        total.update(path.read_bytes())
    return total.hexdigest()
