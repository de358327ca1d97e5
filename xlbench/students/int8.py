"""Matrices as whole numbers from -127 to 127, with the size of a step for each row: a quarter of float32's bytes.

Source: Jacob et al. (CVPR 2018), symmetric and per row, of weights only: nothing is computed in integers. Tables stay
as they are stored, and give the rows that are asked for as float32; a map is made float32 once, when it is loaded.
"""

from __future__ import annotations

import torch
from torch import nn

from xlbench.errors import XlbenchError

LARGEST = 127


class Int8Matrix(nn.Module):
    """A matrix of R rows and C columns.

    Attributes:
        steps: int8 [R, C]. A buffer, as whoever asks an encoder for its type looks at its first parameter.
        scale: The size of a row's step, float16 [R, 1].
        like: Empty, and not saved: of the type that the encoder computes in, whenever that is changed.
    """

    steps: torch.Tensor
    scale: torch.Tensor
    like: torch.Tensor

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(rows, columns, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(rows, 1, dtype=torch.float16))
        self.register_buffer("like", torch.empty(0), persistent=False)

    def take(self, matrix: torch.Tensor) -> None:
        """Round a float matrix, [R, C], to it: by half a step at the most, and a row's largest value to step 127.

        Raises:
            XlbenchError: It has a number that is not finite, or beyond 127 x 65,504.
        """
        scale = (matrix.float().abs().amax(dim=1, keepdim=True) / LARGEST).half()
        if not torch.isfinite(scale).all():
            raise XlbenchError("A weight is too large to be stored in 8 bits.", "Store the student in 32.")
        self.scale = torch.where(scale == 0, 1, scale)  # a row of zeros, or of less than float16 knows
        self.steps = (matrix.float() / self.scale.float()).round().clamp(-LARGEST, LARGEST).to(torch.int8)

    @property
    def weight(self) -> torch.Tensor:
        """The matrix, float [R, C], computed anew at each call."""
        return self._floats(self.steps, self.scale)

    def _floats(self, steps: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return (steps.float() * scale.float()).to(self.like.dtype)


class Int8Embedding(Int8Matrix):
    """A table of R vectors of width C, in the place of an ``nn.Embedding``."""

    @property
    def num_embeddings(self) -> int:
        """Rows R."""
        return len(self.steps)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return rows, float [..., C], by their numbers, [...]."""
        return self._floats(self.steps[ids], self.scale[ids])


class Int8Linear(Int8Matrix):
    """A linear map as it is stored: R outputs, C inputs, and its bias as it was."""

    def __init__(self, rows: int, columns: int, bias: nn.Parameter | None) -> None:
        super().__init__(rows, columns)
        self.bias = bias

    def linear(self) -> nn.Linear:
        """Return the map that it stands for."""
        rows, columns = self.steps.shape
        made = nn.Linear(columns, rows, bias=self.bias is not None, device="meta")
        made.weight = nn.Parameter(self.weight)
        if self.bias is not None:
            made.bias = nn.Parameter(self.bias.detach().to(self.like.dtype))
        return made


def count(module: nn.Module) -> int:
    """Return how many parameters a module stores: shared ones once, frozen and int8 ones too, scales not."""
    packed = sum(part.steps.numel() for part in module.modules() if isinstance(part, Int8Matrix))
    return packed + sum(parameter.numel() for parameter in module.parameters())


def empty_int8(encoder: nn.Module) -> None:
    """Put int8 parts, without weights, in the place of every table and linear map of an encoder."""
    for name, _, new in _parts(encoder):
        encoder.set_submodule(name, new)


def pack_int8(encoder: nn.Module) -> None:
    """Round every table and linear map of an encoder to int8, in place; those that are it already stay.

    Raises:
        XlbenchError: A weight is too large.
    """
    for name, old, new in _parts(encoder):
        new.take(old.weight.detach())
        new.like = new.like.to(old.weight.dtype)
        encoder.set_submodule(name, new)


def unpack_maps(encoder: nn.Module) -> None:
    """Put float maps in the place of an encoder's int8 ones, so that they are computed as fast as any."""
    for name, part in list(encoder.named_modules()):
        if isinstance(part, Int8Linear):
            encoder.set_submodule(name, part.linear())


def _parts(encoder: nn.Module) -> list[tuple[str, nn.Linear | nn.Embedding, Int8Embedding | Int8Linear]]:
    found: list[tuple[str, nn.Linear | nn.Embedding, Int8Embedding | Int8Linear]] = []
    for name, part in encoder.named_modules():
        if type(part) is nn.Linear:
            rows, columns = part.weight.shape
            found.append((name, part, Int8Linear(rows, columns, part.bias)))
        elif type(part) is nn.Embedding:
            found.append((name, part, Int8Embedding(*part.weight.shape)))
    return found
