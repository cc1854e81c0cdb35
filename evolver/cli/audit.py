"""``evolver audit``: traces and turns for a person to judge, and what the next cycle would learn."""

from pathlib import Path
from typing import Annotated

import typer

from evolver.cli.opening import MOST_CYCLES, TenantOption, open_ledger, read_config
from toolkit.command import ConfigOption, JsonOption, print_json
from toolkit.errors import UserError

_TRACES, _TURNS = 50, 100
_CycleOption = Annotated[
    int | None,
    typer.Option("--cycle", metavar="N", min=1, max=MOST_CYCLES, help="Number of the cycle; the newest by default."),
]


def audit(
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample", metavar="N", min=1, help=f"Number of traces ({_TRACES} by default) or turns ({_TURNS}).",
            show_default=False,
        ),
    ] = None,
    number: _CycleOption = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the sample.")] = 0,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what the next cycle would learn, from whom, and what it would cost.")
    ] = False,
    worked: Annotated[
        Path | None,
        typer.Option("--worked", metavar="FILE", help="File for logged turns that counted as worked, to be judged."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="FILE", help="Such a file, judged: print how many are right, by rule."),
    ] = None,
    tenant: TenantOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Print traces or turns to review, or the next cycle's plan."""
    if plan + (worked is not None) + (labels is not None) > 1:
        raise UserError("give one of --plan, --worked and --labels")
    if labels is not None:
        _show_precision(labels, as_json=as_json)
    elif plan:
        _show_plan(config, tenant, as_json=as_json)
    elif worked is not None:
        _draw_worked(config, tenant, worked, sample or _TURNS, seed)
    else:
        _show_traces(config, tenant, number, sample or _TRACES, seed, as_json=as_json)


def _show_traces(
    config: Path | None, tenant: str, number: int | None, sample: int, seed: int, *, as_json: bool
) -> None:
    from evolver.cli.show import verdict_text
    from evolver.maintenance.audit import audit as draw
    from evolver.store.cycle_folder import cycle_folder
    from evolver.store.known_names import no_cycle

    loaded = read_config(config)
    with open_ledger(loaded, tenant) as ledger:
        cycles = [row for row in ledger.cycles(number) if tenant in ("", row.tenant)]
        if not cycles and number is not None:
            raise no_cycle(number, ledger)
    if not cycles:
        raise UserError("no cycle has run yet; run one with: evolver cycle")
    found = draw(cycle_folder(loaded.data_folder, cycles[0].number), sample=sample, seed=seed)
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
    else:
        typer.echo("\n".join(verdict_text(one) for one in found))


def _show_plan(config: Path | None, tenant: str, *, as_json: bool) -> None:
    from evolver.cli.show_plan import plan_text
    from evolver.cycle.plan import plan

    loaded = read_config(config)
    with open_ledger(loaded, tenant) as ledger:
        found = plan(loaded, ledger)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        typer.echo(plan_text(found))


def _draw_worked(config: Path | None, tenant: str, file: Path, sample: int, seed: int) -> None:
    from evolver.cycle.worked import draw

    loaded = read_config(config)
    with open_ledger(loaded, tenant) as ledger:
        found = draw(loaded, ledger, file, sample=sample, seed=seed)
    typer.echo(
        f'{min(sample, found)} of {found} turns are in {file}, with what people said in them. Set "right" in each line '
        f"to true or false, then: evolver audit --labels {file}"
    )


def _show_precision(file: Path, *, as_json: bool) -> None:
    from evolver.cli.score_words import rate_text
    from evolver.cycle.worked import precision
    from toolkit.tables import table_text

    found = precision(file)
    if as_json:
        print_json([rule.model_dump(mode="json") for rule in found])
    else:
        rows = [(rule.name, rate_text(rule.right) if rule.right.n else "–") for rule in found]
        typer.echo(table_text(("RULE", "RIGHT"), rows))
