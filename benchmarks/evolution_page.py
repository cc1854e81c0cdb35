"""What the rounds of the benchmark of evolution did, and the page of all their figures."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from benchmarks.ablations import ABLATIONS, FULL, ROUND_2
from evolver.scores import Rate
from evolver.store.jsonl import read_lines
from toolkit.frozen import Frozen


class Round(Frozen):
    """What one round did; ``seconds`` by stage, those of a stage that was cut off since it went on. Round 0 is the base
    model: nothing but scores. ``where`` and ``when`` it was measured."""

    number: int
    where: str
    when: str
    scores: dict[str, dict[str, Rate]]
    status: str = ""
    lessons: int = 0
    made: dict[str, int] = Field(default_factory=dict)
    kept: dict[str, int] = Field(default_factory=dict)
    dropped: dict[str, int] = Field(default_factory=dict)
    seconds: dict[str, float] = Field(default_factory=dict)
    training: dict[str, float] = Field(default_factory=dict)


def results_text(data: Path) -> str:
    """Everything that has run under ``data``, as a page."""
    runs = {name: _own_rounds(name, data) for name in (FULL, *ABLATIONS)}
    lines = [
        "# Results of evolution",
        "",
        "Written by `make bench-evolution` (benchmarks/evolution.py); every figure was measured, with 95 % Wilson",
        "intervals. The base model is the one of config.toml; it has seen no data but the toolkit's tools, the shipped",
        "requests without labels, and what it made itself. BFCL is the development part only: the first 200 of",
        "simple_python, the first 120 of irrelevance. An ablation goes on with the traces that the full run had made",
        "before its setting matters.",
    ]
    if any(runs.values()):
        lines += ["", *_overview(runs)]
    for name, rounds in runs.items():
        if rounds:
            lines += ["", f"## {name}{_difference(name)}", "", *_run_lines(rounds)]
    missing = [name for name, rounds in runs.items() if not rounds]
    lines += ["", f"Not run: {', '.join(missing) or 'nothing'}.", ""]
    return "\n".join(lines)


def _own_rounds(name: str, data: Path) -> list[Round]:
    """What the run did itself; the rounds before an ablation's difference are the full run's."""
    first = 2 if name in ABLATIONS and ABLATIONS[name].since == ROUND_2 else 0
    return [one for one in read_lines(data / name / "rounds.jsonl", Round) if one.number >= first]


def _difference(name: str) -> str:
    if name not in ABLATIONS:
        return ""
    if ABLATIONS[name].forced:
        return " (the base model, which has to call; with the grammar)"
    if ABLATIONS[name].blind:
        return f" (with a blind round trip; the same up to {ABLATIONS[name].since})"
    if ABLATIONS[name].rewrite:
        return f" (requests by a template; the same up to {ABLATIONS[name].since})"
    changes = ", ".join(f"`{key} = {json.dumps(value)}`" for key, value in ABLATIONS[name].changes.items())
    return f" ({changes}; the same up to {ABLATIONS[name].since})"


_SHOWN = (
    ("held-out exact", "heldout", "call_accuracy"),
    ("held-out no call", "heldout", "irrelevance_accuracy"),
    ("development exact", "develop", "call_accuracy"),
    ("development no call", "develop", "irrelevance_accuracy"),
    ("BFCL simple_python", "bfcl:simple_python", "call_accuracy"),
    ("BFCL irrelevance", "bfcl:irrelevance", "irrelevance_accuracy"),
)
_COLUMNS = " | ".join(title for title, _, _ in _SHOWN)


def _cells(one: Round) -> str:
    return " | ".join(_rate(one.scores.get(suite, {}).get(rate)) for _, suite, rate in _SHOWN)


def _overview(runs: dict[str, list[Round]]) -> Iterator[str]:
    """The last round of each ablation, to be compared with the full run's of that number."""
    yield f"| run | round | {_COLUMNS} |"
    yield "| --- " * 8 + "|"
    for name, rounds in runs.items():
        for one in [one for one in rounds if one.number] if name == FULL else rounds[-1:]:
            yield f"| {name} | {one.number} | {_cells(one)} |"


def _run_lines(rounds: Sequence[Round]) -> Iterator[str]:
    places = dict.fromkeys(f"{one.where}; {one.when}" for one in rounds)
    yield f"Measured on: {', and '.join(places)}."
    yield ""
    yield f"| round | gate | {_COLUMNS} |"
    yield "| --- " * 8 + "|"
    for one in rounds:
        yield f"| {one.number or 'base'} | {one.status or '–'} | {_cells(one)} |"
    made = [one for one in rounds if one.made]
    if not made:
        return
    yield ""
    yield "| round | made | kept | dropped | lessons | training | seconds by stage |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for one in made:
        counts = [_counts(one.made), _counts(one.kept), _counts(one.dropped)]
        yield f"| {one.number} | {' | '.join(counts)} | {one.lessons} | {_training(one)} | {_counts(one.seconds)} |"


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return "–"
    return f"{rate.hits}/{rate.n} = {rate.value:.1%} ({100 * rate.low:.0f}–{100 * rate.high:.0f})"


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(counts.items())) or "–"


def _training(one: Round) -> str:
    if not one.training:
        return "–"
    cost = one.training
    text = (
        f"{cost['wall_seconds']:.0f} s, {cost['steps']:.0f} steps, {cost['tokens_computed']:.0f} tokens, "
        f"loss {cost['loss_first']:.2f} → {cost['loss_last']:.2f}"
    )
    if "auc" in cost:
        text += (
            f"; call or none on validation: AUC {cost['auc']:.2f}, {cost['call_accuracy']:.0%} of the calls and "
            f"{cost['no_call_accuracy']:.0%} of the rest"
        )
    return text
