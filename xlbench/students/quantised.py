"""Matrices quantised to 8 bits: integers from -127 to 127 and one scale per row, a quarter of float32's bytes.

The scheme is symmetric and per row, of weights only (Jacob et al., CVPR 2018, section 2.1, with zero-point 0): nothing
is computed in integers. Embedding tables stay quantised in memory and return the rows that are looked up as floats;
linear maps are turned into float ones once, when a student is loaded, so that they run at full speed. The modules are
in :mod:`xlbench.students.modeling_xlbench`, of which saved students carry a copy.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError
from xlbench.students import modeling_xlbench
from xlbench.students.modeling_xlbench import (
    QuantisedEmbedding,
    QuantisedLinear,
    QuantisedMatrix,
    dequantise_linear_maps,
    replace_matrices,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

__all__ = [
    "QuantisedEmbedding",
    "QuantisedLinear",
    "QuantisedMatrix",
    "count_parameters",
    "dequantise_linear_maps",
    "overflow_refused",
    "quantise_matrices",
    "replace_matrices",
]


@contextmanager
def overflow_refused() -> Iterator[None]:
    """Turn what a weight that 8 bits cannot hold raises into an error with a remedy.

    Raises:
        XlbenchError: A weight is too large.
    """
    try:
        yield
    except OverflowError as error:
        raise XlbenchError(str(error), "Store the student in 32 bits.") from error


def quantise_matrices(encoder: nn.Module) -> None:
    """Quantise every embedding table and linear map of an encoder in place; those that are quantised already stay.

    Raises:
        XlbenchError: A weight is too large.
    """
    with overflow_refused():
        modeling_xlbench.quantise_matrices(encoder)


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters that a module stores.

    Shared ones count once, frozen and quantised ones count, the scales of quantised matrices do not.
    """
    quantised = sum(part.steps.numel() for part in module.modules() if isinstance(part, QuantisedMatrix))
    return quantised + sum(parameter.numel() for parameter in module.parameters())
