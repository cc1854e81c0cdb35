"""LoRA on CPU as dense products, one per adapter present in the batch; loaded only inside vLLM.

vLLM 0.32's own CPU path copies A and B once per token, and takes the index -1 of base-model tokens for the last slot.
"""

from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

Rows = slice | torch.Tensor
Groups = tuple[tuple[int, Rows], ...]


class DenseLora(PunicaWrapperCPU):
    """PunicaWrapperCPU whose products are grouped by adapter. Tensor parallelism with fully sharded LoRA is refused."""

    def __init__(
        self, max_num_batched_tokens: int, max_batches: int, device: torch.device | str, **kwargs: Any
    ) -> None:
        super().__init__(max_num_batched_tokens, max_batches, device, **kwargs)
        self._token_groups: Groups = ()
        self._sampler_groups: Groups = ()

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        """Regroup the rows. vLLM calls this once for a batch whose adapters or slots changed, not once per layer."""
        super().update_metadata(*args, **kwargs)
        self._token_groups = group_rows(self.token_lora_indices)
        self._sampler_groups = group_rows(self.sampler_indices)

    def add_lora_linear(  # noqa: PLR0917  vLLM's signature
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        *,
        buffer: tuple[torch.Tensor, ...] | None = None,
        add_inputs: bool = True,
        **kwargs: Any,
    ) -> None:
        """``y[:, slice] += x @ A.T @ B.T * scale`` in place, for the rows of each adapter; base rows get nothing.

        Shapes: y (tokens, sum(output_slices)), x (tokens, in), A (slots, 1, rank, in), B (slots, 1, slice, rank).
        """
        del buffer, kwargs
        if not add_inputs:
            y.zero_()
        for slot, rows in self._token_groups:
            inputs, outputs = x[rows], y[rows]
            offset = 0
            for a, b, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
                _expand(outputs[:, offset : offset + width], inputs @ a[slot, 0].t(), b[slot, 0], scale)
                offset += width
            if not isinstance(rows, slice):
                y[rows] = outputs

    def add_lora_logits(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        scale: float,
        *,
        buffer: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        """``y += x @ A.T @ B.T * scale`` for the rows of each adapter; y (requests, vocabulary) may be padded."""
        del buffer, kwargs
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        for slot, rows in self._sampler_groups:
            outputs = y[rows]
            b = lora_b_stacked[slot, 0]
            width = min(b.shape[0], y.shape[1])
            _expand(outputs[:, :width], x[rows] @ lora_a_stacked[slot, 0].t(), b[:width], scale)
            if not isinstance(rows, slice):
                y[rows] = outputs

    def add_lora_embedding(
        self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, add_inputs: bool = True, **kwargs: Any
    ) -> None:
        """``y += x @ B.T`` for the rows of each adapter; x holds the looked-up rows of A."""
        del kwargs
        if not add_inputs:
            y.zero_()
        for slot, rows in self._token_groups:
            outputs = y[rows]
            _expand(outputs, x[rows], lora_b_stacked[slot, 0], 1.0)
            if not isinstance(rows, slice):
                y[rows] = outputs

    def add_shrink(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("fully sharded LoRA does not run on CPU; start vLLM without --fully-sharded-loras")

    def add_expand(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("fully sharded LoRA does not run on CPU; start vLLM without --fully-sharded-loras")


def group_rows(indices: torch.Tensor) -> Groups:
    """The rows of each adapter: ``(slot, rows)`` per slot in ``indices``, rows a slice where they are neighbours.

    ``indices`` (rows,) holds the slot of each row; -1 is the base model and makes no group.
    """
    groups: list[tuple[int, Rows]] = []
    for slot in torch.unique(indices).tolist():
        if slot < 0:
            continue
        rows = torch.nonzero(indices == slot).flatten()
        first, last = int(rows[0]), int(rows[-1])
        groups.append((slot, slice(first, last + 1) if last - first + 1 == len(rows) else rows))
    return tuple(groups)


def _expand(y: torch.Tensor, shrunk: torch.Tensor, b: torch.Tensor, scale: float) -> None:
    if y.dtype == shrunk.dtype == b.dtype:
        y.addmm_(shrunk, b.t(), alpha=scale)
    else:
        y.add_((shrunk.to(b.dtype) @ b.t()).to(y.dtype), alpha=scale)
