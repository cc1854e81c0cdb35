"""The last stage: a candidate that was judged is promoted, goes on trial, waits for a person, or is rejected."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agent.serving.serving_state import ServingState
from evolver.config import Config
from evolver.cycle.stage_runner import summary
from evolver.release import release
from evolver.scores import EvalReport, GateDecision
from evolver.store.ledger import Ledger
from evolver.types import Adapter, CycleStatus


@dataclass(frozen=True)
class CycleEnd:
    """Records the end of cycle ``number``, which mined the log up to ``last_interaction_id``."""

    ledger: Ledger
    number: int
    last_interaction_id: str

    def record(self, status: CycleStatus, reasons: Sequence[str]) -> None:
        """Write ``status`` and ``reasons`` into the ledger."""
        self.ledger.end_cycle(self.number, status, "; ".join(reasons), self.last_interaction_id)

    def record_adapter(self, adapter: str, state: Literal["rejected", "waiting"], reasons: Sequence[str]) -> None:
        """Record that the cycle ended with its ``adapter`` in ``state``, both or neither."""
        with self.ledger.together():
            self.ledger.set_adapter_state(adapter, state)
            self.record(state, reasons)


def finish(
    config: Config,
    serving: ServingState,
    end: CycleEnd,
    adapter: Adapter,
    candidate: EvalReport,
    decision: GateDecision,
    *,
    better_than: str,
    base_sha256: str,
) -> None:
    """Do with ``adapter`` what the gate's ``decision`` says, and end the cycle.

    ``better_than`` names the model with which it was compared. Raises AdapterError and ModelUnavailable.
    """
    ledger, place = end.ledger, (config.data_folder, end.ledger)
    changes = [change for change in ledger.releases() if change.cycle == end.number]
    if changes:
        # It was cut off after its promotion. Whoever changed the active adapter since then is not overruled.
        promoted = any(change.adapter == adapter.name for change in changes)
        end.record("promoted" if promoted else "waiting", decision.reasons)
        return
    ledger.set_adapter_state(adapter.name, "candidate", summary(candidate))
    release_config = config.evolver.release
    waits = release.why_it_waits(release_config, *place, better_than=better_than)
    known = {"cycle": end.number, "base_sha256": base_sha256}
    if not decision.promote:
        end.record_adapter(adapter.name, "rejected", decision.reasons)
    elif waits:
        end.record_adapter(adapter.name, "waiting", (waits, *decision.reasons))
    elif share := release_config.canary_share:
        release.begin_trial(adapter.name, *place, serving, share=share, **known)
        end.record("waiting", (f"on trial with {share:.0%} of the sessions", *decision.reasons))
    else:
        release.promote(adapter.name, *place, serving, reason=f"cycle {end.number}", **known)
        end.record("promoted", decision.reasons)
