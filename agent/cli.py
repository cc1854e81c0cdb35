"""The ``agent`` command: talk, serve, and look at what was said.

Everything that takes long to import is imported by the command that needs it.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from toolkit.command import print_json as _print_json
from toolkit.command import run_command
from toolkit.errors import UserError

if TYPE_CHECKING:
    from agent.config import Config
    from agent.messages import Interaction

app = typer.Typer(
    help="A tool-using agent: talk to it, serve it, look at what was said.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="Who may ask over the network.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys, name="keys")
ConfigOption = Annotated[Path | None, typer.Option("--config", help="Path of config.toml.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def chat(
    session: Annotated[
        str | None, typer.Option(help="Name of a conversation: begun, or gone on with.", show_default=False)
    ] = None,
    message: Annotated[str | None, typer.Option(help="One turn instead of a conversation.", show_default=False)] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Talk to the agent. The answer goes to stdout, calls and their results to stderr."""
    if as_json and message is None:
        raise UserError("--json prints one turn; say which with --message TEXT")
    if message is not None and not message.strip():
        raise UserError("the message is empty; say something with --message TEXT")

    from agent import chat as chatting
    from agent.terminal import Terminal, summary

    with chatting.open_chat(_load(config), session) as talk:
        if message is None:
            typer.echo(f"session {talk.session.name}; Ctrl-D ends it", err=True)
            chatting.talk(talk)
            return
        terminal = None if as_json else Terminal(sys.stdout, sys.stderr)
        identity, trajectory = talk.turn(message, shown=terminal)
        if terminal is None:
            _print_json(chatting.as_json(identity, talk.session.name, trajectory))
        else:
            terminal.note(summary(identity, trajectory))
    if trajectory.stop_reason not in ("answered", "token_limit"):
        raise typer.Exit(1)


@app.command()
def serve(
    detach: Annotated[bool, typer.Option("--detach", help="Serve in the background.")] = False,
    config: ConfigOption = None,
) -> None:
    """Start the model server and the gateway in front of it; Ctrl-C stops both."""
    from agent.serving import background
    from agent.serving import serve as serving

    settings = _load(config)
    url = background.start(settings, config) if detach else serving.serve(settings)
    if url is not None:
        typer.echo(url)


@app.command()
def stop(config: ConfigOption = None) -> None:
    """Stop the server that runs in the background."""
    from agent.serving import background

    stopped = background.stop(_load(config))
    typer.echo("stopped" if stopped else "no server is running", err=True)


@app.command()
def log(
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was asked and answered, oldest first."""
    from agent.interaction_log import InteractionLog

    with InteractionLog.open_readonly(_load(config).data_folder / "interactions.db") as opened:
        interactions = opened.read(limit=limit)
    if as_json:
        _print_json([interaction.model_dump(mode="json") for interaction in interactions])
        return
    for interaction in interactions:
        _print_interaction(interaction)
    if not interactions:
        typer.echo("nothing was said yet; begin with: agent chat", err=True)


@app.command()
def feedback(
    interaction: Annotated[str, typer.Argument(metavar="ID", help="An id that `agent log` shows.")],
    verdict: Annotated[Literal["good", "bad"], typer.Argument(help="good or bad.")],
    note: Annotated[str, typer.Option(help="Why.", show_default=False)] = "",
    config: ConfigOption = None,
) -> None:
    """Say whether an answer was good."""
    from agent.interaction_log import FILE, InteractionLog

    settings = _load(config)
    if not (settings.data_folder / FILE).exists():
        raise UserError("nothing was said yet; begin with: agent chat")
    with InteractionLog.of(settings) as opened:
        identity = opened.feedback(interaction, verdict, note)
    typer.echo(f"noted: {identity} was {verdict}", err=True)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="For people; the log names it.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="chat, feedback or admin; may be given again.  [default: chat, feedback]")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Kept with all that this key says.", show_default=False)] = "",
    config: ConfigOption = None,
) -> None:
    """Make a key. It is shown once, on stdout, and kept nowhere."""
    from agent.serving import api_keys

    typer.echo(api_keys.create(_load(config).data_folder, name, scope or ["chat", "feedback"], tenant))


@keys.command("list")
def list_keys(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the keys, also those that are revoked."""
    from agent.serving import api_keys

    known = api_keys.read(_load(config).data_folder)
    if as_json:
        _print_json([key.model_dump(mode="json", exclude={"sha256"}) for key in known])
        return
    for key in known:
        state = "revoked" if key.revoked_at else "good"
        typer.echo(
            "  ".join([key.name, state, ",".join(key.scopes), *([f"tenant {key.tenant}"] if key.tenant else [])])
        )
    if not known:
        typer.echo("there is no key; make one with: agent keys create NAME", err=True)


@keys.command("revoke")
def revoke_key(
    name: Annotated[str, typer.Argument(help="A name that `agent keys list` shows.")], config: ConfigOption = None
) -> None:
    """End a key, at once."""
    from agent.serving import api_keys

    api_keys.revoke(_load(config).data_folder, name)
    typer.echo(f"revoked: {name}", err=True)


def _load(path: Path | None) -> "Config":
    from agent.config import Config
    from toolkit.config import load_config

    return load_config(path, Config)


def _print_interaction(interaction: "Interaction") -> None:
    import time

    from agent.terminal import show_call
    from toolkit.tool import neutral, render_result

    turn = interaction.trajectory
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(interaction.created_at))
    said = "".join(f", {word.verdict}" + (f" ({word.note})" if word.note else "") for word in interaction.feedback)
    named = f" {interaction.session}" if interaction.session else ""
    lines = [
        f"{interaction.id}  {when}  {interaction.source}{named}  {turn.adapter}  {turn.stop_reason}{said}",
        f"  > {turn.messages[0].content}",
        *(
            f"    {show_call(call)} = {render_result(result)}"
            for call, result in zip(turn.calls, turn.results, strict=False)
        ),
    ]
    lines += [f"  < {turn.answer}"] if turn.answer else []
    lines += [f"  ! {turn.error}"] if turn.error else []
    for line in lines:
        typer.echo(neutral(line).replace("\n", "\n    "))


def main() -> None:
    """Entry point; see toolkit.command."""
    run_command(app, "agent")


if __name__ == "__main__":
    main()
