"""The vectors of a blend: combined from its teachers' stored ones, and stored with what was found in the sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlbench.disk import disk_errors
from xlbench.distill.blending import fit_blend
from xlbench.distill.objectives import Target
from xlbench.distill.targets import (
    CHUNK,
    KIND,
    VECTORS,
    begin_vectors,
    check_varied,
    english_sentences,
    read_table,
)
from xlbench.fingerprint import fingerprint
from xlbench.progress import progress
from xlbench.store import get_or_build, read_entry, require_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.distill.blend import Blend
    from xlbench.distill.targets import TargetTable
    from xlbench.experiment import Precision
    from xlbench.fingerprint import Json
    from xlbench.settings import Settings

    TableOf = Callable[[Target, np.ndarray | None], TargetTable]

FORMAT = 1
KNOWN = (
    "shares",
    "width",
    "joint_width",
    "explained_variance",
    "cosine",
    "sample",
)  # facts for readers of boards


class BlendedTable(NamedTuple):
    """The vectors of a blend, and what is known of it: its shares, what its axes keep, how near the assistant it is."""

    table: TargetTable
    facts: Mapping[str, Json]


def blended_table(
    blend: Blend,
    *,
    keys: Mapping[str, str],
    table_of: TableOf,
    corpus: PreparedCorpus,
    sample: np.ndarray,
    precision: Precision,
    max_tokens: int,
    settings: Settings,
) -> BlendedTable:
    """Return a blend's vectors of all English sentences, from the store if they are in it.

    Args:
        blend: What is blended.
        keys: Fingerprints of the encoders that it reads.
        table_of: Returns the vectors of a target of one encoder; given ids, of these sentences alone.
        corpus: The corpus whose English sentences have vectors.
        sample: Ids of the sentences in which means, axes and rotation are found, int [n], ascending.
        precision: Number type that the encoders compute in; the blend is computed in float64 and stored as float16.
        max_tokens: Longer sentences are cut to this many tokens.
        settings: Paths, of which the store is one, and switches.

    Raises:
        XlbenchError: The corpus has too few sentences for so many axes, or the vectors are all alike.
    """
    wanted = english_sentences(corpus)
    facts: Json = {
        "format": FORMAT,
        "blend": blend.fingerprint(keys),
        "corpus": corpus.digest,
        "precision": precision,
        "tokens": max_tokens,
    }
    entry_key = fingerprint(facts)

    def vectors() -> tuple[list[TargetTable], TargetTable]:
        """Return the teachers' vectors of all English sentences, and the assistant's of the sample."""
        tables = {encoder: table_of(Target(encoder=encoder, side="english"), None) for encoder, _ in blend.teachers}
        same = [table for encoder, table in tables.items() if keys[encoder] == keys[blend.assistant]]
        own = same[0] if same else table_of(Target(encoder=blend.assistant, side="own"), sample)
        return list(tables.values()), own

    doing = f"computing the targets of {blend.name}"
    if read_entry(settings.home, KIND, entry_key, only=()) is None:
        vectors()  # before the blend, so that each entry says what it alone has cost
    entry = get_or_build(
        settings.home,
        KIND,
        entry_key,
        lambda directory: _blend(directory, blend, *vectors(), sample, wanted, settings),
        doing=doing,
        quiet=settings.quiet,
        check=lambda entry: require_files(entry, VECTORS),
    )
    return BlendedTable(read_table(entry, corpus, wanted), entry.manifest.facts)


def _blend(
    directory: Path,
    blend: Blend,
    teachers: list[TargetTable],
    own: TargetTable,
    sample: np.ndarray,
    wanted: np.ndarray,
    settings: Settings,
) -> dict[str, Json]:
    """Combine the teachers' vectors into ``vectors.npy`` in a directory; return facts."""
    widths = {encoder: table.dimension for (encoder, _), table in zip(blend.teachers, teachers, strict=True)}
    width = blend.width({blend.assistant: own.dimension, **widths})
    blend.check_sample(width, len(sample))
    fitted = fit_blend(blend, [table.take(sample).numpy() for table in teachers], own.take(sample).numpy(), width)
    path, size = directory / VECTORS, len(wanted) * width * np.dtype(np.float16).itemsize
    path.unlink(missing_ok=True)  # of an interrupted run, or a link
    with (
        disk_errors(f"the targets of {blend.name}", directory, needed=size, store=True),
        path.open("xb") as stream,
        progress(f"blending the targets of {len(teachers)} teachers", len(wanted), quiet=settings.quiet) as advance,
    ):
        begin_vectors(stream, (len(wanted), width))
        for start in range(0, len(wanted), CHUNK):
            ids = wanted[start : start + CHUNK]
            stream.write(fitted.blended([table.take(ids).numpy() for table in teachers]).astype("<f2").tobytes())
            advance(len(ids))
    check_varied(f"blend '{blend.name}'", np.load(path, mmap_mode="r"))
    return {
        "encoder": blend.name,
        "sentences": len(wanted),
        "width": width,
        "shares": list(fitted.shares),
        "joint_width": sum(widths.values()),
        "explained_variance": fitted.explained,
        "cosine": fitted.cosine,
        "sample": len(sample),
        "targets": list(dict.fromkeys(table.key for table in (*teachers, own))),
    }
