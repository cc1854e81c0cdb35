"""Parts of the commands: the configuration, the ledger, the argument that names an adapter."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from evolver.config import Config
    from evolver.store.cycle_state import CycleState
    from evolver.store.ledger import Ledger
    from evolver.store.ledger_rows import CycleRow

TenantOption = Annotated[
    str,
    typer.Option("--tenant", metavar="NAME", help="Name of a tenant, in place of everybody.", show_default=False),
]
MOST_CYCLES = 10**9
"""More cycles than anybody runs: a larger number is a slip, and none that a database could hold."""
AdapterArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the adapter, from `evolver adapters`.")]


def read_config(path: Path | None) -> "Config":
    """Return the configuration in ``path``. Raises ConfigError."""
    from evolver.config import Config
    from toolkit.config import load_config

    return load_config(path, Config)


def state_of_cycle(config: "Config", ledger: "Ledger", cycle: "CycleRow") -> "CycleState":
    """Return the state of ``cycle``: its status, or ``cut_off`` where its process is gone."""
    from evolver.store import lease
    from evolver.store.cycle_state import state_of

    return state_of(cycle, lease.holder(ledger, config.evolver.daemon.lease_seconds))


def open_ledger(config: "Config", tenant: str = "") -> "Ledger":
    """Open the ledger of the data folder for ``tenant`` ("": for everybody); use it in a ``with``.

    Raises UserError where there is no such tenant."""
    from evolver.store.ledger import Ledger
    from evolver.store.tenants import check_known

    check_known(config, tenant)
    return Ledger(config.data_folder / "evolution.db", tenant=tenant)
