"""The parts of a SentenceTransformer that training and encoding work on: its transformer, embeddings and pooling."""

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

# All have `embeddings` and `encoder.layer` in the same layout. The last two are students, made of the first two.
ARCHITECTURES = ("bert", "xlm-roberta", "roberta", "xlbench-bert", "xlbench-xlm-roberta")


def inner_model(model: SentenceTransformer) -> object:
    """Return the transformers model in the first module; None if it holds none, as a static embedding."""
    return getattr(next(iter(model.children()), None), "auto_model", None)


def transformer_of(model: SentenceTransformer) -> PreTrainedModel:
    """Return the transformers encoder inside: BERT, RoBERTa, XLM-R, or a student made of one.

    Raises:
        XlbenchError: The model holds none, or one of another architecture.
    """
    from transformers import PreTrainedModel

    inner = inner_model(model)
    kind = getattr(getattr(inner, "config", None), "model_type", None)
    if not isinstance(inner, PreTrainedModel) or kind not in ARCHITECTURES:
        found = f"has the architecture '{kind}'" if kind else "holds no transformers model"
        raise XlbenchError(
            f"This encoder {found}; students are cut from BERT or XLM-R encoders.",
            "Choose such an assistant, e.g. multilingual-e5-small; any SentenceTransformer can be a teacher.",
        )
    return inner


def embedding_output(
    transformer: PreTrainedModel, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """Return the output of the embedding layer, before any encoder layer: [batch, tokens, hidden].

    Args:
        transformer: What :func:`transformer_of` returned.
        input_ids: [batch, tokens], int64.
        attention_mask: [batch, tokens]. The output at padding is arbitrary; :func:`mean_pool` ignores it.
    """
    del attention_mask  # these layers get positions from the ids; others may need the mask
    embedded: torch.Tensor = transformer.get_submodule("embeddings")(input_ids=input_ids)
    return embedded


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over the tokens of each row: float32 [batch, hidden].

    The same as sentence-transformers' Pooling with mean: a row without tokens gives zeros.

    Args:
        hidden: [batch, tokens, hidden].
        mask: [batch, tokens], 1 for tokens and 0 for padding.
    """
    weights = mask.unsqueeze(-1).float()
    return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def saved_directory(model: SentenceTransformer) -> Path | None:
    """Return the local directory that a model was loaded from; None when it was built in memory."""
    if (exported := getattr(next(iter(model.children()), None), "directory", None)) is not None:
        return Path(exported)
    path = Path(str(getattr(inner_model(model), "name_or_path", "") or ""))
    return path if path.name and path.is_dir() else None


@contextmanager
def quick_attention(transformer: PreTrainedModel, device: torch.device) -> Iterator[None]:
    """Use plain attention on a CPU and torch's fused attention on other devices; undone on leaving.

    On a CPU the fused attention is slower for sentences. Measured on two cores with 128 sentences in bfloat16, it takes
    1.4 times as long forward (24 tokens), and 1.4 (24 tokens) to 1.7 times (40 tokens) forward and backward.
    """
    before = transformer.config._attn_implementation
    transformer.set_attn_implementation(explain_attention(device.type).value)
    try:
        yield
    finally:
        transformer.set_attn_implementation(before)
