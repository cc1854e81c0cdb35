"""What earlier cycles kept and is still right: what new requests must not repeat, and what may be learned again."""

from collections.abc import Collection
from pathlib import Path

from agent.interaction_log import InteractionLog
from evolver.jsonl import read_lines
from evolver.markers import cycle_folders, read_marker
from evolver.types import Mined, Trace


def still_right(data_folder: Path, *, before: int | None, failed: Collection[int] = ()) -> list[Trace]:
    """The traces that cycles ``before`` that number kept (None: all cycles), named with their cycles.

    Not among them: of a logged turn that somebody has called bad since, or for which a cycle, up to the one of that
    number, has mined a repair; and logged turns of ``failed`` cycles, which are mined again.
    """
    found = [
        trace.model_copy(update={"id": f"{folder.name}/{trace.id}"})
        for folder in cycle_folders(data_folder, before=before)
        for trace in read_lines(folder / "kept.jsonl", Trace)
        if not (trace.origin and int(folder.name) in failed)
    ]
    lived = {_calls_from(trace) for trace in found if trace.lived}
    if not lived:
        return found
    with InteractionLog.open_readonly(data_folder / "interactions.db") as log:
        bad = log.called_bad(lived)
    mended = _mended(data_folder, before=None if before is None else before + 1)
    wrong = {trace.id for trace in found if trace.lived and _calls_from(trace) in bad}
    wrong |= {trace.id for trace in found if trace.maker == "log" and trace.origin in mended}
    return [trace for trace in found if trace.id not in wrong]


def _calls_from(trace: Trace) -> str:
    if trace.calls_from or not trace.lived:
        return trace.calls_from
    return trace.also_from[0] if trace.also_from else trace.origin


def _mended(data_folder: Path, *, before: int | None) -> set[str]:
    """The turns for which a repair was found, whatever became of that."""
    mined = [read_marker(folder / "mine.json", Mined) for folder in cycle_folders(data_folder, before=before)]
    return {trace.origin for one in mined if one for trace in one.worked if trace.maker == "repaired"}
