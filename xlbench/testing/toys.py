"""Toy encoders and corpora: whole runs in seconds, without any download."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Literal

from xlbench.experiment import Budget, CorpusRef, Data, EncoderRef, Experiment, StudentSpec, Suite, TaskRef

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

    from xlbench.distill.method import Options

STUDENT = StudentSpec(name="toy-half", bottleneck=8, layers=2, repeats=2)
BUDGET = Budget(name="toy", dev_pairs=16, assistant_pairs=128, student_pairs=512)
SUITE = Suite(
    name="canaries",
    summary="sentences that no training may see",
    tasks=(TaskRef(task="CanarySTS", family="sts", subsets=("en-de",), loader="xlbench.testing.canary:CanarySTS"),),
    example=True,
)

LETTERS = "abcdefghijklmnopqrstuvwxyzäöüß .,?!'"
WORDS = {
    "cat": "katze", "dog": "hund", "house": "haus", "tree": "baum", "water": "wasser", "bread": "brot",
    "red": "rot", "green": "grün", "small": "klein", "old": "alt", "sees": "sieht", "eats": "isst",
    "near": "nahe", "under": "unter", "bird": "vogel", "child": "kind", "night": "nacht", "stone": "stein",
}  # fmt: skip


def toy_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token for each letter; <s> 0, <pad> 1, </s> 2, <unk> 3, as XLM-R has them."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *LETTERS])}
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=special["unk_token"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)  # type: ignore[no-untyped-call]


def save_toy_encoder(
    path: Path,
    *,
    seed: int = 0,
    hidden: int = 16,
    layers: int = 4,
    architecture: Literal["bert", "xlm-roberta"] = "bert",
    scale: float = 0.3,
    rows: int | None = None,
) -> Path:
    """Save a SentenceTransformer directory with random weights and return its path.

    Args:
        path: The directory to make; one with the bare transformer is made beside it.
        seed: Of the weights.
        hidden: Width; two attention heads, and twice as wide in the middle.
        layers: How many.
        architecture: One of the two that students can be cut from.
        scale: Standard deviation of the weights: the larger, the less alike the vectors of two sentences.
        rows: Of its token embeddings, where it has more than the tokenizer has tokens.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

    from xlbench.encoders.directories import quiet_transformers

    torch.manual_seed(seed)
    tokenizer = toy_tokenizer()
    settings: dict[str, Any] = {  # arguments of two classes, of several types
        "vocab_size": rows or len(tokenizer),
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": 130,
        "type_vocab_size": 2 if architecture == "bert" else 1,
        "pad_token_id": 1,
        "initializer_range": scale,
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
    """Return distinct English sentences with word-by-word translations into German."""
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


def toy_experiment(method: str, options: Options) -> Experiment:
    """Return an experiment to plan with: a toy student, a budget of 128 and 512 pairs, an assistant as its own teacher.

    Its encoder and its corpus are names only: a plan reads neither.
    """
    assistant = EncoderRef(name="toy", origin="registered", fingerprint="toy-assistant")
    corpus = CorpusRef(reference="toy", digest="toy-corpus")
    return Experiment(
        method=method,
        options=options.model_dump(mode="json"),
        student=STUDENT,
        teachers=(assistant,),
        assistant=assistant,
        data=Data(corpora=(corpus,), languages=("de",), dev_pairs=BUDGET.dev_pairs, excluded="nothing"),
        suite=SUITE,
        budget=BUDGET,
        seed=0,
        precision="float32",
    )
