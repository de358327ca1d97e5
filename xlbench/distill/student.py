"""The student under training: the encoder as a module whose output is what a stage's objectives compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch import nn

from xlbench.encoders.modules import embedding_output, mean_pool
from xlbench.encoders.pipeline import pipeline_of
from xlbench.students.static import bag_features
from xlbench.students.surgery import stock_encoder, table_owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentence_transformers import SentenceTransformer

    from xlbench.distill.batches import Part
    from xlbench.distill.plan import Training

Live: TypeAlias = "Callable[[list[Part]], list[torch.Tensor]]"


class Outputs(NamedTuple):
    """What a student gives for the sentences that a process reads of a batch.

    Attributes:
        vectors: float [sentences, dimension].
        live: What these sentences add to each live term, scalars; empty where they are computed elsewhere.
    """

    vectors: torch.Tensor
    live: list[torch.Tensor]


class Student(nn.Module):
    """The encoder under training, whose output is the vectors that the stage's objectives compare.

    Args:
        model: The encoder; its parameters are frozen or made trainable as ``training`` says.
        training: Settings of the stage's training.
    """

    def __init__(self, model: SentenceTransformer, training: Training) -> None:
        super().__init__()
        self.model = model
        self.level = training.level
        self.vectors_compared = bool(training.terms)
        self.pipeline = pipeline_of(model)
        self.static = isinstance(table_owner(model), StaticEmbedding)
        if not self.static:
            self.pipeline.require_tokens("trained")
        _freeze(model, training)

    def forward(self, parts: list[Part], places: torch.Tensor, live: Live | None = None) -> Outputs:
        """Return the vectors of a process's sentences of a batch, in the order that ``places`` gives, and live terms.

        Args:
            parts: The sentences, see :class:`~xlbench.distill.batches.Batch`.
            places: Position of each sentence among the rows of all parts, int64 [sentences].
            live: Computes terms on the states that the parts have left. DistributedDataParallel must see them among
                the outputs: it finds the weights that get a gradient by what is returned.

        Returns:
            float [sentences, dimension], without gradients if only the live terms are learnt from; and the live terms.
        """
        vectors = torch.cat([self.encode(**part) for part in parts])[places]
        if live is None:
            return Outputs(vectors, [])
        return Outputs(vectors if self.vectors_compared else vectors.detach(), live(parts))

    def encode(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return one vector per sentence, float [sentences, dimension].

        At the level ``embeddings`` it is the mean of the embedding layer's output, and no encoder layer runs.

        Args:
            input_ids: Token ids, int64 [sentences, tokens].
            attention_mask: 1 for real tokens and 0 for padding, int64 [sentences, tokens].
        """
        if self.level == "embeddings":
            hidden = embedding_output(stock_encoder(self.model), input_ids, attention_mask)
            return mean_pool(hidden, attention_mask)
        features = bag_features if self.static else self.pipeline.features
        vectors: torch.Tensor = self.model(features(input_ids, attention_mask))["sentence_embedding"]
        return self.pipeline.cut(vectors)


def _freeze(model: SentenceTransformer, training: Training) -> None:
    """Make only those parameters trainable that ``training`` names, and switch dropout off unless it is wanted."""
    for parameter in model.parameters():
        parameter.requires_grad_(training.trainable != "embeddings")
    if isinstance(transformer := table_owner(model), StaticEmbedding):
        return
    if transformer.pooler is not None:  # mean pooling never reads it
        transformer.pooler.requires_grad_(False)
    if training.trainable == "embeddings":
        transformer.embeddings.requires_grad_(True)
    if training.trainable == "all-but-token-embeddings":
        transformer.get_submodule("embeddings.word_embeddings").requires_grad_(False)
    if not training.dropout:
        for part in model.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
