"""Building an encoder that its directory's files can fill: settings that describe a far larger one are refused early.

Otherwise a wrong number in config.json is found only when the encoder has been built, which may take all of the memory.
Whatever the architecture and the setting, each of its tensors is counted when it is built.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from torch import nn

# How much more than its files hold is registered while an encoder is loaded. The parts of a student are built after
# those that they replace, and each tensor is registered once more when it is loaded. What is left of a wrong setting is
# small enough to be built, and is then refused by the name of a tensor.
# A table that a student's narrow one replaces is built as well, on no device and so without memory.
TENSORS_TIMES, NUMBERS_TIMES, ONE_TIMES = 8, 4, 64
TENSORS, NUMBERS = 200, 1 << 24


@contextmanager
def bounded_building(path: Path, files: Iterable[Path]) -> Iterator[None]:
    """Refuse to build far more tensors, or far larger ones, than files of weights hold, before memory is filled.

    Args:
        path: The model directory, for errors.
        files: Its files; those of weights are whole.

    Raises:
        XlbenchError: The encoder that is being built in this context is far larger than its weights.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    held = [_held(file) for file in files if file.suffix == ".safetensors"]
    tensors, numbers = sum(count for count, _ in held), sum(size for _, size in held)
    most_tensors, most_numbers = TENSORS_TIMES * tensors + TENSORS, NUMBERS_TIMES * numbers + NUMBERS
    own = threading.get_ident()
    found = {"tensors": 0, "numbers": 0}

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        if threading.get_ident() != own:  # another thread may build something else
            return
        found["tensors"] += 1
        if not parameter.is_meta:  # that one takes no memory
            found["numbers"] += parameter.numel()
        if found["tensors"] > most_tensors:
            problem = f"hold {tensors:,} tensors, but its settings describe an encoder of over {most_tensors:,}"
        elif found["numbers"] > most_numbers or parameter.numel() > ONE_TIMES * numbers + NUMBERS:
            shape = list(parameter.shape)
            problem = f"hold {numbers:,} numbers, but its settings describe far more, in tensors of shape {shape}"
        else:
            return
        raise XlbenchError(
            f"The weights in '{path}' {problem}.",
            "The numbers in config.json (num_hidden_layers, sizes) must be those of the weights: save or fetch both"
            " again.",
        )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _held(file: Path) -> tuple[int, int]:
    """Return how many tensors a safetensors file holds, and how many numbers; reads its header alone."""
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        sizes = [prod(opened.get_slice(name).get_shape()) for name in opened.keys()]  # noqa: SIM118 - no mapping
    return len(sizes), sum(sizes)
