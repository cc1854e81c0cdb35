"""``evolver forget``, ``backup``, ``doctor``: the data folder and the machine."""

from pathlib import Path
from typing import Annotated

import typer

from evolver.cli.opening import open_ledger, read_config
from toolkit.command import ConfigOption, JsonOption, check_state, print_json
from toolkit.errors import UserError

_SessionOption = Annotated[
    str | None, typer.Option("--session", metavar="NAME", help="Session that is deleted.", show_default=False)
]
_OwnerOption = Annotated[
    str | None, typer.Option("--owner", metavar="NAME", help="API key whose interactions go.", show_default=False)
]
_TenantOption = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="Tenant whose interactions go.", show_default=False)
]


def forget(
    interaction: Annotated[
        str, typer.Argument(metavar="ID", help="ID of the interaction, from `agent log`.", show_default=False)
    ] = "",
    session: _SessionOption = None,
    owner: _OwnerOption = None,
    tenant: _TenantOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete interactions and everything made from them.

    One is deleted by its ID, or all of a session, API key or tenant; several options narrow the choice. Adapters that
    may have learned from them are marked.
    """
    from evolver.cli.show import forgotten_text
    from evolver.maintenance import forget as deleting
    from evolver.store.lease import held
    from evolver.store.tenants import check_known
    from toolkit.elapsed import Elapsed

    if bool(interaction) == any(option is not None for option in (session, owner, tenant)):
        raise UserError("say what to delete: evolver forget ID, or evolver forget with --session, --owner or --tenant")
    loaded = read_config(config)
    check_known(loaded, tenant or "")
    data, lease_seconds = loaded.data_folder, loaded.evolver.daemon.lease_seconds
    with Elapsed("deleting"), open_ledger(loaded) as ledger, held(ledger, lease_seconds, runs_cycle=False):
        if interaction:
            found = deleting.forget(data, ledger, interaction)
        else:
            ids = deleting.chosen(data, session=session, owner=owner, tenant=tenant)
            found = deleting.forget_all(data, ledger, ids)
    print_json(found.model_dump(mode="json")) if as_json else typer.echo(forgotten_text(found))


def backup(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to create.")], config: ConfigOption = None
) -> None:
    """Copy the data folder while everything runs. To restore, put the copy in the data folder's place."""
    from evolver.maintenance.backup import back_up
    from toolkit.elapsed import Elapsed

    loaded = read_config(config)
    with Elapsed("copying"), open_ledger(loaded) as ledger:
        back_up(loaded.data_folder, folder, ledger)
    typer.echo(f"backed up to {folder}")
    if loaded.agent.database:
        typer.echo(f"without the interaction log: pg_dump '{loaded.agent.database}' copies it", err=True)


def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check everything that a cycle needs."""
    from evolver.maintenance.doctor import examine
    from toolkit.elapsed import Elapsed

    loaded = read_config(config)
    with Elapsed("checking"):
        checks = examine(loaded)
    if as_json:
        print_json([check.model_dump(mode="json") for check in checks])
    else:
        from toolkit.tables import table_text

        rows = [(check_state(check.ok, check.warning), check.name, check.found) for check in checks]
        typer.echo(table_text(("STATE", "CHECK", "FOUND"), rows))
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
