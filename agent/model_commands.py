"""``agent models``: list, show, pull and use."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.command import ConfigOption, JsonOption, print_json
from toolkit.errors import UserError

if TYPE_CHECKING:
    from agent.config import Config
    from agent.models.profile import ModelProfile

app = typer.Typer(help="Choose the model, and show its profile.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_models(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the models that can be used."""
    from agent.models.choice import listed
    from toolkit.tables import table_text

    found = listed(_load(config))
    if as_json:
        print_json([vars(model) for model in found])
        return
    rows = [("*" if model.used else "", model.name, model.state, model.about) for model in found]
    typer.echo(table_text(("", "NAME", "STATE", "ABOUT"), rows))


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]", help="Name from `agent models list`, OWNER/NAME, or a folder. [default: the used one]"
        ),
    ] = "",
    template: Annotated[bool, typer.Option("--template", help="Print the chat template alone.")] = False,
    examples: Annotated[bool, typer.Option("--examples", help="Print an example of each kind of turn too.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a model's template, form of calls, parser and tokens."""
    from agent.models import choice, default_model, parser_check
    from agent.models.detect import profile_of

    settings = _load(config)
    name = choice.named(name, settings.data_folder) if name else settings.agent.serving.model
    folder = default_model.present(name, settings.data_folder)
    if folder is None:
        raise UserError(f"{name} is not on this machine yet; agent serve prepares packaged models, pull gets others")
    profile = profile_of(folder, settings.agent.serving.profile)
    if template:
        typer.echo(profile.template, nl=False)
        return
    shown = parser_check.examples(profile, folder) if examples else []
    if as_json:
        turns = [vars(example) for example in shown]
        print_json({"model": name, **profile.model_dump(mode="json"), **({"examples": turns} if turns else {})})
        return
    typer.echo(_described(name, profile))
    for example in shown:
        typer.echo(f"\n== {example.kind}\n{_neutral(example.prompt)}>>>{_neutral(example.answer)}<<<")


@app.command()
def pull(
    repo: Annotated[str, typer.Argument(metavar="REPO[@REVISION]", help="Repository on the hub, as OWNER/NAME.")],
    config: ConfigOption = None,
) -> None:
    """Download a model in safetensors from the hub. Nothing else of apprentice uses the network for models."""
    from agent.models import hub
    from agent.models.detect import profile_of

    settings = _load(config)
    name, _, revision = repo.partition("@")
    folder = hub.pull(name, revision, settings.data_folder, lambda line: typer.echo(line, err=True))
    typer.echo(folder.name)
    profile_of(folder, settings.agent.serving.profile)  # a model that cannot be spoken to is said now
    typer.echo(f"use it with: agent models use {folder.name}", err=True)


@app.command()
def use(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name from `agent models list`, OWNER/NAME, or a folder.")
    ],
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the license of a model that asks for it.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Write the model to serve into config.toml."""
    from agent.models import choice
    from agent.serving import serving_state
    from toolkit.config import DEFAULT_PATH

    settings = _load(config)
    adapter = choice.use(settings, config or DEFAULT_PATH, name, accept_license=accept_license)
    restart = serving_state.read(settings.data_folder) is not None
    again = "; restart the server: agent stop, then agent serve --detach" if restart else ""
    typer.echo(f"{name} is used, with {'no adapter' if adapter == 'base' else adapter}{again}", err=True)
    if kept := ", ".join(choice.overrides(settings)):
        told = (
            f"[agent.serving.profile] in config.toml still sets {kept} for this model; remove what was for another one"
        )
        typer.echo(told, err=True)


def _described(name: str, profile: "ModelProfile") -> str:
    options = ", ".join(f"{key}={str(value).lower()}" for key, value in profile.template_options.items())
    rows = {
        "model": name,
        "kind": profile.kind,
        "template": f"{profile.source}, {profile.version}" + (f", {options}" if options else ""),
        "calls": f"{_neutral(repr(profile.call_opening))}, read by vLLM's parser {profile.tool_parser}",
        "arguments": "held to the tools' schemas" if profile.constrained else "free: this parser has no grammar",
        "several calls": "in one answer" if profile.parallel else "one in each answer",
        "stop": ", ".join(profile.stop),
        "BOS": profile.bos or "none",
    }
    width = max(map(len, rows))
    return "\n".join(f"{key:<{width}}  {value}" for key, value in rows.items())


def _neutral(text: str) -> str:
    from toolkit.tool import printable

    return printable(text)


def _load(path: Path | None) -> "Config":
    from agent.config import Config
    from toolkit.config import load_config

    return load_config(path, Config)
