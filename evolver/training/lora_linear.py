"""LoRA layers in one autograd node each: PEFT's own forward casts every activation to the adapter's fp32 and back.

The master weights stay fp32 in PEFT's modules; the products run in the model's dtype, the gradients of the adapter
reach the masters in fp32. With an fp32 model the result is PEFT's.
"""

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLayer
from torch import Tensor, nn


class _LoraProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scaling: float
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        low_down, low_up = down.to(x.dtype), up.to(x.dtype)
        middle = flat @ low_down.t()
        out = nn.functional.linear(flat, weight, bias).addmm_(middle, low_up.t(), alpha=scaling)
        ctx.save_for_backward(flat, weight, low_down, low_up, middle)
        ctx.scaling = scaling
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        flat, weight, down, up, middle = ctx.saved_tensors
        grad = grad_outputs[0].reshape(-1, weight.shape[0])
        grad_middle = (grad @ up).mul_(ctx.scaling)
        grad_up = (grad.t() @ middle).float().mul_(ctx.scaling)
        grad_down = (grad_middle.t() @ flat).float()
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight).addmm_(grad_middle, down).view(*grad_outputs[0].shape[:-1], -1)
        return grad_x, None, None, grad_down, grad_up, None


def _forward(self: LoraLayer, x: Tensor, *_: object, **__: object) -> Tensor:
    (name,) = self.active_adapters
    base = self.base_layer
    return _LoraProduct.apply(
        x, base.weight, base.bias, self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
    )


def speed_up(model: nn.Module) -> int:
    """Give every plain LoRA layer of ``model`` without dropout the short way; returns how many there are."""
    count = 0
    for layer in model.modules():
        if type(layer) is not LoraLayer or type(layer.base_layer) is not nn.Linear:
            continue
        if all(type(dropout) is nn.Identity for dropout in layer.lora_dropout.values()):
            layer.forward = MethodType(_forward, layer)
            count += 1
    return count
