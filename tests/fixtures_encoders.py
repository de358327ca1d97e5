"""Toy encoders, and a toy version of the starter assistant's container."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

WORDS = tuple("abcdefghijklmnopqrstuvwxyz")
DIMENSION = 16


def toy_encoder(path: Path, *, seed: int = 0) -> SentenceTransformer:
    """Write and load a BERT of 2 layers over single letters, mean-pooled and normalised."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    vocabulary = {word: number for number, word in enumerate((*special, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    bare = path.parent / f"{path.name}-bare"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=48,
    ).save_pretrained(bare)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=DIMENSION,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,  # so that sentences differ
    )
    BertModel(config).save_pretrained(bare)
    modules = [Transformer(str(bare)), Pooling(DIMENSION, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(path), create_model_card=False)
    return SentenceTransformer(str(path), device="cpu")


PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁", "▁hello", "▁world", "é", "a", "b", "c", "<mask>")
SHAPE = (32, 1, 2, 64, len(PIECES) + 3, 8, 2)  # hidden, layers, heads, ffn, vocab, positions, types


def toy_container(*, left_out: str = "", extra: str = "") -> bytes:
    """Return a small E5S1 file with random weights: every matrix in Q4_0, the other tensors in float32.

    Args:
        left_out: A tensor to leave out.
        extra: Name of a tensor to add that does not belong to the architecture.
    """
    hidden, layers, _, ffn, vocab, positions, types = SHAPE
    sizes = {"emb.word": vocab * hidden, "emb.pos": positions * hidden, "emb.type": types * hidden}
    sizes |= {"emb.ln.w": hidden, "emb.ln.b": hidden}
    for layer in range(layers):
        for part in ("q", "k", "v", "ao"):
            sizes |= {f"l{layer}.{part}.w": hidden * hidden, f"l{layer}.{part}.b": hidden}
        for part in ("aln", "oln"):
            sizes |= {f"l{layer}.{part}.w": hidden, f"l{layer}.{part}.b": hidden}
        sizes |= {f"l{layer}.fi.w": ffn * hidden, f"l{layer}.fi.b": ffn}
        sizes |= {f"l{layer}.fo.w": hidden * ffn, f"l{layer}.fo.b": hidden}
    if extra:
        sizes[extra] = hidden
    sizes.pop(left_out, None)
    generator = np.random.default_rng(0)
    contents = {}
    for name, size in sizes.items():
        if name.endswith(".w") and "ln" not in name:
            contents[name] = (1, size, q4_0(generator.integers(0, 16, size), [0.125] * (size // 32)))
        else:
            contents[name] = (0, size, generator.standard_normal(size).astype("<f4").tobytes())
    blob = [piece.encode() for piece in PIECES]
    scores = [0.0 if piece.startswith("<") else -float(number) for number, piece in enumerate(PIECES)]
    head = struct.pack("<4sI7ifi", b"E5S1", 1, *SHAPE, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, sum(map(len, blob)))
    head += np.cumsum([0, *map(len, blob)]).astype("<u4").tobytes() + np.array(scores, "<f4").tobytes()
    head += b"".join(blob)
    norms = struct.pack("<IB1I", ord("A"), 1, ord("a")) + struct.pack("<IB2I", ord("ĳ"), 2, ord("a"), ord("b"))
    head += struct.pack("<iI", 2, len(norms)) + norms + struct.pack("<i", len(contents))
    directory = sum(2 + len(name) + 21 for name in contents)
    body_start = len(head) + directory
    entries, body = b"", b""
    for name, (dtype, count, content) in contents.items():
        entries += struct.pack("<H", len(name)) + name.encode()
        entries += struct.pack("<BIQQ", dtype, count, body_start + len(body), len(content))
        body += content
    return head + entries + body


def q4_0(nibbles: Sequence[int] | np.ndarray, scales: Sequence[float]) -> bytes:
    """Pack blocks of 32 nibbles (0..15) as ggml does: number j in the low half of byte j, j + 16 in the high half."""
    packed = b""
    for block, scale in zip(np.asarray(nibbles, np.uint8).reshape(-1, 32), scales, strict=True):
        packed += np.float16(scale).tobytes() + (block[:16] | block[16:] << 4).astype(np.uint8).tobytes()
    return packed
