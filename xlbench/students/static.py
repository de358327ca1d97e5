"""The arithmetic of static encoders, which give a sentence the mean of one fixed vector per token.

References: model2vec (Tulkens & van Dongen, 2024) for the token vectors and their PCA; smooth inverse frequency (SIF,
Arora et al., ICLR 2017) for the weight of a token, a / (a + p). Arora et al. also remove the first principal component
of the sentence vectors; that is not done here, nor in model2vec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    Floats = NDArray[np.floating]

CHUNK_ROWS = 16_384  # rows per float64 copy, so that a large vocabulary needs little extra memory


def sif_weights(probabilities: Floats, smoothing: float) -> NDArray[np.float64]:
    """Return the SIF weight a / (a + p) of each token, float64 [tokens], which is lower for frequent tokens.

    Args:
        probabilities: Share p of each token in the corpus, float [tokens].
        smoothing: The constant a; a token with p = a has the weight 1/2.
    """
    weights: NDArray[np.float64] = smoothing / (smoothing + np.asarray(probabilities, np.float64))
    return weights


def zipf_probabilities(tokens: int) -> NDArray[np.float64]:
    """Return token probabilities by Zipf's law, float64 [tokens], for a vocabulary in order of frequency.

    The token of rank r = 1, 2, ... gets p_r proportional to 1 / (r + 1), as in model2vec. Used where no frequencies are
    known.
    """
    inverse = 1.0 / np.arange(2, tokens + 2)
    probabilities: NDArray[np.float64] = inverse / inverse.sum()
    return probabilities


def reduce_dimensions(vectors: Floats, width: int, counts: Floats | None = None) -> NDArray[np.float32]:
    """Return the coordinates of centred vectors along their ``width`` principal axes, float32 [n, width].

    Mean and covariance are weighted: sum_t c_t (v_t - m) (v_t - m)' with m = sum_t c_t v_t / sum_t c_t.

    Args:
        vectors: float [n, dimension].
        width: Number of axes, at most the dimension; with all of them the centred vectors are only rotated.
        counts: Weight c_t of each vector, [n], not negative and not all zero; None weighs all alike.
    """
    weights = np.ones(len(vectors)) if counts is None else np.asarray(counts, np.float64)
    weights = weights / weights.sum()
    spans = [slice(low, low + CHUNK_ROWS) for low in range(0, len(vectors), CHUNK_ROWS)]
    mean = sum(weights[span] @ vectors[span].astype(np.float64) for span in spans)
    moment = np.zeros((vectors.shape[1], vectors.shape[1]))
    for span in spans:
        rows = vectors[span] - mean
        moment += rows.T @ (rows * weights[span, None])
    # eigh sorts ascending. The sign of an eigenvector is arbitrary; it is fixed so that every machine agrees.
    basis = np.linalg.eigh(moment)[1][:, ::-1][:, :width]
    basis = basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])
    return np.concatenate([((vectors[span] - mean) @ basis).astype(np.float32) for span in spans])


def static_encoder(tokenizer: Tokenizer, table: NDArray[np.float32]) -> SentenceTransformer:
    """Return an encoder that gives a sentence the mean of its tokens' vectors, scaled to unit length.

    Args:
        tokenizer: Splits sentences into tokens; no special tokens are added.
        table: The vector of each token, float32 [tokens, width].
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, table), Normalize()], device="cpu")


def bag_features(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what a static encoder takes, of token ids and mask, both int64 [sentences, tokens].

    These are the real tokens of all sentences, one after the other, and where each sentence begins among them.
    """
    counts = attention_mask.sum(1)
    return {"input_ids": input_ids[attention_mask.bool()], "offsets": counts.cumsum(0) - counts}


def static_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Return a tokenizer that gives what a static encoder reads of a sentence: no special tokens are added."""
    import json

    from tokenizers import Tokenizer as Backend
    from transformers import PreTrainedTokenizerFast

    facts = {**json.loads(tokenizer.to_str()), "post_processor": None}
    return PreTrainedTokenizerFast(tokenizer_object=Backend.from_str(json.dumps(facts)))  # type: ignore[no-untyped-call]
