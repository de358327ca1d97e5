"""The edit that turns a transformer into a table of token vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

    from xlbench.distill.context import StageContext
    from xlbench.students.shape import Shape

BATCH = 1024  # tokens passed at a time, each with its special tokens


class TokenVectors(Frozen):
    """Exchange the whole encoder for one vector a token: PCA of what it makes of each token alone, weighted.

    Source: Tulkens & van Dongen (2024), model2vec; the weights are those of Arora et al. (2017). Special tokens,
    the unknown one included, get zeros and so count for nothing but length, which is normalised away.
    """

    tag: ClassVar[str] = "token-vectors/1"
    width: int | None = Field(default=None, ge=1, description="None for that of the encoder's own vectors.")
    depth: Literal["encoder", "embeddings"] = Field(
        default="embeddings", description="What a token is passed through: all layers, or the embedding layer alone."
    )
    weighting: Literal["corpus", "zipf", "none"] = Field(
        default="corpus", description="Where a token's probability is from: counted, or from its rank."
    )
    smoothing: float = Field(default=1e-4, gt=0, description="a of the weight a / (a + p).")
    fit: Literal["uniform", "frequency", "none"] = Field(
        default="uniform",
        description="What a token counts for in the PCA; 'none': vectors are centred, and keep the encoder's axes.",
    )

    def inputs(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the shape of a static encoder."""
        if self.depth == "embeddings":
            shape.require_transformer("read at their embedding layer")
            shape = shape.model_copy(update={"dimension": None})
        if self.fit == "none" and self.width not in (None, shape.width):
            raise XlbenchError(
                f"Without a PCA token vectors are as wide as the encoder's, {shape.width}, and not {self.width}.",
                "Leave the width out.",
            )
        return shape.as_static(self.width)

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Pass every token through the encoder, reduce and weight."""
        import numpy as np
        from tokenizers import Tokenizer

        from xlbench.students.static import reduce_dimensions, sif_weights, static_encoder, zipf_probabilities

        tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
        tokenizer.no_truncation()
        size = 1 + max(tokenizer.get_vocab().values())
        special = model.tokenizer.all_special_ids
        vectors = self._vectors(model, size, context)
        counts = np.zeros(size)
        if self.weighting == "corpus" or self.fit == "frequency":
            # A static encoder puts no prompt before a sentence.
            counts += context.tokens(model, prompted=False).counts(size)
        counts[special] = 0
        ones = np.ones(size)
        ones[special] = 0
        # One more for every token: those that the corpus never uses still count a little in the PCA.
        weights = counts + ones if self.fit == "frequency" else ones
        if self.fit == "none":
            table = vectors - vectors[ones > 0].mean(0, dtype=np.float64).astype(np.float32)
        else:
            table = reduce_dimensions(vectors, self.width or vectors.shape[1], weights)
        if self.weighting != "none":
            probabilities = zipf_probabilities(size) if self.weighting == "zipf" else counts / max(1, counts.sum())
            table *= sif_weights(probabilities, self.smoothing)[:, None].astype(np.float32)
        table[special] = 0
        return static_encoder(tokenizer, table)

    def _vectors(self, model: SentenceTransformer, size: int, context: StageContext) -> NDArray[np.float32]:
        """Return what the encoder makes of each token between its special tokens, float32 [size, dimension]."""
        import numpy as np
        import torch

        from xlbench.encoders.encode import dimension
        from xlbench.encoders.runtime import choose_device, computing_in
        from xlbench.progress import progress

        model.to(choose_device(context.settings)).eval()
        probe = model.tokenizer.backend_tokenizer.encode("a")
        own = [place for place, special in enumerate(probe.special_tokens_mask) if not special]
        before, after = probe.ids[: own[0]], probe.ids[own[-1] + 1 :]
        vectors = np.empty((size, dimension(model, "embeddings" if self.depth == "embeddings" else "sentence")), "f4")
        bar = progress("encoding single tokens", size, quiet=context.settings.quiet, unit="tokens")
        with bar as advance, torch.inference_mode():
            for low in range(0, size, BATCH):
                high = min(low + BATCH, size)
                ids = torch.tensor([[*before, token, *after] for token in range(low, high)], device=model.device)
                with computing_in(context.precision, model.device):
                    vectors[low:high] = self._pass(model, ids).float().cpu().numpy()
                advance(high - low)
        return vectors

    def _pass(self, model: SentenceTransformer, ids: Tensor) -> Tensor:
        """Return the vectors, before they are normalised, of rows of token ids, int [rows, tokens]."""
        import torch
        from sentence_transformers.sentence_transformer.modules import Normalize

        from xlbench.encoders.modules import embedding_output, mean_pool, transformer_of
        from xlbench.encoders.pipeline import pipeline_of

        mask = torch.ones_like(ids)
        if self.depth == "embeddings":
            return mean_pool(embedding_output(transformer_of(model), ids, mask), mask)
        features: dict[str, Tensor] = {"input_ids": ids, "attention_mask": mask}
        for part in model.children():
            if not isinstance(part, Normalize):
                features = part(features)
        return pipeline_of(model).cut(features["sentence_embedding"])
