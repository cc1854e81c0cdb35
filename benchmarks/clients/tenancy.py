"""What is of one tenant in the data of another: in the log, and in all that cycles made of it."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from agent.log.interaction_log import FILE, InteractionLog
from benchmarks.clients.applications import APPLICATIONS
from evolver.store.cycle_folder import cycle_folders
from evolver.types import Provenance
from toolkit.frozen import Frozen

_ID = re.compile(r"\b[0-9a-f]{12}-[0-9a-f]{4}\b")


class Tenancy(Frozen):
    """Counts by tenant of logged interactions, and of lines that cycles wrote. ``mixed`` says which hold something of
    two tenants, or of another than theirs."""

    interactions: dict[str, int]
    lines: dict[str, int]
    mixed: tuple[str, ...]


def tenancy(data_folder: Path) -> Tenancy:
    """Look through a data folder. A line is a tenant's when it has one of its tools, names or numbers, or names one of
    its interactions."""
    marks = {one.name: _pattern(one.marks(), one.desk.tool_names) for one in APPLICATIONS}
    logged, owner_of, mixed = Counter[str](), dict[str, str](), list[str]()
    with InteractionLog.open_readonly(data_folder / FILE) as log:
        for turn in log.read():
            if turn.source != "gateway" or not turn.tenant:
                continue
            owner_of[turn.id] = turn.tenant
            logged[turn.tenant] += 1
            found = _of(turn.model_dump_json(exclude={"tenant", "owner", "session"}), marks) | {turn.tenant}
            mixed += [f"interaction {turn.id}: {', '.join(sorted(found))}"] if len(found) > 1 else []
    lines = Counter[str]()
    for place, line in _lines(data_folder):
        found = _of(line, marks) | {owner_of[one] for one in _ids(line) if one in owner_of}
        lines.update(found)
        mixed += [f"{place}: {', '.join(sorted(found))}"] if len(found) > 1 else []
    return Tenancy(interactions=dict(logged), lines=dict(lines), mixed=tuple(mixed))


def session_name(provenance: Provenance) -> str:
    """Return the name of the session of a trace, without source, tenant and owner."""
    return provenance.session.rpartition("/")[2]


def _lines(data_folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines of lessons, traces and held back requests of all cycles, each with its place."""
    for folder in cycle_folders(data_folder):
        for file in sorted(folder.rglob("*.jsonl")):
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
