"""LoRA on CPU as dense products, one per adapter present in the batch; loaded only inside vLLM.

vLLM 0.32's own CPU path copies A and B once per token, and takes the index -1 of base-model tokens for the last slot.
"""

from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

Rows = slice | torch.Tensor
Groups = tuple[tuple[int, Rows], ...]

SMALL_BATCH = 8
"""Up to so many rows single precision is faster: a product in bfloat16 costs about 60 us before it begins."""


class DenseLora(PunicaWrapperCPU):
    """PunicaWrapperCPU whose products are grouped by adapter. Tensor parallelism with fully sharded LoRA is refused."""

    def __init__(
        self, max_num_batched_tokens: int, max_batches: int, device: torch.device | str, **kwargs: Any
    ) -> None:
        super().__init__(max_num_batched_tokens, max_batches, device, **kwargs)
        self._token_groups: Groups = ()
        self._sampler_groups: Groups = ()
        self._fused: dict[tuple[int, int], Fused] = {}

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        """Regroup the rows. vLLM calls this once for a batch whose adapters or slots changed, not once per layer."""
        super().update_metadata(*args, **kwargs)
        self._token_groups = group_rows(self.token_lora_indices)
        self._sampler_groups = group_rows(self.sampler_indices)

    def add_lora_linear(
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
        """Compute ``y[:, slice] += x @ A.T @ B.T * scale`` in place, for the rows of each adapter; base rows get
        nothing.

        Shapes: y (tokens, sum(output_slices)), x (tokens, in), A (slots, 1, rank, in), B (slots, 1, slice, rank).
        """
        del buffer, kwargs
        if not add_inputs:
            y.zero_()
        for slot, rows in self._token_groups:
            fused = self._weights(lora_a_stacked, lora_b_stacked, slot)
            outputs = y[rows]
            fused.add_to(outputs[:, : sum(output_slices)], x[rows], scale)
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
        """Compute ``y += x @ A.T @ B.T * scale`` for the rows of each adapter; y (requests, vocabulary) may be
        padded."""
        del buffer, kwargs
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        for slot, rows in self._sampler_groups:
            b = lora_b_stacked[slot, 0, : y.shape[1]]
            shrunk = x[rows] @ lora_a_stacked[slot, 0].t()
            self._add(y, rows, b.shape[0], shrunk.to(b.dtype) @ b.t() * scale)

    def add_lora_embedding(
        self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, add_inputs: bool = True, **kwargs: Any
    ) -> None:
        """Compute ``y += x @ B.T`` for the rows of each adapter; x holds the looked-up rows of A."""
        del kwargs
        if not add_inputs:
            y.zero_()
        for slot, rows in self._token_groups:
            b = lora_b_stacked[slot, 0]
            self._add(y, rows, b.shape[0], x[rows].to(b.dtype) @ b.t())

    def add_shrink(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("fully sharded LoRA does not run on CPU; start vLLM without --fully-sharded-loras")

    def add_expand(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("fully sharded LoRA does not run on CPU; start vLLM without --fully-sharded-loras")

    @staticmethod
    def _add(y: torch.Tensor, rows: Rows, width: int, delta: torch.Tensor) -> None:
        outputs = y[rows]
        outputs[:, :width].add_(delta)
        if not isinstance(rows, slice):
            y[rows] = outputs

    def _weights(self, a_stacked: tuple[torch.Tensor, ...], b_stacked: tuple[torch.Tensor, ...], slot: int) -> "Fused":
        """The fused weights of one layer's slot, made anew once vLLM has written to that layer's slots."""
        key = (id(a_stacked[0]), slot)
        found = self._fused.get(key)
        if found is None or not found.is_current():
            found = self._fused[key] = Fused(a_stacked, b_stacked, slot)
        return found


class Fused:
    """One layer's A and B of one slot, its slices joined, so that any layer takes two products.

    A becomes (in, slices * rank); B block-diagonal, (slices * rank, sum of slices). Each precision is made when first
    needed. Tensors count their in-place writes: that count tells whether vLLM has put other weights into the slots.
    """

    def __init__(self, a_stacked: tuple[torch.Tensor, ...], b_stacked: tuple[torch.Tensor, ...], slot: int) -> None:
        self._sources = (*a_stacked, *b_stacked)
        self._written = _writes(self._sources)
        self._a = [a[slot, 0] for a in a_stacked]
        self._b = [b[slot, 0] for b in b_stacked]
        self._products: dict[torch.dtype, tuple[torch.Tensor, torch.Tensor]] = {}

    def is_current(self) -> bool:
        return self._written is not None and self._written == _writes(self._sources)

    def add_to(self, y: torch.Tensor, x: torch.Tensor, scale: float) -> None:
        """Compute ``y += x @ A @ B * scale`` in place."""
        if x.shape[0] <= SMALL_BATCH:
            a, b = self._in(torch.float32)
            y.add_((x.float() @ a) @ b, alpha=scale)
        else:
            a, b = self._in(y.dtype)
            y.addmm_(x.to(y.dtype) @ a, b, alpha=scale)

    def _in(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        if dtype not in self._products:
            a = torch.cat(self._a).to(dtype).t().contiguous()
            b = torch.block_diag(*self._b).to(dtype).t().contiguous()
            self._products[dtype] = (a, b)
        return self._products[dtype]


def group_rows(indices: torch.Tensor) -> Groups:
    """Return the rows of each adapter: ``(slot, rows)`` per slot in ``indices``, rows a slice where they are
    neighbours.

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


def _writes(tensors: tuple[torch.Tensor, ...]) -> tuple[int, ...] | None:
    """Return the number of writes to each; None where torch does not count (tensors made in inference mode)."""
    return None if tensors[0].is_inference() else tuple(tensor._version for tensor in tensors)
