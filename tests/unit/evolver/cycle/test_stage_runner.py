"""The values of a cycle's stages, each made once, and the time that each took."""

from pathlib import Path

from evolver.cycle import stages
from evolver.cycle.stage_runner import StageRunner
from evolver.scores import GateDecision
from evolver.store.ledger import Ledger

DECISION = GateDecision(promote=False, reasons=("failed: fewer calls",))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_stage_is_timed_where_it_works_and_not_again_where_its_value_is_found(tmp_path: Path) -> None:
    clock = Clock()
    with Ledger(tmp_path / "evolution.db", now=clock) as ledger:
        number = ledger.open_cycle().number

        def work(_: object) -> GateDecision:
            clock.now += 12.0
            return DECISION

        for later in (100.0, 900.0):  # the second time the cycle goes on, and finds the value
            clock.now = later
            runner = StageRunner(number, tmp_path, ledger, lambda stage, share, remark: None)
            assert runner.run(stages.GATE, work) == DECISION
            assert ledger.stage_seconds(number) == {"gate": 12.0}
            assert ledger.cycles(number)[0].summary["gate"]["promote"] is False
