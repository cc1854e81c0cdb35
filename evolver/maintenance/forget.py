"""Deleting an interaction with all that was derived from it.

What people said is theirs. Gone are the log's entry, its task, its traces in every cycle and their lessons in every
dataset; the dataset's recorded hash and counts are those of what is left. Scores that quote it go too, and are measured
again when they are wanted. What an adapter has learned cannot be taken out of it: adapters that may have learned from
it are marked, and keep the hash of what they were trained on.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.log.interaction_log import InteractionLog
from evolver.model import request_log
from evolver.store.cycle_folder import cycle_folders, read_marker, write_marker
from evolver.store.dataset_files import TRAIN, VALID, folder_sha256
from evolver.store.jsonl import lines_of
from evolver.store.ledger import Ledger
from evolver.store.seen_tools import ToolCatalogue
from evolver.store.stored_value import renewed
from evolver.tool_making.pool import ToolPool
from evolver.types import Dataset
from toolkit import durable_file
from toolkit.errors import UserError
from toolkit.frozen import Frozen

_UNKNOWN = "there is no interaction {}; see their ids with: agent log"
_SPACE = r"(?:\s|\\[nrt])+"
"""As it may stand in a JSON text."""
_LINE = r'(?:"|\\n|: ){}(?:"|\\n)'
"""A text that fills a line of a prompt, or all that follows a colon in it, as it stands in JSON."""
_ID = re.compile(r"[0-9a-f]{12}-[0-9a-f]{4,}")
"""As the log makes them. Lines are searched for the id, so that anything else would delete those that hold the word."""
_TELLING = 12
"""Characters of a request by which lines without a link are known. Shorter ones go where they fill a line of a
prompt, which no stage reads: of whomever."""


class Forgotten(Frozen):
    """Counts of what was deleted, the adapters that were marked, and the made tools that are gone, approved ones
    too. ``client_tools`` are gone from the catalogue: no other interaction showed them."""

    interaction_id: str
    logged: bool
    values: int
    adapters: tuple[str, ...]
    tools: tuple[str, ...] = ()
    client_tools: tuple[str, ...] = ()


def forget(data_folder: Path, ledger: Ledger, interaction_id: str) -> Forgotten:
    """Delete the interaction and what comes from it; again deletes what is left. The log's entry goes last, so that a
    run that was cut off can be repeated. Whoever calls it holds the lease: a running cycle would write back what it has
    at hand. Raises UserError when nothing of it is there."""
    if not _ID.fullmatch(interaction_id):
        raise UserError(_UNKNOWN.format(interaction_id))
    for folder in ("cycles", "evaluations"):
        durable_file.remove_drafts(data_folder / folder)
    pool = ToolPool(data_folder, ledger)
    tools = tuple(tool.name for tool in pool.tools() if tool.interaction_id == interaction_id)
    said = _said(data_folder, interaction_id)
    telling = _telling(said if len(said) >= _TELLING else "", tools)
    short = re.compile(_LINE.format(_as_json(said))) if 0 < len(said) < _TELLING else None
    removed = {
        f"adapter-{int(folder.name):04d}": _forget_cycle(folder, ledger, interaction_id, telling, short)
        for folder in cycle_folders(data_folder)
    }
    taught = [name for name, count in removed.items() if count]
    values = sum(removed.values())
    values += _forget_scores(data_folder / "evaluations", interaction_id, telling, learned=bool(values))
    marked = _with_children(taught, ledger, data_folder / "adapters")
    for name in marked:
        ledger.mark_adapter(name, f"may have learned from a deleted interaction ({interaction_id})")
    pool.forget(interaction_id)
    with InteractionLog(data_folder / "interactions.db") as log:
        # Cut off in between, its tools count one turn too few: nothing of it stays.
        seen = ToolCatalogue(ledger).forget(log, interaction_id)
        logged = log.forget(interaction_id)
    if not logged and not values and not tools:
        raise UserError(_UNKNOWN.format(interaction_id))
    return Forgotten(
        interaction_id=interaction_id,
        logged=logged,
        values=values,
        adapters=marked,
        tools=tools,
        client_tools=tuple(seen),
    )


def _forget_cycle(
    folder: Path,
    ledger: Ledger,
    interaction_id: str,
    telling: re.Pattern[str] | None,
    short: re.Pattern[str] | None,
) -> int:
    """Return how many values were taken out of the cycle's files. ``short``: lines of its request log that go too."""
    removed = sum(_clean(file, interaction_id, telling) for file in _files(folder))
    for prompts in folder.rglob(request_log.NAME) if short else ():
        _clean(prompts, interaction_id, short)
    _record_again(folder, ledger)
    return removed


def _with_children(taught: Sequence[str], ledger: Ledger, adapters: Path) -> tuple[str, ...]:
    """Return of these the registered ones and the one whose training has begun, and those that continue them."""
    rows = sorted(ledger.adapters(), key=lambda row: row.cycle)
    begun = {f"adapter-{row.number:04d}" for row in ledger.cycles() if row.status == "running"}
    begun = {name for name in begun if any(adapters.glob(f"*{name}*"))}
    marked = ({row.name for row in rows} | begun) & set(taught)
    for row in rows:
        if row.parent in marked:
            marked.add(row.name)
    return tuple(sorted(marked))


def _record_again(folder: Path, ledger: Ledger) -> None:
    """Bring the recorded hash and counts of the cycle's dataset up to what its folder holds."""
    marker, data = folder / "dataset.json", folder / "dataset"
    recorded = read_marker(marker, Dataset)
    if recorded is None or not data.is_dir() or recorded.sha256 == folder_sha256(data):
        return
    decisions = [_parsed(line)["decision"] for line in lines_of((data / TRAIN).read_text(encoding="utf-8"))]
    left = {
        "sha256": folder_sha256(data),
        "train": len(decisions),
        "valid": len(lines_of((data / VALID).read_text(encoding="utf-8"))),
        "calls": decisions.count("call"),
        "no_calls": len(decisions) - decisions.count("call"),
    }
    written = recorded.model_copy(update=left)
    ledger.note(int(folder.name), "dataset", written.model_dump(mode="json"))
    write_marker(marker, written)


def _forget_scores(folder: Path, interaction_id: str, telling: re.Pattern[str] | None, *, learned: bool) -> int:
    """Scores on learned requests are numbered by what the cycles hold: they mean nothing when that changes."""
    removed = 0
    for file in sorted(folder.glob("*.jsonl")):
        if learned and file.name.startswith("replay"):
            removed += len(file.read_bytes().splitlines())
            durable_file.remove(file)
        else:
            removed += _clean(file, interaction_id, telling)
    return removed


def _said(data_folder: Path, interaction_id: str) -> str:
    """The request; "" where the log no longer has it."""
    with InteractionLog.open_readonly(data_folder / "interactions.db") as log:
        found = log.find(interaction_id)
    return found.trajectory.messages[0].content.strip() if found else ""


def _telling(said: str, tools: Iterable[str]) -> re.Pattern[str] | None:
    """Return the pattern of JSON lines that come from the interaction without a link: its request, with its line breaks
    or without, and the tools that were made for it, whose names are of two words at least."""
    request = [_as_json(said)] if said else []
    parts = [*request, *(rf"(?<!\w){re.escape(name)}(?!\w)" for name in tools)]
    return re.compile("|".join(parts)) if parts else None


def _as_json(said: str) -> str:
    return _SPACE.join(re.escape(json.dumps(word, ensure_ascii=False)[1:-1]) for word in said.split())


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(file for file in folder.rglob("*") if file.suffix in (".json", ".jsonl") and file.is_file())


def _clean(file: Path, interaction_id: str, telling: re.Pattern[str] | None) -> int:
    """Take the values that come from the interaction, and the ``telling`` lines, out of ``file``: how many."""
    text = file.read_text(encoding="utf-8", errors="replace")
    if interaction_id not in text and not (telling and telling.search(text)):
        return 0
    if file.suffix == ".jsonl":
        lines = lines_of(text)
        kept = [line for line in lines if interaction_id not in line and not (telling and telling.search(line))]
        removed, text = len(lines) - len(kept), "".join(f"{line}\n" for line in kept)
    else:
        value, removed = _without(renewed(_parsed(text)), interaction_id)
        text = json.dumps(value, ensure_ascii=False)
    if removed:
        durable_file.replace(file, text.encode())
    return removed


def _without(value: Any, interaction_id: str) -> tuple[Any, int]:
    """``value`` without the list elements that come from the interaction, at any depth, and how many there were."""
    if isinstance(value, list):
        kept = [element for element in value if not _names(element, interaction_id)]
        cleaned = [_without(element, interaction_id) for element in kept]
        return [one for one, _ in cleaned], len(value) - len(kept) + sum(count for _, count in cleaned)
    if isinstance(value, dict):
        inner = {key: _without(field, interaction_id) for key, field in value.items()}
        return {key: one for key, (one, _) in inner.items()}, sum(count for _, count in inner.values())
    return value, 0


def _names(value: Any, interaction_id: str) -> bool:
    if not isinstance(value, dict):
        return False
    links = value.get("provenance", value)
    return interaction_id in (links.get("interaction_id"), *links.get("other_interaction_ids", ()))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
