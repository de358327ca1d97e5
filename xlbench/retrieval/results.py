"""What a search and a mining gave: rows with sentences, looked up when they are shown or written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xlbench.disk import answered
from xlbench.retrieval.rows import check_rows_path, to_dataframe, write_rows
from xlbench.settings import new_path

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from xlbench.retrieval.exact import Neighbours
    from xlbench.retrieval.margins import Candidates
    from xlbench.retrieval.neighbours import Way
    from xlbench.retrieval.rows import Page
    from xlbench.retrieval.sentences import Texts


@dataclass(frozen=True)
class Found:
    """The nearest sentences of a corpus for some queries; ``len()`` of it is the number of rows.

    Attributes:
        texts: The queries, and the sentences of the corpus.
        neighbours: For each query the positions of the nearest sentences, and their cosines.
        way: How they were found.
    """

    texts: tuple[Texts, Texts] = field(repr=False)
    neighbours: Neighbours = field(repr=False)
    way: Way

    @property
    def exact(self) -> bool:
        """Whether each query was compared with all sentences."""
        return self.way.exact

    @property
    def recall(self) -> float | None:
        """Share of the exact neighbours that the index finds, on sampled queries; None without an index."""
        return self.way.recall

    def __len__(self) -> int:
        return int(self.neighbours.ids.size)

    def __str__(self) -> str:
        """Return in a sentence what was searched, and how."""
        return f"{len(self.texts[1]):,} sentences searched; {self.way}"

    def page(self, start: int, stop: int) -> Page:
        """Return some rows by column: query, rank, cosine, line (of the corpus, from 1), sentence."""
        width = self.neighbours.ids.shape[1]
        queries, corpus = self.texts
        places = range(start, min(stop, len(self)))
        ids = self.neighbours.ids.reshape(-1)[start:stop].tolist()
        return {
            "query": [queries.sentences[place // width] for place in places],
            "rank": [place % width + 1 for place in places],
            "cosine": self.neighbours.cosines.reshape(-1)[start:stop].tolist(),
            "line": corpus.lines[ids].tolist(),
            "sentence": [corpus.sentences[number] for number in ids],
        }

    def to_dataframe(self) -> pd.DataFrame:
        """Return all rows: query, rank, cosine, line (of the corpus, from 1), sentence."""
        return to_dataframe(self)

    def write(self, file: str | Path) -> Path:
        """Write all rows to a new file, by its name as .tsv, .parquet or .json.

        Returns:
            The file.

        Raises:
            XlbenchError: The file exists, its name has another ending, or the disk is full.
        """
        return _written(self, file)


@dataclass(frozen=True)
class Mined:
    """Pairs of sentences that were taken for translations, the largest margin first; ``len()`` of it is their number.

    Attributes:
        texts: The different sentences of each side.
        pairs: Their positions, cosine and margin.
        way: How neighbours were found.
    """

    texts: tuple[Texts, Texts] = field(repr=False)
    pairs: Candidates = field(repr=False)
    way: Way

    @property
    def exact(self) -> bool:
        """Whether all sentences were compared with all."""
        return self.way.exact

    @property
    def recall(self) -> float | None:
        """Share of the exact neighbours that the index finds, on sampled sentences; None without an index."""
        return self.way.recall

    def __len__(self) -> int:
        return len(self.pairs.first)

    def __str__(self) -> str:
        """Return in a sentence how many pairs were found among how many sentences, and how."""
        first, second = (len(side) for side in self.texts)
        return f"{len(self):,} pairs of {first:,} and {second:,} sentences; {self.way}"

    @property
    def lines(self) -> NDArray[np.int64]:
        """Where the sentences of each pair stand in the two files, from 1: int64 [pairs, 2]."""
        import numpy as np

        first, second = self.texts
        return np.stack([first.lines[self.pairs.first], second.lines[self.pairs.second]], axis=1)

    @property
    def margins(self) -> NDArray[np.float32]:
        """The margin of each pair, float32 [pairs], descending."""
        return self.pairs.margin

    def page(self, start: int, stop: int) -> Page:
        """Return some pairs by column: margin, cosine, line_a and line_b (from 1), sentence_a, sentence_b."""
        some = self.pairs.choose(slice(start, stop))
        first, second = self.texts
        return {
            "margin": some.margin.tolist(),
            "cosine": some.cosine.tolist(),
            "line_a": first.lines[some.first].tolist(),
            "line_b": second.lines[some.second].tolist(),
            "sentence_a": [first.sentences[number] for number in some.first.tolist()],
            "sentence_b": [second.sentences[number] for number in some.second.tolist()],
        }

    def to_dataframe(self) -> pd.DataFrame:
        """Return all pairs: margin, cosine, line_a, line_b (from 1), sentence_a, sentence_b."""
        return to_dataframe(self)

    def write(self, file: str | Path) -> Path:
        """Write all pairs to a new file, by its name as .tsv, .parquet or .json.

        Returns:
            The file.

        Raises:
            XlbenchError: The file exists, its name has another ending, or the disk is full.
        """
        return _written(self, file)


def _written(rows: Found | Mined, file: str | Path) -> Path:
    path = new_path(file, "file")
    check_rows_path(path)
    with answered():
        write_rows(rows, path)
    return path
