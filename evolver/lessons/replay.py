"""Kept traces of earlier cycles that are still right: what new requests must not repeat, and what may be learned
again."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from agent.log.interaction_log import InteractionLog
from agent.turn.messages import is_foreign
from evolver.store.cycle_folder import cycle_folders, read_marker
from evolver.store.jsonl import read_lines
from evolver.types import LIVED, Mined, Provenance, Trace, TraceKind


def still_right(
    data_folder: Path,
    *,
    before: int | None,
    failed: Collection[int] = (),
    learn_from_upstream: bool = False,
    tenant: str | None = None,
) -> list[Trace]:
    """Return the traces that cycles ``before`` that number kept (None: all cycles), named with their cycles.

    Not among them: of a logged turn that somebody has called bad since, or for which a cycle, up to the one of that
    number, has mined a repair or a correction; logged turns of ``failed`` cycles, which are mined again; and, unless
    ``learn_from_upstream``, what has anything that a model that is none of ours wrote. With ``tenant`` those of its
    cycles alone ("": of everybody's), and of these none that has anything of another tenant.
    """
    found = [
        trace.model_copy(update={"id": f"{folder.name}/{trace.id}"})
        for folder in cycle_folders(data_folder, before=before, tenant=tenant)
        for trace in read_lines(folder / "kept.jsonl", Trace)
        if not (trace.provenance.interaction_id and int(folder.name) in failed)
    ]
    found = found if tenant is None else of_tenant(data_folder, found, tenant)
    learned = [(trace.kind, trace.provenance) for trace in found]
    wrong = wrong_since(data_folder, learned, before=before, learn_from_upstream=learn_from_upstream)
    return [trace for trace in found if not wrong(trace.kind, trace.provenance)]


def of_tenant(data_folder: Path, traces: Collection[Trace], tenant: str) -> list[Trace]:
    """Return the ``traces`` that come from no logged turn, or from turns of ``tenant`` alone ("": of no tenant)."""
    origins = {origin for trace in traces for origin in trace.provenance.interactions}
    with InteractionLog.open_readonly(data_folder / "interactions.db") as log:
        owners = log.owners(origins)
    theirs = {origin for origin, (_, whose) in owners.items() if whose == tenant}
    return [trace for trace in traces if theirs.issuperset(trace.provenance.interactions)]


def wrong_since(
    data_folder: Path,
    learned: Iterable[tuple[str, Provenance]],
    *,
    before: int | None = None,
    learn_from_upstream: bool = False,
) -> Callable[[str, Provenance], bool]:
    """Return a function that says, of the kind and the provenance of one of ``learned``, whether it is wrong by now:
    of a logged turn that was called bad since, or for which a cycle, up to the one of that number (None: any), has
    mined a repair or a correction; or, unless ``learn_from_upstream``, with anything that another model wrote."""
    lived = [(kind, links) for kind, links in learned if kind in LIVED]
    if not lived:
        return lambda kind, links: False
    written = {identity for _, links in lived for identity in _written(links)}
    with InteractionLog.open_readonly(data_folder / "interactions.db") as log:
        bad = log.called_bad({links.calls_interaction_id for _, links in lived})
        foreign = set[str]() if learn_from_upstream else log.foreign(written)
    mended = _mended(data_folder, before=None if before is None else before + 1)

    def is_wrong(kind: str, links: Provenance) -> bool:
        if kind not in LIVED:
            return False
        if not learn_from_upstream and (is_foreign(links.model) or not foreign.isdisjoint(_written(links))):
            return True
        called_bad = links.calls_interaction_id in bad
        return called_bad or (kind == TraceKind.LOGGED and links.interaction_id in mended)

    return is_wrong


def _written(links: Provenance) -> set[str]:
    """Return the interactions of which a logged turn's trace has what the model wrote; of its own perhaps the request
    alone."""
    return {links.calls_interaction_id, *links.other_interaction_ids} - {""}


def _mended(data_folder: Path, *, before: int | None) -> set[str]:
    """The turns for which a repair was found, whatever became of that."""
    mined = [read_marker(folder / "mine.json", Mined) for folder in cycle_folders(data_folder, before=before)]
    worked = (trace for one in mined if one for trace in one.worked)
    return {
        trace.provenance.interaction_id for trace in worked if trace.kind in (TraceKind.REPAIRED, TraceKind.CORRECTED)
    }
