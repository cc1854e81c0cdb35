"""Samples per second of the training worker, of TRL's SFTTrainer with packing and of a plain PEFT loop, in one run.

    python -m benchmarks.train [--seconds 15] [--models tiny,default] [--shapes i,ii,iii] [--data data]

Three shapes of data: (i) 256 traces over 8 contexts of 400 tokens, (ii) 256 over one context of 3,000 tokens, (iii)
256 that share nothing, each 460 tokens long. Every trace adds 60 tokens of its own, half of them targets. Model, dtype,
LoRA and its first weights, optimiser, schedule, tokens computed at once, and the traces of every optimiser step are the
same for all three; only how a step is computed differs. The worker is its own `Trainer`, with the product's settings.

Each measurement is a process of its own, so that its peak memory is its own. It takes the loss of a fixed evaluation
batch, makes one pass that is not timed, then trains for ``--seconds`` at least, or to the end of the data: the slow
ones are timed on fewer traces; how many is printed. After ``--loss-traces`` traces the loss of the same batch is taken
again, off the clock. Where one step takes more traces than that ((ii) on a CPU: 32 of 3,060 tokens), the losses come
from a process of their own that makes one step of 2 traces of the same shape. Where losses do not agree within 2 %, the
program ends with an error: it would compare different things. It ends with 1 too where a goal is not met. The model
`tiny`, random, has no goals; it learns at a higher rate so that its loss moves.

With a GPU: tokens computed per second, and the share of the bf16 peak that a large product reaches on this chip, from
the linear layers alone (4 operations per weight and token; attention and output layer left out); and `qwen1.5b`, a
random model of Qwen2.5-1.5B's shape. TRL needs the extra `bench`; without it that column is left out, and said to be.
"""

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from evolver.config import TrainConfig
from evolver.training.launcher import KEEP_MEMORY

METHODS = ("apprentice", "trl", "plain")
GOALS = {"i": 4.0, "ii": 15.0, "iii": 0.95}
TOLERANCE = 0.02
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "PYTHONWARNINGS": "ignore:The value of the smallest subnormal:UserWarning",
}
PROGRAMS = {
    "tiny": "LlamaConfig(vocab_size=2048, hidden_size=64, intermediate_size=128, num_hidden_layers=2,"
    " num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096, initializer_range=0.3)",
    "qwen1.5b": "Qwen2Config(vocab_size=151936, hidden_size=1536, intermediate_size=8960, num_hidden_layers=28,"
    " num_attention_heads=12, num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=32768)",
}
MAKE = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen2Config
torch.manual_seed(0)
dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
AutoModelForCausalLM.from_config({config}, dtype=dtype).save_pretrained(sys.argv[2])
AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])
"""
PEAK = """
import time, torch
a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
for repeats in (5, 50):
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(repeats):
        a @ b
    torch.cuda.synchronize()
print(2 * 8192**3 * repeats / (time.perf_counter() - began))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="timed at least, of each measurement")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the default model is, or will be made")
    parser.add_argument("--models", help="tiny, default, qwen1.5b or folders; all that suit the machine if left out")
    parser.add_argument("--shapes", default="i,ii,iii")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--loss-traces", type=int, help="128 on a GPU, 64 for tiny, else 8")
    parser.add_argument("--rate", type=float, help="learning rate: the product's, but 0.02 for tiny")
    parser.add_argument("--one", nargs=3, metavar=("METHOD", "SHAPE", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--loss-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measured(options)))
        return
    peak = float(_python("-c", PEAK)) if _gpu() else None
    options.methods = options.methods.split(",")
    if "trl" in options.methods and not importlib.util.find_spec("trl"):
        options.methods.remove("trl")
        print("trl is not installed (pip install -e '.[bench]'): not compared")
    began = time.monotonic()
    verdicts: list[bool] = []
    for name in (options.models or ("tiny,default,qwen1.5b" if peak else "tiny,default")).split(","):
        with tempfile.TemporaryDirectory() as made:
            verdicts += compare(name, _folder(name, options.data, Path(made)), options, peak)
    print(f"{(time.monotonic() - began) / 60:.1f} minutes; {sum(verdicts)} of {len(verdicts)} goals met")
    sys.exit(0 if all(verdicts) else 1)


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    """What ``--one`` asks this process for."""
    from benchmarks.train_contenders import measure, measure_loss
    from benchmarks.train_task import TASKS

    method, shape, folder = options.one
    task = replace(TASKS[shape], rate=options.rate)
    if options.loss_only:
        return measure_loss(method, task, Path(folder))
    return measure(method, task, Path(folder), options.seconds, options.loss_traces)


def _gpu() -> bool:
    return _python("-c", "import torch; print(torch.cuda.is_available())").strip() == "True"


def _python(*arguments: str) -> str:
    """What another Python prints, with the memory setting that the worker gets from evolver.training.launcher."""
    env = {**os.environ, **KEEP_MEMORY, **QUIET}
    return subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True, env=env).stdout


def _folder(name: str, data: Path, made: Path) -> Path:
    if name not in ("default", *PROGRAMS):
        return Path(name)
    from agent.models import default_model

    default = default_model.prepare(data.resolve())
    if name == "default":
        return default
    _python("-c", MAKE.format(config=PROGRAMS[name]), str(default), str(made))
    return made


def compare(name: str, folder: Path, options: argparse.Namespace, peak: float | None) -> list[bool]:
    """Measure every method on every shape and print one table; returns which goals were met.

    Ends the program if losses do not agree.
    """
    loss_traces = options.loss_traces
    if loss_traces is None:
        loss_traces = 128 if peak else 64 if name == "tiny" else 8
    seconds = options.seconds if name != "tiny" else 0.0
    rate = options.rate or (TrainConfig().learning_rate if name != "tiny" else 0.02)
    settings = ["--seconds", str(seconds), "--rate", str(rate), "--loss-traces", str(loss_traces)]
    print(f"\n{name}: at least {seconds:.0f} s timed each; loss of one batch before and after training")
    print(f"{'':7}{'trainer':12}{'samples/s':>10}{'timed on':>10}{'tokens/s':>10}{'peak MiB':>10}{'loss':>18}", end="")
    print(f"{'of peak':>9}" if peak else "")
    verdicts: list[bool] = []
    for shape in options.shapes.split(","):
        found: dict[str, dict[str, Any]] = {}
        for method in options.methods:
            one = ["-m", "benchmarks.train", "--one", method, shape, str(folder), *settings]
            found[method] = _last_line(_python(*one))
            if found[method]["loss_after"] is None:
                found[method] |= _last_line(_python(*one, "--loss-only"))
            print(f"{f'({shape})':7}{method:12}{row(found[method], peak)}", flush=True)
        print(f"{f'({shape})':7}{compared_losses(shape, list(found.values()))}")
        ours = found.pop("apprentice", None)
        for method, other in found.items() if ours else ():
            speed, memory = (ours[key] / other[key] for key in ("samples_per_second", "peak_mib"))
            judged = method == "trl" and name != "tiny"
            goal = f" ({verdict(shape, speed)})" if judged else ""
            print(f"{f'({shape})':7}apprentice / {method}: samples/s {speed:.2f}{goal}, peak memory {memory:.2f}")
            verdicts += [speed >= GOALS[shape]] if judged else []
    return verdicts


def _last_line(out: str) -> dict[str, Any]:
    return json.loads(out.splitlines()[-1])


def verdict(shape: str, speed: float) -> str:
    """Whether a speed, relative to TRL's, is what the worker is meant to reach."""
    return f"goal {GOALS[shape]:g}: {'met' if speed >= GOALS[shape] else 'NOT MET'}"


def row(one: dict[str, Any], peak: float | None) -> str:
    """One measurement as columns."""
    text = (
        f"{one['samples_per_second']:10.3f}{one['traces']:10d}{one['tokens_per_second']:10.0f}{one['peak_mib']:10.0f}"
    )
    text += f"{one['loss_before']:.3f} -> {one['loss_after']:.3f}".rjust(18)
    return text + (f"{4 * one['linear'] * one['tokens_per_second'] / peak:9.1%}" if peak else "")


def compared_losses(shape: str, found: list[dict[str, Any]]) -> str:
    """What was compared, and how far it moved and differs. Ends the program unless all losses agree."""
    differ = 0.0
    for key in ("loss_before", "loss_after"):
        losses = [one[key] for one in found]
        differ = max(differ, max(losses) / min(losses) - 1)
        if differ > TOLERANCE or not all(map(math.isfinite, losses)):
            sys.exit(f"({shape}) {key} differs ({losses}): this would compare different things")
    moved = found[0]["loss_after"] / found[0]["loss_before"] - 1
    return f"losses after {found[0]['loss_traces']} traces moved by {moved:.1%} and differ by {differ:.2%}"


if __name__ == "__main__":
    main()
