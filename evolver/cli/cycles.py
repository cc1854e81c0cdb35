"""``evolver cycle``, ``daemon``, ``status``, ``pause``, ``resume``: cycles now and on a schedule."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from evolver.cli.opening import TenantOption, open_ledger, read_config, state_of_cycle
from toolkit.command import ConfigOption, JsonOption, print_json

if TYPE_CHECKING:
    from evolver.store.ledger_rows import CycleRow


def daemon(config: ConfigOption = None) -> None:
    """Run cycles when they are due and watch the active adapter. Ctrl-C ends it."""
    from evolver.cycle.daemon import run

    run(read_config(config), lambda text: _say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"))


def cycle(
    config: ConfigOption = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=3,
            help="Maximum number of cycles in a row. Stops when one is not promoted.",
            show_default=False,
        ),
    ] = None,
    tenant: TenantOption = "",
    as_json: JsonOption = False,
) -> None:
    """Run a cycle now, or resume the interrupted one. --json prints an object per round."""
    from evolver.cli.show import ProgressBars, cycle_text
    from evolver.cycle.rounds import run_rounds

    loaded = read_config(config)
    failed = False
    with open_ledger(loaded, tenant) as ledger, ProgressBars() as bars:
        for report in run_rounds(loaded, ledger, most=rounds, on_progress=bars):
            if as_json:
                print_json(report.cycle.model_dump(mode="json"))
            else:
                typer.echo(cycle_text(report))
            failed = report.cycle.status == "failed"
            bars.again()
    if failed:
        raise typer.Exit(1)


def status(tenant: TenantOption = "", config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the active adapter, the last and the next cycle."""
    from agent.adapters import active
    from agent.serving import serving_state
    from evolver.cli.past_tables import state_words
    from evolver.cycle.schedule import why_not_due
    from evolver.release import canary
    from evolver.store.cycle_state import CUT_OFF

    loaded = read_config(config)
    running = serving_state.read(loaded.data_folder)
    with open_ledger(loaded, tenant) as ledger:
        last = next(iter(ledger.own_cycles()), None)
        state = state_of_cycle(loaded, ledger, last) if last else ""
        trial = canary.standing(loaded, ledger, time.time())
        values = {
            "active_adapter": active.serving(loaded.data_folder, tenant).name,
            "on_trial": trial.model_dump(mode="json") if trial else None,
            "server": running.gateway_url if running else None,
            "last_cycle": {**last.model_dump(mode="json", exclude={"summary"}), "status": state} if last else None,
            "not_due_because": why_not_due(loaded, ledger, time.time()) or None,
        }
    if as_json:
        print_json(values)
        return
    typer.echo(f"serving:    {values['active_adapter']}, {_where(values['server'])}")
    if trial is not None:
        typer.echo(f"on trial:   {trial.adapter}, with {trial.share:.0%} of the sessions; {trial}")
    typer.echo(f"last cycle: {f'{last.number}, {state_words(state)}{_at(last)}' if last else 'none yet'}")
    if state == CUT_OFF:
        typer.echo("            go on with it: evolver cycle" + (f" --tenant {tenant}" if tenant else ""))
    waits = values["not_due_because"]
    typer.echo(f"next cycle: {f'not due: {waits}' if waits else 'due now; run it with: evolver cycle'}")


def _where(server: object) -> str:
    return f"at {server}" if server else "but no server runs; start it with: agent serve"


def _at(cycle: "CycleRow") -> str:
    """Return the stage of a cycle that has not ended."""
    return "" if cycle.ended_at else f" at {cycle.stage or 'its start'}"


def pause(
    reason: Annotated[str, typer.Argument(metavar="REASON", help="Reason to record.")] = "evolver pause",
    config: ConfigOption = None,
) -> None:
    """Start no cycle automatically until `evolver resume`. A running cycle finishes."""
    with open_ledger(read_config(config)) as ledger:
        ledger.put_setting("paused", reason)
    typer.echo("paused; go on with: evolver resume")


def resume(config: ConfigOption = None) -> None:
    """Start cycles again when they are due."""
    with open_ledger(read_config(config)) as ledger:
        ledger.put_setting("paused", "")
    typer.echo("cycles begin again when they are due")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
