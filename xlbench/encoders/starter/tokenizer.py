"""The starter assistant's tokenizer, built from the pieces in its container.

It equals the ``tokenizer.json`` published with multilingual-e5-small (XLM-R's SentencePiece model).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from xlbench.encoders.starter.charsmap import precompiled_charsmap

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from xlbench.encoders.starter.e5s1 import Container

MAX_TOKENS = 512
BOS, PAD, EOS, UNK, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"


def build_tokenizer(container: Container) -> Tokenizer:
    """Build the tokenizer of the ``tokenizers`` library."""
    tokenizer = Tokenizer(models.Unigram(list(container.pieces), unk_id=container.special["unk"]))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(precompiled_charsmap(container.replacements)),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[BOS, "$A", EOS],
        pair=[BOS, "$A", EOS, EOS, "$B", EOS],
        special_tokens=[(BOS, container.special["bos"]), (EOS, container.special["eos"])],
    )
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in (BOS, PAD, EOS, UNK, MASK)])
    return tokenizer


def wrap_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Wrap a tokenizer in transformers' class, with its special tokens and the maximum of 512 tokens."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        sep_token=EOS,
        cls_token=BOS,
        unk_token=UNK,
        pad_token=PAD,
        mask_token=MASK,
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )
