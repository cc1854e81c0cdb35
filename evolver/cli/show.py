"""Text views of the evolver's values."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agent.adapters import package
from agent.adapters.manifest import Manifest
from agent.turn.messages import Message
from evolver.cli.score_words import SCORES, SOFT_SCORE, mean_text, rate_text
from evolver.cycle import stages
from evolver.cycle.report import CycleReport
from evolver.maintenance.audit import read_verdicts
from evolver.maintenance.forget import Forgotten
from evolver.model.request_log import read_requests
from evolver.scores import ChatReport, EvalReport
from evolver.types import Invented, TraceVerdict
from toolkit.printable import neutral
from toolkit.tables import table_text

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
        """Let the stages begin anew, with bars of their own."""
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


def cycle_text(report: CycleReport, *, state: str = "") -> str:
    """Summarise a cycle on one screen. ``state`` stands in place of its status, where it is given."""
    lines = [f"cycle {report.cycle.number}: {state or report.cycle.status}"]
    if tools := report.of(stages.TOOLS):
        lines += tools_text(tools)
    if made := report.of(stages.MAKE):
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(made.by_kind.items()))
        lines.append(f"made      {made.traces} traces ({kinds})")
    if verified := report.of(stages.VERIFY):
        kept = ", ".join(f"{name} {count}" for name, count in sorted(verified.kept_by_kind.items()))
        lines.append(f"kept      {verified.kept} traces by verification ({kept})")
        if verified.not_executed:
            lines.append(f"          {verified.not_executed} of them judged by the log or their schema, not executed")
        lines.append("dropped   by verification: " + _counts(verified.dropped.items()))
    if (chosen := report.of(stages.SELECT)) and chosen.asked:
        share = chosen.known / chosen.asked
        lines.append(
            f"known     {chosen.known} of {chosen.asked} kept calls ({share:.0%}): {chosen.model} makes them already; "
            "only replayed"
        )
    if varied := report.of(stages.VARY):
        lines.append(f"varied    {varied.traces} variants more: kept wordings with other values, each executed")
        lines.append("          dropped variants: " + _counts(varied.dropped.items()))
    if data := report.of(stages.DATASET):
        lines.append(f"lessons   {data.train} ({data.calls} call, {data.no_calls} do not), {data.valid} for validation")
        lines += ["composed  " + _counts(data.composed.items())] if data.composed else []
    if adapter := report.of(stages.TRAIN):
        manifest = package.read_manifest(adapter.folder)
        lines.append("learned   " + _learned(manifest))
        lines += _bias(manifest)
    if (incumbent := report.of(stages.INCUMBENT)) and (candidate := report.of(stages.EVALUATE)):
        lines += ["", scores_text(incumbent, candidate), ""]
    if decision := report.of(stages.GATE):
        lines += [f"gate      {reason}" for reason in decision.reasons]
    else:
        lines.append(f"reason    {neutral(report.cycle.reason)}")
    return "\n".join(lines)


def _learned(manifest: Manifest) -> str:
    """Return the duration of training, the rows that could not be learned, and the reason if it took longer than it
    must."""
    metrics, unshared = manifest.metrics, manifest.environment and manifest.environment.unshared
    text = (
        f"{metrics.epochs_done:.1f} epochs in {manifest.wall_seconds:.0f} s, loss {metrics.loss_first:.2f} to "
        f"{metrics.loss_last:.2f}; {metrics.tokens_computed} tokens computed, {metrics.tokens_saved} saved"
    )
    if metrics.rows_refused:
        text += f"; {metrics.rows_refused} rows left out that the model's chat template does not take"
    return f"{text}; prefixes were not shared: {unshared}" if unshared else text


def _bias(manifest: Manifest) -> list[str]:
    """Return what the call bias does on the validation rows, a fact a line."""
    if (fit := manifest.calibration) is None:
        return []
    rows = f"{fit.n_call} validation rows with a call and {fit.n_no_call} without"
    decided = f"{fit.call_accuracy:.0%} of the calls and {fit.no_call_accuracy:.0%} of the others are decided rightly"
    return [
        f"bias      {fit.bias:+.1f} on the first token of a call, fitted on {rows}",
        f"          with it, {decided} (AUC {fit.auc:.2f})",
    ]


def tools_text(invented: Invented) -> list[str]:
    """Count the tools that the model wrote, and how far the others came."""
    lines = []
    if invented.tried:
        steps = f"{invented.defined} defined, {invented.written} written, {invented.ran} ran, {invented.kept} kept"
        lines.append(f"new tools {invented.tried} tried: {steps} ({_counts(invented.dropped.items())})")
    if invented.kept:
        lines.append("          they wait for your word: evolver tools list")
    return lines


def scores_text(before: EvalReport, after: EvalReport) -> str:
    """Show two reports side by side, with 95 % intervals."""
    heading = ("", before.model, after.model)
    rates = [
        (title, *(rate_text(getattr(report, name)) for report in (before, after))) for name, title in SCORES.items()
    ]
    if before.soft_score is not None and after.soft_score is not None:
        rates.append((SOFT_SCORE, mean_text(before.soft_score), mean_text(after.soft_score)))
    return table_text(("SCORE", "BEFORE", "AFTER"), [heading, *rates])


def report_text(report: EvalReport | ChatReport) -> str:
    """Show the scores with their 95 % intervals; a rate over no request is left out."""
    if isinstance(report, ChatReport):
        return "\n".join(
            [
                f"{report.model} on {report.suite}: {report.prompts} requests, {report.tokens} tokens",
                f"KL to base  {report.kl:.3f} nats per token or more ({report.kl_low:.3f}–{report.kl_high:.3f})",
                f"same word   {rate_text(report.same_first)}",
            ]
        )
    lines = [
        f"{report.model} on {report.suite}: {report.invalid_call_rate.n} requests, {report.failed} could not be judged"
    ]
    rates = [(title, getattr(report, name)) for name, title in SCORES.items()]
    reasons = Counter(item.reason for item in report.items if item.reason).most_common(_MOST_REASONS)
    shown = [(title, rate_text(rate)) for title, rate in rates if rate.n]
    if report.soft_score is not None:
        shown.append((SOFT_SCORE, mean_text(report.soft_score)))
    if shown:
        lines.append(table_text(("SCORE", "RATE"), shown))
    if reasons:
        lines.append(table_text(("MISTAKES", "REASON"), [(str(count), reason) for reason, count in reasons]))
    return "\n".join(lines)


def cycle_details_text(folder: Path) -> str:
    """List what of a cycle can be read back one by one, and the reasons for which traces were dropped, by kind."""
    judged = read_verdicts(folder)
    asked = sum(1 for _ in read_requests(folder))
    reasons = Counter((one.trace.kind, one.verdict.reason) for one in judged if not one.verdict.kept)
    lines = [f"  dropped    {kind} {reason}: {count}" for (kind, reason), count in reasons.most_common()]
    kept = sum(one.verdict.kept for one in judged)
    parts = {"requests": asked, "kept": kept, "dropped": len(judged) - kept}
    shown = ", ".join(f"{part} ({count})" for part, count in parts.items())
    lines.append(f"  to read    --show {shown}; kept and dropped are traces and their variants")
    return "\n".join(lines)


def verdict_text(judged: TraceVerdict) -> str:
    """Show a trace and its verdict."""
    trace, verdict = judged.trace, judged.verdict
    model = trace.provenance.model
    source = f"{trace.kind} {trace.id}{f', by {model}' if model else ''}"
    source += ", not executed" if trace.provenance.not_executed else ""
    lines = [f"{'kept' if verdict.kept else f'dropped: {verdict.reason}'}  ({source})"]
    lines += [f"  before   {message.role}: {neutral(message.content or _calls(message))}" for message in trace.history]
    lines.append(f"  request  {neutral(trace.request)}")
    for number, call in enumerate(trace.calls):
        returned = f" -> {neutral(_json(trace.results[number]))}" if number < len(trace.results) else ""
        lines.append(f"  call     {neutral(f'{call.name} {_json(call.arguments)}')}{returned}")
    if trace.answer:
        lines.append(f"  answer   {neutral(trace.answer)}")
    if trace.client_turn is not None:
        tools = ", ".join(str(tool["function"]["name"]) for tool in trace.client_turn.tools)
        lines.append(f"  client   tools {neutral(tools)}; signs: {', '.join(trace.client_turn.signs) or 'none'}")
    return "\n".join(lines)


def request_text(request: Mapping[str, Any]) -> str:
    """Show a request that was put to the model while a cycle ran, and its answers."""
    asked = request.get("prompt") or _json(request.get("messages"))
    told = {key: request[key] for key in ("model", "n", "temperature", "max_tokens") if key in request}
    answers = [answer if isinstance(answer, str) else _json(answer) for answer in request.get("answers") or ()]
    return "\n".join(
        [f"asked {neutral(_json(told))}", neutral(str(asked)), *(f"  -> {neutral(answer)}" for answer in answers)]
    )


def forgotten_text(found: Forgotten) -> str:
    one = bool(found.interaction_id)
    what, it = (f"{found.interaction_id} is", "it") if one else (f"{found.interactions} interactions are", "them")
    lines = [f"{what} deleted, and {found.values} values that were made from {it}"]
    lines += [
        f"{name} may have learned from {it} and is marked; go back with: evolver rollback" for name in found.adapters
    ]
    lines += [f"{name}, a tool that was made for {it}, is gone" for name in found.tools]
    lines += [f"{name}, a client's tool that nothing else showed, is gone" for name in found.client_tools]
    return "\n".join(lines)


def _calls(message: Message) -> str:
    return ", ".join(f"{call.name} {_json(call.arguments)}" for call in message.tool_calls)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _counts(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts) or "none"
