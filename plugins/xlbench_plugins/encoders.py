"""The built-in encoders: the starter kit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.api import hookimpl, starter_encoders

if TYPE_CHECKING:
    from xlbench.api import EncoderSource


@hookimpl
def xlbench_encoders() -> tuple[EncoderSource, ...]:
    """Bring the starter teacher and assistant."""
    return starter_encoders()
