"""``evolver export`` and ``evolver push``: what evolution made, for other programs and people."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from evolver.cli.opening import MOST_CYCLES, AdapterArgument, open_ledger, read_config
from toolkit.command import ConfigOption, JsonOption, print_json
from toolkit.elapsed import Elapsed
from toolkit.errors import UserError

if TYPE_CHECKING:
    from evolver.config import Config
    from evolver.store.ledger import Ledger

FormOption = Annotated[
    Literal["peft", "merged", "gguf"],
    typer.Option("--format", help="Form: the adapter, or the whole model with it, also as one file for llama.cpp."),
]

_LessonsOption = Annotated[
    Path | None,
    typer.Option("--lessons", metavar="FILE", help="File for the lessons: .jsonl or .parquet.", show_default=False),
]
_CycleOption = Annotated[
    int | None,
    typer.Option(
        "--cycle", metavar="N", min=1, max=MOST_CYCLES, help="Cycle whose lessons are written; all by default."
    ),
]
_AdapterOption = Annotated[
    str, typer.Option("--adapter", metavar="NAME", help="Adapter whose lessons are written.", show_default=False)
]
_TenantOption = Annotated[
    str, typer.Option("--tenant", metavar="NAME", help="Tenant whose lessons alone are written.", show_default=False)
]


def export(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Adapter to write, from `evolver adapters`.", show_default=False)
    ] = "",
    form: FormOption = "peft",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="New folder. [default: NAME-FORM]", show_default=False)
    ] = None,
    lessons: _LessonsOption = None,
    number: _CycleOption = None,
    adapter: _AdapterOption = "",
    tenant: _TenantOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write an adapter to a folder, or lessons to a file.

    Beside an adapter lie its chat template, profile and call bias. Each lesson says where it comes from. Lessons of
    forgotten interactions are left out.
    """
    if tenant and lessons is None:
        raise UserError("--tenant goes with --lessons: evolver export --lessons lessons.jsonl --tenant NAME")
    if name and lessons is None:
        _export_adapter(read_config(config), name, form, to or Path(f"{name}-{form}"), as_json=as_json)
        return
    if name or lessons is None:
        raise UserError("say what to export: evolver export ADAPTER, or evolver export --lessons lessons.jsonl")
    if number is not None and adapter:
        raise UserError("an adapter has the lessons of one cycle: give --cycle N or --adapter NAME, not both")
    _export_lessons(read_config(config), lessons, number, adapter, tenant, as_json=as_json)


def push(
    name: AdapterArgument,
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Repository on the hub, as OWNER/NAME.")],
    form: FormOption = "peft",
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it.")] = False,
    with_logged_turns: Annotated[
        bool, typer.Option("--with-logged-turns", help="Push it although it learned from people's turns.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Push an adapter to a model hub.

    Its repository is private by default, and has a card that says how it was made.
    """
    from evolver.release.push import push as send

    loaded = read_config(config)
    with open_ledger(loaded) as ledger:
        url = send(loaded, ledger, name, repo, form, public=public, with_logged_turns=with_logged_turns)
    print_json({"url": url}) if as_json else typer.echo(url)


def _export_adapter(
    loaded: "Config", name: str, form: Literal["peft", "merged", "gguf"], to: Path, *, as_json: bool
) -> None:
    from evolver.release.export import export as write

    with Elapsed("exporting"):
        folder = write(loaded, name, form, to)
    print_json({"folder": str(folder)}) if as_json else typer.echo(folder)


def _export_lessons(
    loaded: "Config", lessons: Path, number: int | None, adapter: str, tenant: str, *, as_json: bool
) -> None:
    from evolver.maintenance.export_lessons import export_lessons
    from evolver.store.tenants import check_known

    check_known(loaded, tenant)
    with open_ledger(loaded) as ledger:
        cycles = _cycles(ledger, number, adapter)
    from_upstream = loaded.agent.serving.shadow.learn_from_upstream
    with Elapsed("exporting"):
        found = export_lessons(
            loaded.data_folder, lessons, cycles, tenant=tenant or None, learn_from_upstream=from_upstream
        )
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    typer.echo(f"{found.lessons} lessons are written to {found.file}")
    left_out = {
        "of forgotten interactions": found.forgotten,
        "called bad or corrected since, or another model's": found.wrong,
        f"not made from interactions of {tenant} alone": found.others,
    }
    typer.echo("".join(f"left out: {count} {why}\n" for why, count in left_out.items() if count), nl=False, err=True)


def _cycles(ledger: "Ledger", number: int | None, adapter: str) -> set[int] | None:
    """Return the cycles whose lessons are wanted; None for all."""
    from evolver.store.known_names import no_adapter, no_cycle

    if adapter:
        row = ledger.adapter(adapter)
        if row is None:
            raise no_adapter(adapter, ledger)
        return {row.cycle}
    if number is None:
        return None
    if not ledger.cycles(number):
        raise no_cycle(number, ledger)
    return {number}
