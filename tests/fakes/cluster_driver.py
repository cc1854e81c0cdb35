"""The evolver as a process of its own, with a cycle of tests.fakes.cluster_world.

python -m tests.fakes.cluster_driver CONFIG SUITES
"""

import sys
from pathlib import Path

from evolver.config import Config
from evolver.cycle import run
from evolver.evaluation import suites
from evolver.store.ledger import Ledger
from tests.fakes.learner import FakeTraining


def main() -> None:
    config, folder = Config.model_validate_json(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2])
    suites.files = lambda _: folder
    run.train = FakeTraining()  # type: ignore[assignment]
    with Ledger(config.data_folder / "evolution.db") as ledger:
        run.run_cycle(config, ledger)


if __name__ == "__main__":
    main()
