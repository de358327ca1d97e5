"""The limit: how fast this machine multiplies matrices of the shapes that the model has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from xlbench.experiment import Precision
    from xlbench.students.shape import Shape


CPU_SIZES, CARD_SIZES = (1024, 2048), (4096, 8192, 16_384)  # of square matrices


class Rate(Frozen):
    """Matrix products of a whole layer, GFLOP/s."""

    best: float
    median: float


class Limit(Frozen):
    """Rates of the three products that a linear layer takes; the limit is the best forward one.

    Attributes:
        forward: x W'.
        inputs: The input's gradient, g W.
        weights: The weights' gradient, g' x: as many operations, in a shape for which libraries are slower.
    """

    forward: Rate
    inputs: Rate
    weights: Rate

    @property
    def gflops(self) -> float:
        """The limit, GFLOP/s."""
        return self.forward.best


class Peak(Frozen):
    """The highest rate of a device.

    Attributes:
        size: Rows and columns of the square matrices that it was reached with.
        tflops: TFLOP/s.
    """

    size: int
    tflops: float


@torch.inference_mode()
def measure_limit(
    shape: Shape, precision: Precision, tokens: int, *, device: str = "cpu", tries: int = 9, seconds: float = 0.03
) -> Limit:
    """Measure the rate of a layer's matrix products, four of H x H and two of H x I, weighted as the layer has them.

    Args:
        shape: The encoder's.
        precision: What is multiplied.
        tokens: Rows: real tokens in a batch.
        device: Where.
        tries: Measurements of each product.
        seconds: Shortest measurement: quick products are repeated.
    """
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    hidden, inner = shape.hidden, shape.intermediate
    sizes = ((hidden, hidden, 4), (hidden, inner, 1), (inner, hidden, 1))
    work = sum(2.0 * tokens * k * n * count for k, n, count in sizes)
    best = {"forward": 0.0, "inputs": 0.0, "weights": 0.0}
    middle = dict.fromkeys(best, 0.0)
    for k, n, count in sizes:
        x = torch.randn(tokens, k, dtype=kind, device=device)
        g = torch.randn(tokens, n, dtype=kind, device=device)
        w = torch.randn(n, k, dtype=kind, device=device)
        products = {"forward": (x, w.T), "inputs": (g, w), "weights": (g.T, x)}
        for name, (a, b) in products.items():
            taken = _seconds(lambda a=a, b=b: a @ b, device, tries, seconds)  # type: ignore[misc]
            best[name] += count * min(taken)
            middle[name] += count * sorted(taken)[len(taken) // 2]
    rates = {name: Rate(best=work / best[name] / 1e9, median=work / middle[name] / 1e9) for name in best}
    return Limit(**rates)


@torch.inference_mode()
def measure_peak(precision: Precision, *, device: str = "cpu", tries: int = 9, seconds: float = 0.03) -> Peak:
    """Measure the highest rate at which the device multiplies large square matrices: the limit of the card itself.

    Args:
        precision: What is multiplied.
        device: Where.
        tries: Measurements of each size.
        seconds: Shortest measurement: quick products are repeated.
    """
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    rates = {}
    for size in CPU_SIZES if device == "cpu" else CARD_SIZES:
        a, b = (torch.randn(size, size, dtype=kind, device=device) for _ in range(2))
        taken = _seconds(lambda a=a, b=b: a @ b, device, tries, seconds)  # type: ignore[misc]
        rates[size] = 2.0 * size**3 / min(taken) / 1e12
    size = max(rates, key=lambda it: rates[it])
    return Peak(size=size, tflops=rates[size])


def _seconds(product: Callable[[], torch.Tensor], device: str, tries: int, seconds: float) -> list[float]:
    """Return what one product took, try by try."""
    _timed(product, device, 1)
    count = max(1, int(seconds / max(1e-6, _timed(product, device, 1))))
    return [_timed(product, device, count) / count for _ in range(tries)]


def _timed(product: Callable[[], torch.Tensor], device: str, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        product()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - began
