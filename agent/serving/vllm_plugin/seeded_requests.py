"""Keeps a seeded request from killing vLLM 0.32 on CPU.

While a long prompt is read in parts, vLLM draws a token after each part, throws it away and winds the request's random
generator back with ``set_offset``, which torch has for CUDA generators only: on CPU the engine dies, and every request
with it.
"""

from typing import Any

import torch


class RewindableGenerator(torch.Generator):
    """A CPU generator that vLLM can wind back. Only draws made before the first kept token are ever wound back, so that
    winding back is starting over."""

    def get_offset(self) -> int:
        return 0

    def set_offset(self, offset: int) -> "RewindableGenerator":
        self.manual_seed(self.initial_seed())
        return self


def install() -> None:
    """Give vLLM's batches rewindable generators in this process; again changes nothing."""
    from vllm.v1.worker.gpu_input_batch import InputBatch

    add_request: Any = InputBatch.add_request
    if getattr(add_request, "rewindable", False):
        return

    def add(batch: Any, request: Any) -> Any:
        if type(request.generator) is torch.Generator and request.generator.device.type == "cpu":
            request.generator = rewindable(request.generator)
        return add_request(batch, request)

    add.rewindable = True  # type: ignore[attr-defined]
    InputBatch.add_request = add  # type: ignore[method-assign]


def rewindable(generator: torch.Generator) -> RewindableGenerator:
    """Return a generator in the state of ``generator``."""
    copy = RewindableGenerator()
    copy.manual_seed(generator.initial_seed())
    copy.set_state(generator.get_state())
    return copy
