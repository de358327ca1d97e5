"""What an encoder does with a sentence besides running its modules; read wherever sentences are encoded or trained on.

Scoring, targets, centring and training all take the prompt, the longest sentence and the columns that are kept from
:func:`pipeline_of`, so that a student is trained as it is scored, and saved so that it is used as it was trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from xlbench.encoders.exported import ExportedEncoder
from xlbench.errors import XlbenchError, encoding_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch
    from torch import nn


@dataclass(frozen=True)
class Pipeline:
    """How an encoder prepares a sentence and finishes its vector.

    Attributes:
        prompt: Stands before every sentence; empty for most encoders.
        unpooled: Tokens at the start that pooling leaves out, where it leaves the prompt out; 0 where it reads all.
        max_tokens: The most tokens of a sentence, prompt and special tokens included; None: no limit.
        width: Columns of the vector that are kept; None: all.
        obstacle: Why tokens alone do not determine the vector, so that only the encoder's own ``encode`` gives it;
            empty for an encoder that tokenises a sentence and runs its modules.
    """

    prompt: str = ""
    unpooled: int = 0
    max_tokens: int | None = None
    width: int | None = None
    obstacle: str = ""

    def texts(self, sentences: Sequence[str]) -> list[str]:
        """Return what is tokenised for some sentences."""
        return [self.prompt + sentence for sentence in sentences] if self.prompt else list(sentences)

    def limit(self, max_tokens: int | None) -> int | None:
        """Return the most tokens of a sentence where a caller allows ``max_tokens`` as well; None: no limit."""
        limits = [limit for limit in (max_tokens, self.max_tokens) if limit is not None]
        return min(limits, default=None)

    def features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what the first module takes, of token ids and mask, both int64 [sentences, tokens]."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.unpooled:
            given["prompt_length"] = input_ids.new_full((1,), self.unpooled)
        return given

    def cut(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the columns that are kept of vectors, float [sentences, columns]."""
        return vectors if self.width is None else vectors[:, : self.width]

    def require_tokens(self, what: str) -> None:
        """Refuse an encoder whose vectors do not follow from its tokens alone.

        Args:
            what: The participle that completes the error "This encoder cannot be ...".

        Raises:
            XlbenchError: Says why.
        """
        if self.obstacle:
            raise XlbenchError(
                f"This encoder cannot be {what}: {self.obstacle}.",
                "Choose another assistant; as a teacher, or to be scored, this one works.",
            )


def pipeline_of(model: SentenceTransformer) -> Pipeline:
    """Return how an encoder prepares sentences and finishes vectors."""
    prompt, longest = default_prompt(model), model.max_seq_length
    limit = longest if isinstance(longest, int) else None  # infinite for encoders that do not count tokens
    if obstacle := _obstacle(next(iter(model.children()), None)):
        return Pipeline(prompt, 0, limit, model.truncate_dim, obstacle)
    unpooled = 0
    if prompt and not all(part.include_prompt for part in model.children() if isinstance(part, Pooling)):
        with encoding_errors():
            ids = model.tokenizer(prompt)["input_ids"]
        # As sentence-transformers counts: without the special token that ends the prompt.
        unpooled = len(ids) - (bool(ids) and ids[-1] in model.tokenizer.all_special_ids)
    return Pipeline(prompt, unpooled, limit, model.truncate_dim)


def default_prompt(model: SentenceTransformer) -> str:
    """Return the prompt that an encoder puts before a sentence when it is asked for none; empty for most encoders."""
    name = model.default_prompt_name
    return "" if name is None else model.prompts.get(name) or ""


def with_modules(model: SentenceTransformer, modules: Iterable[nn.Module]) -> SentenceTransformer:
    """Return an encoder of some modules that prepares sentences as ``model`` does, and keeps all columns."""
    return SentenceTransformer(
        modules=list(modules),
        prompts={name: prompt or "" for name, prompt in model.prompts.items()},
        default_prompt_name=model.default_prompt_name,
    )


def _obstacle(first: nn.Module | None) -> str:
    if isinstance(first, ExportedEncoder):
        return ""
    if not isinstance(first, Transformer):
        return f"its first module is a {type(first).__name__}, no transformer"
    if first.tokenizer is None or set(first.modality_config) != {"text"}:
        return "it reads more than plain text"
    if first.processing_kwargs:
        return f"its processing_kwargs change how it tokenises ({', '.join(first.processing_kwargs)})"
    return "it packs sentences into one row" if first.can_flatten_inputs else ""
