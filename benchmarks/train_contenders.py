"""The trainers that benchmarks/train.py compares: the same traces, steps and schedule for each, timed by one clock."""

import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.train_task import DEVICE, TARGETS, Clock, Over, Task, traces_of
from evolver.config import TrainConfig
from evolver.training.loop import Trainer
from evolver.training.model import dtype_for, open_model
from evolver.training.prefix_tree import TokenizedLesson, pack
from evolver.training.schedule import learning_rate_factor, packs_of_epochs
from evolver.training.team import open_team

FEW = 2
"""Traces of the step that is made for its loss alone, where a timed step has more than losses are compared after."""


def measure(method: str, task: Task, folder: Path, seconds: float, loss_traces: int) -> dict[str, Any]:
    """Train in this process; how fast, with how much memory, from and to which loss. ``linear``: see ``_linear``.

    The losses are None where one step takes more than ``loss_traces``.
    """
    clock = Clock(seconds, loss_traces // task.per_step)
    linear = _train(method, task, folder, clock)
    return {
        "samples_per_second": clock.traces / clock.took,
        "tokens_per_second": clock.tokens / clock.took,
        "traces": clock.traces,
        "peak_mib": _peak_mib(),
        "linear": linear,
        **_losses(clock, loss_traces // task.per_step * task.per_step),
    }


def measure_loss(method: str, task: Task, folder: Path) -> dict[str, Any]:
    """The losses before and after one step of ``FEW`` traces, which are all there are."""
    clock = Clock(0.0, 1)
    _train(method, replace(task, traces=FEW, per_step=FEW), folder, clock)
    return _losses(clock, FEW)


def _losses(clock: Clock, traces: int) -> dict[str, Any]:
    return {"loss_before": clock.loss_before, "loss_after": clock.loss_after, "loss_traces": traces}


def _train(method: str, task: Task, folder: Path, clock: Clock) -> int:
    torch.set_flush_denormal(True)
    return {"apprentice": _apprentice, "trl": _trl, "plain": _plain}[method](task, folder, clock)


def _peak_mib() -> float:
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _settings(task: Task, taught: Sequence[TokenizedLesson]) -> tuple[dict[str, Any], list[list[int]]]:
    """The product's settings, but for the budget, and the traces of each optimiser step in order."""
    config = TrainConfig(
        tokens_per_pack=task.budget,
        learning_rate=task.rate,
        epochs=1,
        max_minutes=0,
        max_lesson_tokens=4096,
        warmup_share=0,
        patience=0,
        checkpoint_seconds=1e9,
    ).model_dump(mode="json")
    packs = packs_of_epochs(taught, 1, task.budget, config["seed"])
    size = len(packs[0])
    assert {len(one) for one in packs} == {size}, "steps of other trainers could not have the same traces"
    assert task.per_step % size == 0
    config["packs_per_step"] = task.per_step // size
    flat = [number for one in packs for number in one]
    return config, [flat[begin : begin + task.per_step] for begin in range(0, task.traces, task.per_step)]


def _apprentice(task: Task, folder: Path, clock: Clock) -> int:
    taught, evaluated = traces_of(task)
    config, _ = _settings(task, taught)
    team = open_team()
    adapted = open_model(folder, None, config, team)
    _shake(adapted.peft)

    @torch.no_grad()
    def evaluate() -> float:
        batch = pack(evaluated, range(len(evaluated)), min_gain=adapted.min_gain)
        return adapted.score(batch).loss.item() / batch.weight

    seen = (0, 0)

    def emit(event: dict[str, Any]) -> None:
        nonlocal seen
        if event["event"] == "step":
            before, seen = seen, (trainer.run.lessons_seen, trainer.run.tokens_computed)
            clock.tick(seen[0] - before[0], seen[1] - before[1], evaluate)

    with tempfile.TemporaryDirectory() as work:
        trainer = Trainer(
            adapted,
            taught,
            [],
            config,
            team=team,
            failures=0,
            work=Path(work),
            fingerprint="",
            began=time.monotonic(),
            emit=emit,
        )
        clock.before(evaluate)
        with suppress(Over):
            trainer.train()
    return _linear(adapted.peft)


def _adapted(folder: Path, config: dict[str, Any]) -> Any:
    """The model with PEFT's LoRA, as its examples make it."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype_for(DEVICE)).to(DEVICE)
    lora = {"r": config["rank"], "lora_alpha": config["alpha"], "target_modules": list(config["targets"])}
    adapted = get_peft_model(model, LoraConfig(**lora))
    _shake(adapted)
    return adapted


def _shake(adapted: Any) -> None:
    """The same random weights in every trainer's adapter, so that equal losses say that the adapters count alike."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(adapted.named_parameters()):
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)


def _linear(adapted: Any) -> int:
    """How many weights the linear layers have, the output layer left out."""
    left_out = ("lora_", "embed", "lm_head")
    return sum(w.numel() for n, w in adapted.named_parameters() if w.dim() == 2 and not any(o in n for o in left_out))


def _optimizer(adapted: Any, config: dict[str, Any], steps: int) -> tuple[Any, Any]:
    """The worker's optimiser and its schedule."""
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=config["learning_rate"], weight_decay=config["weight_decay"], fused=True)
    factor = partial(learning_rate_factor, total=steps, warmup=1, decay=config["decay"])
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _summed_loss(adapted: Any, rows: Sequence[TokenizedLesson]) -> Any:
    """Rows as one batch (they are equally long), labels masked; the sum over all targets."""
    ids = torch.tensor([row.tokens for row in rows], device=DEVICE)
    labels = torch.full_like(ids, -100)
    for number, row in enumerate(rows):
        labels[number, list(row.targets)] = ids[number, list(row.targets)]
    return adapted(input_ids=ids, labels=labels, use_cache=False).loss * (TARGETS * len(rows))


def _evaluation(adapted: Any, evaluated: Sequence[TokenizedLesson]) -> Callable[[], float]:
    @torch.no_grad()
    def evaluate() -> float:
        return sum(_summed_loss(adapted, [row]).item() for row in evaluated) / (TARGETS * len(evaluated))

    return evaluate


def _plain(task: Task, folder: Path, clock: Clock) -> int:
    taught, evaluated = traces_of(task)
    config, steps = _settings(task, taught)
    adapted = _adapted(folder, config)
    evaluate = _evaluation(adapted, evaluated)
    optimizer, schedule = _optimizer(adapted, config, len(steps))

    def train() -> None:
        for members in steps:
            for begin in range(0, len(members), task.together):
                rows = [taught[i] for i in members[begin : begin + task.together]]
                (_summed_loss(adapted, rows) / (TARGETS * len(members))).backward()
                last = begin + task.together >= len(members)
                if last:
                    torch.nn.utils.clip_grad_norm_(adapted.parameters(), config["max_grad_norm"])
                    optimizer.step()
                    schedule.step()
                    optimizer.zero_grad()
                clock.tick(len(rows), sum(len(row.tokens) for row in rows), evaluate if last else None)

    clock.before(evaluate)
    with suppress(Over):
        train()
    return _linear(adapted)


def _sft_config(task: Task, config: dict[str, Any], output: str) -> Any:
    """Return the settings with which TRL trains what the others do."""
    from trl import SFTConfig

    return SFTConfig(
        output_dir=output,
        packing=True,
        max_length=task.budget,
        completion_only_loss=True,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=task.per_step // task.together,
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        max_grad_norm=config["max_grad_norm"],
        gradient_checkpointing=False,
        use_cpu=DEVICE.type == "cpu",
        bf16=False,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def _trl(task: Task, folder: Path, clock: Clock) -> int:
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTTrainer

    taught, evaluated = traces_of(task)
    config, steps = _settings(task, taught)
    adapted = _adapted(folder, config)
    evaluate = _evaluation(adapted, evaluated)
    clock.before(evaluate)

    class Ticks(TrainerCallback):
        def on_substep_end(self, *_: Any, **__: Any) -> None:
            clock.tick(task.together, task.together * task.length)

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick(task.together, task.together * task.length, evaluate)

    rows = [taught[i] for members in steps for i in members]
    mask = [0] * (task.length - TARGETS) + [1] * TARGETS
    data = {"input_ids": [list(row.tokens) for row in rows], "completion_mask": [mask] * len(rows)}
    with tempfile.TemporaryDirectory() as output:
        trainer = SFTTrainer(
            model=adapted,
            args=_sft_config(task, config, output),
            train_dataset=Dataset.from_dict(data),
            processing_class=AutoTokenizer.from_pretrained(folder),
            callbacks=[Ticks()],
            optimizers=_optimizer(adapted, config, len(steps)),
        )
        packed = [(len(one["seq_lengths"]), token) for one in trainer.train_dataset for token in one["input_ids"]]
        assert packed == [(task.together, token) for row in rows for token in row.tokens], "TRL packed otherwise"
        with suppress(Over):
            trainer.train()
    return _linear(adapted)
