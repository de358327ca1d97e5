"""Loading a SentenceTransformer from a directory: safetensors only, and never any code of the directory's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from xlbench.encoders.runtime import choose_device
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.settings import Settings


def load_directory(path: Path, settings: Settings) -> SentenceTransformer:
    """Load a model directory in float32 on the chosen device, in evaluation mode.

    Args:
        path: A SentenceTransformer directory, or a transformers one (mean pooling is then added).
        settings: Chooses the device.

    Raises:
        XlbenchError: It cannot be loaded, or would need code of its own.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    device = choose_device(settings)
    try:
        with quiet_transformers():
            model = SentenceTransformer(
                str(path),
                device=device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, AttributeError, TypeError) as error:
        # What the libraries say runs over many lines; the first one names the cause.
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise XlbenchError(
            f"The encoder in '{path}' cannot be loaded: {cause}",
            "xlbench loads SentenceTransformer or transformers directories with safetensors weights and "
            "without code of their own.",
        ) from error
    return model.eval()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from drawing bars for the second that it reads or writes weights, and from remarks."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
