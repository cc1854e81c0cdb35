"""The commands of ``agent``: chat, serve, and read the log.

Everything that takes long to import is imported by the command that needs it.
"""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from agent.db_commands import app as database
from agent.model_commands import app as models
from toolkit.command import ConfigOption, JsonOption, check_state
from toolkit.command import print_json as _print_json
from toolkit.errors import UserError

if TYPE_CHECKING:
    from agent.config import Config
    from agent.turn.messages import Interaction

app = typer.Typer(
    help="Chat with a tool-using agent, serve it, and read its log.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="Manage the API keys of the gateway.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys, name="keys")
app.add_typer(models, name="models")
app.add_typer(database, name="db")


@app.command()
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder to begin in. [default: .]", show_default=False)
    ] = Path(),
) -> None:
    """Write config.toml and a tools module, and check the machine."""
    from agent import init as beginning
    from toolkit.elapsed import Elapsed
    from toolkit.tables import table_text

    config, tools = beginning.write_files(folder)
    typer.echo(f"{config}: the settings that people change, with their defaults")
    typer.echo(f"{tools}: your tools; shipping_days is an example")
    with Elapsed("checking the machine"):
        checks = beginning.examine(config)
    rows = [(check_state(check["ok"], check["warning"]), check["name"], check["found"]) for check in checks]
    typer.echo(table_text(("STATE", "CHECK", "FOUND"), rows))
    typer.echo("next:")
    for command in beginning.next_steps(folder):
        typer.echo(f"  {command}")
    if not all(check["ok"] for check in checks):
        raise typer.Exit(1)


@app.command()
def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="Shell that shall complete.")
    ],
) -> None:
    """Print a script that completes the three commands."""
    from toolkit.command import completion_script

    typer.echo(completion_script(shell))


@app.command()
def chat(
    session: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the conversation to begin or continue.", show_default=False),
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Text of a single turn, instead of a conversation.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Chat with the agent. The answer goes to stdout; calls and their results go to stderr."""
    if as_json and message is None:
        raise UserError("--json prints one turn; say which with --message TEXT")
    if message is not None and not message.strip():
        raise UserError("the message is empty; say something with --message TEXT")

    from agent.chat import talk
    from agent.chat.conversation import open_chat

    with open_chat(_load(config), session) as conversation:
        if message is None:
            talk.talk(conversation)
        elif not talk.say(conversation, message, as_json=as_json):
            raise typer.Exit(1)


@app.command()
def serve(
    detach: Annotated[bool, typer.Option("--detach", help="Serve in the background.")] = False,
    config: ConfigOption = None,
) -> None:
    """Start the model server and the gateway. Ctrl-C stops both."""
    from agent.config import Config
    from agent.serving import detach as background
    from agent.serving import serve as serving
    from toolkit.config import validated
    from toolkit.config_file import read_config_file

    file = read_config_file(config)
    settings = validated(file, Config)
    url = background.start(settings, config) if detach else serving.serve(settings, file)
    if url is not None:
        typer.echo(url)


@app.command()
def stop(config: ConfigOption = None) -> None:
    """Stop the server that runs in the background."""
    from agent.serving import detach as background

    stopped = background.stop(_load(config))
    typer.echo("stopped" if stopped else "no server is running", err=True)


@app.command()
def mcp(
    tools: Annotated[bool, typer.Option("--tools", help="Offer the sandboxed tools too, beside ask.")] = False,
    session: Annotated[str, typer.Option(metavar="NAME", help="Name of the workspace of the tools.")] = "mcp",
    config: ConfigOption = None,
) -> None:
    """Serve the agent to an MCP client on stdin and stdout."""
    try:
        from agent.serving.gateway.agent import mcp_server
    except ImportError:
        raise UserError("this needs the package mcp; install it: pip install 'apprentice-agent[mcp]'") from None

    mcp_server.serve_stdio(_load(config), tools=tools, session=session)


@app.command()
def log(
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Number of turns, counted from the newest.")] = 20,
    search: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Words, or their beginnings, that a turn must hold, all of them.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show logged turns, oldest first."""
    from agent.log.interaction_log import FILE, InteractionLog

    if search is not None and not search.strip():
        raise UserError("there is nothing to search for; name a word with --search TEXT")
    with InteractionLog.open_readonly(_load(config).data_folder / FILE) as opened:
        interactions = opened.read(limit=limit) if search is None else opened.search(search, limit=limit)
    if as_json:
        _print_json([interaction.model_dump(mode="json") for interaction in interactions])
        return
    for interaction in interactions:
        _print_interaction(interaction)
    if not interactions:
        nothing = "nothing was said yet; begin with: agent chat" if search is None else "no turn holds these words"
        typer.echo(nothing, err=True)


@app.command(name="import")
def import_logs(
    file: Annotated[str, typer.Argument(metavar="FILE", help="File of exported logs; `-` reads stdin.")],
    form: Annotated[
        Literal["openai", "finetuning", "langfuse", "otel"] | None,
        typer.Option("--format", help="Format of all lines; told from each line by default.", show_default=False),
    ] = None,
    own: Annotated[
        bool, typer.Option("--own", help="Learn from the answers: they are your own, whatever model wrote them.")
    ] = False,
    owner: Annotated[
        str, typer.Option(metavar="NAME", help="API key to record with every turn.", show_default=False)
    ] = "",
    tenant: Annotated[
        str, typer.Option(metavar="NAME", help="Tenant to record with every turn.", show_default=False)
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the report and store nothing.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import logs that were made elsewhere into the interaction log."""
    from agent.imports.report import report_text
    from agent.imports.run import import_file
    from agent.imports.turns import Origin
    from toolkit.elapsed import Elapsed

    settings, origin = _load(config), Origin(owner=owner, tenant=tenant, own=own)
    with _opened(file) as opened, Elapsed("importing", share=_share_of(opened) if file != "-" else None):
        found = import_file(settings, opened, origin, form=form, dry_run=dry_run)
    if as_json:
        _print_json(found.as_json())
    else:
        typer.echo(report_text(found, dry_run=dry_run))


def _opened(file: str) -> AbstractContextManager[BinaryIO]:
    """Open a file, or stdin for ``-``. Raises UserError."""
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; name a file of exported logs, or - for stdin") from error


def _share_of(opened: BinaryIO) -> Callable[[], float]:
    """Return a function that tells how much of a file was read, 0 to 1."""
    size = os.fstat(opened.fileno()).st_size
    return lambda: opened.tell() / size if size and not opened.closed else 0.0


@app.command()
def feedback(
    interaction: Annotated[str, typer.Argument(metavar="ID", help="ID of a turn, from `agent log`.")],
    verdict: Annotated[Literal["good", "bad"], typer.Argument(metavar="good|bad", help="Rating of the answer.")],
    note: Annotated[str, typer.Option(metavar="TEXT", help="Reason for the rating.", show_default=False)] = "",
    expected: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Right answer in place of a bad one: a JSON list of calls, or a text.",
            show_default=False,
        ),
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Rate an answer as good or bad."""
    from agent.log.corrections import stored
    from agent.log.interaction_log import FILE, InteractionLog

    right = stored(expected, verdict)

    settings = _load(config)
    if not settings.agent.database and not (settings.data_folder / FILE).exists():
        raise UserError("nothing was said yet; begin with: agent chat")
    with InteractionLog.of(settings) as opened:
        identity = opened.feedback(interaction, verdict, note, expected=right)
    typer.echo(f"noted: {identity} was {verdict}", err=True)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key, recorded in the log.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="Scope of the key: chat, feedback, read or admin. Repeat it for several. [default: chat, feedback]",
        ),
    ] = None,
    tenant: Annotated[
        str, typer.Option(metavar="NAME", help="Tenant to record with every turn of this key.", show_default=False)
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Create an API key and print it. The key itself is not stored; only its hash is."""
    from agent.serving.gateway.access import api_keys

    typer.echo(api_keys.create(_load(config).data_folder, name, scope or ["chat", "feedback"], tenant))


@keys.command("list")
def list_keys(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the keys, revoked ones included."""
    from agent.serving.gateway.access import api_keys

    known = api_keys.read(_load(config).data_folder)
    if as_json:
        _print_json([key.model_dump(mode="json", exclude={"sha256"}) for key in known])
        return
    if not known:
        typer.echo("there is no key; make one with: agent keys create NAME", err=True)
        return
    from toolkit.tables import table_text

    rows = [
        (
            key.name,
            "revoked" if key.revoked_at else "good",
            ",".join(key.scopes),
            f"tenant {key.tenant}" if key.tenant else "",
        )
        for key in known
    ]
    typer.echo(table_text(("KEY", "STATE", "SCOPES", "TENANT"), rows))


@keys.command("revoke")
def revoke_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key, from `agent keys list`.")],
    config: ConfigOption = None,
) -> None:
    """Revoke a key at once."""
    from agent.serving.gateway.access import api_keys

    api_keys.revoke(_load(config).data_folder, name)
    typer.echo(f"revoked: {name}", err=True)


def _load(path: Path | None) -> "Config":
    from agent.config import Config
    from toolkit.config import load_config

    return load_config(path, Config)


def _print_interaction(interaction: "Interaction") -> None:
    import time

    from agent.turn.shown import show_call, show_check
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
        *(f"    {show_check(found)}" for found in turn.checks),
    ]
    lines += [f"  < {turn.answer}"] if turn.answer else []
    lines += [f"  ! {turn.error}"] if turn.error else []
    for line in lines:
        typer.echo(neutral(line).replace("\n", "\n    "))
