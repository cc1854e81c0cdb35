"""The ``toolkit`` command: list the tools, call one, check the sandbox."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.errors import SandboxUnavailable, UserError

app = typer.Typer(
    help="Tools, and the sandbox that runs them.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
ConfigOption = Annotated[Path | None, typer.Option("--config", help="Path of config.toml.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_tools(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    left_out: Annotated[bool, typer.Option("--left-out", help="List what became no tool, and why.")] = False,
) -> None:
    """List the tools: name, source, effect, parameters."""
    from toolkit.config import Config, load_config
    from toolkit.registry import load_tools

    registry = load_tools(load_config(config, Config).toolkit)
    if left_out:
        _print_left_out(registry.left_out, as_json)
        return
    tools = list(registry)
    if registry.left_out:
        typer.echo(f"{len(registry.left_out)} functions are no tools; see toolkit list --left-out", err=True)
    if as_json:
        _print_json([tool.model_dump(mode="json") for tool in tools])
        return
    widths = [max((len(text) for text in column), default=0) for column in zip(*map(_row, tools), strict=True)]
    for tool in tools:
        cells = _row(tool)
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


@app.command()
def call(
    name: Annotated[str, typer.Argument(help="The tool's name.")],
    arguments: Annotated[str, typer.Argument(help="A JSON object.")] = "{}",
    workspace: Annotated[Path | None, typer.Option(help="Folder that the tool sees as /workspace.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Call one tool in the sandbox; exit code 1 when the call fails."""
    from toolkit.config import Config, load_config
    from toolkit.execute import open_executor
    from toolkit.tool import ToolCall, render_result

    try:
        parsed = json.loads(arguments)
    except ValueError as error:
        raise UserError(f"the arguments are no JSON: {error}; write an object such as '{{\"value\": 3}}'") from None
    if not isinstance(parsed, dict):
        raise UserError("the arguments must be a JSON object; write for example '{\"value\": 3}'")
    with open_executor(load_config(config, Config).toolkit) as executor:
        if executor.registry.get(name) is None:
            raise UserError(f"there is no tool named {name}; see `toolkit list`")
        result = executor.execute(ToolCall(id="call", name=name, arguments=parsed), workspace=workspace)
    if as_json:
        _print_json(result.model_dump(mode="json"))
    else:
        typer.echo(render_result(result), err=not result.ok)
    if not result.ok:
        raise typer.Exit(1)


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Try to escape from the sandbox, and say how each attempt ended; exit code 1 when one succeeds."""
    from toolkit.config import Config, load_config
    from toolkit.sandbox import open_sandbox
    from toolkit.sandbox.self_check import attempt_all

    with open_sandbox(load_config(config, Config).toolkit.sandbox, check=False) as sandbox:
        findings = attempt_all(sandbox)
    if as_json:
        _print_json([{"attempt": each.attempt, "held": each.held, "outcome": each.outcome} for each in findings])
    else:
        for each in findings:
            typer.echo(f"{'held' if each.held else 'ESCAPED':8}{each.attempt}: {each.outcome}")
        held = sum(each.held for each in findings)
        typer.echo(f"{held} of {len(findings)} attempts held", err=True)
    if not all(each.held for each in findings):
        raise typer.Exit(1)


def _print_left_out(functions: list[Any], as_json: bool) -> None:
    if as_json:
        _print_json([{"source": each.source, "name": each.name, "reason": each.reason} for each in functions])
        return
    for each in functions:
        typer.echo(f"{each.source}  {each.name}: {each.reason}")


def _row(tool: Any) -> tuple[str, str, str, str]:
    properties = tool.parameters.get("properties", {})
    required = tool.parameters.get("required", [])
    shown = ", ".join(f"{name}{'' if name in required else '?'}: {_type(field)}" for name, field in properties.items())
    effect = f"{tool.effect.value} (workspace)" if tool.sandbox_state else tool.effect.value
    return tool.name, tool.source, effect, f"({shown})"


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return "|".join(map(str, field["enum"]))
    kind = field.get("type", "any")
    return f"{kind}[{_type(field['items'])}]" if kind == "array" and field.get("items") else str(kind)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def main() -> None:
    """Entry point: 0 done, 1 a failed run or a bug, 2 a user error (one line on stderr)."""
    try:
        app()
    except UserError as error:
        typer.echo(f"toolkit: {error}", err=True)
        sys.exit(2)
    except SandboxUnavailable as error:
        typer.echo(f"toolkit: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
