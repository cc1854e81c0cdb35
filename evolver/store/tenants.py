"""Tenants with adapters of their own: whose rows a cycle reads, and which tenants there are."""

from collections.abc import Iterable, Sequence

from agent.adapters import active
from agent.log.interaction_log import FILE, InteractionLog
from agent.serving.gateway.access import api_keys
from evolver.config import Config
from evolver.store.seen_tools import SeenTool
from toolkit.errors import UserError


def rows_of(config: Config, tenant: str) -> str | None:
    """Return the tenant whose interactions and cycles count for ``tenant`` ("": for everybody's adapter).

    None stands for all of them, as they count where no tenant has an adapter of its own.
    """
    return tenant if config.evolver.per_tenant else None


def seen_by(config: Config, tenant: str, tools: Iterable[SeenTool]) -> Sequence[SeenTool]:
    """Return the clients' tools that count for ``tenant``."""
    whose = rows_of(config, tenant)
    return [tool for tool in tools if whose in (None, tool.tenant)]


def check_cycle(config: Config, tenant: str) -> None:
    """Raise UserError where no cycle may be run for ``tenant`` ("": for everybody)."""
    evolver = config.evolver
    if tenant and not evolver.per_tenant:
        raise UserError("tenants have no adapters of their own here; set [evolver] per_tenant = true")
    if evolver.per_tenant and evolver.make.tools_per_cycle:
        raise UserError(
            "with [evolver] per_tenant a tool made for one tenant's request would be learned by all; "
            "set [evolver.make] tools_per_cycle = 0"
        )
    if evolver.per_tenant and config.agent.database:
        raise UserError(
            "adapters of tenants need their pointers in the data folder, which several gateways do not share; "
            'set [evolver] per_tenant = false, or [agent] database = ""'
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
