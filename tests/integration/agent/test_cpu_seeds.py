"""Seeded requests on CPU: what is wound back starts over."""

import subprocess
import sys

_CODE = """
import torch
from agent.serving.vllm_plugin.seeded_requests import RewindableGenerator, rewindable

plain = torch.Generator().manual_seed(7)
first = torch.rand(3, generator=plain)
copy = rewindable(torch.Generator().manual_seed(7))
assert isinstance(copy, RewindableGenerator)
assert torch.equal(torch.rand(3, generator=copy), first)
copy.set_offset(copy.get_offset() - 4)
assert torch.equal(torch.rand(3, generator=copy), first)
went_on = rewindable(plain)
assert torch.equal(torch.rand(3, generator=went_on), torch.rand(3, generator=plain))
"""


def test_a_generator_that_is_wound_back_starts_over() -> None:
    result = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
