"""``evolver shadow``: how often apprentice agrees with the server that answers people, and who answers."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolver.cli.opening import read_config
from toolkit.command import ConfigOption, JsonOption, print_json
from toolkit.errors import UserError

if TYPE_CHECKING:
    from agent.serving.shadow.agreement_log import Agreement
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
    from agent.serving.shadow import switches

    if not tool.strip():
        raise UserError("name a tool to switch; see them all with: evolver shadow")
    loaded = read_config(config)
    if not back and not force:
        _check(loaded, tool)
    switches.choose(loaded.data_folder, tool, "upstream" if back else "ours")
    who = "the other server answers" if back else "apprentice answers"
    typer.echo(f"{who} calls of {tool} from the next request on")


def _check(config: "Config", tool: str) -> None:
    """Raise UserError unless the agreement of the adapter that serves is good enough."""
    from agent.adapters import active
    from agent.serving.shadow.switches import is_good_enough

    adapter = active.read(config.data_folder).name
    found = [one for one in _agreements(config) if (one.tool, one.adapter) == (tool, adapter)]
    settings = config.agent.serving.shadow
    if not found:
        raise UserError(f"{tool} was not compared with {adapter} yet; see: evolver shadow, or switch with --force")
    if not is_good_enough(settings, found[0]):
        low = _interval(found[0].same_outcome, found[0].compared)["low"]
        raise UserError(
            f"{tool}: {found[0].compared} comparisons with a lower bound of {low:.0%}; {settings.minimum_calls} and "
            f"{settings.threshold:.0%} are needed ([agent.serving.shadow]); switch all the same with --force"
        )


def _agreements(config: "Config") -> "list[Agreement]":
    from agent.interaction_log import FILE
    from agent.serving.shadow.agreement_log import AgreementLog

    with AgreementLog.open_readonly(config.data_folder / FILE) as log:
        return log.agreements()


def _rows(config: "Config") -> list[dict[str, Any]]:
    from agent.adapters import active
    from agent.serving.shadow import switches

    found = _agreements(config)
    adapter = active.read(config.data_folder).name
    measured = switches.measured(config.agent.serving.shadow, found, adapter)
    chosen = switches.read(config.data_folder)
    return [
        {
            "tool": one.tool,
            "adapter": one.adapter,
            "active": one.adapter == adapter,
            "compared": one.compared,
            "results_compared": one.results,
            **{
                name: _interval(hits, one.compared)
                for name, hits in (
                    ("same_call", one.same_call),
                    ("same_arguments", one.same_arguments),
                    ("same_outcome", one.same_outcome),
                )
            },
            "answers": "upstream" if not one.tool else switches.answers(chosen, measured, one.tool),
        }
        for one in found
    ]


def _interval(hits: int, n: int) -> dict[str, Any]:
    from evolver.statistics import rate

    return rate(hits, n).model_dump()


def _rate(found: dict[str, Any]) -> str:
    share = found["hits"] / found["n"]
    return f"{share:.0%} ({found['hits']}/{found['n']}, {100 * found['low']:.0f}–{100 * found['high']:.0f})"
