"""What is of one tenant in the data of another: in answers, in the log, and in all that cycles made of it."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from agent.log.entries import GATEWAY_SOURCE
from agent.log.interaction_log import FILE, InteractionLog
from benchmarks.clients.applications import APPLICATIONS
from evolver.store.cycle_folder import cycle_folders
from toolkit.frozen import Frozen

_ID = re.compile(r"\b[0-9a-f]{12}-[0-9a-f]{4}\b")


class Answer(NamedTuple):
    """Calls and text that an application got, as one text, and where they are kept."""

    application: str
    place: str
    said: str


class Tenancy(Frozen):
    """Counts by tenant of answers, of logged interactions, and of lines that cycles wrote. ``mixed`` says which hold
    something of two tenants, or of another than theirs."""

    answers: dict[str, int]
    interactions: dict[str, int]
    lines: dict[str, int]
    mixed: tuple[str, ...]


def tenancy(
    data_folder: Path, answers: Iterable[Answer] = (), *, newest_cycle: int = 0, newest_interaction: str = ""
) -> Tenancy:
    """Look through ``answers``, and through what a data folder has got since the newest cycle and interaction that were
    there before. A line is a tenant's when it has one of its tools, names or numbers, or names one of its
    interactions."""
    marks = {one.name: _pattern(one.marks(), one.desk.tool_names) for one in APPLICATIONS}
    asked, logged, owner_of, mixed = Counter[str](), Counter[str](), dict[str, str](), list[str]()
    for application, place, said in answers:
        asked[application] += 1
        mixed += _mixed(place, _of(said, marks) | {application})
    with InteractionLog.open_readonly(data_folder / FILE) as log:
        for turn in log.read(since_id=newest_interaction):
            if turn.source != GATEWAY_SOURCE or not turn.tenant:
                continue
            owner_of[turn.id] = turn.tenant
            logged[turn.tenant] += 1
            text = turn.model_dump_json(exclude={"tenant", "owner", "session"})
            mixed += _mixed(f"interaction {turn.id}", _of(text, marks) | {turn.tenant})
    lines = Counter[str]()
    for place, line in _lines(data_folder, newest_cycle):
        found = _of(line, marks) | {owner_of[one] for one in _ids(line) if one in owner_of}
        lines.update(found)
        mixed += _mixed(place, found)
    return Tenancy(answers=dict(asked), interactions=dict(logged), lines=dict(lines), mixed=tuple(mixed))


def _mixed(place: str, found: set[str]) -> list[str]:
    return [f"{place}: {', '.join(sorted(found))}"] if len(found) > 1 else []


def _lines(data_folder: Path, newest_cycle: int) -> Iterator[tuple[str, str]]:
    """Yield the lines of lessons, traces and held back requests of later cycles, each with its place."""
    for folder in cycle_folders(data_folder):
        for file in sorted(folder.rglob("*.jsonl")) if int(folder.name) > newest_cycle else ():
            with file.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    yield f"{file.relative_to(data_folder)}:{number}", line


def _of(text: str, marks: Mapping[str, re.Pattern[str]]) -> set[str]:
    return {name for name, pattern in marks.items() if pattern.search(text)}


def _pattern(marks: Iterable[str], tools: Iterable[str]) -> re.Pattern[str]:
    texts = "|".join(re.escape(json.dumps(text)[1:-1]) for text in sorted({*marks, *tools}))
    return re.compile(rf"(?<![\w-])(?:{texts})(?![\w-])")


def _ids(line: str) -> set[str]:
    return set(_ID.findall(line))
