"""What this process needs before it loads any encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xlbench.settings import Settings


def prepare_process(settings: Settings) -> None:
    """Set threads and memory, and teach transformers the students, so that one may be an encoder like any other."""
    from xlbench.encoders.runtime import apply_threads, choose_device, explain_compile, keep_memory
    from xlbench.students.architecture import register

    if settings.compile_training:
        explain_compile(choose_device(settings), "bfloat16", settings)  # if it cannot be, say so before any work
    apply_threads(settings)
    keep_memory()
    register()
