"""Linear kernels for encoding on a CPU, with weights packed in advance into the order in which oneDNN reads them."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Forward: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"

ROWS = 1024  # tokens of a batch of :func:`xlbench.encoders.encode.encode`, which the packing is optimised for


@contextmanager
def packed_kernels(transformer: nn.Module) -> Iterator[None]:
    """Run the linear layers of a model through oneDNN's packed kernels, without gradients; undone on leaving.

    ``nn.Linear`` copies the bias into the result first and has oneDNN reorder the weights in every call. These kernels,
    which ``torch.compile`` uses for frozen CPU models, do neither, and need no minute of compiling. Measured on two
    cores in bfloat16, a whole encoder is 1.15 times as fast. If torch lacks the operators, or the model is not on the
    CPU, nothing is changed.

    Args:
        transformer: Its weights must not change meanwhile.
    """
    with exchanged_kernels(transformer, _packed_forward):
        yield


@contextmanager
def exchanged_kernels(model: nn.Module, forward_of: Callable[[nn.Linear], Forward | None]) -> Iterator[None]:
    """Replace the forward pass of a model's linear layers on a CPU; undone on leaving.

    Nothing is changed if torch lacks oneDNN's operators. A layer whose forward pass is already replaced keeps it.

    Args:
        model: Has the linear layers.
        forward_of: Returns the new forward pass of a layer; None leaves the layer as it is.
    """
    changed: list[nn.Linear] = []
    try:
        if is_available():
            for module in model.modules():
                if type(module) is nn.Linear and module.weight.device.type == "cpu" and "forward" not in vars(module):
                    forward = forward_of(module)
                    if forward is not None:
                        module.__dict__["forward"] = forward  # takes precedence over the method of the class
                        changed.append(module)
        yield
    finally:
        for module in changed:
            del module.__dict__["forward"]


def is_available() -> bool:
    """Return whether this torch has the operators; they are not part of its public interface."""
    operators = ("_reorder_linear_weight", "_linear_pointwise")
    return bool(torch._C._has_mkldnn) and all(hasattr(torch.ops.mkldnn, name) for name in operators)


def _packed_forward(module: nn.Linear) -> Forward | None:
    if module.weight.dtype == torch.float16:  # few CPUs have instructions for it
        return None
    with torch.no_grad():
        weight = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), ROWS)
    bias = None if module.bias is None else module.bias.detach()
    return partial(_apply_packed, weight, bias, module.weight.dtype)


def _apply_packed(
    weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype, values: torch.Tensor
) -> torch.Tensor:
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(values.to(dtype), weight, bias, "none", [], "")
    return result
