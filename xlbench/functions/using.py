"""The functions of ``import xlbench`` that put an encoder to use: :func:`encode`, :func:`search` and :func:`mine`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal, Unpack

from pydantic import Field

from xlbench.arguments import Text, Where, place, refuse_unknown
from xlbench.boards.reference import run_reference
from xlbench.disk import answered
from xlbench.errors import XlbenchError
from xlbench.experiment import Precision
from xlbench.fingerprint import Frozen
from xlbench.plugins.guard import plugin_errors
from xlbench.runs.results import run_key
from xlbench.settings import new_path, path_of
from xlbench.validation import validated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from xlbench.retrieval.encoder import FoundEncoder
    from xlbench.retrieval.margins import Retrieval
    from xlbench.retrieval.results import Found, Mined
    from xlbench.runs.results import Run
    from xlbench.settings import Settings

    Sentences = str | Path | Sequence[str]

STARTER_MODEL = "multilingual-e5-small"
MOST_NEIGHBOURS = 1000
Column = Text | Annotated[int, Field(ge=1)] | None


class _Reading(Frozen):
    precision: Precision | Literal["auto"]
    column: Column = None
    column_a: Column = None
    column_b: Column = None
    column_queries: Column = None


class _Searching(Frozen):
    top: int = Field(ge=1, le=MOST_NEIGHBOURS)
    exact: bool | None


class _Mining(Frozen):
    neighbours: int = Field(ge=1, le=MOST_NEIGHBOURS)
    retrieval: Literal["forward", "backward", "intersection", "max"]
    threshold: float = Field(allow_inf_nan=False)
    exact: bool | None


def encode(
    texts: Sentences,
    output: str | Path | None = None,
    *,
    model: Run = STARTER_MODEL,
    column: str | int | None = None,
    precision: Precision | Literal["auto"] = "auto",
    **where: Unpack[Where],
) -> NDArray[np.float32]:
    """Return the vectors of sentences, in batches of similar length.

    Sentences of a file are read one after another, so that it may be larger than memory if ``output`` is given.

    Args:
        texts: Sentences; or a file: text with one on each line, TSV or Parquet, texts also as .gz, .bz2 or .xz.
            'starter' and 'starter:de' are the sentences of the starter kit, in all languages or in one.
        output: Write the vectors to this new file: .npy, float32 [sentences, dimension]; or .parquet, columns sentence
            and vector.
        model: A registered encoder, the directory of an encoder or of an export, a run as :func:`compare` takes it, or
            a model of the hub.
        column: Of a TSV or Parquet file, by name (in the first line of a TSV file) or by number, from 1.
        precision: What the encoder computes in; 'auto': what the device is good at.
        where: As :class:`Where` says.

    Returns:
        Float32 [sentences, dimension]; memory-mapped if they were written.

    Raises:
        XlbenchError: A file or an encoder cannot be used, a sentence is empty, the output exists, or the disk is full.
    """
    refuse_unknown(encode, where)
    asked = validated(_Reading, {"precision": precision, "column": column}, "argument")
    from xlbench.retrieval.encoding import check_vectors_path, encode_side
    from xlbench.retrieval.sides import Side

    with _using(model, asked.precision, where) as (find, settings):
        target = _target(output, check_vectors_path)
        return encode_side(Side("texts", texts, _column(asked.column)), target, find, settings)


def search(
    corpus: Sentences,
    queries: str | Sequence[str] = (),
    *,
    queries_from: str | Path | None = None,
    top: int = 5,
    model: Run = STARTER_MODEL,
    column: str | int | None = None,
    column_queries: str | int | None = None,
    vectors: str | Path | None = None,
    precision: Precision | Literal["auto"] = "auto",
    exact: bool | None = None,
    output: str | Path | None = None,
    **where: Unpack[Where],
) -> Found:
    """Return the sentences of a corpus that are nearest to each query, in whatever languages, by the cosine.

    Args:
        corpus: Sentences or a file of them, as :func:`encode` takes them.
        queries: One query, or several.
        queries_from: A file of queries instead.
        top: How many sentences for each query.
        model: The encoder, as :func:`encode` takes it.
        column: Of the corpus, by name or number.
        column_queries: Of the file of queries, likewise.
        vectors: An .npy file that :func:`encode` wrote for the corpus with this encoder: it is not encoded again.
        precision: What the encoder computes in; 'auto': what the device is good at.
        exact: Compare all with all, or search an index of faiss; None: exactly up to 10^10 cosines, on an accelerator
            up to 10^13.
        output: Also write all rows to this new file: .tsv, .parquet or .json.
        where: As :class:`Where` says.

    Raises:
        XlbenchError: A file or an encoder cannot be used, a sentence is empty, the output exists, the disk is full, or
            an index is needed and faiss is not installed.
    """
    refuse_unknown(search, where)
    columns = {"column": column, "column_queries": column_queries, "precision": precision}
    reading = validated(_Reading, columns, "argument")
    asked = validated(_Searching, {"top": top, "exact": exact}, "argument")
    from xlbench.retrieval.mining import search_corpus
    from xlbench.retrieval.rows import check_rows_path
    from xlbench.retrieval.sides import Side

    listed = [queries] if isinstance(queries, str) else queries
    if (queries_from is None) == (isinstance(listed, tuple | list) and not listed):
        problem = "A search needs queries, either given or in a file."
        raise XlbenchError(problem, "Write: xlbench search CORPUS QUERY, or xlbench search CORPUS --queries-from FILE.")
    if queries_from is None and reading.column_queries is not None:
        raise XlbenchError("A column of queries is chosen, and no file.", "Leave it out, or give --queries-from.")
    file = None if queries_from is None else path_of(queries_from, "queries_from")
    given = Side("corpus", corpus, _column(reading.column), None if vectors is None else path_of(vectors, "vectors"))
    wanted = Side("queries" if file is None else "queries_from", file or listed, _column(reading.column_queries))
    with _using(model, reading.precision, where) as (find, settings):
        target = _target(output, check_rows_path)
        return search_corpus(given, wanted, asked.top, find, settings, exact=asked.exact, output=target)


def mine(
    a: Sentences,
    b: Sentences,
    *,
    neighbours: int = 4,
    retrieval: Retrieval = "max",
    threshold: float = 1.0,
    model: Run = STARTER_MODEL,
    column_a: str | int | None = None,
    column_b: str | int | None = None,
    vectors_a: str | Path | None = None,
    vectors_b: str | Path | None = None,
    precision: Precision | Literal["auto"] = "auto",
    exact: bool | None = None,
    output: str | Path | None = None,
    **where: Unpack[Where],
) -> Mined:
    """Return the pairs of sentences of two files that are translations of each other, by their margin.

    The margin of a pair is the ratio of its cosine to the mean cosine of the two sentences' neighbourhoods (Artetxe &
    Schwenk, ACL 2019, arXiv:1811.01136, equations 1 and 2). Sentences that are there twice count once.

    Args:
        a: Sentences of one language or a file of them, as :func:`encode` takes them.
        b: Sentences of the other.
        neighbours: How many neighbours make a neighbourhood, the paper's k.
        retrieval: 'forward' and 'backward' give each sentence of a, or of b, its best partner; 'intersection' keeps
            the pairs of both; 'max' joins both, the largest margin first, each sentence once.
        threshold: The least margin of a pair.
        model: The encoder, as :func:`encode` takes it.
        column_a: Of the first file, by name or number.
        column_b: Of the second file.
        vectors_a: An .npy file that :func:`encode` wrote for the first file with this encoder.
        vectors_b: One for the second file.
        precision: What the encoder computes in; 'auto': what the device is good at.
        exact: Compare all with all, or search an index of faiss; None: exactly up to 10^10 cosines, on an accelerator
            up to 10^13.
        output: Also write all pairs to this new file: .tsv, .parquet or .json.
        where: As :class:`Where` says.

    Raises:
        XlbenchError: A file or an encoder cannot be used, a sentence is empty, the output exists, the disk is full, or
            an index is needed and faiss is not installed.
    """
    refuse_unknown(mine, where)
    columns = {"column_a": column_a, "column_b": column_b, "precision": precision}
    reading = validated(_Reading, columns, "argument")
    options = {"neighbours": neighbours, "retrieval": retrieval, "threshold": threshold, "exact": exact}
    asked = validated(_Mining, options, "argument")
    from xlbench.retrieval.mining import mine_sides
    from xlbench.retrieval.rows import check_rows_path
    from xlbench.retrieval.sides import Side

    files = [
        None if file is None else path_of(file, noun)
        for noun, file in (("vectors_a", vectors_a), ("vectors_b", vectors_b))
    ]
    sides = Side("a", a, _column(reading.column_a), files[0]), Side("b", b, _column(reading.column_b), files[1])
    with _using(model, reading.precision, where) as (find, settings):
        return mine_sides(
            sides,
            asked.neighbours,
            asked.retrieval,
            asked.threshold,
            find,
            settings,
            exact=asked.exact,
            output=_target(output, check_rows_path),
        )


@contextmanager
def _using(
    model: Run, precision: Precision | Literal["auto"], where: Where
) -> Iterator[tuple[Callable[[], FoundEncoder], Settings]]:
    """Give what finds an encoder, and word what goes wrong while it is used.

    Raises:
        XlbenchError: Whatever the system or a plugin refuses meanwhile.
    """
    from xlbench.retrieval.encoder import locate

    name = run_key(model, "model")
    with answered():
        settings, registry = place(where)
        with plugin_errors(registry.files):
            yield lambda: locate(run_reference(name), precision, registry, settings), settings


def _target(output: str | Path | None, check: Callable[[Path], None]) -> Path | None:
    """Return the file to write, checked before any work."""
    if output is None:
        return None
    path = new_path(output, "output")
    check(path)
    return path


def _column(column: str | int | None) -> str | None:
    return None if column is None else str(column)
