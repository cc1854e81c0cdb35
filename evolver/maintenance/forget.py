"""Deleting interactions with all that was derived from it.

What people said is theirs. Gone are the log's entry, its task, its traces in every cycle and their lessons in every
dataset; the dataset's recorded hash and counts are those of what is left. Scores that quote it go too, and are measured
again when they are wanted. What an adapter has learned cannot be taken out of it: adapters that may have learned from
it are marked, and keep the hash of what they were trained on.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.log.interaction_log import FILE, InteractionLog
from evolver.maintenance.sought import ID, Sought
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
_AT_ONCE = 200
"""Interactions that leave the log in one transaction."""


class Forgotten(Frozen):
    """Counts of what was deleted, the adapters that were marked, and the made tools that are gone, approved ones
    too. ``client_tools`` are gone from the catalogue: no other interaction showed them. ``interaction_id`` is "" where
    several ``interactions`` were to be deleted."""

    interaction_id: str
    interactions: int = 1
    logged: bool
    values: int
    adapters: tuple[str, ...]
    tools: tuple[str, ...] = ()
    client_tools: tuple[str, ...] = ()


def forget(data_folder: Path, ledger: Ledger, interaction_id: str) -> Forgotten:
    """Delete the interaction and what comes from it, as ``forget_all`` does. Raises UserError when nothing of it is
    there."""
    if not ID.fullmatch(interaction_id):
        raise UserError(_UNKNOWN.format(interaction_id))
    found = forget_all(data_folder, ledger, [interaction_id])
    if not found.logged and not found.values and not found.tools:
        raise UserError(_UNKNOWN.format(interaction_id))
    return found


def chosen(
    data_folder: Path, *, session: str | None = None, owner: str | None = None, tenant: str | None = None
) -> list[str]:
    """Return the ids of the interactions of this session, owner and tenant, None for any.

    Raises UserError where there are none, and where several keys have a session of that name.
    """
    if session is None and (owner == "" or tenant == ""):
        raise UserError("--owner and --tenant need a name; an empty one stands beside --session alone")
    with InteractionLog.open_readonly(data_folder / FILE) as log:
        found = log.ids_of(session=session, owner=owner, tenant=tenant)
    if not found:
        named = {"session": session, "owner": owner, "tenant": tenant}
        of = ", ".join(f"{name} {value or 'none'}" for name, value in named.items() if value is not None)
        raise UserError(f"there is no interaction of {of}; see them with: agent log")
    keys = {f"{one.tenant}/{one.owner}".strip("/") or "no key" for one in found.values()}
    if session is not None and len(keys) > 1:
        raise UserError(f"several keys have a session {session}: {', '.join(sorted(keys))}; add --owner or --tenant")
    return list(found)


def forget_all(data_folder: Path, ledger: Ledger, ids: Collection[str]) -> Forgotten:
    """Delete interactions and what comes from them, reading each file once; again deletes what is left. The log's
    entries go last, so that a run that was cut off can be repeated. Whoever calls it holds the lease: a running cycle
    would write back what it has at hand."""
    for folder in ("cycles", "evaluations"):
        durable_file.remove_drafts(data_folder / folder)
    pool = ToolPool(data_folder, ledger)
    tools = [tool for tool in pool.tools() if tool.interaction_id in ids]
    sought = Sought(ids, _said(data_folder, ids), (tool.name for tool in tools))
    removed = {
        f"adapter-{int(folder.name):04d}": _forget_cycle(folder, ledger, sought)
        for folder in cycle_folders(data_folder)
    }
    taught = [name for name, count in removed.items() if count]
    values = sum(removed.values())
    values += _forget_scores(data_folder / "evaluations", sought, learned=bool(values))
    marked = _with_children(taught, ledger, data_folder / "adapters")
    one = next(iter(ids)) if len(ids) == 1 else ""
    for name in marked:
        deleted = f"a deleted interaction ({one})" if one else f"{len(ids)} deleted interactions"
        ledger.mark_adapter(name, f"may have learned from {deleted}")
    for identity in sorted({tool.interaction_id for tool in tools}):
        pool.forget(identity)
    logged, client_tools = _forget_logged(data_folder, ledger, ids)
    return Forgotten(
        interaction_id=one,
        interactions=len(ids),
        logged=logged > 0,
        values=values,
        adapters=marked,
        tools=tuple(tool.name for tool in tools),
        client_tools=client_tools,
    )


def _forget_logged(data_folder: Path, ledger: Ledger, ids: Collection[str]) -> tuple[int, tuple[str, ...]]:
    """Return how many interactions left the log, and the clients' tools that nothing else showed."""
    newest_first, logged, gone = sorted(ids, reverse=True), 0, list[str]()
    with InteractionLog(data_folder / FILE) as log:
        for start in range(0, len(newest_first), _AT_ONCE):
            some = newest_first[start : start + _AT_ONCE]
            # Cut off in between, their tools count some turns too few: nothing of them stays.
            gone += ToolCatalogue(ledger).forget(log, some)
            logged += log.forget_all(some)
    return logged, tuple(dict.fromkeys(gone))


def _forget_cycle(folder: Path, ledger: Ledger, sought: Sought) -> int:
    """Return how many values were taken out of the cycle's files; lines of its request log go too."""
    removed = sum(_clean(file, sought, sought.tells) for file in _files(folder))
    for prompts in folder.rglob(request_log.NAME) if sought.has_short() else ():
        _clean(prompts, sought, sought.fills_a_line)
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


def _forget_scores(folder: Path, sought: Sought, *, learned: bool) -> int:
    """Scores on learned requests are numbered by what the cycles hold: they mean nothing when that changes."""
    removed = 0
    for file in sorted(folder.glob("*.jsonl")):
        if learned and file.name.startswith("replay"):
            removed += len(file.read_bytes().splitlines())
            durable_file.remove(file)
        else:
            removed += _clean(file, sought, sought.tells)
    return removed


def _said(data_folder: Path, ids: Collection[str]) -> Iterator[str]:
    """Yield the requests, as far as the log still has them."""
    with InteractionLog.open_readonly(data_folder / FILE) as log:
        for identity in ids:
            if (found := log.find(identity)) is not None:
                yield found.trajectory.messages[0].content


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(file for file in folder.rglob("*") if file.suffix in (".json", ".jsonl") and file.is_file())


def _clean(file: Path, sought: Sought, tells: Callable[[str], bool]) -> int:
    """Take what comes from the interactions, and the lines that ``tells`` finds, out of ``file``: how many values."""
    text = file.read_text(encoding="utf-8", errors="replace")
    if not sought.names(text) and not tells(text):
        return 0
    if file.suffix == ".jsonl":
        lines = lines_of(text)
        kept = [line for line in lines if not sought.names(line) and not tells(line)]
        removed, text = len(lines) - len(kept), "".join(f"{line}\n" for line in kept)
    else:
        value, removed = _without(renewed(_parsed(text)), sought)
        text = json.dumps(value, ensure_ascii=False)
    if removed:
        durable_file.replace(file, text.encode())
    return removed


def _without(value: Any, sought: Sought) -> tuple[Any, int]:
    """``value`` without the list elements that come from the interactions, at any depth, and how many there were."""
    if isinstance(value, list):
        kept = [element for element in value if not sought.is_source_of(element)]
        cleaned = [_without(element, sought) for element in kept]
        return [one for one, _ in cleaned], len(value) - len(kept) + sum(count for _, count in cleaned)
    if isinstance(value, dict):
        inner = {key: _without(field, sought) for key, field in value.items()}
        return {key: one for key, (one, _) in inner.items()}, sum(count for _, count in inner.values())
    return value, 0


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
