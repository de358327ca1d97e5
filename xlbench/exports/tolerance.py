"""Which linear maps cannot bear integers: those that give something else, on sentences of the corpus."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from xlbench.encoders.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sentence_transformers import SentenceTransformer

    Rounded = Callable[[torch.Tensor], torch.Tensor]

MOST = 0.1
"""Root mean square of what integers change in the outputs of a map, as a share of the outputs' own, above which it is
computed in floats. Of values from a normal distribution they change 0.013."""


def intolerant_maps(
    model: SentenceTransformer,
    maps: Mapping[str, nn.Linear],
    sentences: Sequence[str],
    inputs: Rounded,
    weights: Rounded,
) -> frozenset[str]:
    """Return the names of the maps that must stay in floats.

    Args:
        model: The encoder.
        maps: Its linear maps by name; one that runs several times must bear each.
        sentences: Of its languages.
        inputs: Rounds activations, float [..., inputs], as the export does.
        weights: Rounds a matrix, float [outputs, inputs], as the export does.
    """
    found: set[str] = set()

    def compare(name: str, rounded: torch.Tensor, module: nn.Linear, given: tuple[torch.Tensor], out: object) -> None:
        exact = given[0] @ module.weight.T
        change = inputs(given[0]) @ rounded.T - exact
        # Not `>`: whatever is not finite stays in floats too.
        if not change.square().mean() <= MOST**2 * exact.square().mean():
            found.add(name)

    with ExitStack() as undo, torch.inference_mode():
        for name, linear in maps.items():
            hook = linear.register_forward_hook(partial(compare, name, weights(linear.weight.detach())))
            undo.callback(hook.remove)
        # Packed kernels replace `forward`, which hooks are called around all the same.
        encode(model, sentences)
    return frozenset(found)
