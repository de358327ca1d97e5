"""The parts of a SentenceTransformer that training and encoding reach into."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.encoders.runtime import explain_attention
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel

# With `embeddings` and `encoder.layer`, laid out alike; a student is one of the first two, parts exchanged.
ARCHITECTURES = ("bert", "xlm-roberta", "roberta", "xlbench-bert", "xlbench-xlm-roberta")


def inner_model(model: SentenceTransformer) -> object:
    """Return the transformers model of the first module; None where that has none, as a static one."""
    return getattr(next(iter(model.children()), None), "auto_model", None)


def transformer_of(model: SentenceTransformer) -> PreTrainedModel:
    """Return the stock transformers encoder inside: BERT, RoBERTa or XLM-R.

    Raises:
        XlbenchError: The model has none, or another architecture.
    """
    from transformers import PreTrainedModel

    inner = inner_model(model)
    kind = getattr(getattr(inner, "config", None), "model_type", None)
    if not isinstance(inner, PreTrainedModel) or kind not in ARCHITECTURES:
        found = f"has the architecture '{kind}'" if kind else "holds no transformers model"
        raise XlbenchError(
            f"This encoder {found}; students are cut from BERT or XLM-R encoders.",
            "As an assistant choose one with such an encoder, e.g. multilingual-e5-small; "
            "any SentenceTransformer can be a teacher.",
        )
    return inner


def embedding_output(
    transformer: PreTrainedModel, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """Return the output of the embedding layer, before any encoder layer: [batch, tokens, hidden].

    Args:
        transformer: What :func:`transformer_of` returned.
        input_ids: [batch, tokens], int64.
        attention_mask: [batch, tokens]; padded places come out as something that :func:`mean_pool` ignores.
    """
    del attention_mask  # positions follow from the ids; part of the signature for embedding layers that differ
    embedded: torch.Tensor = transformer.get_submodule("embeddings")(input_ids=input_ids)
    return embedded


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over the tokens that the mask keeps: [batch, hidden], in float32.

    As sentence-transformers' Pooling does (a row without any token gives zeros).

    Args:
        hidden: [batch, tokens, hidden].
        mask: [batch, tokens], 1 for tokens and 0 for padding.
    """
    weights = mask.unsqueeze(-1).float()
    return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def saved_directory(model: SentenceTransformer) -> Path | None:
    """Return the local directory that a model was loaded from; None when it was made in memory."""
    path = Path(str(getattr(inner_model(model), "name_or_path", "") or ""))
    return path if path.name and path.is_dir() else None


@contextmanager
def quick_attention(transformer: PreTrainedModel, device: torch.device) -> Iterator[None]:
    """Attend with plain matrix products on a CPU, and with torch's fused attention on anything else.

    The fused attention is slower on a CPU on sentences: measured on two cores with 128 sentences in bfloat16,
    forward 1.4 times (24 tokens) and forward and backward together 1.4 (24 tokens) to 1.7 times (40 tokens).
    """
    before = transformer.config._attn_implementation
    transformer.set_attn_implementation(explain_attention(device.type).value)
    try:
        yield
    finally:
        transformer.set_attn_implementation(before)
