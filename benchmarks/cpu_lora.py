"""How long vLLM takes to read a 2,000-token prompt with an adapter on CPU: as it comes, and with apprentice's plugin.

    python -m benchmarks.cpu_lora [--tokens 2000] [--repeats 3] [--data data]

Two real servers in turn on the default model, with the same settings but for the plugin. What is timed is the whole
request over HTTP (one token is generated), with random tokens so that no prefix is cached; the same for the base model
shows what remains when there is no adapter. The adapter has rank 16 on every linear layer.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agent.config import VllmConfig
from agent.http.address import http_client, of_socket
from agent.models import default_model
from agent.serving.upstreams import lora_api
from agent.serving.vllm import command_line, process
from agent.serving.vllm.process import VllmServer

ADAPTER = """
import sys, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
adapted = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False))
adapted.save_pretrained(sys.argv[2])
"""


def measure(plugin: bool, model: Path, adapter: Path, tokens: int, repeats: int) -> dict[str, float]:
    """Median seconds per request, for the base model and for the adapter."""
    config = VllmConfig(max_model_len=tokens + 64)
    socket, key = adapter.parent / "vllm.sock", "benchmark"
    socket.unlink(missing_ok=True)
    env = command_line.environment(os.environ, config, key, adapter.parent, gpu=False)
    with VllmServer.spawn(
        command_line.command(config, model, socket, gpu=False),
        env if plugin else env | {"VLLM_PLUGINS": ""},
        url=of_socket(socket),
        api_key=key,
        log=adapter.parent / f"vllm-{plugin}.log",
        timeout_seconds=config.start_timeout_seconds,
        must_log=process.ANNOUNCEMENT if plugin else "Using PunicaWrapperCPU",
    ) as server:
        lora_api.load(server.url, key, "adapter", adapter)
        return {name: _seconds(server, name, tokens, repeats) for name in ("base", "adapter")}


def _seconds(server: VllmServer, model: str, tokens: int, repeats: int) -> float:
    taken = []
    with http_client(server.url, timeout=1800) as client:
        for length in (16, *[tokens] * repeats):  # the short one warms up
            prompt = [random.randrange(100, 40000) for _ in range(length)]
            began = time.perf_counter()
            client.post(
                "/v1/completions",
                json={"model": model, "prompt": prompt, "max_tokens": 1},
                headers={"Authorization": f"Bearer {server.api_key}"},
            ).raise_for_status()
            taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description="Prefill with a LoRA adapter on CPU: stock vLLM against the plugin.")
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the default model is, or will be made")
    options = parser.parse_args()
    model = default_model.prepare(options.data.resolve())
    with tempfile.TemporaryDirectory() as folder:
        adapter = Path(folder) / "adapter"
        subprocess.run([sys.executable, "-c", ADAPTER, str(model), str(adapter)], check=True, capture_output=True)
        stock, cured = (measure(plugin, model, adapter, options.tokens, options.repeats) for plugin in (False, True))
    print(f"{options.tokens}-token prompt, rank 16, seconds (median of {options.repeats})")
    print(f"{'':10}{'stock':>10}{'plugin':>10}{'ratio':>8}")
    for name in stock:
        print(f"{name:10}{stock[name]:10.2f}{cured[name]:10.2f}{stock[name] / cured[name]:8.1f}")
    share = [max(times["adapter"] - times["base"], 1e-9) for times in (stock, cured)]
    print(f"{'LoRA alone':10}{share[0]:10.2f}{share[1]:10.2f}{share[0] / share[1]:8.1f}")


if __name__ == "__main__":
    main()
