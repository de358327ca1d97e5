"""How many tokens an encoder takes at once: measured on a GPU, and halved wherever its memory does not hold them.

Neither changes a vector by more than rounding. What is found holds for the process, per device and shape of encoder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import torch

from xlbench.errors import XlbenchError
from xlbench.progress import note_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

T = TypeVar("T")

BUDGETS = (524_288, 262_144, 131_072, 65_536, 32_768, 16_384)  # padded tokens that are tried, the most first
ALIKE = 0.97  # of the highest rate: more tokens at once are taken if they are no slower than this
ENOUGH = 4096  # sentences that are worth measuring for, which takes about as long as encoding some thousand of them


@dataclass(eq=False)
class Room:
    """What a device takes at once of encoders of one shape, as far as it is known.

    Attributes:
        device: The device's name.
        most: The most padded tokens that may fit.
        fastest: The padded tokens of a batch that were measured as the best; None: not measured.
    """

    device: str
    most: float = math.inf
    fastest: int | None = None

    def shrink(self, tokens: int) -> None:
        """Remember that so many padded tokens do not fit, and say so, once for each device and number."""
        self.most = min(self.most, tokens // 2)
        note_once(
            f"the memory of {self.device} does not hold {tokens:,} tokens at once: encoding {self.most:,.0f}",
            quiet=False,
        )

    def measured(self, run: Callable[[int], object]) -> int:
        """Return the padded tokens of a batch with which encoding is fastest, of equally fast ones the most.

        Args:
            run: Encodes a batch of so many padded tokens and waits for the vectors.
        """
        if self.fastest is None:
            rates = {budget: rate for budget in BUDGETS if (rate := _rate(run, budget))}
            best = max(rates.values(), default=0.0)
            self.fastest = next((it for it, rate in rates.items() if rate >= ALIKE * best), BUDGETS[-1])
        return self.fastest


_rooms: dict[tuple[object, ...], Room] = {}


def room_of(model: SentenceTransformer, *settings: str) -> Room:
    """Return what is known of an encoder's device.

    Args:
        model: The encoder, on its device.
        settings: What else decides how much memory a batch takes: precision, level.
    """
    device = model.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    shapes = tuple(tuple(weight.shape) for weight in model.parameters())
    return _rooms.setdefault((str(device), hash(shapes), *settings), Room(name))


def fitted(
    batches: Iterable[NDArray[np.intp]],
    lengths: NDArray[np.integer],
    room: Room,
    run: Callable[[NDArray[np.intp]], T],
) -> Iterator[tuple[NDArray[np.intp], T]]:
    """Run batches, in halves where a batch does not fit into the memory.

    Args:
        batches: The positions of the sentences of each batch.
        lengths: Number of tokens of each sentence.
        room: What fits, as far as it is known.
        run: Encodes the sentences at some positions.

    Yields:
        Positions, and what ``run`` gave for them.

    Raises:
        XlbenchError: The memory does not hold a single sentence.
    """
    waiting = list(batches)[::-1]
    while waiting:
        positions = waiting.pop()
        tokens = len(positions) * max(1, int(lengths[positions].max()))
        if len(positions) > 1 and tokens > room.most:
            half = (len(positions) + 1) // 2
            waiting += [positions[half:], positions[:half]]
            continue
        try:
            found = run(positions)
        except torch.OutOfMemoryError as error:
            if len(positions) == 1:
                raise XlbenchError(
                    f"The memory of {room.device} does not hold the encoder and one sentence of {tokens:,} tokens.",
                    "End what else uses it, or give --device cpu.",
                ) from error
            room.shrink(tokens)
            waiting.append(positions)
        else:
            yield positions, found
            continue
        torch.cuda.empty_cache()  # after the error is gone, which holds on to tensors


def _rate(run: Callable[[int], object], tokens: int) -> float:
    """Return tokens a second; 0 where they do not fit."""
    try:
        run(tokens)  # the first time, memory is allocated and kernels are chosen
        began = perf_counter()
        run(tokens)
    except torch.OutOfMemoryError:
        rate = 0.0
    else:
        rate = tokens / max(1e-9, perf_counter() - began)
    torch.cuda.empty_cache()
    return rate
