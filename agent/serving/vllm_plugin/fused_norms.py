"""Normalisation on CPU by vLLM's own fused kernels.

vLLM 0.32 computes a root-mean-square norm on CPU as ten operations of torch, which torch.compile would fuse. The
managed vLLM runs without compiling. The fused kernels are in its CPU build, and are registered for GPUs only.
"""

from typing import Any

import torch

PROVIDER = "apprentice"
"""The name of these implementations among vLLM's."""

_EXACT_IN_HALF = torch.backends.cpu.get_cpu_capability() == "AVX512"
"""Whether the kernels round half precision as little as torch does. With AVX2 the error is 2.5 times that."""


def install(platform: Any) -> None:
    """Let the norms of this process run the kernels; again changes nothing. ``platform`` is vLLM's CPU platform.

    A vLLM that chooses its norms otherwise keeps its own.
    """
    try:
        from vllm import ir

        known = ir.ops.rms_norm.impls
    except (ImportError, AttributeError):
        return
    if PROVIDER in known:
        return
    platform.import_kernels()
    ir.ops.rms_norm.register_impl(PROVIDER, supports_args=_fits)(rms_norm)
    ir.ops.fused_add_rms_norm.register_impl(PROVIDER, supports_args=_fits_with_residual, inplace=True)(
        fused_add_rms_norm
    )
    default = platform.get_default_ir_op_priority

    def with_kernels(vllm_config: Any) -> Any:
        found = default(vllm_config)
        found.rms_norm = [PROVIDER, *found.rms_norm]
        found.fused_add_rms_norm = [PROVIDER, *found.fused_add_rms_norm]
        return found

    platform.get_default_ir_op_priority = staticmethod(with_kernels)


def rms_norm(
    x: torch.Tensor, weight: torch.Tensor | None, epsilon: float, variance_size: int | None = None
) -> torch.Tensor:
    """Return ``x`` [..., d] over its root mean square, times ``weight`` [d]."""
    out = torch.empty_like(x)
    torch.ops._C.rms_norm(out, x, weight, epsilon)
    return out


def fused_add_rms_norm(
    x: torch.Tensor,
    x_residual: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the norm of ``x + x_residual`` and that sum, both [..., d] and in the place of the arguments."""
    torch.ops._C.fused_add_rms_norm(x, x_residual, weight, epsilon)
    return x, x_residual


def _fits(x: torch.Tensor, weight: torch.Tensor | None, epsilon: float, variance_size: int | None = None) -> bool:
    if variance_size is not None or weight is None or weight.dtype != x.dtype or not x.is_contiguous():
        return False
    return x.dtype == torch.float32 or _EXACT_IN_HALF


def _fits_with_residual(
    x: torch.Tensor,
    x_residual: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> bool:
    return _fits(x, weight, epsilon, variance_size) and x_residual.is_contiguous()
