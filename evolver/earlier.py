"""What earlier cycles kept and is still right: what new requests must not repeat, and what may be learned again."""

from collections.abc import Iterable
from pathlib import Path

from agent.interaction_log import InteractionLog
from evolver.jsonl import read_lines
from evolver.ledger import Ledger
from evolver.markers import cycle_folders
from evolver.types import Trace


def still_right(data_folder: Path, ledger: Ledger, *, before: int, repaired: Iterable[Trace] = ()) -> list[Trace]:
    """The traces that cycles ``before`` that number kept, named with their cycles.

    Not among them: of a logged turn that somebody has called bad since, or that ``repaired`` traces, or those of a
    later cycle, repaired; and logged turns of a failed cycle, which are mined again.
    """
    failed = {cycle.number for cycle in ledger.cycles() if cycle.status == "failed"}
    found = [
        trace.model_copy(update={"id": f"{folder.name}/{trace.id}"})
        for folder in cycle_folders(data_folder, before=before)
        for trace in read_lines(folder / "kept.jsonl", Trace)
        if not (trace.origin and int(folder.name) in failed)
    ]
    with InteractionLog.open_readonly(data_folder / "interactions.db") as log:
        bad = log.called_bad({trace.calls_from for trace in found} - {""})
    mended = {trace.origin for trace in (*found, *repaired) if trace.maker == "repaired"}
    return [trace for trace in found if trace.calls_from not in bad and not _superseded(trace, mended)]


def _superseded(trace: Trace, mended: set[str]) -> bool:
    return trace.maker == "log" and trace.origin in mended
