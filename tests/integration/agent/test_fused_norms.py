"""Norms of the real vLLM on CPU, in a process of their own: what is registered there stays."""

import json
import subprocess
import sys

import pytest
import torch

CODE = """
import json, torch
from vllm import ir
from vllm.platforms import current_platform
from agent.serving.vllm_plugin import fused_norms

platform = type(current_platform)
fused_norms.install(platform)
fused_norms.install(platform)
chosen = platform.get_default_ir_op_priority(None)
torch.manual_seed(0)
x, residual, weight = torch.randn(40, 576), torch.randn(40, 576), torch.randn(576)
found = {"chosen": [chosen.rms_norm, chosen.fused_add_rms_norm], "errors": {}, "taken": {}}

def error(made, exact):
    return (made.double() - exact.double()).abs().mean().item()

for dtype in (torch.float32, torch.bfloat16):
    a, b, c = (tensor.to(dtype) for tensor in (x, residual, weight))
    exact = ir.ops.fused_add_rms_norm.impls["native"].impl_fn(a.double(), b.double(), c.double(), 1e-5)
    native = ir.ops.fused_add_rms_norm.impls["native"].impl_fn(a, b, c, 1e-5)
    both = ir.ops.fused_add_rms_norm.impls["apprentice"].impl_fn(a.clone(), b.clone(), c, 1e-5)
    alone = ir.ops.rms_norm.impls["apprentice"].impl_fn((a + b).to(dtype), c, 1e-5)
    found["errors"][str(dtype)] = {
        "native": error(native[0], exact[0]), "fused": error(both[0], exact[0]), "alone": error(alone, exact[0]),
        "sum": error(both[1], native[1]),
    }
    found["taken"][str(dtype)] = ir.ops.rms_norm.impls["apprentice"].supports_args(a, c, 1e-5)
refused = ir.ops.rms_norm.impls["apprentice"].supports_args
found["refused"] = [refused(x, weight.bfloat16(), 1e-5), refused(x, None, 1e-5), refused(x[:, ::2], weight[::2], 1e-5)]
print(json.dumps(found))
"""


@pytest.mark.timeout(120)
def test_the_fused_norms_are_chosen_and_as_exact_as_those_of_torch() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["chosen"] == [["apprentice", "native"], ["apprentice", "native"]]
    assert found["refused"] == [False, False, False]
    exact_in_half = torch.backends.cpu.get_cpu_capability() == "AVX512"
    assert found["taken"] == {"torch.float32": True, "torch.bfloat16": exact_in_half}
    for dtype in (name for name, taken in found["taken"].items() if taken):
        errors = found["errors"][dtype]
        smallest = 1e-6 if dtype == "torch.float32" else 0.0
        assert errors["fused"] <= max(1.1 * errors["native"], smallest)
        assert errors["alone"] <= max(1.5 * errors["native"], smallest)
        assert errors["sum"] == 0.0
