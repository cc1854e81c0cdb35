"""``evolver tools``: the tools that the model wrote, a person's word on them, and the tools of clients."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from evolver.cli.opening import open_ledger, read_config
from toolkit.command import ConfigOption, JsonOption, print_json
from toolkit.errors import UserError

if TYPE_CHECKING:
    from evolver.tool_making.pool import PoolTool, State, ToolPool

T = TypeVar("T")
app = typer.Typer(
    no_args_is_help=True,
    help="Review tools that the model wrote, and list those of clients. No written tool is used before you approve it.",
    rich_markup_mode=None,
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the tool, from `evolver tools list`.")]


@app.command("list")
def list_tools(
    state: Annotated[
        str, typer.Option("--state", metavar="STATE", help="State of the tools to list: waiting, approved or rejected.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List model-written tools with code, examples and origin."""
    if state not in ("", "waiting", "approved", "rejected"):
        raise UserError(f"--state {state}: must be waiting, approved or rejected")
    found = _pool(config, lambda pool: pool.tools(cast("State", state) if state else None))
    _print(found, as_json=as_json)


@app.command()
def seen(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    everything: Annotated[
        bool, typer.Option("--all", help="List replaced and retired versions too. --json always does.")
    ] = False,
) -> None:
    """List clients' tools with versions, calls and failures."""
    list_seen(config, as_json=as_json, everything=everything)


def list_seen(config: Path | None, *, as_json: bool, everything: bool = False) -> None:
    """Print the tools that clients brought; also ``toolkit list --seen``, by its entry point."""
    from evolver.cli.show_tools import seen_tools_text
    from evolver.store.seen_tools import refreshed

    loaded = read_config(config)
    with open_ledger(loaded) as ledger:
        found = refreshed(loaded.data_folder, ledger)
    if as_json:
        print_json([tool.model_dump(mode="json") for tool in found])
    else:
        typer.echo(seen_tools_text(found, everything=everything))


@app.command()
def approve(name: NameArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Approve a tool. The agent gets it at its next start. Read its code first: `evolver tools list`."""
    _print([_pool(config, lambda pool: pool.approve(name))], as_json=as_json)


@app.command()
def reject(name: NameArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Reject a tool. The agent and later lessons lose it, and it is not made again."""
    _print([_pool(config, lambda pool: pool.reject(name))], as_json=as_json)


def _pool(path: Path | None, work: "Callable[[ToolPool], T]") -> T:
    from evolver.tool_making.pool import ToolPool

    loaded = read_config(path)
    with open_ledger(loaded) as ledger:
        return work(ToolPool(loaded.data_folder, ledger))


def _print(tools: "list[PoolTool]", *, as_json: bool) -> None:
    if as_json:
        print_json([tool.model_dump(mode="json") for tool in tools])
        return
    typer.echo("\n".join(_text(tool) for tool in tools) or "no tools were made yet")


def _text(tool: "PoolTool") -> str:
    """All that a person needs for a judgement. Whatever a model or a person wrote cannot steer the terminal."""
    import json

    from toolkit.tool import neutral

    lines = [
        f"{tool.name}  {tool.state}  {tool.sha256[:12]}  cycle {tool.cycle}, by {tool.maker}",
        f"  for: {tool.request}  ({tool.interaction_id})",
        *(f"  | {line}" for line in tool.tool.source.splitlines()),
        *(f"  {json.dumps(one.arguments)} -> {json.dumps(one.result)}" for one in tool.examples),
    ]
    return "\n".join(neutral(line) for line in lines)
