"""Client applications of three frameworks, asked before and after a cycle over their own unlabelled traffic.

    python -m benchmarks.clients --from DATA [--small] [--allow-effects] [--data FOLDER] [--only-write]

It begins with a copy of a data folder in which an adapter is active, as ``make demo`` leaves one: the base model calls
almost nothing, so that its traffic would teach nothing. A run that has begun goes on without ``--from``.

See run.py for what is done, in which order. Writes a section of docs/results.md; ``--small`` (60 turns, 20 fresh
requests each, 2.5 minutes of generation and of training) writes its page into its own folder.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from agent.adapters import active
from agent.turn.messages import BASE
from benchmarks.clients.applications import APPLICATIONS, check
from benchmarks.clients.page import BEGIN, END, section
from benchmarks.clients.run import Run, Setup, read_results
from benchmarks.continual_page import replaced
from benchmarks.evolution import copy_data, server, write_config
from evolver.cli.show import ProgressBars
from evolver.config import Config
from evolver.store.ledger import Ledger
from toolkit.config import load_config
from toolkit.errors import UserError
from toolkit.exit_codes import with_exit_codes

SMALL = Setup(traffic=60, fresh=20, changes=(("evolver.make.max_minutes", 2.5), ("evolver.train.max_minutes", 2.5)))
_EFFECTS = ("evolver.make.client_tools", [f"{one.name}/*" for one in APPLICATIONS])
_EMPTY_PAGE = f"# Client applications\n\n{BEGIN}\n{END}\n"


def main() -> None:
    asked = _arguments()
    setup = SMALL if asked.small else Setup()
    setup = replace(setup, changes=(*setup.changes, _EFFECTS)) if asked.allow_effects else setup
    folder = asked.data or Path("data/clients-small" if asked.small else "data/clients")
    page = folder / "results.md" if asked.small else Path("docs/results.md")
    check(setup.learned, setup.fresh)
    if not asked.only_write:
        _run(folder, setup, asked, page)
    publish(folder, setup, page)
    print(f"written: {page}", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="60 turns, 20 fresh requests each, a short cycle")
    parser.add_argument(
        "--allow-effects", action="store_true", help="make calls up for tools that change something too"
    )
    parser.add_argument("--from", dest="begun", type=Path, metavar="DATA", help="data folder to begin with a copy of")
    parser.add_argument("--config", type=Path, default=Path("config.toml"))
    parser.add_argument("--data", type=Path, help="folder of the run")
    parser.add_argument("--only-write", action="store_true", help="write the results of what has run")
    return parser.parse_args()


def _run(folder: Path, setup: Setup, asked: argparse.Namespace, page: Path) -> None:
    begun = None if (folder / "data").exists() else beginning(asked.begun, folder / "data")
    path = write_config(asked.config, folder, {**dict(setup.changes)})
    config = load_config(path, Config)
    if begun is not None:
        copy_data(begun, config.data_folder)
    with (
        server(path, config) as serving,
        Ledger(config.data_folder / "evolution.db") as ledger,
        ProgressBars() as bars,
    ):
        Run(folder, setup, config, serving, ledger, bars).to_the_end(lambda: publish(folder, setup, page))


def beginning(begun: Path | None, target: Path) -> Path:
    """Return the data folder to copy to ``target``. Raises UserError where none is named, or no adapter is active."""
    way_out = "run: make demo, then: make bench-clients ARGS='--from data'"
    if begun is None:
        raise UserError(f"there is no {target} to go on with, and --from names no data folder to begin with; {way_out}")
    if active.read(begun).name == BASE:
        raise UserError(f"no adapter is active in {begun}, and the base model's turns teach nothing; {way_out}")
    return begun


def publish(folder: Path, setup: Setup, page: Path) -> None:
    """Write what has run into ``page``, between its marks; a page of its own where there is none."""
    before = page.read_text(encoding="utf-8") if page.exists() else _EMPTY_PAGE
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(replaced(before, section(read_results(folder, setup)), BEGIN, END), encoding="utf-8")


if __name__ == "__main__":
    with_exit_codes(main, "bench-clients")
