"""Exporting an encoder: written beside its place, compared with what it was made from, and only then put there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from xlbench.encoders.encode import encode
from xlbench.encoders.find import load_path
from xlbench.encoders.graph_runtimes import EXAMPLES
from xlbench.errors import XlbenchError
from xlbench.exports.card import write_card
from xlbench.exports.directory import new_directory
from xlbench.exports.exported import Exported
from xlbench.exports.formats import find_format
from xlbench.progress import progress
from xlbench.scoring.footprint import WEIGHT_SUFFIXES, directory_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from xlbench.exports.formats import Format
    from xlbench.settings import Settings

    Sentences = Mapping[str, Sequence[str]]

SHOWN = 2  # sentences of each language in it
BATCH_TOLERANCE = 1e-4


def export_encoder(
    load: Callable[[], SentenceTransformer],
    to: str,
    target: Path,
    sentences: Callable[[], Sentences],
    settings: Settings,
    card: Callable[[Exported, Format], str],
    *,
    source: Path | None = None,
    force: bool = False,
) -> Exported:
    """Export an encoder into a new directory, whole or not at all.

    Args:
        load: Returns the encoder, on any device, with its weights in float32 or in 8 bits.
        to: The format.
        target: The directory to make.
        sentences: Returns sentences by language: whatever is chosen by measurement is chosen on them, and the export
            is compared on them.
        settings: Choose the threads.
        card: Returns the model card of what was exported.
        source: The directory of the encoder's weights, for their size.
        force: Keep an export that loses more than its format's bound.

    Raises:
        XlbenchError: The target exists, a package is missing, the format cannot hold this encoder, the export loses
            more than its format's bound, or the disk is full.
    """
    doing = progress(f"exporting to {to}", None, quiet=settings.quiet)
    with new_directory(target) as directory, doing:
        form = find_format(to)
        model = load().to("cpu")
        texts = sentences()
        form.write(model, directory, [text for of in texts.values() for text in of])
        wanted = {language: encode(model, of) for language, of in texts.items()}
        found_by = load_path(directory, settings.model_copy(update={"device": "cpu"}))
        found = {language: encode(found_by, of) for language, of in texts.items()}
        losses = {language: _loss(wanted[language], found[language]) for language in texts}
        exported = Exported(
            directory=target,
            format=to,
            weight_bytes=directory_size(directory, WEIGHT_SUFFIXES),
            source_bytes=None if source is None else directory_size(source, WEIGHT_SUFFIXES),
            losses=losses,
            difference=max(float(np.abs(wanted[it] - found[it]).max()) for it in texts),
        )
        if not force:
            _refuse_loss(exported, form)
        _write_examples(directory, texts, found)
        write_card(directory, lambda: card(exported, form))
    return exported


def _loss(wanted: NDArray[np.floating], found: NDArray[np.floating]) -> float:
    """Return the mean of 1 - cosine; one that is not finite counts as 1."""
    one, other = (values.astype(np.float64) for values in (wanted, found))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = (one * other).sum(axis=1) / np.maximum(lengths, 1e-300)
    # Two vectors of zeros, e.g. of a sentence without tokens, are equal.
    cosines = np.where((one == other).all(axis=1), 1.0, cosines)
    return float(np.mean(1 - np.nan_to_num(cosines, nan=0.0)))


def _refuse_loss(exported: Exported, form: Format) -> None:
    worst = exported.worst
    loss = exported.losses[worst]
    if loss > form.LOSS or (form.TOLERANCE is not None and not exported.difference <= form.TOLERANCE):
        shown = f"1 - cosine is {loss:.2g} in language '{worst}' (at most {form.LOSS:g})"
        if form.TOLERANCE is not None:
            shown += f", and numbers differ by {exported.difference:.1g} (at most {form.TOLERANCE:g})"
        raise XlbenchError(
            f"Exported to '{exported.format}', the encoder gives other vectors: {shown}.",
            "Export it to another format, or give --force to keep this one.",
        )


def _write_examples(directory: Path, texts: Sentences, found: Mapping[str, NDArray[np.floating]]) -> None:
    chosen = [(text, vector) for it in texts for text, vector in list(zip(texts[it], found[it], strict=True))[:SHOWN]]
    content = {
        "tolerance": BATCH_TOLERANCE,
        "sentences": [text for text, _ in chosen],
        "vectors": [[round(float(number), 7) for number in vector] for _, vector in chosen],
    }
    (directory / EXAMPLES).write_text(json.dumps(content, ensure_ascii=False), "utf-8")
