"""The steps of one training run: packs in, adapter weights changed, progress out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from evolver.errors import TrainError
from evolver.training import checkpoint
from evolver.training.model import Adapted
from evolver.training.prefix_tree import Lesson, Pack, pack
from evolver.training.schedule import (
    MEASURED_STEPS,
    affordable_steps,
    halve,
    learning_rate_factor,
    packs_of_epochs,
    why_lost,
)
from evolver.training.step import score

Emit = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Run:
    """Where a run stands: all that a checkpoint must hold beside the tensors. Losses are per target token."""

    packs: list[list[int]]
    packs_per_step: int
    packs_done: int = 0
    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    tokens_computed: int = 0
    tokens_plain: int = 0
    target_tokens: int = 0
    lessons_seen: int = 0
    halvings: int = 0


class Trainer:
    """Trains ``adapted`` on ``lessons``; continues from a checkpoint below ``work`` that has this ``fingerprint``."""

    def __init__(
        self,
        adapted: Adapted,
        lessons: Sequence[Lesson],
        config: dict[str, Any],
        *,
        halvings: int,
        work: Path,
        fingerprint: str,
        emit: Emit,
    ) -> None:
        self.adapted, self.lessons, self.config = adapted, lessons, config
        self.halvings, self.work, self.fingerprint, self.emit = halvings, work, fingerprint, emit
        self.optimizer = torch.optim.AdamW(
            list(adapted.weights.values()), lr=config["learning_rate"], weight_decay=config["weight_decay"], fused=True
        )
        packs = packs_of_epochs(lessons, config["epochs"], config["tokens_per_pack"], config["seed"])
        self.run = Run(packs, config["packs_per_step"])
        self._saved_at = time.monotonic()

    def train(self) -> Run:
        """Run to the end of the plan or of the time budget. Raises TrainError when the loss is lost."""
        self._resume()
        run = self.run
        while run.halvings < self.halvings:
            self._halve("the process was killed")
        limit = self.config["max_minutes"] * 60 or float("inf")
        while run.packs_done < len(run.packs):
            planned = run.step - (-(len(run.packs) - run.packs_done) // run.packs_per_step)
            planned = min(planned, self.config["max_steps"] or planned)
            total = affordable_steps(run.step, planned, limit - run.seconds, run.step_seconds)
            if run.step >= total:
                break
            began = time.monotonic()
            loss = self._step(total)
            run.step_seconds = [*run.step_seconds, time.monotonic() - began][-MEASURED_STEPS:]
            run.seconds += time.monotonic() - began
            reason = why_lost(run.losses)
            if reason is not None:
                raise TrainError("diverged", f"{reason} in step {run.step}")
            self._report(loss, total)
            if time.monotonic() - self._saved_at > self.config["checkpoint_seconds"]:
                self.save()
        return run

    def _step(self, total: int) -> float:
        run = self.run
        while True:
            members = run.packs[run.packs_done : run.packs_done + run.packs_per_step]
            packs = [pack(self.lessons, part) for part in members]
            try:
                loss = self._gradients(packs)
                break
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._halve(str(error))
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
        run.tokens_computed += sum(len(part.tokens) for part in packs)
        run.tokens_plain += sum(part.plain_tokens for part in packs)
        run.lessons_seen += sum(len(part) for part in members)
        run.target_tokens += sum(len(self.lessons[i].targets) for part in members for i in part)
        return loss

    def _gradients(self, packs: Sequence[Pack]) -> float:
        weight = sum(part.weight for part in packs)
        total = 0.0
        for part in packs:
            loss = score(self.adapted.base, part).loss / weight
            loss.backward()
            total += loss.item()
        return total

    def _halve(self, reason: str) -> None:
        run = self.run
        self.optimizer.zero_grad(set_to_none=True)
        if max(len(part) for part in run.packs[run.packs_done :]) == 1:
            raise TrainError("memory", f"one lesson alone does not fit: {reason.splitlines()[0]}")
        halves = halve(run.packs[run.packs_done :], self.lessons)
        run.packs, run.packs_done, run.packs_per_step = halves, 0, run.packs_per_step * 2
        run.halvings += 1
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.emit({"event": "out_of_memory", "step": run.step, "packs_per_step": run.packs_per_step})

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
        """Write a checkpoint."""
        tensors = {f"weight:{name}": parameter.detach() for name, parameter in self.adapted.weights.items()}
        for name, parameter in self.adapted.weights.items():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"{key}:{name}"] = value
        tensors["random"] = torch.get_rng_state()
        checkpoint.save(self.work, self.run.step, self.fingerprint, asdict(self.run), tensors)
        self._saved_at = time.monotonic()
        self.emit({"event": "checkpoint", "step": self.run.step})

    def _resume(self) -> None:
        found = checkpoint.latest(self.work, self.fingerprint)
        if found is None:
            return
        state, tensors = found
        self.run = Run(**state)
        self.adapted.load_weights({n: tensors[f"weight:{n}"] for n in self.adapted.weights})
        for name, parameter in self.adapted.weights.items():
            self.optimizer.state[parameter] = {
                key: tensors[f"{key}:{name}"].clone() for key in ("step", "exp_avg", "exp_avg_sq")
            }
        torch.set_rng_state(tensors["random"])
        self.emit({"event": "resumed", "step": self.run.step})


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(
        words in str(error) for words in ("can't allocate memory", "not enough memory", "could not create a memory")
    )
