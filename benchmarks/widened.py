"""A BERT encoder made twice as wide, in the shape of an XLM-R, with the same vectors: weights to try XLM-R's size with.

XLM-R's own weights are on no package registry, so its size (768 wide, 278.0 M parameters) could only be tried with
random ones, whose scores mean nothing. multilingual-e5-small has XLM-R's tokenizer and half its width; doubled it has
XLM-R's shape, name by name:

    python -m benchmarks.widened multilingual-e5-small DIRECTORY

Every channel is there twice, in the second half once more, so that a norm sees the mean and the variance that it saw
before. A map that reads doubled channels has half of each weight. Of attention's heads each is doubled in itself: the
product of query and key doubles, and is divided by the root of twice as many channels, so queries and keys are smaller
by the fourth root of two. That is exact but for rounding; see :func:`widen`.

What comes out is e5-small in a larger body and no XLM-R: it says what students of that size cost, and that the way from
the hub to a record works at that size; it says nothing of how good XLM-R is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertModel, XLMRobertaConfig, XLMRobertaModel

from xlbench.encoders.directories import quiet_transformers
from xlbench.encoders.encode import encode
from xlbench.encoders.find import find_encoder, load_encoder
from xlbench.encoders.modules import transformer_of
from xlbench.plugins.registry import load_registry
from xlbench.settings import read_settings

OFFSET = 2  # XLM-R's position of the first token is the padding token's id and one more
PADDING = 1
SENTENCES = ("A dog runs.", "Ein Hund rennt durch den Park.", "这是一个更长的句子，里面有很多词。", "x")


def widen(model: BertModel, vocabulary: int) -> XLMRobertaModel:
    """Return an XLM-R of twice the width whose last hidden state is the BERT's twice over: [h; h], within rounding.

    Args:
        model: Without a relative position bias; only segment 0 of it is kept, since XLM-R has one.
        vocabulary: Rows of the token table to keep, the first ones.
    """
    config = model.config
    wide = XLMRobertaModel(
        XLMRobertaConfig(
            vocab_size=vocabulary,
            hidden_size=2 * config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            intermediate_size=2 * config.intermediate_size,
            hidden_act=config.hidden_act,
            max_position_embeddings=config.max_position_embeddings + OFFSET,
            type_vocab_size=1,
            layer_norm_eps=config.layer_norm_eps,
            pad_token_id=PADDING,
        )
    )
    given = model.state_dict()
    wide.load_state_dict(
        {name: _tensor(name, given, config.num_attention_heads, vocabulary) for name in wide.state_dict()}
    )
    return wide


def _tensor(name: str, given: dict[str, torch.Tensor], heads: int, vocabulary: int) -> torch.Tensor:
    """Return a tensor of the wide encoder."""
    own = given[name]
    if name == "embeddings.word_embeddings.weight":
        return torch.cat([own[:vocabulary], own[:vocabulary]], 1)
    if name == "embeddings.position_embeddings.weight":
        first = own.new_zeros(OFFSET, own.shape[1])  # of padding, and one that is never read
        rows = torch.cat([first, own])
        return torch.cat([rows, rows], 1)
    if name == "embeddings.token_type_embeddings.weight":
        return torch.cat([own[:1], own[:1]], 1)
    if name.endswith("LayerNorm.weight") or name.endswith("LayerNorm.bias"):
        return torch.cat([own, own])
    into_heads = ".attention.self." in name
    out = _by_head(own, heads, 0) if into_heads else torch.cat([own, own], 0)
    if into_heads and (".query." in name or ".key." in name):
        out = out * 2**-0.25
    if own.ndim == 1:
        return out
    from_heads = name.endswith("attention.output.dense.weight")
    return (_by_head(out, heads, 1) if from_heads else torch.cat([out, out], 1)) / 2


def _by_head(tensor: torch.Tensor, heads: int, axis: int) -> torch.Tensor:
    """Return a tensor with the channels of every head doubled behind themselves, along an axis."""
    return torch.cat([part for head in tensor.chunk(heads, axis) for part in (head, head)], axis)


def widened(model: SentenceTransformer, directory: Path) -> SentenceTransformer:
    """Save a doubled encoder as a SentenceTransformer directory, and return it as loaded from there.

    Args:
        model: A BERT with mean pooling and XLM-R's tokenizer.
        directory: The directory to make.
    """
    inner = transformer_of(model)
    assert isinstance(inner, BertModel)
    raw = directory.with_name(f"{directory.name}-raw")
    with quiet_transformers():
        widen(inner, min(inner.config.vocab_size, len(model.tokenizer))).save_pretrained(raw)
        model.tokenizer.save_pretrained(raw)
        body = Transformer(str(raw), max_seq_length=model.max_seq_length)
        pooling = Pooling(body.get_embedding_dimension(), "mean")
        wide = SentenceTransformer(modules=[body, pooling, Normalize()], device="cpu")
        wide.save_pretrained(str(directory), create_model_card=False)
    return wide


def main() -> None:
    """Widen an encoder and compare the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder")
    parser.add_argument("directory", type=Path)
    asked = parser.parse_args()
    settings, registry = read_settings(None, None), load_registry(())
    model = load_encoder(find_encoder(asked.encoder, registry.encoders, settings), registry.encoders, settings)
    wide = widened(model, asked.directory)
    apart = largest_difference(model, wide, SENTENCES)
    size = sum(it.numel() for it in wide.parameters())
    print(f"{asked.directory}: {size / 1e6:.1f} M parameters; vectors differ by at most {apart:.1e}")


def largest_difference(model: SentenceTransformer, wide: SentenceTransformer, sentences: tuple[str, ...]) -> float:
    """Return the largest difference between the vectors of two encoders, of one [v; v] / sqrt(2)."""
    narrow, twice = (torch.from_numpy(encode(it, list(sentences))) for it in (model, wide))
    return float((twice - torch.cat([narrow, narrow], 1) * 0.5**0.5).abs().max())


if __name__ == "__main__":
    main()
