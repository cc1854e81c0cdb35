"""``evolver history``, ``report``, ``scores``: what cycles did and measured."""

import json
from pathlib import Path
from typing import Annotated

import typer

from evolver.cli.opening import MOST_CYCLES, TenantOption, open_ledger, read_config, state_of_cycle
from toolkit.command import ConfigOption, JsonOption, print_json
from toolkit.errors import UserError

_PARTS = ("requests", "kept", "dropped")
"""Parts of a cycle that `--show` prints."""


def history(
    tenant: TenantOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    number: Annotated[
        int | None,
        typer.Option("--cycle", metavar="N", min=1, max=MOST_CYCLES, help="Number of a cycle to show in detail."),
    ] = None,
    show: Annotated[
        str, typer.Option("--show", metavar="PART", help=f"Records of the cycle to print: {', '.join(_PARTS)}.")
    ] = "",
) -> None:
    """Show cycles, newest first, and changes of the active adapter."""
    from evolver.cli.past_tables import history_text
    from evolver.cli.show import cycle_details_text
    from evolver.store.cycle_folder import cycle_folder
    from evolver.store.known_names import no_cycle

    loaded = read_config(config)
    with open_ledger(loaded, tenant) as ledger:
        cycles = [row for row in ledger.cycles(number) if tenant in ("", row.tenant)]
        releases = [row for row in ledger.all_releases() if tenant in ("", row.tenant)]
        if number is not None and not cycles:
            raise no_cycle(number, ledger)
        states = {row.number: state_of_cycle(loaded, ledger, row) for row in cycles if row.status == "running"}
    if show:
        if number is None or show not in _PARTS:
            raise UserError(f"--show goes with --cycle N, and is one of: {', '.join(_PARTS)}")
        _show_part(cycle_folder(loaded.data_folder, number), show, as_json=as_json)
    elif as_json:
        print_json(
            {
                "cycles": [{**c.model_dump(mode="json"), "status": states.get(c.number, c.status)} for c in cycles],
                "releases": [r.model_dump(mode="json") for r in releases],
            }
        )
    else:
        typer.echo(history_text(cycles, releases, detailed=number is not None, states=states))
        if number is not None:
            typer.echo(cycle_details_text(cycle_folder(loaded.data_folder, number)))


def _show_part(folder: Path, part: str, *, as_json: bool) -> None:
    from evolver.cli.show import request_text, verdict_text
    from evolver.maintenance.audit import read_verdicts
    from evolver.model.request_log import read_requests

    if part == "requests":
        for request in read_requests(folder):
            typer.echo(json.dumps(request, ensure_ascii=False) if as_json else request_text(request))
        return
    for judged in read_verdicts(folder):
        if judged.verdict.kept is (part == "kept"):
            typer.echo(judged.model_dump_json() if as_json else verdict_text(judged))


def report(
    number: Annotated[
        int,
        typer.Argument(metavar="CYCLE", min=1, max=MOST_CYCLES, help="Number of the cycle, from `evolver history`."),
    ],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="File to write as a web page that needs no other.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one cycle, or write it as a web page."""
    from evolver.cli.past_tables import state_words
    from evolver.cli.show import cycle_text
    from evolver.cycle.report import as_html, report_of
    from evolver.store.known_names import no_cycle
    from toolkit.durable_file import writing_to

    if as_json and html is not None:
        raise UserError("--json prints the report and --html writes it; give one of them")
    loaded = read_config(config)
    with open_ledger(loaded) as ledger:
        if not ledger.cycles(number):
            raise no_cycle(number, ledger)
        if html is None:
            found = report_of(loaded, ledger, number)
            state = state_of_cycle(loaded, ledger, found.cycle)
            if as_json:
                values = found.as_values()
                print_json({**values, "cycle": {**values["cycle"], "status": state}})
            else:
                typer.echo(cycle_text(found, state=state_words(state)))
            return
        page = as_html(loaded, ledger, number)
    with writing_to(html):
        html.write_text(page, encoding="utf-8")
    typer.echo(f"written to {html}")


def scores(
    adapter: Annotated[
        str | None, typer.Option("--adapter", metavar="NAME", help="Name of an adapter, or `base`.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List scores measured by cycles and `evolver eval`, newest first."""
    from agent.turn.messages import BASE
    from evolver.cli.past_tables import evaluations_text
    from evolver.store.known_names import no_adapter

    with open_ledger(read_config(config)) as ledger:
        found = ledger.evaluations(adapter)
        if not found and adapter not in (None, BASE) and ledger.adapter(adapter) is None:
            raise no_adapter(adapter, ledger)
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
    else:
        typer.echo(evaluations_text(found))
