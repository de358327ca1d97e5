"""Toy encoders and corpora: whole runs in seconds, with nothing from outside."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

LETTERS = "abcdefghijklmnopqrstuvwxyzäöüß .,?!'"
WORDS = {
    "cat": "katze", "dog": "hund", "house": "haus", "tree": "baum", "water": "wasser", "bread": "brot",
    "red": "rot", "green": "grün", "small": "klein", "old": "alt", "sees": "sieht", "eats": "isst",
    "near": "nahe", "under": "unter", "bird": "vogel", "child": "kind", "night": "nacht", "stone": "stein",
}  # fmt: skip


def toy_tokenizer() -> PreTrainedTokenizerFast:
    """One token a letter; <s> 0, <pad> 1, </s> 2, <unk> 3, as XLM-R has them."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def save_toy_encoder(
    path: Path,
    *,
    seed: int = 0,
    hidden: int = 16,
    layers: int = 4,
    architecture: Literal["bert", "xlm-roberta"] = "bert",
) -> Path:
    """Save a SentenceTransformer directory with random weights and return its path."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

    from xlbench.encoders.loading import quiet_transformers

    torch.manual_seed(seed)
    tokenizer = toy_tokenizer()
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": 130,
        "type_vocab_size": 2 if architecture == "bert" else 1,
        "pad_token_id": 1,
        "initializer_range": 0.3,
    }
    model = (
        BertModel(BertConfig(**settings)) if architecture == "bert" else XLMRobertaModel(XLMRobertaConfig(**settings))
    )
    raw = path.with_name(f"{path.name}-raw")
    with quiet_transformers():
        model.save_pretrained(raw)
        tokenizer.save_pretrained(raw)
        transformer = Transformer(str(raw), max_seq_length=128)
        encoder = SentenceTransformer(
            modules=[transformer, Pooling(hidden, pooling_mode="mean"), Normalize()], device="cpu"
        )
        encoder.save_pretrained(str(path), create_model_card=False)
    return path


def toy_pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Distinct word-by-word translations."""
    generator = random.Random(seed)
    words = list(WORDS)
    pairs: dict[str, str] = {}
    while len(pairs) < count:
        chosen = [generator.choice(words) for _ in range(generator.randint(3, 7))]
        pairs[" ".join(chosen)] = " ".join(WORDS[word] for word in chosen)
    return list(pairs.items())


def write_toy_corpus(path: Path, count: int = 120, language: str = "de") -> Path:
    """Write ``en-xx.tsv`` into a directory and return the directory."""
    path.mkdir(parents=True, exist_ok=True)
    lines = [f"{english}\t{other}\n" for english, other in toy_pairs(count)]
    (path / f"en-{language}.tsv").write_text("".join(lines), "utf-8")
    return path
