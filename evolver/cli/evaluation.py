"""``evolver eval``: the scores of a model on a suite."""

from typing import Annotated

import typer

from evolver.cli.opening import TenantOption, open_ledger, read_config
from toolkit.command import ConfigOption, JsonOption, print_json


def evaluate(
    suite: Annotated[
        str,
        typer.Argument(
            metavar="SUITE",
            help="Name of the suite, such as heldout, develop:renamed, replay, chat or bfcl:simple_python.",
        ),
    ],
    adapter: Annotated[
        str, typer.Option("--adapter", metavar="NAME", help="Name of an adapter, `base` or `agent`.")
    ] = "agent",
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Number of requests, from the first on.")
    ] = None,
    release: Annotated[bool, typer.Option("--release", help="Open the suite `sealed`, to judge a release.")] = False,
    tenant: TenantOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a model on a suite through the gateway. Scores of an earlier run are reused."""
    from evolver.cli.show import ProgressBars, report_text
    from evolver.cycle.measure import measure

    loaded = read_config(config)
    with open_ledger(loaded, tenant) as ledger, ProgressBars() as bars:
        report = measure(
            loaded, ledger, suite, adapter, limit=limit, release=release,
            on_progress=lambda model, share: bars("evaluate", share, model),
        )  # fmt: skip
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        typer.echo(report_text(report))
