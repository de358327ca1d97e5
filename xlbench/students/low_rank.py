"""Linear maps of an encoder's layers as products of two narrow ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from xlbench.students.shape import rank_of

if TYPE_CHECKING:
    from collections.abc import Mapping

RIDGE = 1e-3  # of the mean square of an input's columns: no direction costs nothing, whatever a sample lacks


class LowRankLinear(nn.Module):
    """y = U D x + b with D r x I and U O x r, in the place of y = W x + b.

    Args:
        inputs: Columns I.
        outputs: Rows O.
        rank: Width r in between.
        bias: Whether there is a b.
    """

    def __init__(self, inputs: int, outputs: int, rank: int, *, bias: bool) -> None:
        super().__init__()
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=bias)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return [..., O] for [..., I]."""
        mapped: torch.Tensor = self.up(self.down(values))
        return mapped


def linear_maps(layers: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear maps of an encoder's layers that have not been factorised, by name."""
    return {name: module for name, module in layers.named_modules() if type(module) is nn.Linear}


def exchange_maps(layers: nn.Module, share: float) -> None:
    """Put low-rank maps, without trained weights, into layers; sizes as in :func:`rank_of`."""
    for name, old in linear_maps(layers).items():
        layers.set_submodule(name, _narrow(old, share))


def factorise_maps(layers: nn.Module, share: float, moments: Mapping[str, torch.Tensor]) -> None:
    """Exchange every linear map for the nearest one of low rank, as its own inputs see it.

    Of all W' of rank r the one with the least mean |W x - W' x|^2 over inputs x with the second moment C = L L' is
    U_r S_r V_r' L^-1, from the singular value decomposition W L = U S V' (Eckart & Young, 1936, on whitened inputs, as
    in SVD-LLM: Wang et al., ICLR 2025). The singular values are shared evenly between the two factors.

    Args:
        layers: Changed in place.
        share: Of a map's parameters that its factors have.
        moments: For each map its inputs' second moment, the sum or mean of x x', float64 [I, I].
    """
    for name, old in linear_maps(layers).items():
        new = _narrow(old, share)
        moment = moments[name]
        moment = moment / moment.diagonal().mean()
        root = torch.linalg.cholesky(moment + RIDGE * torch.eye(len(moment), dtype=moment.dtype))
        rank = new.down.out_features
        left, values, right = torch.linalg.svd(old.weight.detach().to(moment.dtype) @ root, full_matrices=False)
        # The sign of a singular vector is arbitrary, fixed here for determinism.
        signs = left.gather(0, left.abs().argmax(0, keepdim=True)).sign()[0]
        scale = values[:rank].sqrt()
        down = torch.linalg.solve_triangular(root, right[:rank], upper=False, left=False)
        with torch.no_grad():
            new.up.weight.copy_(left[:, :rank] * (signs[:rank] * scale))
            new.down.weight.copy_(down * (signs[:rank] * scale).unsqueeze(1))
            if old.bias is not None:
                new.up.bias.copy_(old.bias)
        layers.set_submodule(name, new)


def _narrow(old: nn.Linear, share: float) -> LowRankLinear:
    rank = rank_of(old.in_features, old.out_features, share)
    return LowRankLinear(old.in_features, old.out_features, rank, bias=old.bias is not None)
