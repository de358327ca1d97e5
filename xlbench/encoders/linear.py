"""Matrix products with gradients for training on a CPU: less copying and casting than ``nn.Linear`` under autocast."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from xlbench.encoders.packing import exchanged_kernels

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def training_kernels(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Run the linear maps of a model on a CPU through oneDNN with the bias fused in; undone on leaving.

    ``nn.Linear`` copies its bias into the result before it multiplies, and autocast casts every weight anew in each
    step and layer run. Here a weight is cast once after it has changed. The arithmetic is that of autocast: values
    and weights in ``dtype``, gradients of weights in the weights' own. Measured on two cores in bfloat16, with
    longer parts of a batch, training rose from 48 to 51 % of the rate of bare matrix products. Where torch lacks the
    operator, or off the CPU, nothing is changed.

    Args:
        model: What is trained.
        dtype: What the products are computed in.
    """
    steps = _Steps()
    # A fused optimiser changes weights without raising the version that tensors carry.
    hook = register_optimizer_step_post_hook(steps.count)
    try:
        with exchanged_kernels(model, lambda linear: _Forward(linear, dtype, steps)):
            yield
    finally:
        hook.remove()


class _Steps:
    """How often any optimiser has stepped."""

    def __init__(self) -> None:
        self.number = 0

    def count(self, *_: object) -> None:
        self.number += 1


class _Forward:
    """The forward pass of a linear map; keeps its weight and bias in the dtype of the products until they change."""

    def __init__(self, module: nn.Linear, dtype: torch.dtype, steps: _Steps) -> None:
        self.module = module
        self.dtype = dtype
        self.steps = steps
        self.versions: tuple[int, ...] = ()
        self.cast: tuple[torch.Tensor, torch.Tensor | None]

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        weight, bias = self.module.weight, self.module.bias
        tensors = [weight] if bias is None else [weight, bias]
        # What was cast in inference mode cannot be saved for a backward pass.
        state = (self.steps.number, int(torch.is_inference_mode_enabled()))
        versions = (*state, *(number for tensor in tensors for number in (tensor._version, tensor.data_ptr())))
        if versions != self.versions:
            self.versions = versions
            self.cast = (weight.detach().to(self.dtype), None if bias is None else bias.detach().to(self.dtype))
        product: torch.Tensor = _Product.apply(values, weight, bias, *self.cast)  # type: ignore[no-untyped-call]
        return product


class _Product(torch.autograd.Function):
    """y = x W^T + b; dx = dy W, dW = dy^T x, db = the sum of dy over the tokens."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        values: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        cast_weight: torch.Tensor,
        cast_bias: torch.Tensor | None,
    ) -> torch.Tensor:
        del weight, bias  # named only so that gradients reach them
        values = values.to(cast_weight.dtype)
        ctx.save_for_backward(values, cast_weight)
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(values, cast_weight, cast_bias, "none", [], "")
        return product

    @staticmethod
    def backward(
        ctx: torch.autograd.function.BackwardCFunction, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        values, weight = cast("tuple[torch.Tensor, torch.Tensor]", ctx.saved_tensors)
        wants_values, wants_weight, wants_bias, *_ = cast("tuple[bool, ...]", ctx.needs_input_grad)
        rows = gradient.reshape(-1, gradient.shape[-1])
        by_values = (rows @ weight).view(values.shape) if wants_values else None
        by_weight = (rows.T @ values.reshape(-1, values.shape[-1])).float() if wants_weight else None
        by_bias = rows.sum(0, dtype=torch.float32) if wants_bias else None
        return by_values, by_weight, by_bias, None, None
