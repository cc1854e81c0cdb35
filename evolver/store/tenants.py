"""Tenants with adapters of their own: whose rows a cycle reads and has read, and which tenants there are."""

from collections.abc import Iterable, Sequence

from agent.adapters import active
from agent.log.interaction_log import FILE, InteractionLog
from agent.serving.gateway.access import api_keys
from agent.serving.gateway.access.auth import is_open
from evolver.config import Config
from evolver.store.ledger import Ledger
from evolver.store.ledger_rows import FINISHED, READS, CycleRow
from evolver.store.seen_tools import SeenTool
from toolkit.errors import UserError


def rows_of(config: Config, tenant: str) -> str | None:
    """Return the tenant whose interactions and cycles count for ``tenant`` ("": for everybody's adapter).

    None stands for all of them, as they count where no tenant has an adapter of its own.
    """
    return tenant if config.evolver.per_tenant else None


def open_cycle(config: Config, ledger: Ledger) -> CycleRow:
    """Return the ledger's open cycle, or open one; one that has done nothing yet notes whose rows it reads, unless
    those of all."""
    with ledger.together():
        cycle = ledger.open_cycle()
        if config.evolver.per_tenant and not cycle.stage:
            ledger.note(cycle.number, READS, {"tenant": rows_of(config, ledger.tenant)})
        return ledger.cycles(cycle.number)[0]


def why_not_continued(config: Config, cycle: CycleRow) -> str:
    """Return the reason for which an open cycle must not go on: it has other tenants' rows than it may read now, or
    fewer. "" if it may."""
    if cycle.reads == rows_of(config, cycle.tenant):
        return ""
    return (
        "[evolver] per_tenant was changed since it began, and with it whose turns it reads; begin anew: evolver cycle"
    )


def mined_up_to(config: Config, ledger: Ledger) -> str:
    """Return the interaction up to which a cycle of the ledger's tenant has seen all rows that it reads; "" before the
    first.

    Where it reads those of all tenants, a cycle that read only those of none does not count.
    """
    if ledger.tenant or config.evolver.per_tenant:
        return ledger.mined_up_to()
    whole = [row for row in ledger.own_cycles() if row.status in FINISHED and row.reads is None]
    return max((row.last_interaction_id for row in whole), default="")


def seen_by(config: Config, tenant: str, tools: Iterable[SeenTool]) -> Sequence[SeenTool]:
    """Return the clients' tools that count for ``tenant``."""
    whose = rows_of(config, tenant)
    return [tool for tool in tools if whose in (None, tool.tenant)]


def check_cycle(config: Config, tenant: str) -> None:
    """Raise UserError where no cycle may be run for ``tenant`` ("": for everybody)."""
    evolver = config.evolver
    if tenant and not evolver.per_tenant:
        raise UserError("tenants have no adapters of their own here; set [evolver] per_tenant = true")
    if evolver.per_tenant and is_open(config.agent.serving.gateway):
        raise UserError(
            "with [evolver] per_tenant, who leaves out the key could ask for every tenant's adapter; "
            "set [agent.serving.gateway] require_key = true, and start the server again: agent serve"
        )
    if evolver.per_tenant and evolver.make.tools_per_cycle:
        raise UserError(
            "with [evolver] per_tenant a tool made for one tenant's request would be learned by all; "
            "set [evolver.make] tools_per_cycle = 0"
        )


def check_known(config: Config, tenant: str) -> None:
    """Raise UserError where nothing is known of ``tenant``; it names those that are."""
    if tenant and tenant not in (known := all_tenants(config)):
        there = ", ".join(known) or "none yet; make a key of one with: agent keys create NAME --tenant TENANT"
        raise UserError(f"there is no tenant {tenant}; there is: {there}")


def all_tenants(config: Config) -> list[str]:
    """Return the tenants of API keys, of logged interactions and of pointers."""
    with InteractionLog.open_readonly(config.data_folder / FILE) as log:
        found = log.all_tenants()
    found |= {key.tenant for key in api_keys.read(config.data_folder)} | set(active.tenants(config.data_folder))
    return sorted(found - {""})
