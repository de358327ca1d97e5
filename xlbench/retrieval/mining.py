"""Searching and mining, from names and files to results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.encoders.runtime import apply_threads, choose_device
from xlbench.errors import XlbenchError
from xlbench.retrieval.margins import mine_pairs
from xlbench.retrieval.neighbours import both_ways, is_exact, neighbours
from xlbench.retrieval.results import Found, Mined
from xlbench.retrieval.sides import collected, workplace
from xlbench.retrieval.vectors import BLOCK, Vectors, encode_texts, load_vectors, refuse_other_vectors
from xlbench.runs.status import runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import Precision
    from xlbench.retrieval.encoder import FoundEncoder
    from xlbench.retrieval.margins import Retrieval
    from xlbench.retrieval.sentences import Texts
    from xlbench.retrieval.sides import Side
    from xlbench.settings import Settings


def search_corpus(
    corpus: Side,
    queries: Side,
    top: int,
    find: Callable[[], FoundEncoder],
    settings: Settings,
    *,
    exact: bool | None,
    output: Path | None,
) -> Found:
    """Return the sentences of a corpus that are nearest to each query, by the cosine of their vectors.

    Args:
        corpus: The sentences to search.
        queries: The sentences to search for.
        top: How many to find for each.
        find: Finds the encoder; called once the sentences are read.
        settings: Paths and switches.
        exact: Whether all are compared with all; None decides by size.
        output: A file to write all rows to, too.

    Raises:
        XlbenchError: The sentences or the encoder cannot be used, an index is needed and faiss absent, or the disk is
            full.
    """
    with collected((corpus, queries), output, settings) as (texts, asked):
        device = choose_device(settings)
        all_compared = is_exact(len(asked), len(texts), exact, device)
        known = _known(corpus, texts)
        encoder = find()
        with runs(f"searching {texts.name}", settings), workplace(output) as directory:
            model = encoder.load()
            wanted = _computed(queries, asked, model, encoder.precision, settings, directory)
            if known is not None and known.dimension != wanted.dimension:
                raise _other_encoder(corpus, known, wanted)
            if known is not None and corpus.vectors is not None:
                refuse_other_vectors(known, corpus.vectors, texts, model, encoder.precision)
            given = known or _computed(corpus, texts, model, encoder.precision, settings, directory)
            title = f"searching {texts.name}"
            nearest, way = neighbours(
                wanted, given, top, exact=all_compared, device=device, quiet=settings.quiet, title=title
            )
        found = Found((asked, texts), nearest, way)
        if output is not None:
            found.write(output)
        return found


def mine_sides(
    sides: tuple[Side, Side],
    k: int,
    retrieval: Retrieval,
    threshold: float,
    find: Callable[[], FoundEncoder],
    settings: Settings,
    *,
    exact: bool | None,
    output: Path | None,
) -> Mined:
    """Return the pairs of sentences, one of each side, that are taken for translations by their margin.

    Args:
        sides: The sentences, each of which counts once.
        k: How many neighbours make a neighbourhood.
        retrieval: Which candidates become pairs, as :func:`xlbench.retrieval.margins.mine_pairs` says.
        threshold: The least margin of a pair.
        find: Finds the encoder; called once the sentences are read, and not if both sides have vectors.
        settings: Paths and switches.
        exact: Whether all are compared with all; None decides by size.
        output: A file to write all pairs to, too.

    Raises:
        XlbenchError: The sentences or the encoder cannot be used, an index is needed and faiss absent, or the disk is
            full.
    """
    with collected(sides, output, settings, distinct=True) as (texts_a, texts_b):
        apply_threads(settings)
        device = choose_device(settings)
        all_compared = is_exact(len(texts_a), len(texts_b), exact, device)
        both = tuple(zip(sides, (texts_a, texts_b), strict=True))
        known = [_known(side, texts) for side, texts in both]
        encoder = None if all(known) else find()
        with runs(f"mining {texts_a.name} and {texts_b.name}", settings), workplace(output) as directory:
            made = known
            if encoder is not None:
                from xlbench.encoders.encode import dimension

                model = encoder.load()
                for vectors, (side, texts) in zip(known, both, strict=True):
                    if vectors is not None and side.vectors is not None and vectors.dimension == dimension(model):
                        refuse_other_vectors(vectors, side.vectors, texts, model, encoder.precision)
                made = [
                    vectors or _computed(side, texts, model, encoder.precision, settings, directory)
                    for vectors, (side, texts) in zip(known, both, strict=True)
                ]
                del model  # an index takes its place in memory
            first, second = (vectors for vectors in made if vectors is not None)
            if first.dimension != second.dimension:
                place = 0 if known[0] is not None else 1
                raise _other_encoder(sides[place], (first, second)[place], (first, second)[1 - place])
            forward, backward, way = both_ways(
                first, second, k, exact=all_compared, device=device, quiet=settings.quiet
            )
        pairs = mine_pairs(forward, backward, retrieval, threshold)
        found = Mined((texts_a, texts_b), pairs, way)
        if output is not None:
            found.write(output)
        return found


def _known(side: Side, texts: Texts) -> Vectors | None:
    """Return the vectors of one side that an earlier call wrote; None where they are to be computed."""
    return None if side.vectors is None else load_vectors(side.vectors, texts)


def _other_encoder(side: Side, vectors: Vectors, others: Vectors) -> XlbenchError:
    return XlbenchError(
        f"The vectors in '{side.vectors}' have {vectors.dimension} numbers, and those beside them {others.dimension}.",
        "Give the --model that they were made with, and encode both sides with it.",
    )


def _computed(
    side: Side,
    texts: Texts,
    model: SentenceTransformer,
    precision: Precision,
    settings: Settings,
    directory: Path,
) -> Vectors:
    """Return the vectors of one side, in a file if they are many."""
    path = directory / f"{side.noun}.npy" if len(texts) > BLOCK else None
    return Vectors(encode_texts(model, texts, precision, path, quiet=settings.quiet))
