"""What a loaded encoder must satisfy: a tokenizer of its own, tokens and positions that it has, and usable vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError, encoding_errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Transformer
    from torch import nn
    from transformers import PreTrainedModel

# Of different lengths, so that all but one are padded; as many as it takes to see what is done to larger batches only.
PROBE = (
    "One.",
    "Two sentences of which one is longer, so that the other one has to be padded.",
    "The old house near the river",
    "Is it 7 or 12?",
    "A cat sees a dog under the green tree, and both of them run.",
)
# Of a vector's length: how far it may move if its sentence is encoded again, alone. Floats move it by a millionth.
TOLERANCE = 1e-2
WIDTHS = "The width that its modules declare must be that of its vectors (see its modules' config.json)."


def check_tokenizer(first: Transformer, folder: Path) -> None:
    """Refuse a directory without a tokenizer: transformers makes one up that knows no word.

    Args:
        first: The module that was loaded.
        folder: The directory that it was loaded from.

    Raises:
        XlbenchError: No file holds a vocabulary, or it has special tokens only.
    """
    tokenizer = first.tokenizer
    if tokenizer is None:
        return
    files: Mapping[str, str] = tokenizer.vocab_files_names
    needed = [files[kind] for kind in ("vocab_file", "merges_file") if kind in files]
    whole = files.get("tokenizer_file", "tokenizer.json")
    there = (folder / whole).is_file() or (needed and all((folder / name).is_file() for name in needed))
    problem = ""
    if files and not there:
        problem = f"'{folder}' holds no tokenizer: neither {whole} nor {' with '.join(needed) or 'a vocabulary'}"
    elif files and len(tokenizer.get_vocab()) <= len(set(tokenizer.all_special_ids)):
        problem = f"The tokenizer in '{folder}' knows no token but its {len(tokenizer.get_vocab())} special ones"
    if problem:
        raise XlbenchError(
            f"{problem}, so that every word would be unknown.",
            "Save the encoder's tokenizer there as well: AutoTokenizer.from_pretrained(ORIGINAL).save_pretrained(DIR).",
        )


def fit_tokens(model: SentenceTransformer, name: str) -> None:
    """Refuse tokens that an encoder has no row for, and cut sentences where its positions end.

    Args:
        model: Its ``max_seq_length`` is lowered to the positions that it has, and padding is moved behind the tokens
            where positions are counted from the row's start: padding before them would shift them.
        name: For errors.

    Raises:
        XlbenchError: A token id is beyond the embedding table, no token of a sentence would be read, or positions are
            counted from another padding token's id than the tokenizer's.
    """
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding, Transformer

    first = next(iter(model.children()), None)
    if isinstance(first, StaticEmbedding):
        _check_ids(first.tokenizer.get_vocab(), first.embedding.num_embeddings, name)
        return
    if not isinstance(first, Transformer) or first.tokenizer is None:
        return
    table = _token_embeddings(first.auto_model)
    if table is not None:
        _check_ids(first.tokenizer.get_vocab(), table, name)
    _fit_length(first, name)
    rows, offset = _positions(first.auto_model)
    padding = first.tokenizer.pad_token_id
    if rows is not None and offset and padding != offset - 1:
        raise XlbenchError(
            f"Encoder '{name}' counts positions from the padding token's id on, which config.json says is {offset - 1}"
            f" (pad_token_id), and its tokenizer says is {padding}.",
            "Use the tokenizer that belongs to the encoder, or correct pad_token_id in its config.json.",
        )
    if rows is not None and offset == 0:
        first.tokenizer.padding_side = "right"


def _token_embeddings(transformer: PreTrainedModel) -> int | None:
    """Return the rows of the table of token embeddings; None where the encoder does not say which that is."""
    try:
        table = transformer.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        return None
    rows = getattr(table, "num_embeddings", None)
    return int(rows) if rows is not None else None


def _check_ids(vocabulary: Mapping[str, int], rows: int, name: str) -> None:
    beyond = sorted((number, token) for token, number in vocabulary.items() if number >= rows)
    if beyond:
        number, token = beyond[0]
        more = f" (and {len(beyond) - 1} more)" if len(beyond) > 1 else ""
        raise XlbenchError(
            f"The tokenizer of encoder '{name}' gives '{token}' the id {number}{more}, but the embedding table has"
            f" {rows} rows.",
            "Use the tokenizer that belongs to the encoder, or resize_token_embeddings before saving.",
        )


def _fit_length(first: Transformer, name: str) -> None:
    assert first.tokenizer is not None
    limit, special = first.max_seq_length, first.tokenizer.num_special_tokens_to_add()
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or limit <= special):
        raise XlbenchError(
            f"Encoder '{name}' reads {limit!r} tokens of a sentence (max_seq_length), {special} of them special.",
            f"Set max_seq_length to a whole number above {special}.",
        )
    rows, offset = _positions(first.auto_model)
    if rows is not None and (limit is None or limit > rows - offset):
        first.max_seq_length = rows - offset


def _positions(transformer: nn.Module) -> tuple[int | None, int]:
    """Return the rows of the table of position embeddings, None without one, and those before the first token's.

    RoBERTa's family counts positions from the padding token's id on, among the tokens that are not padding.
    """
    from torch import nn

    for module in transformer.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, nn.Embedding):
            padding = getattr(module, "padding_idx", None)
            counted = isinstance(padding, int) and table.padding_idx is not None
            return table.num_embeddings, int(padding or 0) + 1 if counted else 0
    return None, 0


def check_pooler(first: Transformer, missing: tuple[str, ...], folder: Path) -> None:
    """Refuse an absent pooler whose output is the sentence's vector.

    Raises:
        XlbenchError: Names the tensors.
    """
    outputs = [way.get("method_output_name") for way in first.modality_config.values()]
    if missing and any("pooler_output" in str(output) for output in outputs):
        raise XlbenchError(
            f"The weights in '{folder}' lack '{missing[0]}', whose output is the sentence's vector.",
            "Save the encoder with its pooler, or pool the token embeddings (a Pooling module).",
        )


def check_vectors(model: SentenceTransformer, name: str) -> None:
    """Refuse an encoder that cannot encode, or whose vectors nothing could be computed with.

    Args:
        model: Encodes some short sentences, together, one by one and together again.
        name: For errors.

    Raises:
        XlbenchError: It raises an error, or gives vectors of another number, width or kind than it declares, vectors
            that are not finite, or another vector for a sentence that stands beside another one.
    """
    import torch

    def encoded(texts: list[str]) -> torch.Tensor:
        with encoding_errors(name):
            found: object = model.encode(texts, show_progress_bar=False, convert_to_tensor=True)
        if not isinstance(found, torch.Tensor):
            raise XlbenchError(
                f"Encoder '{name}' gives {type(found).__name__} where it should give vectors.",
                "Its encode method must return a tensor where it is asked for one.",
            )
        return found

    model.eval()
    together = encoded(list(PROBE))
    with encoding_errors(name):
        declared = model.get_embedding_dimension()
    width = declared if declared is not None else together.shape[-1]
    if together.shape != (len(PROBE), width):
        raise XlbenchError(
            f"Encoder '{name}' declares vectors of {width} numbers, and gives an array of shape"
            f" {list(together.shape)} for {len(PROBE)} sentences.",
            WIDTHS,
        )
    if not together.is_floating_point():
        kind = str(together.dtype).removeprefix("torch.")
        raise XlbenchError(f"Encoder '{name}' gives vectors of {kind}.", "Its vectors must be of floats.")
    if not torch.isfinite(together).all():
        raise XlbenchError(
            f"Encoder '{name}' gives vectors that are not finite: they hold NaN or infinity.",
            "Its training has diverged, or its files are damaged: take another copy of it.",
        )
    alone = torch.stack([encoded([text])[0] for text in PROBE])
    # Once more, since noise may set in after some calls.
    moved, later = _moved(together, alone), _moved(together, encoded(list(PROBE)))
    if moved is not None or later is not None:
        again = later is not None or _moved(alone[:1], encoded([PROBE[0]])) is not None
        raise XlbenchError(
            f"Encoder '{name}' gives the same sentence two vectors, {moved or later:.2g} apart"
            + (" each time." if again else ": its vector depends on which sentences stand beside it."),
            "An encoder must be deterministic." if again else "Padding must not be read (attention_mask).",
        )


def _moved(first: torch.Tensor, second: torch.Tensor) -> float | None:
    """Return the largest distance between vectors of the same sentences, float [n, d]; None where it is rounding."""
    apart = (first - second).norm(dim=1)
    # What is not finite the second time is no rounding either.
    return float(apart.max()) if not (apart <= TOLERANCE * second.norm(dim=1)).all() else None
