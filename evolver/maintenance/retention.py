"""Tidying the data folder: what nothing refers to any more goes.

The ledger's row goes first ("removed"), the folder after it: a crash in between leaves a folder that the next ``sweep``
takes away. A name is never used again.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from agent.adapters import active
from agent.errors import AdapterError, ModelUnavailable
from agent.serving.serving_state import ServingState
from agent.serving.upstreams import lora_api
from agent.storage.database_server import server_of
from evolver.config import ReleaseConfig
from evolver.store.ledger import Ledger
from evolver.store.ledger_rows import AdapterRow, Release
from toolkit import durable_file

_TURNS_LAST = 3600.0
"""Seconds. A turn keeps the adapter with which it began: an adapter that served as lately is not removed."""
_WORK = re.compile(r"\.(?:adapter|maker)-(\d+)\.(?:work|draft)|maker-(\d+)")
"""Work of the cycle with that number; with an adapter of its own an earlier version made lessons."""


def sweep(data_folder: Path, ledger: Ledger, serving: ServingState | None = None) -> None:
    """Take away what crashed and failed runs left: work folders of cycles that ended, folders that the ledger has
    removed and no server of ``serving`` has loaded, drafts of the pointer file."""
    adapters = data_folder / "adapters"
    running = {row.number for row in ledger.cycles() if row.status == "running"}
    for folder in adapters.glob("*"):
        work = _WORK.fullmatch(folder.name)
        if work and int(work[1] or work[2]) not in running:
            shutil.rmtree(folder, ignore_errors=True)
    durable_file.remove_drafts(data_folder / "cycles")
    left = {row.name for row in ledger.adapters() if row.state == "removed" and (adapters / row.name).exists()}
    for name in left - (_loaded(serving, left) if left else set()):
        shutil.rmtree(adapters / name, ignore_errors=True)
    with ledger.together():  # nobody writes the pointer now; where it is a row, gateways write their copies of it
        for draft in data_folder.glob(".active_adapter*.json.*") if not server_of(data_folder) else ():
            draft.unlink(missing_ok=True)


def retire(
    config: ReleaseConfig, data_folder: Path, ledger: Ledger, serving: ServingState | None, now: float
) -> list[str]:
    """Remove the adapters that nothing refers to; returns their names. Those still loaded in vLLM are unloaded first,
    also those of an earlier call that was cut off.

    Kept: somebody's active adapter, the one that served before it, what is pinned or waits for approval, the newest
    ``keep_adapters``, what the running cycle made, and what another kept adapter continues.
    """
    loaded = set() if serving is None else lora_api.loaded(serving.vllm_url, serving.vllm_key)
    with ledger.together():
        gone = removable(config, data_folder, ledger, now)
        for row in gone:
            ledger.set_adapter_state(row.name, "removed")
    for name in [row.name for row in ledger.adapters() if row.state == "removed"]:
        if serving is not None and name in loaded:
            try:
                lora_api.unload(serving.vllm_url, serving.vllm_key, name)
            except (AdapterError, ModelUnavailable):
                continue  # its files may still be read; the next sweep takes them
        shutil.rmtree(data_folder / "adapters" / name, ignore_errors=True)
    return [row.name for row in gone]


def removable(config: ReleaseConfig, data_folder: Path, ledger: Ledger, now: float) -> list[AdapterRow]:
    """Return the adapters that ``retire`` would remove."""
    rows = [row for row in ledger.adapters() if row.state != "removed"]
    kept = {row.name for row in rows[: config.keep_adapters]}
    kept |= {row.name for row in rows if row.pinned or row.state == "waiting"}
    running = {row.number for row in ledger.cycles() if row.status == "running"}
    kept |= {row.name for row in rows if row.cycle in running}
    changes = ledger.all_releases()
    for tenant in ("", *active.tenants(data_folder)):
        kept |= _named(data_folder, tenant, rows, changes)
    for change in changes:
        if now - change.at < _TURNS_LAST:
            kept |= {change.adapter, change.previous}
    parents = {row.name: row.parent for row in rows}
    while more := {parents[name] for name in kept if name in parents} - kept:
        kept |= more
    return [row for row in rows if row.name not in kept]


def _named(data_folder: Path, tenant: str, rows: Sequence[AdapterRow], changes: Sequence[Release]) -> set[str]:
    """Return the active adapter of ``tenant``, what is on trial there, and the one that served before; where its
    pointer is damaged, all that it may have named."""
    own = [change for change in changes if change.tenant == tenant]
    try:
        pointer = active.read(data_folder, tenant)
    except AdapterError:
        return {row.name for row in rows if row.tenant == tenant} | {
            name for change in own for name in (change.adapter, change.previous)
        }
    on_trial = {pointer.canary.name} if pointer.canary is not None else set[str]()
    return {pointer.name} | on_trial | {change.previous for change in own if change.adapter == pointer.name}


def _loaded(serving: ServingState | None, names: set[str]) -> set[str]:
    """Return which of ``names`` a server has loaded; all of them where it does not say."""
    if serving is None:
        return set()
    try:
        return lora_api.loaded(serving.vllm_url, serving.vllm_key) & names
    except (AdapterError, ModelUnavailable):
        return names
