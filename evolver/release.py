"""What serves: loading a candidate into the running server, promoting it, going back.

The order keeps every moment consistent: an adapter is verified, then loaded, then the pointer names it, then the ledger
says so. The pointer file is the truth; start-up and ``reconcile`` bring the ledger in line with it.
"""

from pathlib import Path

from agent.messages import BASE
from agent.serving import active_adapter, vllm_admin
from agent.serving.active_adapter import ActiveAdapter
from agent.serving.state import ServingState
from evolver import adapter_files
from evolver.ledger import Ledger
from evolver.types import Adapter
from toolkit.errors import UserError


def adapters_folder(data_folder: Path) -> Path:
    return data_folder / "adapters"


def load(adapter: Adapter, serving: ServingState, *, base_sha256: str) -> None:
    """Load ``adapter`` into the running vLLM, after checking its files. Loaded already: nothing happens.

    Raises AdapterInvalid, AdapterError, ModelUnavailable.
    """
    adapter_files.verify(adapter.folder, base_sha256=base_sha256)
    if adapter.name not in vllm_admin.loaded(serving.vllm_url, serving.vllm_key):
        vllm_admin.load(serving.vllm_url, serving.vllm_key, adapter.name, adapter.folder)


def promote(name: str, data_folder: Path, ledger: Ledger, serving: ServingState | None, *, reason: str) -> str:
    """Let ``name`` (an adapter, or ``base``) serve; returns what served before.

    Raises UserError when there is no such adapter, AdapterInvalid when its files are not what was registered.
    """
    previous = active_adapter.read(data_folder).name if name != BASE else _current_or_base(data_folder)
    if name == BASE:
        target = ActiveAdapter()
    else:
        row = ledger.adapter(name)
        if row is None:
            raise UserError(f"there is no adapter {name}; see: evolver adapters")
        folder = adapters_folder(data_folder) / name
        adapter_files.verify(folder)
        if adapter_files.manifest_sha256(folder) != row.sha256:
            raise UserError(f"{name} is not the adapter that was registered; restore its folder or choose another")
        if serving is not None and name not in vllm_admin.loaded(serving.vllm_url, serving.vllm_key):
            vllm_admin.load(serving.vllm_url, serving.vllm_key, name, folder)
        target = ActiveAdapter(name=name, sha256=row.sha256)
    active_adapter.write(data_folder, target)
    ledger.record_release(name, previous, reason)
    if name != BASE:
        ledger.judge_adapter(name, "promoted")
    return previous


def rollback(
    data_folder: Path, ledger: Ledger, serving: ServingState | None, *, to: str | None = None, reason: str
) -> tuple[str, str]:
    """Go back to ``to``; None: to what served before the present adapter. Returns (what served, what serves now)."""
    current = _current_or_base(data_folder)
    target = to or _before(current, ledger)
    promote(target, data_folder, ledger, serving, reason=reason)
    if current not in (BASE, target):
        ledger.judge_adapter(current, "withdrawn")
    return current, target


def reconcile(data_folder: Path, ledger: Ledger) -> None:
    """After a crash between the pointer and the ledger: record what the pointer says."""
    current = active_adapter.read(data_folder).name
    releases = ledger.releases()
    recorded = releases[0].adapter if releases else BASE
    if current != recorded:
        ledger.record_release(current, recorded, "found serving at start")
        if current != BASE:
            ledger.judge_adapter(current, "promoted")


def _before(current: str, ledger: Ledger) -> str:
    """What served before ``current`` was promoted; adapters withdrawn since are passed over."""
    withdrawn = {row.name for row in ledger.adapters() if row.state == "withdrawn"}
    for release in ledger.releases():
        if release.adapter == current and release.previous not in withdrawn | {current}:
            return release.previous
    if current == BASE:
        raise UserError("the base model serves already; nothing to go back to")
    return BASE


def _current_or_base(data_folder: Path) -> str:
    """Going back must work also when the pointer file is damaged."""
    try:
        return active_adapter.read(data_folder).name
    except UserError:
        return BASE
