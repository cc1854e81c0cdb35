"""How the evolver's values look to a person."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agent.messages import BASE, Message
from agent.terminal import neutral
from evolver import adapter_files
from evolver.audit import read_judged, tried_makers
from evolver.cycle_report import CycleReport
from evolver.forget import Forgotten
from evolver.ledger import AdapterRow, CycleRow, Evaluation, Release
from evolver.request_log import read_requests
from evolver.types import ChatReport, EvalReport, Judged, OwnMaker, Rate, ToolsMade

_STAGE_WIDTH = 10
_MOST_REASONS = 12
_SILENT_SECONDS = 60.0
"""Without a terminal a stage that takes long says so often how far it is."""


class ProgressBars:
    """One bar per stage on stderr; called as a stage's progress. Without a terminal: a line when a stage ends,
    and one each minute until then."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._plain = not console.is_terminal
        self._console = console
        self._started: dict[str, float] = {}
        self._said: set[str] = set()
        self._told = time.monotonic()
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

    def again(self) -> None:
        """The stages begin anew, with bars of their own."""
        for seen in (self._started, self._said, self._tasks):
            seen.clear()

    def __call__(self, stage: str, share: float, remark: str) -> None:
        begun = self._started.setdefault(stage, time.monotonic())
        if self._plain:
            if share >= 1.0 and not remark and stage not in self._said:
                self._said.add(stage)
                self._tell(f"{stage:<{_STAGE_WIDTH}} {time.monotonic() - begun:6.1f} s")
            elif 0.0 < share < 1.0 and time.monotonic() - self._told >= _SILENT_SECONDS:
                left = (time.monotonic() - begun) * (1 - share) / share
                self._tell(f"{stage:<{_STAGE_WIDTH}} {share:5.0%}, {left:.0f} s to go  {remark}".rstrip())
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(f"{stage:<{_STAGE_WIDTH}}", total=1.0, remark="")
        self._progress.update(self._tasks[stage], completed=share)
        if remark:
            self._progress.update(self._tasks[stage], remark=remark)

    def _tell(self, line: str) -> None:
        self._told = time.monotonic()
        self._console.print(line, highlight=False, soft_wrap=True)


def cycle_text(report: CycleReport) -> str:
    """What a cycle did, on one screen."""
    lines = [f"cycle {report.cycle.number}: {report.cycle.status}"]
    if report.maker is not None:
        lines.append(_maker_text(report.maker))
    if report.tools is not None:
        lines += tools_text(report.tools)
    if report.made is not None:
        makers = ", ".join(f"{name} {count}" for name, count in sorted(report.made.by_maker.items()))
        lines.append(f"made      {report.made.traces} traces ({makers})")
    if report.verified is not None:
        kept = ", ".join(f"{name} {count}" for name, count in sorted(report.verified.kept_by_maker.items()))
        lines.append(f"kept      {report.verified.kept} ({kept})")
        lines.append("dropped   " + _counts(report.verified.dropped.items()))
    if report.varied is not None:
        lines.append(f"varied    {report.varied.traces} more: kept wordings with other values, each executed")
    if report.dataset is not None:
        lines.append(
            f"lessons   {report.dataset.train} ({report.dataset.calls} call, {report.dataset.no_calls} do not), "
            f"{report.dataset.valid} for validation"
        )
        lines += ["composed  " + _counts(report.dataset.composed.items())] if report.dataset.composed else []
    if report.adapter is not None:
        lines.append("learned   " + _learned(adapter_files.read_manifest(report.adapter.folder)))
    if report.incumbent is not None and report.candidate is not None:
        lines += ["", scores_text(report.incumbent, report.candidate), ""]
    if report.decision is not None:
        lines += [f"gate      {reason}" for reason in report.decision.reasons]
    else:
        lines.append(f"reason    {neutral(report.cycle.reason)}")
    return "\n".join(lines)


def _learned(manifest: adapter_files.Manifest) -> str:
    """What training took, and why it took longer than it must, if so."""
    metrics, unshared = manifest.metrics, manifest.environment and manifest.environment.unshared
    text = (
        f"{metrics.epochs_done:.1f} epochs in {manifest.wall_seconds:.0f} s, loss {metrics.loss_first:.2f} to "
        f"{metrics.loss_last:.2f}; {metrics.tokens_computed} tokens computed, {metrics.tokens_saved} saved"
    )
    if (fit := manifest.calibration) is not None:
        text += (
            f"; on validation a call is told from none with AUC {fit.auc:.2f}, and with the bias of {fit.bias:+.1f} "
            f"{fit.call_accuracy:.0%} of the calls and {fit.no_call_accuracy:.0%} of the rest are decided rightly"
        )
    return f"{text}; prefixes were not shared: {unshared}" if unshared else text


def _maker_text(own: OwnMaker) -> str:
    """What the maker's own adapter was worth."""
    if own.problem:
        return f"maker     base: the adapter of its own failed, {neutral(own.problem)}"
    if own.adapter is None or own.base is None or own.own is None:
        return f"maker     base: {own.lessons} lessons are too few for an adapter of its own"
    chosen = own.adapter.name if own.makes else BASE
    return (
        f"maker     {chosen}: {own.own.hits} of {own.own.n} calls were kept that it made, {own.base.hits} of the base's"
    )


def tools_text(tools: ToolsMade) -> list[str]:
    """How many tools the model defined and wrote, and how far the others came."""
    defined, invented = tools.defined, tools.invented
    lines = []
    if defined.tried:
        lines.append(f"defined   {defined.right} of {defined.tried} rightly ({_counts(defined.dropped.items())})")
    if invented.tried:
        steps = f"{invented.defined} defined, {invented.written} written, {invented.ran} ran, {invented.kept} kept"
        lines.append(f"new tools {invented.tried} tried: {steps} ({_counts(invented.dropped.items())})")
    if invented.kept:
        lines.append("          they wait for your word: evolver tools list")
    return lines


def scores_text(before: EvalReport, after: EvalReport) -> str:
    """Two reports side by side, with 95 % intervals."""
    lines = [f"{'':14}{before.model:>24}   {after.model:>24}"]
    rates = [(name, getattr(before, name), getattr(after, name)) for name in _NAMES]
    lines += [f"{_NAMES[name]:14}{_rate(old):>24}   {_rate(new):>24}" for name, old, new in rates]
    return "\n".join(lines)


def report_text(report: EvalReport | ChatReport) -> str:
    """The scores with their 95 % intervals; a rate over no request is left out."""
    if isinstance(report, ChatReport):
        return "\n".join(
            [
                f"{report.model} on {report.suite}: {report.prompts} requests, {report.tokens} tokens",
                f"{'KL to base':14}  {report.kl:.3f} nats per token or more ({report.kl_low:.3f}–{report.kl_high:.3f})",
                f"{'same word':14}{_rate(report.same_first):>24}",
            ]
        )
    lines = [f"{report.model} on {report.suite}: {len(report.items)} requests, {report.failed} could not be judged"]
    rates = {name: getattr(report, name) for name in _NAMES}
    lines += [f"{_NAMES[name]:14}{_rate(rate):>24}" for name, rate in rates.items() if rate.n]
    reasons = Counter(item.reason for item in report.items if item.reason)
    return "\n".join([*lines, *(f"  {count:4}  {reason}" for reason, count in reasons.most_common(_MOST_REASONS))])


def evaluations_text(found: Sequence[Evaluation]) -> str:
    lines = []
    for one in found:
        rates = [
            f"{_NAMES[name]} {_rate(Rate.model_validate(one.scores[name])).strip()}"
            for name in _NAMES
            if one.scores.get(name, {}).get("n")
        ]
        if "kl" in one.scores:
            rates = [f"KL to base {one.scores['kl']:.3f}"]
        lines.append(f"{_moment(one.at)}  {one.model:<14}  {one.suite:<24}  {'  '.join(rates)}")
    return "\n".join(lines) or "nothing measured yet; for example: evolver eval heldout"


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


def cycle_details_text(folder: Path) -> str:
    """What of a cycle can be read back one by one, and the reasons for which traces were dropped, by maker."""
    judged = read_judged(folder)
    asked = sum(1 for _ in read_requests(folder))
    reasons = Counter((one.trace.maker, one.verdict.reason) for one in judged if not one.verdict.kept)
    lines = [f"  dropped    {maker} {reason}: {count}" for (maker, reason), count in reasons.most_common()]
    kept = sum(one.verdict.kept for one in judged)
    trial = len(tried_makers(folder))
    parts = {"requests": asked, "kept": kept, "dropped": len(judged) - kept, **({"trial": trial} if trial else {})}
    lines.append("  to read    --show " + ", ".join(f"{part} ({count})" for part, count in parts.items()))
    return "\n".join(lines)


def judged_text(judged: Judged) -> str:
    """A trace and its verdict."""
    trace, verdict = judged.trace, judged.verdict
    source = f"{trace.maker} {trace.id}{f', by {trace.made_by}' if trace.made_by else ''}"
    lines = [f"{'kept' if verdict.kept else f'dropped: {verdict.reason}'}  ({source})"]
    lines += [f"  before   {message.role}: {neutral(message.content or _calls(message))}" for message in trace.history]
    lines.append(f"  request  {neutral(trace.request)}")
    for call, result in zip_longest(trace.calls, trace.results):
        name, arguments = (call.name, call.arguments) if call else ("", {})
        lines.append(f"  call     {neutral(f'{name} {_json(arguments)}')} -> {neutral(_json(result))}")
    if trace.answer:
        lines.append(f"  answer   {neutral(trace.answer)}")
    return "\n".join(lines)


def request_text(request: Mapping[str, Any]) -> str:
    """A request that was put to the model while a cycle ran, and its answers."""
    asked = request.get("prompt") or _json(request.get("messages"))
    told = {key: request[key] for key in ("model", "n", "temperature", "max_tokens") if key in request}
    answers = [answer if isinstance(answer, str) else _json(answer) for answer in request.get("answers") or ()]
    return "\n".join(
        [f"asked {neutral(_json(told))}", neutral(str(asked)), *(f"  -> {neutral(answer)}" for answer in answers)]
    )


def forgotten_text(found: Forgotten) -> str:
    lines = [f"{found.interaction_id} is deleted, and {found.values} values that were made from it"]
    lines += [
        f"{name} may have learned from it and is marked; go back with: evolver rollback" for name in found.adapters
    ]
    lines += [f"{name}, a tool that was made for it, is gone" for name in found.tools]
    return "\n".join(lines)


def folder_bytes(folder: Path) -> int:
    """What the files of an adapter take on disk; 0 when they are gone."""
    return sum(file.stat().st_size for file in folder.glob("*"))


def lessons_of(cycle: CycleRow) -> dict[str, object]:
    """What the adapter of a cycle was trained on: the counts of its dataset, and how many logged turns of each tenant
    ("" without one) its lessons were made from."""
    tenants = cycle.summary.get("tenants", {})
    return {**cycle.summary.get("dataset", {}), **({"tenants": tenants} if tenants else {})}


def adapters_text(
    rows: Sequence[AdapterRow],
    current: str,
    sizes: Mapping[str, int],
    lessons: Mapping[int, Mapping[str, object]],
    marks: Mapping[str, Sequence[str]],
    *,
    candidate: str = "",
) -> str:
    """``sizes`` in bytes by name; ``lessons``: ``lessons_of`` each cycle, by its number; ``marks``: what was said of an
    adapter, by name; ``candidate``: the one on trial."""
    if not rows:
        return "no adapter yet; make one with: evolver cycle"
    lines = []
    for row in rows:
        mark = "*" if row.name == current else " "
        scores = "  ".join(
            f"{_NAMES[name]} {_share(row.scores[name])}" for name in ("exact", "no_call") if name in row.scores
        )
        taught = lessons.get(row.cycle, {})
        state = f"{'on trial' if row.name == candidate else row.state}{', pinned' if row.pinned else ''}"
        lines.append(
            f"{mark} {row.name}  {state:<9}  {_moment(row.created_at)}  from {row.parent}  "
            f"{sizes.get(row.name, 0) / 2**20:.1f} MiB  {row.sha256[:12]}  "
            f"{taught.get('train', '?')} lessons ({taught.get('calls', '?')} call)  {scores}"
        )
        tenants = taught.get("tenants")
        if isinstance(tenants, dict) and tenants:
            counts = ", ".join(f"{tenant or '(none)'} {count}" for tenant, count in sorted(tenants.items()))
            lines.append(f"    turns by tenant: {neutral(counts)}")
        lines += [f"    {neutral(reason)}" for reason in marks.get(row.name, ())]
    return "\n".join(lines)


_NAMES = {"exact": "exact call", "right_tool": "right tool", "no_call": "rightly none", "malformed": "malformed"}


def _rate(rate: Rate) -> str:
    return f"{rate.value:6.1%} ({rate.hits}/{rate.n}, {100 * rate.low:.0f}–{100 * rate.high:.0f})"


def _calls(message: Message) -> str:
    return ", ".join(f"{call.name} {_json(call.arguments)}" for call in message.tool_calls)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


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
