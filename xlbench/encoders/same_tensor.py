"""Tensors that a file holds twice: under two names, old and new, that transformers maps to the same weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from transformers import PreTrainedModel

# Names of TensorFlow's time, as transformers renames them (transformers.conversion_mapping, 'legacy').
OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def refuse_two_of_one(model: PreTrainedModel, held: Mapping[Path, Iterable[str]], where: str) -> None:
    """Refuse weights that give a tensor of an encoder twice: which of the two it would get is chance.

    Args:
        model: The encoder.
        held: The names in each file of its weights.
        where: Begins the error: "The weights in '...'".

    Raises:
        XlbenchError: Names both.
    """
    known = frozenset(model.state_dict())
    seen: dict[str, str] = {}
    for file, names in held.items():
        for name in names:
            weight = _weight_of(name, model.base_model_prefix)
            given = f"{name} ({file.name})" if len(held) > 1 else name
            if weight in seen and weight in known:
                raise two_of_one(where, *sorted((seen[weight], given)))
            seen[weight] = given


def _weight_of(name: str, prefix: str) -> str:
    """Return the name that a stored tensor has in the encoder."""
    for old, new in OLD.items():
        if name.endswith(old):
            name = f"{name.removesuffix(old)}{new}"
    return name.removeprefix(f"{prefix}.") if prefix else name


def two_of_one(where: str, first: str, second: str) -> XlbenchError:
    """Return the error that names the two tensors of one weight."""
    return XlbenchError(
        f"{where} hold '{first}' and '{second}', which are the same tensor of the encoder.",
        "Leave out the one that is not meant: save the encoder again with save_pretrained.",
    )
