"""The ``evolver`` command. Data to stdout, the rest to stderr; exit code 0 done, 1 bug or failed run, 2 user error."""

import typer

from evolver.cli import adapters, audit, cycles, evaluation, export, past, shadow, tools, upkeep
from toolkit.command import run_command

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run and inspect evolution cycles.",
    rich_markup_mode=None,
)
app.command()(cycles.daemon)
app.command()(cycles.cycle)
app.command()(cycles.status)
app.command()(past.history)
app.command()(past.report)
app.command()(audit.audit)
app.command()(upkeep.forget)
app.command()(adapters.adapters)
app.command()(adapters.rollback)
app.command()(adapters.promote)
app.command()(adapters.approve)
app.command()(adapters.trial)
app.command()(adapters.reject)
app.command()(adapters.pin)
app.command()(adapters.unpin)
app.command()(cycles.pause)
app.command()(cycles.resume)
app.command()(upkeep.backup)
app.command()(export.export)
app.command()(export.push)
app.command(name="eval")(evaluation.evaluate)
app.command()(past.scores)
app.command()(upkeep.doctor)
app.add_typer(shadow.app, name="shadow")
app.add_typer(tools.app, name="tools")


def main() -> None:
    """Entry point; see toolkit.command."""
    from evolver.errors import StageError

    run_command(app, "evolver", also_users=(StageError,))


if __name__ == "__main__":
    main()
