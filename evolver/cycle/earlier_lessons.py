"""Lessons that a cycle takes over from those before it, and the tenants of their turns."""

from collections.abc import Iterable
from pathlib import Path

from agent.log.interaction_log import InteractionLog
from evolver.config import Config
from evolver.lessons.client_tools import called_schemas, signatures
from evolver.lessons.replay import still_right
from evolver.store.ledger import Ledger
from evolver.store.seen_tools import SeenTool
from evolver.store.tenants import rows_of
from evolver.types import Call, Trace
from toolkit.execute import Executor


def earlier_lessons(config: Config, ledger: Ledger, cycle: int) -> list[Trace]:
    """Return the traces of cycles before ``cycle`` that are still right; those of the ledger's tenant, where tenants
    have adapters of their own. Nothing is forgotten while a lease is held."""
    failed = {row.number for row in ledger.cycles() if row.status == "failed"}
    upstream = config.agent.serving.shadow.learn_from_upstream
    tenant = rows_of(config, ledger.tenant)
    return still_right(config.data_folder, before=cycle, failed=failed, learn_from_upstream=upstream, tenant=tenant)


def replayable(traces: Iterable[Trace], executor: Executor, seen: Iterable[SeenTool] = ()) -> list[Trace]:
    """Return the traces whose calls the tools of ``executor`` still take: people change their tools. Those of clients
    stay as long as all tools that they call are in use (``seen``)."""
    in_use = {tool.sha256 for tool in seen if tool.state == "in use"}

    def taken(call: Call) -> bool:
        tool = executor.registry.get(call.name)
        return tool is not None and executor.problem(tool, call.arguments) is None

    return [
        trace
        for trace in traces
        if (signatures(called_schemas(trace)) <= in_use if trace.client_turn else all(map(taken, trace.calls)))
    ]


def tenants(data_folder: Path, traces: Iterable[Trace]) -> dict[str, int]:
    """Return the number of logged turns behind ``traces`` by tenant; empty if no turn has a tenant."""
    origins = {origin for trace in traces for origin in trace.provenance.interactions}
    with InteractionLog.open_readonly(data_folder / "interactions.db") as log:
        found = log.tenants(origins)
    return found if set(found) - {""} else {}
