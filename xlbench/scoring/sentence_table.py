"""An encoder for MTEB that looks embeddings up, so that each distinct sentence of a suite is encoded once."""

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
    """MTEB's ``EncoderProtocol`` over embeddings that are computed already.

    Similarity is the cosine, whatever the encoder's own setting, so that scores are comparable.
    """

    def __init__(
        self,
        texts: Sequence[str],
        embeddings: NDArray[np.float32],
        encode: Callable[[list[str]], NDArray[np.float32]],
    ) -> None:
        """Store the embeddings.

        Args:
            texts: Distinct sentences.
            embeddings: Embeddings of ``texts``, float32 [n, dimension].
            encode: Encodes sentences that are not in ``texts`` because the task creates them.
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

    # MTEB converts these arrays to tensors; it warns if they are tensors already.

    def similarity(self, embeddings1: Array, embeddings2: Array) -> Array:
        """Return the cosines of all pairs, [len(embeddings1), len(embeddings2)]."""
        return np.asarray(cos_sim(embeddings1, embeddings2))

    def similarity_pairwise(self, embeddings1: Array, embeddings2: Array) -> Array:
        """Return the cosines of corresponding rows, [len(embeddings1)]."""
        return np.asarray(pairwise_cos_sim(embeddings1, embeddings2))

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """Return empty metadata: the record says which encoder it is."""
        return ModelMeta.create_empty()
