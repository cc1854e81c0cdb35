"""Tables of what was: adapters, cycles and releases, and measured scores."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from evolver.cli.score_words import KL_TO_BASE, SCORES, SOFT_SCORE, barred, mean_text, rate_text
from evolver.scores import Mean, Rate
from evolver.statistics import rate
from evolver.store.ledger_rows import AdapterRow, CycleRow, Evaluation, Release
from toolkit.tables import on_terminal, table_text
from toolkit.tool import neutral

_OF_AN_ADAPTER = ("call_accuracy", "irrelevance_accuracy")


def adapters_text(
    rows: Sequence[AdapterRow],
    current: str,
    sizes: Mapping[str, int],
    lessons: Mapping[int, Mapping[str, object]],
    marks: Mapping[str, Sequence[str]],
    *,
    candidate: str = "",
    whom: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Show adapters. ``sizes``: bytes by name; ``lessons``: ``lessons_of`` each cycle, by its number; ``marks``: what
    was said of an adapter, by name; ``candidate``: the one on trial; ``whom``: the tenants that it serves, in words, by
    name."""
    if not rows:
        return "no adapter yet; make one with: evolver cycle"
    scores = [SCORES[name].upper() for name in _OF_AN_ADAPTER]
    return table_text(
        ("  ADAPTER", "STATE", "MADE", "PARENT", "SIZE", "SHA256", "LESSONS", *scores, "NOTES"),
        [
            (
                f"{'*' if row.name == current else ' '} {row.name}",
                f"{'on trial' if row.name == candidate else row.state}{', pinned' if row.pinned else ''}",
                _moment(row.created_at),
                f"from {row.parent}",
                f"{sizes.get(row.name, 0) / 2**20:.1f} MiB",
                row.sha256[:12],
                f"{taught.get('train', '?')} lessons ({taught.get('calls', '?')} call)",
                *(_score(row, name) for name in _OF_AN_ADAPTER),
                "; ".join(
                    [*_whose(row.tenant, whom, row.name), *_tenants(taught.get("tenants")), *marks.get(row.name, ())]
                ),
            )
            for row in rows
            for taught in (lessons.get(row.cycle, {}),)
        ],
    )


def folder_bytes(folder: Path) -> int:
    """Return the size of an adapter's files in bytes; 0 when they are gone."""
    return sum(file.stat().st_size for file in folder.glob("*"))


def lessons_of(cycle: CycleRow) -> dict[str, object]:
    """Return the counts of a cycle's dataset, and the number of logged turns in it by tenant ("" without a tenant)."""
    tenants = cycle.summary.get("tenants", {})
    return {**cycle.summary.get("dataset", {}), **({"tenants": tenants} if tenants else {})}


def state_words(state: str) -> str:
    """Return the state of a cycle in words."""
    return state.replace("_", " ")


def history_text(
    cycles: Sequence[CycleRow],
    releases: Sequence[Release],
    *,
    detailed: bool,
    states: Mapping[int, str] | None = None,
) -> str:
    """Return a row per cycle, and what its stages reported (``detailed``) or a row per change of the active adapter.

    ``states``: those of cycles by their numbers, where they are not their status.
    """
    parts = []
    if cycles:
        rows = [
            (
                f"cycle {cycle.number}{_of(cycle.tenant)}",
                _moment(cycle.started_at),
                f"{(cycle.ended_at - cycle.started_at) / 60:.0f} min" if cycle.ended_at else f"at {cycle.stage}",
                state_words((states or {}).get(cycle.number, cycle.status)),
                _yield(cycle),
                neutral(cycle.reason),
            )
            for cycle in cycles
        ]
        parts.append(table_text(("CYCLE", "BEGAN", "TOOK", "STATUS", "YIELD", "REASON"), rows))
    if detailed:
        parts += [f"  {stage:<10} {_flat(value)}" for cycle in cycles for stage, value in cycle.summary.items()]
    elif releases:
        changes = [
            (_moment(r.at), f"{r.previous} -> {r.adapter}{_of(r.tenant)}", f"({neutral(r.reason)})") for r in releases
        ]
        parts.append(table_text(("WHEN", "CHANGE OF THE ACTIVE ADAPTER", "REASON"), changes))
    return ("\n\n" if on_terminal() and not detailed else "\n").join(parts) or "nothing yet; begin with: evolver cycle"


def evaluations_text(found: Sequence[Evaluation]) -> str:
    """Return a row per measured score: when, of which model, on which suite, and its value with 95 % interval."""
    rows = [
        (_moment(one.at), one.model, f"{one.suite}{_of(one.tenant)}", name, value)
        for one in found
        for name, value in _scores(one.scores)
    ]
    if not rows:
        return "nothing measured yet; for example: evolver eval heldout"
    return table_text(("WHEN", "MODEL", "SUITE", "SCORE", "VALUE"), rows)


def _scores(scores: Mapping[str, object]) -> list[tuple[str, str]]:
    rates = [(title, Rate.model_validate(scores[name])) for name, title in SCORES.items() if name in scores]
    shown = [(title, barred(one.low, one.high, rate_text(one))) for title, one in rates if one.n]
    if soft := scores.get("soft_score"):
        shown.append((SOFT_SCORE, mean_text(Mean.model_validate(soft))))
    if "kl" in scores:
        shown.append((KL_TO_BASE, f"{scores['kl']:.3f}"))
    return shown


def _score(row: AdapterRow, name: str) -> str:
    """Return a score of an adapter; without a heading above it, with its name."""
    scores = row.scores.get(name)
    title = "" if on_terminal() else f"{SCORES[name]} "
    if scores is None:
        return ""
    if not scores["n"]:
        return f"{title}–"
    found = rate(scores["hits"], scores["n"])
    text = f"{found.value:.0%} ({100 * found.low:.0f}–{100 * found.high:.0f})"
    return barred(found.low, found.high, f"{title}{text}")


def _yield(cycle: CycleRow) -> str:
    """Return the number of kept and of judged traces as a text."""
    verified = cycle.summary.get("verify", {})
    if not isinstance(verified, dict) or not isinstance(kept := verified.get("kept"), int):
        return ""
    total = kept + sum(verified.get("dropped", {}).values())
    return barred(kept / total, kept / total, f"{kept} of {total} kept") if total else ""


def _of(tenant: str) -> str:
    """Return what to say behind the name of a tenant's thing."""
    return f" of {tenant}" if tenant else ""


def _whose(tenant: str, whom: Mapping[str, Sequence[str]] | None, name: str) -> list[str]:
    return [*([f"for the tenant {tenant} alone"] if tenant else []), *(whom or {}).get(name, ())]


def _tenants(turns: object) -> list[str]:
    if not isinstance(turns, dict) or not turns:
        return []
    return ["turns by tenant: " + ", ".join(f"{name or '(none)'} {count}" for name, count in sorted(turns.items()))]


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(inner)}" for key, inner in value.items())
    return neutral(str(value))
