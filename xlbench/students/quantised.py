"""Matrices quantised to 8 bits: integers from -127 to 127 and one scale per row, a quarter of float32's bytes.

The scheme is symmetric and per row, of weights only (Jacob et al., CVPR 2018, section 2.1, with zero-point 0): nothing
is computed in integers. Embedding tables stay quantised in memory and return the rows that are looked up as floats;
linear maps are turned into float ones once, when a student is loaded, so that they run at full speed.
"""

from __future__ import annotations

import torch
from torch import nn

from xlbench.errors import XlbenchError

LARGEST = 127


class QuantisedMatrix(nn.Module):
    """A matrix W of R rows and C columns, W[r, c] = scale[r] x steps[r, c].

    Attributes:
        steps: int8 [R, C]. A buffer and not a parameter, since transformers takes the dtype of a model's first
            parameter for the dtype of the model.
        scale: Size of one step in each row, float16 [R, 1].
        like: An empty tensor that is not saved. Its dtype is the one that the model computes in, because
            ``model.to(dtype)`` casts it together with the other floats.
    """

    steps: torch.Tensor
    scale: torch.Tensor
    like: torch.Tensor

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(rows, columns, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(rows, 1, dtype=torch.float16))
        self.register_buffer("like", torch.empty(0), persistent=False)

    def quantise(self, matrix: torch.Tensor) -> None:
        """Set this matrix to the nearest one to a float matrix, [R, C].

        The largest value of a row becomes step 127 or -127; every value moves by at most half a step.

        Raises:
            XlbenchError: The matrix has a value that is not finite, or beyond 127 x 65,504 (float16's largest number).
        """
        scale = (matrix.float().abs().amax(dim=1, keepdim=True) / LARGEST).half()
        if not torch.isfinite(scale).all():
            raise XlbenchError("A weight is too large to be stored in 8 bits.", "Store the student in 32 bits.")
        # The scale is 0 for a row of zeros, and for one whose values float16 rounds to zero.
        self.scale = torch.where(scale == 0, 1, scale)
        self.steps = (matrix.float() / self.scale.float()).round().clamp(-LARGEST, LARGEST).to(torch.int8)

    @property
    def weight(self) -> torch.Tensor:
        """The matrix as floats, [R, C], computed at each call."""
        return self._dequantise(self.steps, self.scale)

    def _dequantise(self, steps: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return (steps.float() * scale.float()).to(self.like.dtype)


class QuantisedEmbedding(QuantisedMatrix):
    """A table of R vectors of width C, in the place of an ``nn.Embedding``."""

    @property
    def num_embeddings(self) -> int:
        """Rows R."""
        return len(self.steps)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the rows, float [..., C], of ids, int [...]."""
        return self._dequantise(self.steps[ids], self.scale[ids])


class QuantisedLinear(QuantisedMatrix):
    """The stored form of a linear map with C inputs and R outputs; its bias is not quantised."""

    def __init__(self, rows: int, columns: int, bias: nn.Parameter | None) -> None:
        super().__init__(rows, columns)
        self.bias = bias

    def dequantise(self) -> nn.Linear:
        """Return the linear map as a float module."""
        rows, columns = self.steps.shape
        linear = nn.Linear(columns, rows, bias=self.bias is not None, device="meta")
        linear.weight = nn.Parameter(self.weight)
        if self.bias is not None:
            linear.bias = nn.Parameter(self.bias.detach().to(self.like.dtype))
        return linear


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters that a module stores.

    Shared ones count once, frozen and quantised ones count, the scales of quantised matrices do not.
    """
    quantised = sum(part.steps.numel() for part in module.modules() if isinstance(part, QuantisedMatrix))
    return quantised + sum(parameter.numel() for parameter in module.parameters())


def replace_matrices(encoder: nn.Module) -> None:
    """Replace every embedding table and linear map by a quantised one that holds no weights yet, for loading."""
    for name, _, quantised in _quantised_parts(encoder):
        encoder.set_submodule(name, quantised)


def quantise_matrices(encoder: nn.Module) -> None:
    """Quantise every embedding table and linear map of an encoder in place; those that are quantised already stay.

    Raises:
        XlbenchError: A weight is too large.
    """
    for name, original, quantised in _quantised_parts(encoder):
        quantised.quantise(original.weight.detach())
        quantised.like = quantised.like.to(original.weight.dtype)
        encoder.set_submodule(name, quantised)


def dequantise_linear_maps(encoder: nn.Module) -> None:
    """Replace the quantised linear maps of an encoder by float ones, which run at full speed."""
    for name, part in list(encoder.named_modules()):
        if isinstance(part, QuantisedLinear):
            encoder.set_submodule(name, part.dequantise())


def _quantised_parts(
    encoder: nn.Module,
) -> list[tuple[str, nn.Linear | nn.Embedding, QuantisedEmbedding | QuantisedLinear]]:
    """Return the name of every table and linear map, the module itself and an empty quantised one of its size."""
    parts: list[tuple[str, nn.Linear | nn.Embedding, QuantisedEmbedding | QuantisedLinear]] = []
    for name, part in encoder.named_modules():
        if type(part) is nn.Linear:
            rows, columns = part.weight.shape
            parts.append((name, part, QuantisedLinear(rows, columns, part.bias)))
        elif type(part) is nn.Embedding:
            parts.append((name, part, QuantisedEmbedding(*part.weight.shape)))
    return parts
