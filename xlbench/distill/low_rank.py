"""The edit that factorises the linear maps of an encoder's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor
    from transformers import BertModel, XLMRobertaModel

    from xlbench.corpora.tokens import TokenTable
    from xlbench.distill.context import StageContext
    from xlbench.students.shape import Shape

SAMPLE = 2048  # sentences: some 30,000 tokens, for moments of at most a few thousand columns
PART_TOKENS = 2048


class LowRank(Frozen):
    """Exchange the linear maps of all layers for products of two narrow ones, nearest on the corpus's sentences.

    Unlike a looped layer, a narrow map is less work; how much time that saves depends on the machine.
    """

    tag: ClassVar[str] = "low-rank/1"
    share: float = Field(gt=0, lt=1, description="Of the maps' parameters that their factors have.")

    def inputs(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the shape with narrow maps."""
        return shape.with_low_rank(self.share)

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Factorise, with the moments of what each map reads on sentences of both sides."""
        from xlbench.students.low_rank import factorise_linear_maps
        from xlbench.students.surgery import build_student

        student = build_student(model)
        moments = input_moments(student, context.tokens(model), context.sample(SAMPLE))
        factorise_linear_maps(student.encoder.layer, self.share, moments)
        student.config.rank_share = self.share
        return model


def input_moments(encoder: BertModel | XLMRobertaModel, tokens: TokenTable, sentences: list[int]) -> dict[str, Tensor]:
    """Return the second moment of what each linear map of an encoder's layers reads, summed over real tokens.

    Args:
        encoder: On the CPU; runs in float32.
        tokens: A corpus in its token ids.
        sentences: Which of its sentences.

    Returns:
        float64 [columns, columns] by the map's name under ``encoder.layer``; of layers that run more than once the
        sum over all runs.
    """
    import numpy as np
    import torch

    from xlbench.encoders.encode import batches, pad
    from xlbench.students.low_rank import linear_maps

    maps = linear_maps(encoder.encoder.layer)
    moments = {name: torch.zeros(it.in_features, it.in_features, dtype=torch.float64) for name, it in maps.items()}
    rows = [np.asarray(tokens.row(sentence), dtype=np.int64) for sentence in sentences]
    real = read = moment = torch.empty(0)

    def add(name: str, given: tuple[Tensor, ...]) -> None:
        nonlocal read, moment
        if given[0] is not read:  # queries, keys and values are made of the same tensor, one after the other
            read = given[0]
            values = read[real]
            moment = values.T @ values
        moments[name] += moment

    handles = [
        module.register_forward_pre_hook(lambda _, given, name=name: add(name, given)) for name, module in maps.items()
    ]
    training = encoder.training
    encoder.train(False)
    try:
        with torch.inference_mode():
            for part in batches(np.array([len(row) for row in rows]), PART_TOKENS):
                ids, mask = pad([rows[place] for place in part], int(encoder.config.pad_token_id or 0))
                real = mask.bool()
                encoder(input_ids=ids, attention_mask=mask)
    finally:
        encoder.train(training)
        for handle in handles:
            handle.remove()
    return moments
