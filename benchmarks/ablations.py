"""What the benchmark of evolution leaves out or adds, a setting at a time, and from where on that makes a difference.

An ablation goes on with what the full run did before its difference: the same turns, traces and verdicts, copied. So
its figures differ from the full run's by that setting and not by other samples, and nothing is made twice.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.likelier import likelier
from evolver.store.jsonl import read_lines, write_lines
from evolver.types import Call, Trace
from toolkit.config import ToolkitConfig
from toolkit.errors import UserError
from toolkit.sources import load_local_tools

FULL = "full"
_FILES = {
    "mine": ("mine.json",),
    "make": ("make.json", "traces.jsonl", "requests.jsonl"),
    "verify": ("verify.json", "kept.jsonl", "verdicts.jsonl"),
    "select": ("select.json", "selected.jsonl", "asked.jsonl"),
    "vary": ("vary.json", "varied.jsonl"),
}
"""What each stage before the dataset leaves in its cycle's folder, the stages in order."""
_KEPT = ("kept.jsonl", "selected.jsonl", "varied.jsonl")
"""The files with the traces of which lessons are made."""
ROUND_2, SERVING = "round 2", "serving"


Rewrite = Callable[[list[Trace]], list[Trace]]


@dataclass(frozen=True)
class Ablation:
    """``changes`` are keys of config.toml; ``since`` is the first stage of round 1 to which they matter, ROUND_2 where
    they matter to none of that, or SERVING where they do to no stage at all: then its adapter is only scored anew.

    ``rewrite`` changes the traces of a file that was kept before ``since``. ``forced``: the base model is scored, and
    has to call where it may. ``blind``: verification asks for a blind round trip too (blind_round_trip.py)."""

    changes: dict[str, Any]
    since: str
    rewrite: Rewrite | None = None
    forced: bool = False
    blind: bool = False


def templated(traces: list[Trace]) -> list[Trace]:
    """Return ``traces`` with requests that a program writes: "verb, name value, name value". Turns of people stay."""
    return [_templated(trace) for trace in traces]


def likelier_traces(traces: list[Trace]) -> list[Trace]:
    """Return the better three fifths of ``traces`` (likelier.py), which are of built-in tools."""
    return likelier(traces, list(load_local_tools(ToolkitConfig())))


def _templated(trace: Trace) -> Trace:
    if not trace.calls or trace.lived:
        return trace
    said = "; ".join(", ".join([_spoken(call.name), *_slots(call)]) for call in trace.calls)
    return trace.model_copy(update={"request": said})


def _slots(call: Call) -> list[str]:
    return [
        f"{_spoken(name)} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in call.arguments.items()
    ]


def _spoken(name: str) -> str:
    return name.replace("_", " ")


ABLATIONS = {
    "no-round-trip": Ablation({"evolver.verify.round_trip": False}, "verify"),
    "no-renaming": Ablation({"evolver.dataset.renamed_share": 0.0}, "dataset"),
    "no-narrow": Ablation({"evolver.dataset.narrow_share": 0.0}, "dataset"),
    "no-no-call": Ablation({"evolver.dataset.no_call_share": 0.0}, "dataset"),
    "half-no-call": Ablation({"evolver.dataset.no_call_share": 0.15}, "dataset"),
    "longer-training": Ablation({"evolver.train.max_minutes": 14.0}, "train"),
    "unconstrained": Ablation({"agent.serving.vllm_process.constrain_calls": False}, SERVING),
    "no-value-swaps": Ablation({"evolver.vary.per_value": 0}, "vary"),
    "template-requests": Ablation({}, "dataset", rewrite=templated),
    "likelier": Ablation({}, "vary", rewrite=likelier_traces),
    "forced-base": Ablation({}, SERVING, forced=True),
    "one-wording": Ablation({"evolver.make.requests_per_call": 1, "evolver.verify.kept_per_call": 1}, "make"),
    "no-replay": Ablation({"evolver.dataset.replay_share": 0.0}, ROUND_2),
    "learn-all": Ablation({"evolver.select.known_probability": 1.0}, ROUND_2),
    "blind-round-trip": Ablation({}, ROUND_2, blind=True),
}
"""``--rounds 1`` against 3 needs none: each round of the full run is a row."""


def inherit(full: Path, data: Path, since: str, rewrite: Rewrite | None = None) -> None:
    """Give the run in ``data`` what the one in ``full`` did before ``since``; nothing if it has that already. Raises
    UserError where the full run is not so far."""
    if (data / "data").exists():
        return
    source = snapshot(full)
    if not source.exists():
        raise UserError(f"{data.name} goes on with what the {FULL} run did in its first round; run that first")
    draft = data / ".data"
    shutil.rmtree(draft, ignore_errors=True)
    if since == SERVING:
        shutil.copytree(source, draft, ignore=shutil.ignore_patterns("evaluations"))
    elif since == ROUND_2:
        lines = (full / "rounds.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        if len(lines) < 2:  # it was cut off between its copy and its scores
            raise UserError(f"{data.name} goes on with the first round of the {FULL} run; end that first")
        shutil.copytree(source, draft)
        (data / "rounds.jsonl").write_text("".join(lines[:2]), encoding="utf-8")
    else:
        for file in _of_before(source, since):
            target = draft / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
    if rewrite:
        for file in [file for name in _KEPT for file in draft.glob(f"cycles/*/{name}")]:
            write_lines(file, rewrite(read_lines(file, Trace)))
    draft.rename(data / "data")


def _of_before(source: Path, since: str) -> list[Path]:
    stages = list(_FILES)
    before = stages[: stages.index(since)] if since in stages else stages
    files = [source / "cycles" / "0001" / name for stage in before for name in _FILES[stage]]
    scores = (source / "evaluations").glob("heldout-*-base.jsonl")
    return [source / "interactions.db", *(file for file in files if file.exists()), *scores]


def snapshot(full: Path) -> Path:
    """What the full run had after its first round (evolver.maintenance.backup)."""
    return full / "after-round-1"
