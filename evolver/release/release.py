"""Releases: loading a candidate into the running server, promoting it, going back.

The order keeps every moment consistent: an adapter is verified, then loaded, then the pointer names it, then the ledger
says so. The pointer is the truth and says itself how it came about; ``reconcile`` brings the ledger in line with
it. Both change inside one transaction of the ledger, so that two commands at once come one after the other. The pointer
is that of the ledger's tenant.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

from agent.adapters import active, package, required, shared_pointer
from agent.adapters.active import SHARED, ActiveAdapter, Canary, Change
from agent.errors import AdapterError, AdapterInvalid, ModelUnavailable
from agent.serving.serving_state import ServingState
from agent.serving.upstreams import lora_api
from agent.storage.database_server import server_of
from agent.storage.statements import Statements
from agent.turn.messages import BASE
from evolver.config import ReleaseConfig
from evolver.release.history import before, first
from evolver.release.served_weights import Proved, Server, prove
from evolver.store.known_names import no_adapter
from evolver.store.ledger import Ledger
from evolver.types import Adapter
from toolkit.errors import UserError

By = Literal["person", "cycle", "monitor", "start"]
_TRIAL = "on_trial"

_LISTED_SECONDS, _LOADED_SECONDS = 0.5, 5.0
"""Time that a rollback waits for vLLM's list of loaded adapters, and for loading one."""


def adapters_folder(data_folder: Path) -> Path:
    return data_folder / "adapters"


def load_candidate(adapter: Adapter, serving: ServingState, servers: Sequence[Server], *, base_sha256: str) -> Proved:
    """Load ``adapter`` on all servers that lack it, after checking its files; then prove that it answers on each.

    Raises AdapterInvalid, AdapterError, ModelUnavailable.
    """
    manifest = package.check_adapter(adapter.folder, base_sha256=base_sha256)
    _load(adapter.name, adapter.folder, serving)
    try:
        return prove(manifest, servers)
    except AdapterInvalid:
        lora_api.unload(serving.vllm_url, serving.vllm_key, adapter.name)
        raise


def load_registered(
    name: str,
    data_folder: Path,
    ledger: Ledger,
    serving: ServingState | None,
    *,
    base_sha256: str | None,
    hurry: bool = False,
) -> str:
    """Load the adapter ``name`` as it was registered, if it is not loaded; returns the hash of its manifest.

    Without a server: only check its files. ``base_sha256``: the model that serves it; None: there is none yet.
    ``hurry``: a server that does not answer soon is taken for one that does not at all. Raises UserError when there is
    no such adapter, AdapterInvalid when its files are not what was registered or are of another model,
    ModelUnavailable.
    """
    row = ledger.adapter(name)
    if row is None:
        raise no_adapter(name, ledger)
    if row.state == "removed":
        raise UserError(f"{name} is no longer kept on disk; see what is: evolver adapters")
    folder = adapters_folder(data_folder) / name
    package.check_adapter(folder, base_sha256=base_sha256)
    if package.manifest_sha256(folder) != row.sha256:
        raise UserError(f"{name} is not the adapter that was registered; restore its folder or choose another")
    if serving is not None:
        _load(name, folder, serving, hurry=hurry)
    return row.sha256


def _made_ready(
    name: str,
    data_folder: Path,
    ledger: Ledger,
    serving: ServingState | None,
    *,
    base_sha256: str | None,
    hurry: bool = False,
) -> str:
    """As ``load_registered``; gateways on other machines find the files in their database from then on.

    What another machine made is fetched from there.
    """
    if (row := ledger.adapter(name)) is not None and row.state != "removed":
        _fetch(name, row.sha256, data_folder)
    sha256 = load_registered(name, data_folder, ledger, serving, base_sha256=base_sha256, hurry=hurry)
    if url := server_of(data_folder):
        shared_pointer.store_files(url, adapters_folder(data_folder) / name, sha256)
    return sha256


def promote(
    name: str,
    data_folder: Path,
    ledger: Ledger,
    serving: ServingState | None,
    *,
    reason: str,
    cycle: int = 0,
    base_sha256: str | None = None,
) -> str:
    """Let ``name`` (an adapter, ``base``, or for a tenant ``shared``) serve; returns the one that served before.
    ``cycle``: the one that promotes.

    ``base_sha256``, and what is raised: as ``load_registered``.
    """
    sha256 = ""
    if _has_files(name, ledger):
        check_tenant(name, ledger)
        sha256 = _made_ready(name, data_folder, ledger, serving, base_sha256=base_sha256)
        active.read(data_folder, ledger.tenant)
    with ledger.together():
        previous = _settled(data_folder, ledger)
        _switch(
            name, sha256, previous, data_folder, ledger, reason=reason, by="cycle" if cycle else "person", cycle=cycle
        )
    return previous


def begin_trial(
    name: str,
    data_folder: Path,
    ledger: Ledger,
    serving: ServingState | None,
    *,
    share: float,
    cycle: int = 0,
    reason: str = "",
    base_sha256: str | None = None,
) -> None:
    """Let ``name`` answer a ``share`` of the sessions, and the active adapter go on with the others. Raises as
    ``promote``.

    ``cycle``: the one that begins the trial; without one, a person does, for a ``reason``.
    """
    check_tenant(name, ledger)
    registered = _made_ready(name, data_folder, ledger, serving, base_sha256=base_sha256)
    canary = Canary(name=name, sha256=registered, share=share)
    with ledger.together() as db:
        current = _settled(data_folder, ledger)
        sha256 = active.read(data_folder, ledger.tenant, db).sha256
        found = f"{name} answers {share:.0%} of the sessions, on trial" + (f" ({reason})" if reason else "")
        by: By = "cycle" if cycle else "person"
        _switch(current, sha256, current, data_folder, ledger, reason=found, by=by, cycle=cycle, canary=canary)


def promote_from_trial(
    name: str,
    data_folder: Path,
    ledger: Ledger,
    serving: ServingState | None,
    *,
    reason: str,
    base_sha256: str | None = None,
) -> None:
    """Let ``name`` answer all sessions, unless its trial has ended meanwhile. Raises as ``promote``."""
    sha256 = _made_ready(name, data_folder, ledger, serving, base_sha256=base_sha256)
    with ledger.together() as db:
        previous, row = _settled(data_folder, ledger), ledger.adapter(name)
        if row is not None and name == on_trial(data_folder, ledger.tenant, db):
            _switch(name, sha256, previous, data_folder, ledger, reason=reason, by="cycle", cycle=row.cycle)


def end_trial(name: str, data_folder: Path, ledger: Ledger, *, reason: str, by: By) -> bool:
    """Withdraw ``name``, which was on trial; False, and nothing changes, if it is not any more."""
    with ledger.together() as db:
        current = _settled(data_folder, ledger)
        if name != on_trial(data_folder, ledger.tenant, db):
            return False
        sha256 = active.read(data_folder, ledger.tenant, db).sha256
        _switch(current, sha256, name, data_folder, ledger, reason=reason, by=by, withdraws=True)
    return True


def trial_setting(tenant: str) -> str:
    """Return the name of the ledger's setting with the last canary. A pointer without a canary does not tell which one
    it was."""
    return f"{_TRIAL} {tenant}".strip()


def on_trial(data_folder: Path, tenant: str = "", db: Statements | None = None) -> str:
    """Return the adapter that answers a share of the sessions of ``tenant`` ("": of everybody); "" where none does, or
    the pointer is damaged. ``db``: as in ``active.read``."""
    try:
        canary = active.read(data_folder, tenant, db).canary
    except AdapterError:
        return ""
    return canary.name if canary is not None else ""


def rollback(
    data_folder: Path,
    ledger: Ledger,
    serving: ServingState | None,
    *,
    to: str | None = None,
    reason: str,
    by: By = "person",
    only_from: str | None = None,
    base_sha256: str | None = None,
) -> tuple[str, str]:
    """Go back to ``to``; None: to the one before the present adapter. Returns (the one that served, the one that serves
    now).

    While an adapter is on trial, None ends the trial: the active adapter goes on with all sessions. ``only_from``: go
    back only if this still serves when it comes to it; else nothing changes. Where vLLM does not answer, or not soon,
    the pointer changes all the same: what it names is loaded as soon as vLLM answers. ``base_sha256`` as in
    ``load_registered``. Raises UserError, AdapterInvalid.
    """
    current = _current_or_first(data_folder, ledger)
    candidate = on_trial(data_folder, ledger.tenant) if to is None and only_from is None else ""
    if candidate and end_trial(candidate, data_folder, ledger, reason=reason, by=by):
        return candidate, current
    if only_from not in (None, current):
        return current, current
    target = to or before(current, ledger)
    sha256 = ""
    if _has_files(target, ledger):
        check_tenant(target, ledger)
        try:
            sha256 = _made_ready(target, data_folder, ledger, serving, base_sha256=base_sha256, hurry=True)
        except ModelUnavailable:
            sha256 = _made_ready(target, data_folder, ledger, None, base_sha256=base_sha256)
    with ledger.together():
        current = _settled(data_folder, ledger)
        if only_from not in (None, current):
            return current, current
        withdraws = current != target and _has_files(current, ledger) and _is_own(current, ledger)
        _switch(target, sha256, current, data_folder, ledger, reason=reason, by=by, withdraws=withdraws)
    return current, target


def why_it_waits(config: ReleaseConfig, data_folder: Path, ledger: Ledger, *, better_than: str | None = None) -> str:
    """Return the reason for which a person must approve; "" if a cycle may promote. ``better_than``: the incumbent."""
    if config.approval:
        return "waits for: evolver approve"
    if (candidate := active.read(data_folder, ledger.tenant).canary) is not None:
        return f"waits: {candidate.name} is on trial"
    pointer = active.serving(data_folder, ledger.tenant)
    if better_than not in (None, pointer.name):
        return f"waits: it was compared with {better_than}, and {pointer.name} serves now"
    row = ledger.adapter(pointer.name)
    return f"waits: {row.name} is pinned" if row is not None and row.pinned else ""


def reconcile(data_folder: Path, ledger: Ledger) -> None:
    """Record what the pointer says, after a crash between the pointer and the ledger. Let the servers have what a
    tenant's names, also what one refused once. Raises AdapterError."""
    active.read(data_folder, ledger.tenant)
    with ledger.together():
        _settled(data_folder, ledger)


def check_served(name: str, sha256: str, data_folder: Path) -> None:
    """Let the adapter ``name``, which serves, be here, fetched from the database if need be.

    Raises AdapterInvalid where it is nowhere, or what is here has another hash than ``sha256``; StorageError.
    """
    _fetch(name, sha256, data_folder)
    folder = adapters_folder(data_folder) / name
    if sha256 and package.manifest_sha256(folder) != sha256:
        raise AdapterInvalid(f"adapter {name}: {folder} holds another one than serves", "move that folder away")


def _fetch(name: str, sha256: str, data_folder: Path) -> None:
    if (url := server_of(data_folder)) and not (adapters_folder(data_folder) / name).is_dir():
        with closing(shared_pointer.open_pointer(url)) as database:
            shared_pointer.fetch_files(database, data_folder, name, sha256)


def check_tenant(name: str, ledger: Ledger) -> None:
    """Raise UserError where ``name`` is the adapter of another tenant than the ledger's."""
    row = ledger.adapter(name)
    if row is not None and row.tenant not in ("", ledger.tenant):
        fix = "" if ledger.tenant else f"; add: --tenant {row.tenant}"
        raise UserError(f"{name} is the adapter of the tenant {row.tenant}, and serves no one else{fix}")


def _has_files(name: str, ledger: Ledger) -> bool:
    return name != BASE and not (ledger.tenant and name == SHARED)


def _is_own(name: str, ledger: Ledger) -> bool:
    row = ledger.adapter(name)
    return row is None or row.tenant == ledger.tenant


def _load(name: str, folder: Path, serving: ServingState, *, hurry: bool = False) -> None:
    whole = lora_api.TIMEOUT_SECONDS
    listed, loaded = (_LISTED_SECONDS, _LOADED_SECONDS) if hurry else (whole, whole)
    if name not in lora_api.loaded(serving.vllm_url, serving.vllm_key, seconds=listed):
        lora_api.load(serving.vllm_url, serving.vllm_key, name, folder, seconds=loaded)


def _switch(
    name: str,
    sha256: str,
    previous: str,
    data_folder: Path,
    ledger: Ledger,
    *,
    reason: str,
    by: By,
    cycle: int = 0,
    withdraws: bool = False,
    canary: Canary | None = None,
) -> None:
    """The one place where the pointer changes; inside a transaction of the ledger."""
    newest = next(iter(ledger.all_releases()), None)
    change = Change(
        serial=newest.number + 1 if newest else 1,
        previous=previous,
        reason=reason,
        by=by,
        cycle=cycle,
        withdraws=withdraws,
    )
    pointer = ActiveAdapter(name=name, sha256=sha256, change=change, canary=canary)
    with ledger.together() as db:
        active.write(data_folder, pointer, db, tenant=ledger.tenant)
    _require(pointer, data_folder, ledger)
    _record(pointer, change, ledger)


def _settled(data_folder: Path, ledger: Ledger) -> str:
    """Return the active adapter, once the ledger says the same, and the servers must have a tenant's. A damaged pointer
    counts as the first that served."""
    try:
        with ledger.together() as db:
            pointer = active.read(data_folder, ledger.tenant, db)
    except AdapterError:
        return first(ledger)
    _require(pointer, data_folder, ledger)
    newest = next(iter(ledger.releases()), None)
    number, recorded = (newest.number, newest.adapter) if newest else (0, first(ledger))
    if pointer.change is not None and pointer.change.serial > number:
        _record(pointer, pointer.change, ledger)
    elif pointer.name != recorded:
        found = Change(serial=number + 1, previous=recorded, reason="found serving at start", by="start")
        _record(pointer, found, ledger)
    return pointer.name


def _record(pointer: ActiveAdapter, change: Change, ledger: Ledger) -> None:
    name = pointer.name
    ledger.record_release(name, change.previous, change.reason, by=change.by, cycle=change.cycle, number=change.serial)
    states = {name: "promoted"} if _has_files(name, ledger) else {}
    if change.withdraws:
        states[change.previous] = "withdrawn"
    candidate = pointer.canary.name if pointer.canary is not None else ""
    trial = trial_setting(ledger.tenant)
    given_up = ledger.setting(trial)
    if given_up not in ("", candidate, name):
        states[given_up] = "withdrawn"
    if candidate:
        states[candidate] = "waiting"
    for adapter, state in states.items():
        if _is_own(adapter, ledger):  # everybody's adapter stays what it is, whatever becomes of it for one tenant
            ledger.set_adapter_state(adapter, state)
    ledger.put_setting(trial, candidate)


def _require(pointer: ActiveAdapter, data_folder: Path, ledger: Ledger) -> None:
    """Let every server have the adapters of a tenant's pointer, also where none runs now. Where pointers are on
    Postgres, each gateway sees to that itself."""
    if not ledger.tenant or server_of(data_folder):
        return
    known = required.read(data_folder)
    for name, sha256 in pointer.named:
        if known.get(name) != sha256:
            required.add(data_folder, name, sha256)


def _current_or_first(data_folder: Path, ledger: Ledger) -> str:
    """Going back must work also when the pointer file is damaged."""
    try:
        return active.read(data_folder, ledger.tenant).name
    except AdapterError:
        return first(ledger)
