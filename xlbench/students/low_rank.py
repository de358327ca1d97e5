"""Low-rank linear maps: each linear map of an encoder's layers replaced by a product of two narrow ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from xlbench.students.modeling_xlbench import LowRankLinear, empty_low_rank, linear_maps, replace_linear_maps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

__all__ = ["LowRankLinear", "factorise_linear_maps", "linear_maps", "replace_linear_maps"]

RIDGE = 1e-3
"""Added to the diagonal of an input's second moment, as a share of its mean: directions that the sample lacks must not
be free to change."""


def factorise_linear_maps(layers: nn.Module, share: float, moments: Mapping[str, torch.Tensor]) -> None:
    """Replace every linear map by the low-rank map that changes its outputs least on its own inputs.

    Of all W' of rank r, the one with the least mean |W x - W' x|^2 over inputs x with second moment C = L L' (Cholesky)
    is U_r S_r V_r' L^-1, where U S V' = W L is the singular value decomposition. This is Eckart & Young (1936) on
    whitened inputs, as in SVD-LLM (Wang et al., ICLR 2025). Each factor gets the square roots of the singular values.

    Args:
        layers: Changed in place.
        share: Share of a map's parameters that its factors keep.
        moments: Second moment of the inputs of each map by its name, the sum or the mean of x x', float64 [I, I].
    """
    for name, linear in linear_maps(layers).items():
        low_rank = empty_low_rank(linear, share)
        moment = moments[name]
        moment = moment / moment.diagonal().mean()
        root = torch.linalg.cholesky(moment + RIDGE * torch.eye(len(moment), dtype=moment.dtype))
        rank = low_rank.down.out_features
        left, values, right = torch.linalg.svd(linear.weight.detach().to(moment.dtype) @ root, full_matrices=False)
        # The sign of a singular vector is arbitrary; it is fixed so that the result is the same on every machine.
        signs = left.gather(0, left.abs().argmax(0, keepdim=True)).sign()[0]
        scale = values[:rank].sqrt()
        down = torch.linalg.solve_triangular(root, right[:rank], upper=False, left=False)
        with torch.no_grad():
            low_rank.up.weight.copy_(left[:, :rank] * (signs[:rank] * scale))
            low_rank.down.weight.copy_(down * (signs[:rank] * scale).unsqueeze(1))
            if linear.bias is not None:
                low_rank.up.bias.copy_(linear.bias)
        layers.set_submodule(name, low_rank)
