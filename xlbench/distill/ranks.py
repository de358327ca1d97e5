"""Several processes that train a stage together, each on a device of its own.

The first one does everything else alone: data, targets, scoring, speed, the store, records. Meanwhile the others wait.
When it has all that a stage's training needs in the store, it calls them; each then trains with its share of every
batch (:class:`~xlbench.distill.batches.Share`). A call is a few names and paths in JSON. It goes through the key-value
store by which the processes met, and not through a collective: waiting for it may take hours, and uses no device.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.distributed as dist
from pydantic import ValidationError
from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]  # they are documented

from xlbench.distill.checkpoints import Checkpoint
from xlbench.distill.health import Evaluation
from xlbench.encoders.runtime import choose_device
from xlbench.errors import XlbenchError, first_line
from xlbench.fingerprint import Frozen, Json
from xlbench.launch import Launch, ask_before_telling, launched

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch._C._distributed_c10d import Store

    from xlbench.settings import Settings

# Between two collectives of a training lie at most an evaluation, a checkpoint or compiling.
COLLECTIVE = timedelta(hours=2)
EVERY = 0.05  # seconds between two looks for a call
FAREWELL = 5.0  # seconds that the first process stays for the others, whose store may be in it
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "gloo")


class Call(Frozen):
    """What the first process asks of the others.

    Attributes:
        stage: Name of the stage to train; empty: the work has ended.
        key: The stage's fingerprint.
        start: Directory of the encoder that training begins with.
        scratch: The stage's directory of checkpoints.
        checkpoint: The checkpoint to go on from; None: none.
        initial: The evaluation before training, where there is a checkpoint.
        result: What the whole work gave, when it has ended; None if it failed.
    """

    stage: str = ""
    key: str = ""
    start: str = ""
    scratch: str = ""
    checkpoint: str | None = None
    initial: Evaluation | None = None
    result: Json = None

    @classmethod
    def of(cls, stage: str, key: str, start: Path, scratch: Path, found: Checkpoint | None) -> Call:
        """Return the call to train a stage, from a checkpoint if there is one."""
        checkpoint, initial = (str(found.path), found.initial) if found else (None, None)
        return cls(stage=stage, key=key, start=str(start), scratch=str(scratch), checkpoint=checkpoint, initial=initial)

    def found(self) -> Checkpoint | None:
        """Return the checkpoint to go on from."""
        return Checkpoint(Path(self.checkpoint), self.initial) if self.checkpoint and self.initial else None


class EndedError(XlbenchError):
    """The first process has ended without a result; it says why."""


class Ranks:
    """This process and the others.

    Args:
        launch: This process's place.
        store: The key-value store by which they met.

    Attributes:
        launch: This process's place.
    """

    current: ClassVar[Ranks | None] = None

    def __init__(self, launch: Launch, store: Store) -> None:
        self.launch = launch
        self._store = store
        self._calls = 0

    def call(self, call: Call) -> None:
        """Ask the other processes for something."""
        self._store.set(f"call/{self._calls}", call.model_dump_json())
        self._calls += 1

    def wait(self) -> Call:
        """Return the next call, however long it takes.

        Raises:
            EndedError: The first process has ended.
        """
        key = f"call/{self._calls}"
        try:
            # In short turns, and not in one wait of the library, in which no signal would be heard.
            while not self._store.check([key]):
                time.sleep(EVERY)
            found = Call.model_validate_json(self._store.get(key))
        except (RuntimeError, ValidationError) as error:
            raise EndedError("The first process has ended.") from error
        self._calls += 1
        return found

    def end(self, result: Json) -> None:
        """Tell the others that the work has ended, and stay until they have heard it."""
        with suppress(RuntimeError):
            self.call(Call(result=result))
            until = time.monotonic() + FAREWELL
            while self._store.add("heard", 0) < self.launch.processes - 1 and time.monotonic() < until:
                time.sleep(EVERY)

    def hear(self) -> None:
        """Tell the first process that this one needs it no more."""
        with suppress(RuntimeError):
            self._store.add("heard", 1)

    def gather(self, own: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
        """Return the rows of all processes, in their order; only this one's carry gradients.

        Args:
            own: This process's, float [rows, columns].
            sizes: How many rows each process has.
        """
        rows = own.detach()
        padded = rows.new_zeros(max(sizes), rows.shape[1])
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(found, padded)
        each = [part[:size] for part, size in zip(found, sizes, strict=True)]
        each[self.launch.rank] = own
        return torch.cat(each)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes, without gradients, on the device of ``values``."""
        device = torch.device("cuda") if dist.get_backend() == "nccl" else values.device
        total = values.detach().to(device, copy=True).contiguous()
        dist.all_reduce(total)
        return total.to(values.device)

    def refuse_small(self, stage: str, batch_size: int) -> None:
        """Refuse a batch of which some process would have no pair.

        Raises:
            XlbenchError: It has fewer pairs than there are processes.
        """
        if batch_size < self.launch.processes:
            raise XlbenchError(
                f"Stage '{stage}' has batches of {batch_size} pairs, too few for {self.launch.processes} processes.",
                f"Start at most {batch_size}, or give -o batch_size=... more.",
            )

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.sum(torch.zeros(1))

    def spread(self, loss: torch.Tensor) -> torch.Tensor:
        """Return a loss with the same value and as many times its gradient as there are processes.

        Each process has the gradient of the whole batch's loss with respect to its own sentences only. These add up to
        the gradient of one process, and DistributedDataParallel takes their mean.
        """
        return loss + (self.launch.processes - 1) * (loss - loss.detach())


@contextmanager
def joined(settings: Settings) -> Iterator[Ranks | None]:
    """Meet the other processes of a launch, and part from them in the end; None for a process that was started alone.

    Raises:
        XlbenchError: There are not as many devices as processes, or another process has ended.
    """
    launch = launched()
    if launch is None:
        yield None
        return
    meet()
    store = PrefixStore(f"xlbench/{next(_meetings)}", _store(launch))
    Ranks.current = ranks = Ranks(launch, store)
    try:
        backend = _backend(launch, choose_device(settings))
        dist.init_process_group(
            backend, store=PrefixStore("group", store), rank=launch.rank, world_size=launch.processes,
            timeout=COLLECTIVE,
        )  # fmt: skip
        yield ranks
    except BaseException as error:
        _claim(launch)  # before the others find this one gone
        _part(failed=True)
        if launch.rank == 0:
            ranks.end(None)
        if isinstance(error, RuntimeError) and any(sign in str(error) for sign in LOST):
            raise XlbenchError(
                f"One of the {launch.processes} processes that train together has ended.",
                "If it said why, it stands above. The same command goes on from the last checkpoint.",
            ) from error
        raise
    else:
        _part(failed=False)
    finally:
        Ranks.current = None
        if launch.rank:
            ranks.hear()


_meetings = count()  # of this process: later ones must not read what earlier ones have left


def meet() -> None:
    """Meet the other processes of a launch, so that of those that find an error one tells it.

    Raises:
        XlbenchError: They cannot be reached.
    """
    if (launch := launched()) is not None:
        _store(launch)
        ask_before_telling(partial(_claim, launch))


@cache
def _store(launch: Launch) -> Store:
    """Return the key-value store of the launch, which may be in the first process and lasts as long as it.

    Raises:
        XlbenchError: It cannot be reached.
    """
    try:
        store: Store = next(rendezvous("env://", launch.rank, launch.processes))[0]
    except RuntimeError as error:
        place = ":".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise XlbenchError(
            f"The {launch.processes} processes cannot meet at {place}: {first_line(error)}",
            "Give torchrun another --master-port, and see that nothing keeps the processes apart.",
        ) from error
    return store


def _claim(launch: Launch) -> bool:
    """Return whether this process is the first one that tells why the work ends; to that one it stays True."""
    own = str(launch.rank)
    try:
        return bool(_store(launch).compare_set("xlbench/told", "", own) == own.encode())
    except RuntimeError:  # the store is gone, and with it the first process, which has told, or was killed
        return launch.rank == 0


def _part(*, failed: bool) -> None:
    """Leave the group of processes, so that none waits for this one."""
    # NCCL might wait for what never comes; when the process ends, its connections end as well.
    if dist.is_initialized() and not (failed and dist.get_backend() == "nccl"):
        with suppress(RuntimeError):
            dist.destroy_process_group()


def _backend(launch: Launch, device: str) -> str:
    """Return how the processes exchange tensors, and give this one its GPU.

    Raises:
        XlbenchError: There are fewer GPUs than processes, or only one device of the kind.
    """
    if device == "cpu":
        return "gloo"
    found = torch.cuda.device_count() if device == "cuda" else 1
    if launch.local_processes > found:
        raise XlbenchError(
            f"{launch.local_processes} processes were started on a machine with {found} of '{device}'.",
            f"Start {found}, one for each, or give --device cpu.",
        )
    torch.cuda.set_device(launch.local_rank)
    return "nccl"


def together() -> Ranks | None:
    """Return the processes that train together now; None if this one trains alone.

    Raises:
        XlbenchError: Several were started for work that is not shared.
    """
    if Ranks.current is None and launched() is not None:
        raise XlbenchError(
            "Several processes were started, and only `xlbench run` divides its training among them.",
            "Start this without torchrun and accelerate launch.",
        )
    return Ranks.current
