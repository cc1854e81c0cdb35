"""``evolver tools``: the tools that the model wrote, and a person's word on them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from toolkit.command import print_json
from toolkit.errors import UserError

if TYPE_CHECKING:
    from evolver.tool_pool import PoolTool, State, ToolPool

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, help="Tools that the model wrote; none serves before you approve it.")
ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="PATH", help="default: ./config.toml")]
JsonOption = Annotated[bool, typer.Option("--json", help="for programs")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="from: evolver tools list")]


@app.command("list")
def list_tools(
    state: Annotated[str, typer.Option("--state", help="waiting, approved or rejected; default: all")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """The made tools with their code, what it gave, and where they come from."""
    if state not in ("", "waiting", "approved", "rejected"):
        raise UserError(f"--state {state}: must be waiting, approved or rejected")
    found = _pool(config, lambda pool: pool.tools(cast("State", state) if state else None))
    _print(found, as_json=as_json)


@app.command()
def approve(name: NameArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Make a tool one of the agent's, from its next start on. Read its code first: evolver tools list."""
    _print([_pool(config, lambda pool: pool.approve(name))], as_json=as_json)


@app.command()
def reject(name: NameArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Take a tool away from the agent and from lessons to come, and keep it from being made again."""
    _print([_pool(config, lambda pool: pool.reject(name))], as_json=as_json)


def _pool(path: Path | None, work: "Callable[[ToolPool], T]") -> T:
    from evolver.config import Config
    from evolver.ledger import Ledger
    from evolver.tool_pool import ToolPool
    from toolkit.config import load_config

    folder = load_config(path, Config).data_folder
    with Ledger(folder / "evolution.db") as ledger:
        return work(ToolPool(folder, ledger))


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
