"""The ``evolver`` command. Data to stdout, the rest to stderr; exit code 0 done, 1 bug or failed run, 2 user error."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.errors import UserError

if TYPE_CHECKING:
    from evolver.config import Config
    from evolver.ledger import Ledger

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Makes the agent better."
)
ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="PATH", help="default: ./config.toml")]
JsonOption = Annotated[bool, typer.Option("--json", help="for programs")]


@app.command()
def daemon(config: ConfigOption = None) -> None:
    """Run cycles when they are due, watch what serves, until Ctrl-C."""
    from evolver.daemon import run

    run(_load(config), lambda text: _say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"))


@app.command()
def cycle(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Run one cycle now, or go on with the one that was cut off."""
    from evolver.cycle import run_cycle
    from evolver.show import ProgressBars, cycle_text

    loaded = _load(config)
    with _ledger(loaded) as ledger, ProgressBars() as bars:
        report = run_cycle(loaded, ledger, on_progress=bars)
    if as_json:
        _print_json(report.cycle.model_dump(mode="json"))
    else:
        typer.echo(cycle_text(report))
    if report.cycle.status == "failed":
        raise typer.Exit(1)


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """What serves, and whether a cycle is due."""
    from agent.serving import active_adapter, state
    from evolver.daemon import why_not_due

    loaded = _load(config)
    running = state.read(loaded.data_folder)
    with _ledger(loaded) as ledger:
        cycles = ledger.cycles()
        values = {
            "active_adapter": active_adapter.read(loaded.data_folder).name,
            "server": running.gateway_url if running else None,
            "last_cycle": cycles[0].model_dump(mode="json", exclude={"summary"}) if cycles else None,
            "not_due_because": why_not_due(loaded, ledger, time.time()) or None,
        }
    if as_json:
        _print_json(values)
        return
    last = cycles[0] if cycles else None
    typer.echo(f"serving    {values['active_adapter']} at {values['server'] or '(no server runs: agent serve)'}")
    typer.echo(f"last cycle {f'{last.number}: {last.status} {last.stage}' if last else '(none yet)'}")
    typer.echo(f"next cycle {values['not_due_because'] or 'due now: evolver cycle'}")


@app.command()
def history(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    number: Annotated[int | None, typer.Option("--cycle", metavar="N", help="all about one cycle")] = None,
) -> None:
    """The cycles, newest first, and every change of what serves."""
    from evolver.show import history_text

    with _ledger(_load(config)) as ledger:
        cycles, releases = ledger.cycles(number), ledger.releases()
    if number is not None and not cycles:
        raise UserError(f"there is no cycle {number}; see them all with: evolver history")
    if as_json:
        _print_json(
            {
                "cycles": [c.model_dump(mode="json") for c in cycles],
                "releases": [r.model_dump(mode="json") for r in releases],
            }
        )
    else:
        typer.echo(history_text(cycles, releases, detailed=number is not None))


@app.command()
def adapters(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The adapters with their scores; the one that serves is marked."""
    from agent.serving import active_adapter
    from evolver.show import adapters_text

    loaded = _load(config)
    with _ledger(loaded) as ledger:
        rows = ledger.adapters()
    current = active_adapter.read(loaded.data_folder).name
    if as_json:
        _print_json([{**row.model_dump(mode="json"), "active": row.name == current} for row in rows])
    else:
        typer.echo(adapters_text(rows, current))


@app.command()
def rollback(
    name: Annotated[str | None, typer.Argument(help="default: what served before")] = None, config: ConfigOption = None
) -> None:
    """Go back to an earlier adapter, or to `base`. Takes effect with the next turn; needs no server and no daemon."""
    from agent.serving import state
    from evolver import release

    loaded = _load(config)
    with _ledger(loaded) as ledger:
        gone, back = release.rollback(
            loaded.data_folder, ledger, state.read(loaded.data_folder), to=name, reason="evolver rollback"
        )
    typer.echo(f"{back} serves now (before: {gone})")


@app.command()
def promote(name: Annotated[str, typer.Argument()], config: ConfigOption = None) -> None:
    """Let an adapter serve, whatever the gate said."""
    from agent.serving import state
    from evolver import release

    loaded = _load(config)
    with _ledger(loaded) as ledger:
        previous = release.promote(
            name, loaded.data_folder, ledger, state.read(loaded.data_folder), reason="evolver promote"
        )
    typer.echo(f"{name} serves now (before: {previous})")


@app.command(name="eval")
def evaluate(
    suite: Annotated[str, typer.Argument(help="for example heldout")],
    adapter: Annotated[str, typer.Option("--adapter", metavar="NAME", help="an adapter, `base`, or `agent`")] = "agent",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a model on a suite, through the gateway."""
    from agent.errors import NO_SERVER, ModelUnavailable
    from agent.messages import BASE
    from agent.model_client import HttpModelClient
    from agent.serving import active_adapter, state
    from evolver.cycle import score
    from evolver.show import ProgressBars, report_text
    from toolkit.execute import open_executor

    loaded = _load(config)
    running = state.read(loaded.data_folder)
    if running is None:
        raise ModelUnavailable(NO_SERVER)
    model = active_adapter.read(loaded.data_folder).name if adapter == "agent" else adapter
    with _ledger(loaded) as ledger:
        if model != BASE and ledger.adapter(model) is None:
            raise UserError(f"there is no adapter {model}; see: evolver adapters")
    with (
        open_executor(loaded.toolkit) as executor,
        HttpModelClient(running.gateway_url) as client,
        ProgressBars() as bars,
    ):
        report = score(loaded, model, client, executor, bars, suite=suite, stage="evaluate")
    if as_json:
        _print_json(report.model_dump(mode="json"))
    else:
        typer.echo(report_text(report))


@app.command()
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check everything that a cycle needs, one line each."""
    from evolver.doctor import examine

    checks = examine(_load(config))
    if as_json:
        _print_json([check.model_dump(mode="json") for check in checks])
    else:
        for check in checks:
            typer.echo(f"{'ok     ' if check.ok else 'PROBLEM'} {check.name}: {check.found}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def _load(path: Path | None) -> "Config":
    from evolver.config import Config
    from toolkit.config import load_config

    return load_config(path, Config)


def _ledger(config: "Config") -> "Ledger":
    from evolver.ledger import Ledger

    return Ledger(config.data_folder / "evolution.db")


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Entry point: a UserError is one line and exit code 2."""
    from evolver.errors import StageError

    try:
        app()
    except (UserError, StageError) as error:
        _say(f"evolver: {error}")
        sys.exit(2)


if __name__ == "__main__":
    main()
