"""Candidates of a cycle with their verdicts. The one module of the dashboard that knows how a trace is stored."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evolver.lessons.drop_reason import DropReason
from evolver.maintenance.audit import read_verdicts
from evolver.types import Trace, TraceVerdict

KEPT = "kept"
OTHER = "other reasons"
_REASONS_IN_THE_FLOW = 6


@dataclass(frozen=True)
class Choice:
    """Candidates that a person wants to see; "" each for all. ``verdict``: "kept", "dropped", or a reason."""

    kind: str = ""
    tool: str = ""
    verdict: str = ""
    text: str = ""

    def takes(self, one: TraceVerdict) -> bool:
        """Return whether ``one`` is among them."""
        return (
            self.kind in ("", kind_of(one.trace))
            and self.tool in ("", *(call.name for call in one.trace.calls))
            and self.verdict in ("", verdict_of(one), KEPT if one.verdict.kept else "dropped")
            and self.text.casefold() in f"{one.trace.request}\n{one.trace.answer}".casefold()
        )


@dataclass(frozen=True)
class Choices:
    """Values to choose from in a cycle."""

    kinds: tuple[str, ...]
    tools: tuple[str, ...]
    verdicts: tuple[str, ...]


def verdicts(folder: Path) -> list[TraceVerdict]:
    """Return the candidates of a cycle; [] while none is judged."""
    return read_verdicts(folder) if folder.is_dir() else []


def kind_of(trace: Trace) -> str:
    """Return the way in which a trace was made, in words of the code."""
    return trace.kind.value


def source_of(trace: Trace) -> str:
    """Return the id of the trace that it is a variant of; "" where it is none."""
    return trace.provenance.derived_from


def is_variant(one: TraceVerdict) -> bool:
    """Return whether it was made of another trace, after verification: a variant, or one composed of several."""
    return bool(source_of(one.trace))


@dataclass(frozen=True)
class Yield:
    """Traces of one origin: how many were judged, and how many of these were kept."""

    judged: int
    kept: int

    @property
    def dropped(self) -> int:
        return self.judged - self.kept


def yields(found: Sequence[TraceVerdict]) -> tuple[Yield, Yield]:
    """Return the yield of the traces that verification judged, and that of the variants made of the kept ones."""
    kept = Counter(is_variant(one) for one in found if one.verdict.kept)
    judged = Counter(map(is_variant, found))
    return Yield(judged[False], kept[False]), Yield(judged[True], kept[True])


def model_of(trace: Trace) -> str:
    """Return the model that wrote it; "" where none did."""
    return trace.provenance.model


def interactions_of(trace: Trace) -> tuple[str, ...]:
    """Return the interactions without which it would not be."""
    found = trace.provenance
    named = (found.interaction_id, found.calls_interaction_id, *found.other_interaction_ids)
    return tuple(dict.fromkeys(one for one in named if one))


def signs_of(trace: Trace) -> tuple[str, ...] | None:
    """Return the signs that the calls of a client's turn are right; None for another trace."""
    return trace.client_turn.signs if trace.client_turn is not None else None


def is_executed(trace: Trace) -> bool:
    """Return whether its calls were judged by running them."""
    return not trace.provenance.not_executed


def verdict_of(one: TraceVerdict) -> str:
    """Return "kept", or the reason for which it was dropped."""
    return KEPT if one.verdict.kept else one.verdict.reason


def explained(reason: str) -> str:
    """Return the sentence of a reason; "" for one of an earlier version."""
    try:
        return DropReason(reason.rpartition(" ")[2]).sentence
    except ValueError:
        return ""


def choices(found: Sequence[TraceVerdict]) -> Choices:
    """Return the values to choose from."""
    return Choices(
        tuple(sorted({kind_of(one.trace) for one in found})),
        tuple(sorted({call.name for one in found for call in one.trace.calls})),
        tuple(sorted({verdict_of(one) for one in found if not one.verdict.kept})),
    )


def reasons(found: Iterable[TraceVerdict]) -> list[tuple[str, int]]:
    """Count the dropped ones by reason, the most frequent first."""
    counted = Counter(verdict_of(one) for one in found if not one.verdict.kept)
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


@dataclass(frozen=True)
class Dropped:
    """The candidates dropped for one ``reason``: traces that verification judged, and variants."""

    reason: str
    traces: int
    variants: int

    @property
    def count(self) -> int:
        return self.traces + self.variants


def dropped(found: Sequence[TraceVerdict]) -> list[Dropped]:
    """Count the dropped ones by reason and origin, the most frequent reason first."""
    variants = Counter(verdict_of(one) for one in found if not one.verdict.kept and is_variant(one))
    return [Dropped(reason, count - variants[reason], variants[reason]) for reason, count in reasons(found)]


def flow(found: Sequence[TraceVerdict]) -> list[tuple[str, str, int]]:
    """Return (kind, kept or reason, count); rare reasons are one, so that their names have room."""
    large = {reason for reason, _ in reasons(found)[:_REASONS_IN_THE_FLOW]} | {KEPT}
    ends = [verdict_of(one) for one in found]
    counted = Counter(
        (kind_of(one.trace), end if end in large else OTHER) for one, end in zip(found, ends, strict=True)
    )
    return [(kind, end, count) for (kind, end), count in sorted(counted.items())]


def place_of(found: Sequence[TraceVerdict], identity: str) -> int | None:
    """Return the place of the first candidate with this id. Kept and dropped variants may share one."""
    return next((place for place, one in enumerate(found) if one.trace.id == identity), None)


def variants(found: Sequence[TraceVerdict], identity: str) -> list[tuple[int, TraceVerdict]]:
    """Return the candidates that were made of this one, with their places."""
    return [(place, one) for place, one in enumerate(found) if source_of(one.trace) == identity]


def learned_from(folders: Iterable[Path], interaction_id: str) -> list[tuple[int, int, TraceVerdict]]:
    """Return the candidates that come from an interaction, with their cycles and their places there."""
    return [
        (int(folder.name), place, one)
        for folder in folders
        if _mentions(folder, interaction_id)
        for place, one in enumerate(verdicts(folder))
        if interaction_id in interactions_of(one.trace)
    ]


def _mentions(folder: Path, text: str) -> bool:
    """Return whether a file of traces has ``text``: most cycles need not be read line by line."""
    files = (folder / name for name in ("traces.jsonl", "varied.jsonl", "composed.jsonl", "varied_dropped.jsonl"))
    return any(text.encode() in file.read_bytes() for file in files if file.exists())
