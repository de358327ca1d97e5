"""What ``import xlbench`` says of a store and of what runs with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from xlbench.arguments import Where, place_of, refuse_unknown

if TYPE_CHECKING:
    from xlbench.inventory import Store
    from xlbench.runs.status import Status


def open_store(**where: Unpack[Where]) -> Store:
    """Open the store: what it holds and who needs it; to verify, prune, export to a file and import from one.

    Args:
        where: As :class:`Where` says.
    """
    from xlbench.inventory import Store

    refuse_unknown(open_store, where)
    return Store(place_of(where))


def status(**where: Unpack[Where]) -> list[Status]:
    """Return what runs with a store just now, on this machine or another: stage, loss, steps, time left.

    Args:
        where: As :class:`Where` says.
    """
    from xlbench.runs.status import read_status

    refuse_unknown(status, where)
    return read_status(place_of(where).home)
