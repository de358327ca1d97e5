"""An encoder for MTEB that looks sentences up: each distinct sentence of a suite is encoded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from mteb.models import ModelMeta
from mteb.similarity_functions import cos_sim, pairwise_cos_sim

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.types import Array, BatchedInput, EncodeKwargs, PromptType
    from numpy.typing import NDArray
    from torch.utils.data import DataLoader


class SentenceTable:
    """MTEB's ``EncoderProtocol`` over embeddings that are there already.

    Similarity is the cosine, whatever the encoder's own setting, so that scores can be compared.
    """

    def __init__(
        self,
        texts: Sequence[str],
        embeddings: NDArray[np.float32],
        encode: Callable[[list[str]], NDArray[np.float32]],
    ) -> None:
        """Keep the embeddings.

        Args:
            texts: Distinct sentences, n of them.
            embeddings: Theirs, [n, dimension].
            encode: For sentences that a task makes itself, and that could not be known beforehand.
        """
        self._rows = {text: row for row, text in enumerate(texts)}
        self._embeddings = embeddings
        self._encode = encode

    def encode(
        self,
        inputs: DataLoader[BatchedInput],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Unpack[EncodeKwargs],
    ) -> Array:
        """Return the embeddings of the sentences, float32 [sentences, dimension]."""
        texts = [text for batch in inputs for text in batch["text"]]
        if any(text not in self._rows for text in texts):
            return self._encode(texts)
        return self._embeddings[[self._rows[text] for text in texts]]

    # MTEB makes tensors of these; given tensors, it warns.

    def similarity(self, embeddings1: Array, embeddings2: Array) -> Array:
        """Return the cosines of all pairs, [len(embeddings1), len(embeddings2)]."""
        return np.asarray(cos_sim(embeddings1, embeddings2))

    def similarity_pairwise(self, embeddings1: Array, embeddings2: Array) -> Array:
        """Return the cosines of corresponding rows, [len(embeddings1)]."""
        return np.asarray(pairwise_cos_sim(embeddings1, embeddings2))

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """Return empty metadata: who the encoder is, the experiment says."""
        return ModelMeta.create_empty()
