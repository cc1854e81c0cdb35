"""The ``toolkit`` command: list the tools, call one, check the sandbox."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.command import ConfigOption, JsonOption, print_json, run_command
from toolkit.errors import UserError

app = typer.Typer(
    help="List and call tools, and check the sandbox that runs them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


SEEN_TOOLS = "apprentice.seen_tools"
"""Entry points: each is called with the path of config.toml or None, and prints the tools that clients brought."""


@app.command("list")
def list_tools(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    left_out: Annotated[
        bool, typer.Option("--left-out", help="List functions that are not usable as tools, and the reasons.")
    ] = False,
    seen: Annotated[
        bool, typer.Option("--seen", help="List the tools that clients brought instead: `evolver tools seen`.")
    ] = False,
) -> None:
    """List the tools with source, effect and parameters."""
    if seen:
        _list_seen(config, as_json)
        return
    from toolkit.config import Config, load_config
    from toolkit.elapsed import Elapsed
    from toolkit.sources import load_tools
    from toolkit.tables import table_text

    loaded = load_config(config, Config).toolkit
    with Elapsed("reading the tools"):
        registry = load_tools(loaded)
    if left_out:
        _print_left_out(registry.left_out, as_json)
        return
    tools = list(registry)
    _show_lost_servers(registry)
    others = len(registry.left_out) - len(registry.lost_servers())
    if others:
        typer.echo(f"{others} functions are no tools; see toolkit list --left-out", err=True)
    if as_json:
        print_json([tool.model_dump(mode="json") for tool in tools])
        return
    if tools:
        typer.echo(table_text(("TOOL", "SOURCE", "EFFECT", "PARAMETERS"), map(_row, tools)))


@app.command()
def call(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the tool.")],
    arguments: Annotated[str, typer.Argument(metavar="JSON", help="Arguments as a JSON object.")] = "{}",
    workspace: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder that the tool sees as /workspace.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Call a tool in the sandbox. Exit with 1 when the call fails."""
    from toolkit.argument_check import no_tool
    from toolkit.config import Config, load_config
    from toolkit.elapsed import Elapsed
    from toolkit.execute import open_executor
    from toolkit.tool import ToolCall, render_result

    try:
        parsed = json.loads(arguments)
    except ValueError as error:
        raise UserError(f"the arguments are no JSON: {error}; write an object such as '{{\"value\": 3}}'") from None
    if not isinstance(parsed, dict):
        raise UserError("the arguments must be a JSON object; write for example '{\"value\": 3}'")
    with Elapsed("calling the tool") as elapsed, open_executor(load_config(config, Config).toolkit) as executor:
        if executor.registry.get(name) is None:
            elapsed.wipe()
            _show_lost_servers(executor.registry)
            raise UserError(no_tool(name, executor.registry.names(), otherwise="see them all with: toolkit list"))
        result = executor.execute(ToolCall(id="call", name=name, arguments=parsed), workspace=workspace)
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        typer.echo(render_result(result), err=not result.ok)
    if not result.ok:
        raise typer.Exit(1)


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Attempt to escape from the sandbox and report each attempt. Exit with 1 when one succeeds."""
    from toolkit.config import Config, load_config
    from toolkit.elapsed import Elapsed

    with Elapsed("trying to escape"):
        report = _attempts(load_config(config, Config).toolkit)
    if as_json:
        print_json(report)
    else:
        _print_check(report)
    if not all(each["held"] for each in report["attempts"]):
        raise typer.Exit(1)


def _attempts(loaded: Any) -> dict[str, Any]:
    """Try to escape from each sandbox, and return the outcome."""
    from toolkit.modules import open_modules
    from toolkit.sandbox.kernel import landlock_version
    from toolkit.sandbox.made_code import made_code_limits
    from toolkit.sandbox.opening import open_sandbox
    from toolkit.sandbox.self_check import attempt_all

    with open_sandbox(loaded.sandbox, check=False) as sandbox:
        found = [("tools", each) for each in attempt_all(sandbox)]
        groups = sandbox.groups.note
    if loaded.tools.modules or loaded.tools.python_modules:
        with open_modules(loaded, check=False) as sandbox:
            found += [("modules", each) for each in attempt_all(sandbox)]
    with open_sandbox(made_code_limits(loaded.sandbox), check=False, strict=True) as sandbox:
        found += [("model-made", each) for each in attempt_all(sandbox)]
    return {
        "attempts": [
            {"code": code, "attempt": each.attempt, "held": each.held, "outcome": each.outcome} for code, each in found
        ],
        "landlock": landlock_version(),
        "control_groups": groups,
        "servers": _servers(loaded) if loaded.mcp else [],
    }


def _print_check(report: dict[str, Any]) -> None:
    """Print the attempts on stdout and the rest on stderr: a server that is down is no hole."""
    from toolkit.tables import table_text
    from toolkit.tool import neutral

    landlock = f"version {report['landlock']}" if report["landlock"] else "this kernel has none"
    typer.echo(f"Landlock: {landlock}", err=True)
    typer.echo(f"control groups: {report['control_groups']}", err=True)
    for server in report["servers"]:
        stands = server["reason"] or f"{server['tools']} tools, {server['left_out']} left out"
        typer.echo(neutral(f"{server['source']}: {stands}"), err=True)
    rows = [
        ("held" if each["held"] else "ESCAPED", each["code"], each["attempt"], each["outcome"])
        for each in report["attempts"]
    ]
    typer.echo(table_text(("RESULT", "CODE", "ATTEMPT", "OUTCOME"), rows))
    held = sum(each["held"] for each in report["attempts"])
    typer.echo(f"{held} of {len(report['attempts'])} attempts held", err=True)


def _servers(config: Any) -> list[dict[str, Any]]:
    """Return the state of each MCP server; ``reason`` says why one cannot be used, or ""."""
    from toolkit.registry import ToolRegistry
    from toolkit.sources import open_servers

    registry = ToolRegistry()
    with open_servers(config) as servers:
        servers.add_to(registry)
    lost = {each.source: each.reason for each in registry.lost_servers()}
    return [
        {
            "source": source,
            "tools": sum(tool.source == source for tool in registry),
            "left_out": sum(each.source == source for each in registry.left_out) - (source in lost),
            "reason": lost.get(source, ""),
        }
        for source in (f"mcp:{name}" for name in config.mcp)
    ]


def _list_seen(config: Path | None, as_json: bool) -> None:
    from importlib.metadata import entry_points

    found = tuple(entry_points(group=SEEN_TOOLS))
    if not found:
        raise UserError("clients' tools are known to the package evolver, which is not installed here; run: make setup")
    for one in found:
        one.load()(config, as_json=as_json)


def _show_lost_servers(registry: Any) -> None:
    from toolkit.tool import neutral

    for each in registry.lost_servers():
        typer.echo(neutral(f"{each.source}: {each.reason}"), err=True)


def _print_left_out(functions: list[Any], as_json: bool) -> None:
    if as_json:
        print_json([{"source": each.source, "name": each.name, "reason": each.reason} for each in functions])
        return
    from toolkit.tool import neutral

    for each in functions:
        typer.echo(neutral(f"{each.source}  {each.name}: {each.reason}"))


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


def main() -> None:
    """Entry point; see toolkit.command."""
    run_command(app, "toolkit")


if __name__ == "__main__":
    main()
