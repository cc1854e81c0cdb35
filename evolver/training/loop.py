"""The steps of one training run: packs in, adapter weights changed, progress out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evolver.errors import TrainError
from evolver.training import checkpoint
from evolver.training.early_stop import EarlyStop
from evolver.training.memory import is_out_of_memory
from evolver.training.model import Adapted
from evolver.training.prefix_tree import Pack, TokenizedLesson, pack
from evolver.training.schedule import (
    MEASURED_STEPS,
    affordable_steps,
    deal,
    halve,
    learning_rate_factor,
    packs_of_epochs,
    step_seed,
    why_lost,
)
from evolver.training.team import Team

Emit = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Run:
    """State of a run, as a checkpoint holds it beside the tensors. Losses are in nats per target token."""

    packs: list[list[int]]
    packs_per_step: int
    packs_done: int = 0
    step: int = 0
    seconds: float = 0.0
    """Spent in steps and their validations."""
    wall_seconds: float = 0.0
    """Spent altogether, as of the checkpoint, by processes that were cut off."""
    losses: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    tokens_computed: int = 0
    tokens_plain: int = 0
    target_tokens: int = 0
    lessons_seen: int = 0
    halvings: int = 0
    """Number of times the packs were halved for lack of memory."""
    recomputes: bool = False
    """True if activations are computed again in the backward pass, for lack of memory."""
    failures: int = 0
    """Number of times memory was saved because an earlier process ran out of it and ended."""
    validations: int = 0
    validated_step: int = 0
    best_loss: float | None = None
    best_step: int = 0
    worse: int = 0
    """Number of validations in a row that were worse than the best."""
    stopped_early: bool = False
    shortened: bool = False
    """True if the time budget ever cut the plan and the schedule; the result then depends on the clock."""


class Trainer:
    """Trains ``adapted`` on ``lessons``; continues from a checkpoint below ``work`` that has this ``fingerprint``.

    ``failures``: number of processes before this one that ran out of memory. ``began``: start of this one, monotonic.
    """

    def __init__(
        self,
        adapted: Adapted,
        lessons: Sequence[TokenizedLesson],
        held_out: Sequence[TokenizedLesson],
        config: dict[str, Any],
        *,
        team: Team,
        failures: int,
        work: Path,
        fingerprint: str,
        began: float,
        emit: Emit,
    ) -> None:
        self.adapted, self.lessons, self.config, self.team = adapted, lessons, config, team
        self.failures, self.work, self.fingerprint, self.emit = failures, work, fingerprint, emit
        self.optimizer = torch.optim.AdamW(
            list(adapted.weights.values()), lr=config["learning_rate"], weight_decay=config["weight_decay"], fused=True
        )
        seed, budget = config["seed"], config["tokens_per_pack"]
        packs = packs_of_epochs(lessons, config["epochs"], budget, seed, min_gain=adapted.min_gain)
        self.run = Run(packs, config["packs_per_step"])
        self.early_stop = EarlyStop(
            adapted,
            held_out,
            lessons,
            every_epochs=config["validate_every_epochs"],
            patience=config["patience"],
            budget=budget,
            seed=seed,
            team=team,
        )
        self._began, self._saved_at = began, time.monotonic()

    def train(self) -> Run:
        """Run to the end of the plan or of the time budget, or until validation gets no better; then the adapter has
        the best weights that validation saw. Raises TrainError when the loss is lost."""
        self._resume()
        run = self.run
        while run.failures < self.failures:
            self._save_memory("the process before this one ended")
            run.failures += 1
        while run.packs_done < len(run.packs) and not self.early_stop.ended(run):
            total = self._total_steps()
            if run.step >= total:
                break
            began = time.monotonic()
            loss = self._step(total)
            run.step_seconds = [*run.step_seconds, time.monotonic() - began][-MEASURED_STEPS:]
            reason = why_lost(run.losses)
            if reason is not None:
                raise TrainError("diverged", f"{reason} in step {run.step}")
            self._validate()
            run.seconds += time.monotonic() - began
            self._report(loss, total)
            if time.monotonic() - self._saved_at > self.config["checkpoint_seconds"]:
                self.save()
        run.stopped_early = self.early_stop.ended(run) and run.packs_done < len(run.packs)
        self._validate(now=True)
        if self.early_stop.keep_best(run):
            self.emit({"event": "best", "step": run.best_step, "loss": run.best_loss})
        return run

    def _total_steps(self) -> int:
        """Return the number of steps of the whole run, as the leading process judges by its clock."""
        run = self.run
        limit = self.config["max_minutes"] * 60 or float("inf")
        planned = run.step - (-(len(run.packs) - run.packs_done) // run.packs_per_step)
        planned = min(planned, self.config["max_steps"] or planned)
        total = int(self.team.decision(affordable_steps(run.step, planned, limit - run.seconds, run.step_seconds)))
        run.shortened |= total < planned
        return total

    def _validate(self, *, now: bool = False) -> None:
        loss = self.early_stop.look(self.run, halvings=self.run.halvings, now=now)
        if loss is not None:
            self.emit({"event": "validated", "step": self.run.step, "loss": loss, "best": self.run.best_loss})

    def _step(self, total: int) -> float:
        run = self.run
        while True:
            members = run.packs[run.packs_done : run.packs_done + run.packs_per_step]
            shares = deal(members, self.lessons, self.team.size)
            packs = [[pack(self.lessons, part, min_gain=self.adapted.min_gain) for part in share] for share in shares]
            weight = sum(part.weight for share in packs for part in share)
            torch.manual_seed(step_seed(self.config["seed"], run.step, self.team.rank))
            loss, problem = self._gradients(packs, weight)
            if problem is None:
                break
            self._save_memory(problem)
        warmup = max(1, round(self.config["warmup_share"] * total))
        factor = learning_rate_factor(run.step, total, warmup, self.config["decay"])
        for group in self.optimizer.param_groups:
            group["lr"] = self.config["learning_rate"] * factor
        norm = torch.nn.utils.clip_grad_norm_(self.adapted.weights.values(), self.config["max_grad_norm"])
        if not torch.isfinite(norm):
            raise TrainError("diverged", f"loss {loss}, gradient {norm.item()} in step {run.step + 1}")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        run.packs_done += len(members)
        run.step += 1
        run.losses.append(loss)
        run.tokens_computed += sum(len(part.tokens) for share in packs for part in share)
        run.tokens_plain += sum(part.plain_tokens for share in packs for part in share)
        run.lessons_seen += sum(len(part) for part in members)
        run.target_tokens += sum(len(self.lessons[i].targets) for part in members for i in part)
        return loss

    def _gradients(self, shares: Sequence[Sequence[Pack]], weight: float) -> tuple[float, str | None]:
        """Set the gradients of the step. Return its loss, and the error if they could not be computed: the same in all
        processes."""
        total, problem = 0.0, None
        try:
            for part in shares[self.team.rank]:
                loss = self.adapted.score(part).loss / weight
                loss.backward()
                total += loss.item()
            if self.team.sharded:
                self._keep_up(shares)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            problem = str(error) or "out of memory"
            if self.team.sharded:  # the others wait in the middle of a pass: nothing can be agreed on
                raise TrainError("memory", problem) from error
        if self.team.size > 1:
            total, failed = self._add_up(total, problem is not None)
            problem = problem or ("another process lacks memory" if failed else None)
        return total, problem

    def _keep_up(self, shares: Sequence[Sequence[Pack]]) -> None:
        """Make as many passes as the process with the most packs; what is computed counts for nothing."""
        cheapest = min((part for share in shares for part in share), key=lambda part: len(part.tokens))
        for _ in range(max(map(len, shares)) - len(shares[self.team.rank])):
            (self.adapted.score(cheapest).loss * 0).backward()

    def _add_up(self, loss: float, failed: bool) -> tuple[float, bool]:
        """Set the gradients to their sums over all processes; returns the sum of the losses and whether any failed."""
        weights = list(self.adapted.weights.values())
        ends = [loss if not failed else 0.0, float(failed)]
        parts = [torch.zeros_like(w) if failed or w.grad is None else w.grad for w in weights]
        flat = torch.cat([*(part.flatten() for part in parts), torch.tensor(ends, device=weights[0].device)])
        flat = self.team.sum(flat)
        *sums, total, failures = flat.split([*(w.numel() for w in weights), 1, 1])
        for weight, part in zip(weights, sums, strict=True):
            weight.grad = part.view_as(weight)
        return total.item(), failures.item() > 0

    def _save_memory(self, reason: str) -> None:
        """Halve the packs, those of validation too; when none of what is left to train can be halved, recompute
        activations; then there is nothing more to give up."""
        run = self.run
        self.optimizer.zero_grad(set_to_none=True)
        left = run.packs[run.packs_done :]
        if not left or max(len(part) for part in left) > 1:
            run.packs, run.packs_done, run.packs_per_step = halve(left, self.lessons), 0, run.packs_per_step * 2
            run.halvings += 1
        elif self.adapted.save_memory():
            run.recomputes = True
        else:
            raise TrainError("memory", f"one lesson alone does not fit: {reason.splitlines()[0]}", final=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        event = {"packs_per_step": run.packs_per_step, "recomputes": run.recomputes}
        self.emit({"event": "out_of_memory", "step": run.step, **event})

    def _report(self, loss: float, total: int) -> None:
        run = self.run
        pace = sum(run.step_seconds) / len(run.step_seconds)
        self.emit(
            {
                "event": "step",
                "step": run.step,
                "steps": total,
                "loss": round(loss, 5),
                "tokens_per_second": round(run.tokens_computed / max(run.seconds, 1e-9), 1),
                "saved_ratio": round(run.tokens_plain / max(1, run.tokens_computed), 3),
                "eta_seconds": round(pace * (total - run.step), 1),
            }
        )

    def save(self) -> None:
        """Write a checkpoint; only the leading process does."""
        self._saved_at = time.monotonic()
        if not self.team.leads:
            return
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.adapted.weights.items():
            tensors[f"weight:{name}"] = parameter.detach()
            tensors |= {f"{key}:{name}": value for key, value in self.optimizer.state[parameter].items()}
        tensors |= {f"best:{name}": weight for name, weight in self.early_stop.best.items()}
        state = asdict(self.run) | {"wall_seconds": self.wall_seconds()}
        checkpoint.save(self.work, self.run.step, self.fingerprint, state, tensors)
        self.emit({"event": "checkpoint", "step": self.run.step})

    def wall_seconds(self) -> float:
        """Return the seconds of this process and of those that were cut off, these up to their last checkpoints."""
        return self.run.wall_seconds + time.monotonic() - self._began

    def _resume(self) -> None:
        found = checkpoint.latest(self.work, self.fingerprint)
        if found is None:
            return
        state, tensors = found
        self.run = Run(**state)
        if self.run.recomputes:
            self.adapted.save_memory()
        self.adapted.load_weights({n: tensors[f"weight:{n}"] for n in self.adapted.weights})
        for name, parameter in self.adapted.weights.items():
            moments = {
                key: tensors[f"{key}:{name}"].to(parameter.device, copy=True) for key in ("exp_avg", "exp_avg_sq")
            }
            self.optimizer.state[parameter] = {
                "step": tensors[f"step:{name}"].to(parameter.device, copy=True),
                **moments,
            }
        if self.run.best_loss is not None:
            self.early_stop.best = {n: tensors[f"best:{n}"].to(p.device) for n, p in self.adapted.weights.items()}
        self.emit({"event": "resumed", "step": self.run.step})
