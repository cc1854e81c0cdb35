"""The ``evolver`` command. Data to stdout, the rest to stderr; exit code 0 done, 1 bug or failed run, 2 user error."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evolver import tools_cli
from toolkit.command import print_json as _print_json
from toolkit.command import run_command
from toolkit.errors import UserError

if TYPE_CHECKING:
    from evolver.config import Config
    from evolver.ledger import Ledger

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Makes the agent better."
)
ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="PATH", help="default: ./config.toml")]
JsonOption = Annotated[bool, typer.Option("--json", help="for programs")]
_PARTS = ("requests", "kept", "dropped", "trial")
"""Of a cycle; ``trial``: what the maker's own adapter and the base model made when they were compared."""
app.add_typer(tools_cli.app, name="tools")


@app.command()
def daemon(config: ConfigOption = None) -> None:
    """Run cycles when they are due, watch what serves, until Ctrl-C."""
    from evolver.daemon import run

    run(_load(config), lambda text: _say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"))


@app.command()
def cycle(
    config: ConfigOption = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, max=3, help="Cycles in a row, while each is promoted.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a cycle now, or go on with the one that was cut off; with --json, an object for each round."""
    from evolver.rounds import run_rounds
    from evolver.show import ProgressBars, cycle_text

    loaded = _load(config)
    failed = False
    with _ledger(loaded) as ledger, ProgressBars() as bars:
        for report in run_rounds(loaded, ledger, most=rounds, on_progress=bars):
            if as_json:
                _print_json(report.cycle.model_dump(mode="json"))
            else:
                typer.echo(cycle_text(report))
            failed = report.cycle.status == "failed"
            bars.again()
    if failed:
        raise typer.Exit(1)


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """What serves, and whether a cycle is due."""
    from agent.serving import active_adapter, state
    from evolver import canary
    from evolver.due import why_not_due

    loaded = _load(config)
    running = state.read(loaded.data_folder)
    with _ledger(loaded) as ledger:
        cycles = ledger.cycles()
        trial = canary.standing(loaded, ledger, time.time())
        values = {
            "active_adapter": active_adapter.read(loaded.data_folder).name,
            "on_trial": trial.model_dump(mode="json") if trial else None,
            "server": running.gateway_url if running else None,
            "last_cycle": cycles[0].model_dump(mode="json", exclude={"summary"}) if cycles else None,
            "not_due_because": why_not_due(loaded, ledger, time.time()) or None,
        }
    if as_json:
        _print_json(values)
        return
    last = cycles[0] if cycles else None
    typer.echo(f"serving    {values['active_adapter']} at {values['server'] or '(no server runs: agent serve)'}")
    if trial is not None:
        typer.echo(f"on trial   {trial.adapter}, with {trial.share:.0%} of the sessions; {trial}")
    typer.echo(f"last cycle {f'{last.number}: {last.status} {last.stage}' if last else '(none yet)'}")
    typer.echo(f"next cycle {values['not_due_because'] or 'due now: evolver cycle'}")


@app.command()
def history(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    number: Annotated[int | None, typer.Option("--cycle", metavar="N", help="all about one cycle")] = None,
    show: Annotated[str, typer.Option("--show", help=f"with --cycle, one by one: {', '.join(_PARTS)}")] = "",
) -> None:
    """The cycles, newest first, and every change of what serves."""
    from evolver.markers import cycle_folder
    from evolver.show import cycle_details_text, history_text

    loaded = _load(config)
    with _ledger(loaded) as ledger:
        cycles, releases = ledger.cycles(number), ledger.releases()
    if number is not None and not cycles:
        raise UserError(f"there is no cycle {number}; see them all with: evolver history")
    if show:
        if number is None or show not in _PARTS:
            raise UserError(f"--show goes with --cycle N, and is one of: {', '.join(_PARTS)}")
        _show_part(cycle_folder(loaded.data_folder, number), show, as_json=as_json)
    elif as_json:
        _print_json(
            {
                "cycles": [c.model_dump(mode="json") for c in cycles],
                "releases": [r.model_dump(mode="json") for r in releases],
            }
        )
    else:
        typer.echo(history_text(cycles, releases, detailed=number is not None))
        if number is not None:
            typer.echo(cycle_details_text(cycle_folder(loaded.data_folder, number)))


def _show_part(folder: Path, part: str, *, as_json: bool) -> None:
    from evolver.audit import read_judged, tried_makers
    from evolver.request_log import read_requests
    from evolver.show import judged_text, request_text

    if part == "requests":
        for request in read_requests(folder):
            typer.echo(json.dumps(request, ensure_ascii=False) if as_json else request_text(request))
        return
    found = tried_makers(folder) if part == "trial" else read_judged(folder)
    for judged in found:
        if part == "trial" or judged.verdict.kept is (part == "kept"):
            typer.echo(judged.model_dump_json() if as_json else judged_text(judged))


@app.command()
def audit(
    sample: Annotated[int, typer.Option("--sample", metavar="N", min=1, help="how many traces")] = 50,
    number: Annotated[int | None, typer.Option("--cycle", metavar="N", help="default: the newest")] = None,
    seed: Annotated[int, typer.Option("--seed", help="another seed draws others")] = 0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Kept and dropped traces, drawn at random, for you to read."""
    from evolver.audit import audit as draw
    from evolver.markers import cycle_folder
    from evolver.show import judged_text

    loaded = _load(config)
    with _ledger(loaded) as ledger:
        cycles = ledger.cycles(number)
    if not cycles:
        raise UserError("there is no such cycle; see them all with: evolver history")
    found = draw(cycle_folder(loaded.data_folder, cycles[0].number), sample=sample, seed=seed)
    if as_json:
        _print_json([one.model_dump(mode="json") for one in found])
    else:
        typer.echo("\n".join(judged_text(one) for one in found))


@app.command()
def forget(
    interaction: Annotated[str, typer.Argument(metavar="ID", help="from: agent log")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete an interaction and all that was made from it; marks the adapters that may have learned from it."""
    from evolver.forget import forget as delete
    from evolver.lease import held
    from evolver.show import forgotten_text

    loaded = _load(config)
    with _ledger(loaded) as ledger, held(ledger, loaded.evolver.daemon.lease_seconds):
        found = delete(loaded.data_folder, ledger, interaction)
    if as_json:
        _print_json(found.model_dump(mode="json"))
    else:
        typer.echo(forgotten_text(found))


@app.command()
def adapters(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The adapters with their scores, sizes and hashes; the one that serves is marked."""
    from agent.serving import active_adapter
    from evolver.release import adapters_folder
    from evolver.show import adapters_text, folder_bytes, lessons_of

    loaded = _load(config)
    with _ledger(loaded) as ledger:
        rows, marks = ledger.adapters(), ledger.marks()
        lessons = {row.number: lessons_of(row) for row in ledger.cycles()}
    pointer = active_adapter.read(loaded.data_folder)
    candidate = pointer.canary.name if pointer.canary else ""
    sizes = {row.name: folder_bytes(adapters_folder(loaded.data_folder) / row.name) for row in rows}
    if as_json:
        _print_json(
            [
                {
                    **row.model_dump(mode="json"),
                    "active": row.name == pointer.name,
                    "on_trial": row.name == candidate,
                    "bytes": sizes[row.name],
                    "trained_on": {k: v for k, v in lessons.get(row.cycle, {}).items() if isinstance(v, int | dict)},
                    "marks": marks.get(row.name, []),
                }
                for row in rows
            ]
        )
    else:
        typer.echo(adapters_text(rows, pointer.name, sizes, lessons, marks, candidate=candidate))


@app.command()
def rollback(
    name: Annotated[str | None, typer.Argument(help="default: what served before")] = None, config: ConfigOption = None
) -> None:
    """Go back to an earlier adapter, or to `base`. Takes effect with the next turn; needs no server and no daemon."""
    from agent.serving import state
    from evolver import release
    from evolver.base_model import configured_sha256

    loaded = _load(config)
    with _ledger(loaded) as ledger:
        base_sha256 = None if name == "base" else configured_sha256(loaded, ledger)
        running = state.read(loaded.data_folder)
        gone, back = release.rollback(
            loaded.data_folder, ledger, running, to=name, reason="evolver rollback", base_sha256=base_sha256
        )
    typer.echo(f"{back} serves now (before: {gone})")


@app.command()
def promote(name: Annotated[str, typer.Argument()], config: ConfigOption = None) -> None:
    """Let an adapter serve, whatever the gate said."""
    loaded = _load(config)
    with _ledger(loaded) as ledger:
        _let_serve(name, loaded, ledger, "evolver promote")


@app.command()
def approve(name: Annotated[str, typer.Argument()], config: ConfigOption = None) -> None:
    """Let an adapter serve that the gate passed and that waits for a person's word."""
    loaded = _load(config)
    with _ledger(loaded) as ledger:
        row = ledger.adapter(name)
        if row is None or row.state != "waiting":
            waiting = [row.name for row in ledger.adapters() if row.state == "waiting"]
            raise UserError(f"{name} does not wait for approval; waiting: {', '.join(waiting) or 'none'}")
        _let_serve(name, loaded, ledger, "evolver approve")


@app.command()
def pin(name: Annotated[str, typer.Argument()], config: ConfigOption = None) -> None:
    """Keep an adapter: it is never removed, and while it serves, only a person replaces it."""
    _pin(name, config, pinned=True)


@app.command()
def unpin(name: Annotated[str, typer.Argument()], config: ConfigOption = None) -> None:
    """Undo `pin`."""
    _pin(name, config, pinned=False)


@app.command()
def pause(
    reason: Annotated[str, typer.Argument(help="why, for others")] = "evolver pause", config: ConfigOption = None
) -> None:
    """No cycle begins by itself until `evolver resume`; one that runs goes on to its end."""
    with _ledger(_load(config)) as ledger:
        ledger.put_setting("paused", reason)
    typer.echo("paused; go on with: evolver resume")


@app.command()
def resume(config: ConfigOption = None) -> None:
    """Undo `pause`."""
    with _ledger(_load(config)) as ledger:
        ledger.put_setting("paused", "")
    typer.echo("cycles begin again when they are due")


@app.command()
def backup(folder: Annotated[Path, typer.Argument(help="made; must not exist")], config: ConfigOption = None) -> None:
    """Copy logs, ledger, adapters and cycles while all runs. To restore, put the copy in the data folder's place."""
    from evolver.backup import back_up

    loaded = _load(config)
    with _ledger(loaded) as ledger:
        back_up(loaded.data_folder, folder, ledger)
    typer.echo(f"backed up to {folder}")


@app.command(name="eval")
def evaluate(
    suite: Annotated[str, typer.Argument(help="heldout, develop:renamed, replay, chat, bfcl:simple_python, ...")],
    adapter: Annotated[str, typer.Option("--adapter", metavar="NAME", help="an adapter, `base`, or `agent`")] = "agent",
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="the first N requests")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a model on a suite, through the gateway; what was asked before is not asked again."""
    from agent.errors import NO_SERVER, ModelUnavailable
    from agent.messages import BASE
    from agent.model_client import HttpModelClient
    from agent.serving import active_adapter, state
    from evolver.base_model import configured_sha256
    from evolver.effects import harmless
    from evolver.release import load_registered
    from evolver.scoring import score_suite
    from evolver.show import ProgressBars, report_text
    from toolkit.execute import open_executor

    loaded = _load(config)
    running = state.read(loaded.data_folder)
    if running is None:
        raise ModelUnavailable(NO_SERVER)
    model = active_adapter.read(loaded.data_folder).name if adapter == "agent" else adapter
    with _ledger(loaded) as ledger:
        if model != BASE:
            load_registered(model, loaded.data_folder, ledger, running, base_sha256=configured_sha256(loaded, ledger))
        with (
            open_executor(loaded.toolkit, allows=harmless, insist=True) as executor,
            HttpModelClient(running.gateway_url, running.gateway_key) as client,
            ProgressBars() as bars,
        ):
            report = score_suite(
                loaded, suite, model, client=client, executor=executor, limit=limit,
                gateway_url=running.gateway_url, gateway_key=running.gateway_key,
                on_progress=lambda share: bars("evaluate", share, model),
            )  # fmt: skip
        ledger.record_evaluation(report)
    if as_json:
        _print_json(report.model_dump(mode="json"))
    else:
        typer.echo(report_text(report))


@app.command()
def scores(
    adapter: Annotated[str | None, typer.Option("--adapter", metavar="NAME", help="an adapter, or `base`")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What cycles and `evolver eval` have measured, the newest first."""
    from evolver.show import evaluations_text

    with _ledger(_load(config)) as ledger:
        found = ledger.evaluations(adapter)
    if as_json:
        _print_json([one.model_dump(mode="json") for one in found])
    else:
        typer.echo(evaluations_text(found))


@app.command()
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check everything that a cycle needs, one line each."""
    from evolver.doctor import examine

    checks = examine(_load(config))
    if as_json:
        _print_json([check.model_dump(mode="json") for check in checks])
    else:
        for check in checks:
            typer.echo(f"{'ok     ' if check.ok else 'PROBLEM'} {check.name}: {check.found}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def _let_serve(name: str, config: "Config", ledger: "Ledger", reason: str) -> None:
    from agent.serving import state
    from evolver import release
    from evolver.base_model import configured_sha256

    running, base_sha256 = state.read(config.data_folder), configured_sha256(config, ledger)
    previous = release.promote(name, config.data_folder, ledger, running, reason=reason, base_sha256=base_sha256)
    typer.echo(f"{name} serves now (before: {previous})")


def _pin(name: str, config: Path | None, *, pinned: bool) -> None:
    with _ledger(_load(config)) as ledger:
        row = ledger.adapter(name)
        if row is None or row.state == "removed":
            raise UserError(f"there is no adapter {name}; see: evolver adapters")
        ledger.pin(name, pinned)
    typer.echo(f"{name} is {'pinned' if pinned else 'no longer pinned'}")


def _load(path: Path | None) -> "Config":
    from evolver.config import Config
    from toolkit.config import load_config

    return load_config(path, Config)


def _ledger(config: "Config") -> "Ledger":
    from evolver.ledger import Ledger

    return Ledger(config.data_folder / "evolution.db")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Entry point; see toolkit.command."""
    from evolver.errors import StageError

    run_command(app, "evolver", also_users=(StageError,))


if __name__ == "__main__":
    main()
