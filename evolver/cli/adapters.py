"""``evolver adapters`` and the commands that change the active adapter: ``rollback``, ``promote``, ``approve``,
``trial``, ``reject``, ``pin``, ``unpin``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evolver.cli.opening import AdapterArgument, TenantOption, open_ledger, read_config
from toolkit.command import ConfigOption, JsonOption, print_json

if TYPE_CHECKING:
    from agent.adapters.active import ActiveAdapter


def adapters(tenant: TenantOption = "", config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List adapters with state, parent, size, hash and scores. The active one is marked."""
    from agent.adapters import active
    from evolver.cli.past_tables import adapters_text, folder_bytes, lessons_of
    from evolver.release.release import adapters_folder

    loaded = read_config(config)
    pointers = active.read_all(loaded.data_folder)
    pointer = active.serving(loaded.data_folder, tenant)
    candidate = pointer.canary.name if pointer.canary else ""
    with open_ledger(loaded, tenant) as ledger:
        rows = [row for row in ledger.adapters() if tenant in ("", row.tenant) or row.name in dict(pointer.named)]
        marks = ledger.marks()
        lessons = {row.number: lessons_of(row) for row in ledger.cycles()}
    sizes = {row.name: folder_bytes(adapters_folder(loaded.data_folder) / row.name) for row in rows}
    serves, tried = _answers(pointers)
    if as_json:
        print_json(
            [
                {
                    **row.model_dump(mode="json"),
                    "active": row.name == pointer.name,
                    "on_trial": row.name == candidate,
                    "serves": serves.get(row.name, []),
                    "on_trial_for": tried.get(row.name, []),
                    "bytes": sizes[row.name],
                    "trained_on": {k: v for k, v in lessons.get(row.cycle, {}).items() if isinstance(v, int | dict)},
                    "marks": marks.get(row.name, []),
                }
                for row in rows
            ]
        )
    else:
        whom = {row.name: _whom(serves.get(row.name, ()), tried.get(row.name, ())) for row in rows}
        typer.echo(adapters_text(rows, pointer.name, sizes, lessons, marks, candidate=candidate, whom=whom))


def rollback(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Name of the adapter, `base`, or for a tenant `shared`; the one before by default."
        ),
    ] = None,
    tenant: TenantOption = "",
    config: ConfigOption = None,
) -> None:
    """Go back to an earlier adapter from the next turn on. Needs no server and no daemon."""
    from evolver.release import by_person
    from toolkit.elapsed import Elapsed

    loaded = read_config(config)
    with Elapsed("going back"), open_ledger(loaded, tenant) as ledger:
        gone, back = by_person.roll_back(loaded, ledger, name, reason="evolver rollback")
    typer.echo(_told(back, tenant, gone))


def promote(name: AdapterArgument, tenant: TenantOption = "", config: ConfigOption = None) -> None:
    """Activate an adapter, whatever the gate said."""
    from evolver.release import by_person
    from toolkit.elapsed import Elapsed

    loaded = read_config(config)
    with Elapsed("loading"), open_ledger(loaded, tenant) as ledger:
        previous = by_person.promote(loaded, ledger, name, reason="evolver promote")
    typer.echo(_told(name, tenant, previous))


def approve(name: AdapterArgument, tenant: TenantOption = "", config: ConfigOption = None) -> None:
    """Activate an adapter that passed the gate and waits for approval."""
    from evolver.release import by_person
    from toolkit.elapsed import Elapsed

    loaded = read_config(config)
    with Elapsed("loading"), open_ledger(loaded, tenant) as ledger:
        previous = by_person.approve(loaded, ledger, name, reason="evolver approve")
    typer.echo(_told(name, tenant, previous))


def trial(
    name: AdapterArgument,
    share: Annotated[float, typer.Option("--share", metavar="X", help="Share of the sessions, up to 0.5.")] = 0.1,
    tenant: TenantOption = "",
    config: ConfigOption = None,
) -> None:
    """Let an adapter answer a share of the sessions, on trial."""
    from evolver.release import by_person
    from toolkit.elapsed import Elapsed

    loaded = read_config(config)
    with Elapsed("loading"), open_ledger(loaded, tenant) as ledger:
        by_person.begin_trial(loaded, ledger, name, share=share, reason="evolver trial")
    whose, option = (f" of {tenant}", f" --tenant {tenant}") if tenant else ("", "")
    typer.echo(f"{name} answers {share:.0%} of the sessions{whose}; end the trial with: evolver rollback{option}")


def reject(name: AdapterArgument, tenant: TenantOption = "", config: ConfigOption = None) -> None:
    """Reject an adapter that waits for approval. Its files stay on disk."""
    from evolver.release import by_person

    with open_ledger(read_config(config), tenant) as ledger:
        by_person.reject(ledger, name, reason="evolver reject")
    typer.echo(f"{name} is rejected")


def pin(name: AdapterArgument, tenant: TenantOption = "", config: ConfigOption = None) -> None:
    """Protect an adapter from removal. While it is active, only a person replaces it."""
    _pin(name, tenant, config, pinned=True)


def unpin(name: AdapterArgument, tenant: TenantOption = "", config: ConfigOption = None) -> None:
    """Lift the protection of `evolver pin`."""
    _pin(name, tenant, config, pinned=False)


def _pin(name: str, tenant: str, config: Path | None, *, pinned: bool) -> None:
    from evolver.release import by_person

    with open_ledger(read_config(config), tenant) as ledger:
        by_person.pin(ledger, name, pinned=pinned)
    typer.echo(f"{name} is {'pinned' if pinned else 'no longer pinned'}")


def _answers(pointers: "Mapping[str, ActiveAdapter]") -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return for each adapter the tenants ("": everybody) that it serves, and those with which it is on trial."""
    serves, tried = dict[str, list[str]](), dict[str, list[str]]()
    for whose, pointer in pointers.items():
        serves.setdefault(pointer.name, []).append(whose)
        if pointer.canary:
            tried.setdefault(pointer.canary.name, []).append(whose)
    return serves, tried


def _whom(serves: Sequence[str], tried: Sequence[str]) -> list[str]:
    """Return these tenants in words."""
    return [f"serves {whose}" for whose in serves if whose] + [f"on trial for {whose}" for whose in tried if whose]


def _told(name: str, tenant: str, before: str) -> str:
    return f"{name} serves {tenant + ' ' if tenant else ''}now (before: {before})"
