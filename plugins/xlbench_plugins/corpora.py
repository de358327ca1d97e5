"""The built-in corpora: the starter's own, files, and datasets of the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.api import CorpusSource, hookimpl, open_hub, open_parquet, open_starter, open_tsv

if TYPE_CHECKING:
    from collections.abc import Iterable


@hookimpl
def xlbench_corpora() -> Iterable[CorpusSource]:
    """Return the schemes starter, tsv, parquet and hub."""
    return (
        CorpusSource(
            scheme="starter",
            summary="shipped with xlbench, en + ar de es fr it nl tr; a working example",
            example="starter",
            open=open_starter,
        ),
        CorpusSource(
            scheme="tsv",
            summary="a file en-xx.tsv or en-xx.tsv.gz (English, tab, translation), or a directory of them",
            example="tsv:my/corpus?cap=5000&languages=de,fr",
            open=open_tsv,
        ),
        CorpusSource(
            scheme="parquet",
            summary="a file en-xx.parquet (columns english, non_english), or a directory of them",
            example="parquet:my/corpus/en-de.parquet",
            open=open_parquet,
        ),
        CorpusSource(
            scheme="hub",
            summary="a hub dataset with configurations en-xx, or its copy under the data root",
            example="hub:sentence-transformers/parallel-sentences-talks?cap=20000",
            open=open_hub,
        ),
    )
