"""The arithmetic of static encoders: one vector for each token, and a sentence is their mean.

Source: Tulkens & van Dongen (2024), model2vec, for the token vectors and their PCA; Arora et al. (2017) for the
weight of a token, a / (a + p). The first principal component of sentences, which Arora et al. also take out, is
left in, as model2vec does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

    Floats = NDArray[np.floating]

ROWS = 16_384  # taken together, so that float64 copies of a large vocabulary's vectors stay small


def sif_weights(probabilities: Floats, smoothing: float) -> NDArray[np.float64]:
    """Return a / (a + p) for each token, float64 [tokens]: frequent tokens count for less.

    Args:
        probabilities: p, the share of each token in the corpus.
        smoothing: a; a token of that share counts half.
    """
    weights: NDArray[np.float64] = smoothing / (smoothing + np.asarray(probabilities, np.float64))
    return weights


def zipf_probabilities(tokens: int) -> NDArray[np.float64]:
    """Return probabilities of tokens that are ordered by frequency, p_r ~ 1 / (r + 1) for rank r = 1, 2, ...

    Zipf's law as model2vec uses it, where no frequencies are known.
    """
    inverse = 1.0 / np.arange(2, tokens + 2)
    probabilities: NDArray[np.float64] = inverse / inverse.sum()
    return probabilities


def reduce(vectors: Floats, width: int, counts: Floats | None = None) -> NDArray[np.float32]:
    """Return the coordinates of centred vectors along their ``width`` principal axes, float32 [n, width].

    Mean and covariance are weighted: sum_t c_t (v_t - m) (v_t - m)' with m = sum_t c_t v_t / sum_t c_t.

    Args:
        vectors: [n, dimension].
        width: At most the dimension; equal to it the centred vectors are only rotated.
        counts: What each vector counts for, [n], not all zero; None for one each.
    """
    weights = np.ones(len(vectors)) if counts is None else np.asarray(counts, np.float64)
    weights = weights / weights.sum()
    spans = [slice(low, low + ROWS) for low in range(0, len(vectors), ROWS)]
    mean = sum(weights[span] @ vectors[span].astype(np.float64) for span in spans)
    moment = np.zeros((vectors.shape[1], vectors.shape[1]))
    for span in spans:
        rows = vectors[span] - mean
        moment += rows.T @ (rows * weights[span, None])
    # eigh sorts ascending; the sign of an eigenvector is arbitrary, fixed here for determinism.
    basis = np.linalg.eigh(moment)[1][:, ::-1][:, :width]
    basis = basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])
    return np.concatenate([((vectors[span] - mean) @ basis).astype(np.float32) for span in spans])


def static_encoder(tokenizer: Tokenizer, table: NDArray[np.float32]) -> SentenceTransformer:
    """Return the encoder that gives a sentence the mean of its tokens' vectors, of unit length.

    Args:
        tokenizer: Cuts sentences; its special tokens are left out.
        table: A vector for each token, [tokens, width].
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, table), Normalize()], device="cpu")
