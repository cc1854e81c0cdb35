"""Samples per second of the training worker against a plain PEFT loop, on the same model, data, LoRA and machine.

    python benchmarks/train.py [--seconds 60] [--data data] [--shapes i,ii,iii]

Three shapes of data: (i) 256 lessons over 8 contexts of 400 tokens, (ii) 256 over one context of 3,000 tokens,
(iii) 256 that share nothing. Every lesson adds 60 tokens of its own, half of them targets. The plain loop is what
PEFT's examples do: rows padded to a batch of 4, labels masked, logits everywhere. Each measurement runs in its own
process, so that its peak memory is its own, warms up with one step and then trains for ``--seconds`` or to the end of
the data. Before it trains, each reports the loss on the same eight lessons: they must agree.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from evolver.train import TrainConfig
from evolver.training.prefix_tree import Lesson, pack, plan

SHAPES = {"i": (8, 400), "ii": (1, 3000), "iii": (256, 0)}
LESSONS, OWN_TOKENS, VOCABULARY = 256, 60, 40_000
METHODS = ("apprentice", "plain")
BATCH = 4


def lessons_of(shape: str) -> list[Lesson]:
    """Random tokens in the given shape; a lesson that shares nothing is as long as one of shape (i)."""
    contexts, length = SHAPES[shape]
    generator = random.Random(0)
    made = []
    for context in range(contexts):
        prefix = [generator.randrange(100, VOCABULARY) for _ in range(length or 400)]
        for _ in range(LESSONS // contexts):
            tokens = (*prefix, *(generator.randrange(100, VOCABULARY) for _ in range(OWN_TOKENS)))
            made.append(Lesson(str(context), tokens, tuple(range(len(tokens) - OWN_TOKENS // 2, len(tokens)))))
    return made


def measure(method: str, shape: str, model_folder: Path, seconds: float) -> dict[str, float]:
    """Train in this process and say how fast, from which loss, and with how much memory."""
    import torch

    lessons = lessons_of(shape)
    config = TrainConfig().model_dump(mode="json")
    longest = max(len(lesson.tokens) for lesson in lessons)
    make = _shared if method == "apprentice" else _plain
    steps, loss_of, parameters = make(lessons, model_folder, config, max(config["tokens_per_pack"], 2 * longest))
    with torch.no_grad():
        loss = loss_of(range(0, LESSONS, LESSONS // 8))
    optimizer = torch.optim.AdamW(parameters, lr=1e-5)
    done, began = 0, 0.0
    for number, step in enumerate(steps):
        samples = step()
        optimizer.step()
        optimizer.zero_grad()
        if number == 0:
            began = time.perf_counter()
            continue
        done += samples
        if time.perf_counter() - began > seconds:
            break
    return {
        "samples_per_second": done / (time.perf_counter() - began),
        "samples": done,
        "loss": loss,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


Made = tuple[Iterator[Callable[[], int]], Callable[[Sequence[int]], float], list]


def _shared(lessons: list[Lesson], model_folder: Path, config: dict, budget: int) -> Made:
    import torch

    from evolver.training.model import open_model
    from evolver.training.step import score

    adapted = open_model(model_folder, None, config, 0, torch.device("cpu"))

    def step(members: Sequence[int]) -> int:
        part = pack(lessons, members)
        (score(adapted.base, part).loss / part.weight).backward()
        return len(members)

    def loss_of(members: Sequence[int]) -> float:
        part = pack(lessons, members)
        return score(adapted.base, part).loss.item() / part.weight

    packs = plan(lessons, range(len(lessons)), budget, 0)
    return (partial(step, members) for members in packs), loss_of, list(adapted.weights.values())


def _plain(lessons: list[Lesson], model_folder: Path, config: dict, budget: int) -> Made:
    del budget
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.bfloat16)
    lora = LoraConfig(r=config["rank"], lora_alpha=config["alpha"], target_modules=list(config["targets"]))
    adapted = get_peft_model(model, lora)

    def loss(members: Sequence[int]) -> torch.Tensor:
        rows = [lessons[i] for i in members]
        length = max(len(row.tokens) for row in rows)
        ids = torch.tensor([row.tokens + (0,) * (length - len(row.tokens)) for row in rows])
        labels = torch.full_like(ids, -100)
        for number, row in enumerate(rows):
            places = torch.tensor(row.targets)
            labels[number, places] = ids[number, places]
        mask = torch.tensor([[1] * len(row.tokens) + [0] * (length - len(row.tokens)) for row in rows])
        return adapted(input_ids=ids, attention_mask=mask, labels=labels).loss

    def step(members: Sequence[int]) -> int:
        loss(members).backward()
        return len(members)

    order = random.Random(0).sample(range(len(lessons)), len(lessons))
    batches = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
    steps = (partial(step, members) for members in batches)
    parameters = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    return steps, lambda members: sum(loss([i]).item() for i in members) / len(members), parameters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--model", type=Path, help="folder of a model; the default model if left out")
    parser.add_argument("--shapes", default="i,ii,iii")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "SHAPE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.model is None:
        from agent.serving import default_model

        arguments.model = default_model.prepare(arguments.data, lambda *_: None)
    if arguments.one:
        print(json.dumps(measure(*arguments.one, arguments.model, arguments.seconds)))
        return
    for shape in arguments.shapes.split(","):
        found = {}
        for method in METHODS:
            command = [sys.executable, __file__, "--one", method, shape]
            command += ["--model", str(arguments.model), "--seconds", str(arguments.seconds)]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found[method] = json.loads(out.splitlines()[-1])
            print(
                f"({shape}) {method:10s}", *(f"{key} {value:.3f}" for key, value in found[method].items()), flush=True
            )
        ratio = found["apprentice"]["samples_per_second"] / found["plain"]["samples_per_second"]
        print(f"({shape}) ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
