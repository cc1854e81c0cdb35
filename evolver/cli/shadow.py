"""``evolver shadow``: how often apprentice agrees with the server that answers people, and who answers."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolver.cli.opening import read_config
from toolkit.command import ConfigOption, JsonOption, print_json
from toolkit.errors import UserError

if TYPE_CHECKING:
    from evolver.config import Config

app = typer.Typer(
    help="Compare with the server that answers people.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def shadow(context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the agreement about each tool with 95 % intervals, and who answers its calls."""
    if context.invoked_subcommand is not None:
        return
    loaded = read_config(config)
    rows = _rows(loaded)
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("nothing was compared yet; set [agent.serving.shadow] url, and ask through the gateway", err=True)
        return
    from toolkit.tables import table_text

    columns = ("TOOL", "ADAPTER", "COMPARED", "SAME CALL", "SAME ARGUMENTS", "SAME OUTCOME", "ANSWERED BY")
    names = ("same_call", "same_arguments", "same_outcome")
    lines = [
        (
            row["tool"] or "(no call)",
            row["adapter"],
            str(row["compared"]),
            *(_rate(row[n]) for n in names),
            row["answers"],
        )
        for row in rows
    ]
    typer.echo(table_text(columns, lines))


@app.command()
def switch(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="Name of the tool, from `evolver shadow`.")],
    back: Annotated[bool, typer.Option("--back", help="Let the other server answer again.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Switch whatever was measured.")] = False,
    config: ConfigOption = None,
) -> None:
    """Let apprentice answer the calls of a tool from now on."""
    from evolver.release import agreement

    if not tool.strip():
        raise UserError("name a tool to switch; see them all with: evolver shadow")
    loaded = read_config(config)
    if back:
        agreement.switch_back(loaded, tool)
    else:
        agreement.switch(loaded, tool, force=force)
    who = "the other server answers" if back else "apprentice answers"
    typer.echo(f"{who} calls of {tool} from the next request on")


def _rows(config: "Config") -> list[dict[str, Any]]:
    from evolver.release.agreement import agreements

    rows = [one.model_dump(mode="json") for one in agreements(config)]
    return [{**row, "results_compared": row["same_result"]["n"]} for row in rows]


def _rate(found: dict[str, Any]) -> str:
    share = found["hits"] / found["n"]
    return f"{share:.0%} ({found['hits']}/{found['n']}, {100 * found['low']:.0f}–{100 * found['high']:.0f})"
