"""``agent db``: the Postgres database that several gateways share."""

import sys
from importlib.metadata import entry_points

import typer

from toolkit.command import ConfigOption, JsonOption, print_json

GROUP = "apprentice.databases"
"""Entry points of packages above this one, each an ``agent.log.copy_log.Copy``."""

app = typer.Typer(help="Move log and ledger to Postgres.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Move log and ledger to Postgres."""


@app.command("copy")
def copy(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Copy log, ledger and active adapter of the data folder to Postgres.

    The database is that of config.toml. Run again, it goes on.
    """
    from agent.config import Config
    from agent.log.copy_log import copy_log
    from toolkit.config import load_config
    from toolkit.tables import table_text

    others = [found.load() for found in entry_points(group=GROUP)]
    copied = copy_log(load_config(config, Config), lambda line: print(line, file=sys.stderr), others)
    if as_json:
        print_json([table._asdict() for table in copied])
        return
    rows = [(one.table, *map(str, one[1:])) for one in copied]
    typer.echo(table_text(("TABLE", "COPIED", "CHANGED", "REMOVED", "THERE"), rows))
