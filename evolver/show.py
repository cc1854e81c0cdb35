"""How the evolver's values look to a person."""

import time
from collections.abc import Iterable, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agent.terminal import neutral
from evolver.cycle import CycleReport
from evolver.ledger import AdapterRow, CycleRow, Release
from evolver.types import EvalReport, Rate

_STAGE_WIDTH = 10


class ProgressBars:
    """One bar per stage on stderr; called as a stage's progress. Without a terminal: one line when a stage ends."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._plain = not console.is_terminal
        self._console = console
        self._started: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[remark]}"),
            console=console,
            disable=self._plain,
        )

    def __enter__(self) -> "ProgressBars":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, stage: str, share: float, remark: str) -> None:
        begun = self._started.setdefault(stage, time.monotonic())
        if self._plain:
            if share >= 1.0 and not remark:
                self._console.print(f"{stage:<{_STAGE_WIDTH}} {time.monotonic() - begun:6.1f} s", highlight=False)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(f"{stage:<{_STAGE_WIDTH}}", total=1.0, remark="")
        self._progress.update(self._tasks[stage], completed=share)
        if remark:
            self._progress.update(self._tasks[stage], remark=remark)


def cycle_text(report: CycleReport) -> str:
    """What a cycle did, on one screen."""
    lines = [f"cycle {report.cycle.number}: {report.cycle.status}"]
    if report.made is not None:
        makers = ", ".join(f"{name} {count}" for name, count in sorted(report.made.by_maker.items()))
        lines.append(f"made      {report.made.traces} traces ({makers})")
    if report.verified is not None:
        kept = ", ".join(f"{name} {count}" for name, count in sorted(report.verified.kept_by_maker.items()))
        lines.append(f"kept      {report.verified.kept} ({kept})")
        lines.append("dropped   " + _counts(report.verified.dropped.items()))
    if report.dataset is not None:
        lines.append(
            f"lessons   {report.dataset.train} ({report.dataset.calls} call, {report.dataset.no_calls} do not), "
            f"{report.dataset.valid} for validation"
        )
    if report.incumbent is not None and report.candidate is not None:
        lines += ["", scores_text(report.incumbent, report.candidate), ""]
    if report.decision is not None:
        lines += [f"gate      {reason}" for reason in report.decision.reasons]
    else:
        lines.append(f"reason    {neutral(report.cycle.reason)}")
    return "\n".join(lines)


def scores_text(before: EvalReport, after: EvalReport) -> str:
    """Two reports side by side, with 95 % intervals."""
    lines = [f"{'':14}{before.model:>24}   {after.model:>24}"]
    rates = [(name, getattr(before, name), getattr(after, name)) for name in _NAMES]
    lines += [f"{_NAMES[name]:14}{_rate(old):>24}   {_rate(new):>24}" for name, old, new in rates]
    return "\n".join(lines)


def report_text(report: EvalReport) -> str:
    lines = [f"{report.model} on {report.suite}: {len(report.items)} requests, {report.failed} could not be judged"]
    return "\n".join([*lines, *(f"{_NAMES[name]:14}{_rate(getattr(report, name)):>24}" for name in _NAMES)])


def history_text(cycles: Sequence[CycleRow], releases: Sequence[Release], *, detailed: bool) -> str:
    lines = []
    for cycle in cycles:
        took = f"{(cycle.ended_at - cycle.started_at) / 60:.0f} min" if cycle.ended_at else f"at {cycle.stage}"
        lines.append(
            f"cycle {cycle.number}  {_moment(cycle.started_at)}  {took:>8}  {cycle.status}: {neutral(cycle.reason)}"
        )
        if detailed:
            lines += [f"  {stage:<10} {_flat(value)}" for stage, value in cycle.summary.items()]
    if not detailed:
        lines += [f"{_moment(r.at)}  {r.previous} -> {r.adapter}  ({neutral(r.reason)})" for r in releases]
    return "\n".join(lines) or "nothing yet; begin with: evolver cycle"


def adapters_text(rows: Sequence[AdapterRow], current: str) -> str:
    if not rows:
        return "no adapter yet; make one with: evolver cycle"
    lines = []
    for row in rows:
        mark = "*" if row.name == current else " "
        scores = "  ".join(
            f"{_NAMES[name]} {_share(row.scores[name])}" for name in ("exact", "no_call") if name in row.scores
        )
        lines.append(f"{mark} {row.name}  {row.state:<9}  {_moment(row.created_at)}  from {row.parent}  {scores}")
    return "\n".join(lines)


_NAMES = {"exact": "exact call", "right_tool": "right tool", "no_call": "rightly none", "malformed": "malformed"}


def _rate(rate: Rate) -> str:
    return f"{rate.value:6.1%} ({rate.hits}/{rate.n}, {100 * rate.low:.0f}–{100 * rate.high:.0f})"


def _share(rate: dict[str, float]) -> str:
    return f"{rate['hits'] / rate['n']:.0%}" if rate["n"] else "–"


def _counts(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts) or "none"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(inner)}" for key, inner in value.items())
    return neutral(str(value))
