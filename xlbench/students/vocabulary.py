"""Training on the rows of the word table that the corpus uses, and putting them back.

A step over a 250,037-row table spends most of its optimiser time on rows that no sentence of the corpus touches.
Training a table of the used rows alone gives the same gradients; the untouched rows keep their values.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
import torch
from torch import nn

from xlbench.errors import XlbenchError
from xlbench.students.architecture import BottleneckEmbedding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from transformers import BertModel, PreTrainedTokenizerFast, XLMRobertaModel


TokenEmbeddings: TypeAlias = "nn.Embedding | BottleneckEmbedding"


def token_embeddings(model: BertModel | XLMRobertaModel) -> TokenEmbeddings:
    """Return what gives token ids their embeddings."""
    return cast("TokenEmbeddings", model.embeddings.word_embeddings)


def set_token_embeddings(model: BertModel | XLMRobertaModel, words: TokenEmbeddings) -> None:
    """Exchange what gives token ids their embeddings; the configuration is not touched."""
    model.embeddings.set_submodule("word_embeddings", words)


def embedding_table(model: BertModel | XLMRobertaModel) -> nn.Embedding:
    """Return the table that token ids index: V x H, or V x B under a bottleneck."""
    return _table(token_embeddings(model))


def _table(words: TokenEmbeddings) -> nn.Embedding:
    return words.table if isinstance(words, BottleneckEmbedding) else words


def chosen_rows(words: TokenEmbeddings, tokens: torch.Tensor, padding: int | None) -> TokenEmbeddings:
    """Return what gives some of the tokens the same embeddings.

    Args:
        words: Of all tokens; left as it is, but its B -> H map is shared.
        tokens: Distinct token ids, int64 [U]; their positions are the new ids.
        padding: The new id whose gradient stays zero, if any.
    """
    table: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        _table(words).weight.detach()[tokens], freeze=False, padding_idx=padding
    )
    if not isinstance(words, BottleneckEmbedding):
        return table
    places = tokens.new_zeros(len(tokens)) if words.correction is None else words.place[tokens].long()
    corrected = places.nonzero().flatten()
    rows, width = table.weight.shape
    few = BottleneckEmbedding(rows, width, words.up.out_features, padding, len(corrected))
    few.table, few.up = table, words.up
    if words.correction is not None:
        few.correct(corrected, words.correction.weight[places[corrected]])
    return few


def shrink_table(model: BertModel | XLMRobertaModel, used: np.ndarray) -> TokenEmbeddings:
    """Leave only the rows of the ``used`` token ids, in that order, and return what was there.

    Args:
        model: Changed in place; from now on it takes positions in ``used`` instead of token ids.
        used: Distinct token ids, ascending, int [U]; all ids up to the padding token's, which so stays itself.

    Returns:
        The words as they were, for :func:`restore_table`.
    """
    full = token_embeddings(model)
    set_token_embeddings(model, chosen_rows(full, torch.as_tensor(used, dtype=torch.long), _table(full).padding_idx))
    return full


def restore_table(model: BertModel | XLMRobertaModel, full: TokenEmbeddings, used: np.ndarray) -> None:
    """Undo :func:`shrink_table`, with the trained rows in their places."""
    few, tokens = token_embeddings(model), torch.as_tensor(used, dtype=torch.long)
    with torch.no_grad():
        _table(full).weight[tokens] = _table(few).weight.detach().cpu()
        if (
            isinstance(full, BottleneckEmbedding)
            and isinstance(few, BottleneckEmbedding)
            and few.correction is not None
        ):
            assert full.correction is not None
            # Of tokens without a correction it is row 0 in both, which is zero.
            full.correction.weight[full.place[tokens].long()] = few.correction(few.place).detach().cpu()
    set_token_embeddings(model, full)


MODELS = ("Unigram", "WordPiece", "WordLevel")
SCRIPT_SHARE = 1e-3  # of the letters' tokens: a script with fewer is a foreign name here and there


class Vocabulary:
    """A tokenizer's vocabulary, read from its description.

    Args:
        tokenizer: Left as it is.

    Raises:
        XlbenchError: Tokens are cut by another model than one of ``MODELS``.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.settings = json.loads(tokenizer.backend_tokenizer.to_str())
        self.model = self.settings["model"]
        self.kind: str = self.model["type"]
        if self.kind not in MODELS:
            raise XlbenchError(
                f"A vocabulary of the kind {self.kind} cannot be trimmed.",
                f"Choose an assistant whose tokenizer is one of {', '.join(MODELS)}.",
            )
        if self.kind == "Unigram":
            self.pieces = {piece: number for number, (piece, _) in enumerate(self.model["vocab"])}
        else:
            self.pieces = dict(self.model["vocab"])
        self.added = {token["content"]: int(token["id"]) for token in self.settings["added_tokens"]}

    def size(self) -> int:
        """Return one more than the highest id."""
        return 1 + max(*self.pieces.values(), *self.added.values())

    def characters(self) -> Iterator[tuple[str, int]]:
        """Yield the pieces that are one character or one byte, and their ids."""
        prefix = self.model.get("continuing_subword_prefix") or ""
        for piece, number in self.pieces.items():
            text = piece.removeprefix(prefix) if prefix else piece
            if len(text) == 1 or (self.model.get("byte_fallback") and piece[:3] == "<0x" and len(piece) == 6):
                yield text, number


def kept_tokens(
    tokenizer: PreTrainedTokenizerFast,
    counts: NDArray[np.int64],
    *,
    least: int = 1,
    characters: bool = True,
    below: int = 0,
) -> NDArray[np.int64]:
    """Return the ids that a trimmed vocabulary keeps, ascending.

    With ``least`` 1 the sentences that were counted keep their tokens exactly. WordLevel looks words up, and
    WordPiece takes the longest piece that fits: what was taken still is. Unigram takes the most probable path:
    fewer pieces leave the best one best, unless a character that lost its own piece can now be passed as unknown.
    That costs 10 more than the least probable piece (SentencePiece's penalty), so it never pays as long as that
    piece is kept.

    Args:
        tokenizer: Unigram, WordPiece or WordLevel.
        counts: How often each token occurs, int [at least the number of tokens].
        least: Tokens that occur less often are dropped.
        characters: Keep the pieces of one character, so that words which the corpus lacks can be spelt: all but
            letters of scripts that it does not use. Pieces of one byte are kept in any case.
        below: NDArray[np.int64] under this one are kept.

    Raises:
        XlbenchError: The tokenizer is of another kind.
    """
    vocabulary = Vocabulary(tokenizer)
    kept = {*np.flatnonzero(counts[: vocabulary.size()] >= least).tolist(), *range(below)}
    kept |= set(vocabulary.added.values())
    scripts = _scripts(vocabulary, counts)
    for text, number in vocabulary.characters():
        if len(text) > 1 or (characters and (not _is_letter(text) or _script(text) in scripts)):
            kept.add(number)
    if vocabulary.kind == "Unigram":
        scores = [score for _, score in vocabulary.model["vocab"]]
        kept |= {int(np.argmin(scores)), int(vocabulary.model["unk_id"])}
    elif (unknown := vocabulary.model.get("unk_token")) in vocabulary.pieces:
        kept.add(vocabulary.pieces[unknown])
    return np.array(sorted(kept), np.int64)


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"


def _script(character: str) -> str:
    """Return the script of a letter: the first word of its name in Unicode, e.g. LATIN, ARABIC, CJK."""
    return unicodedata.name(character, "").partition(" ")[0]


def _scripts(vocabulary: Vocabulary, counts: NDArray[np.int64]) -> set[str]:
    """Return the scripts that the counted tokens are written in."""
    weights: Counter[str] = Counter()
    for piece, number in vocabulary.pieces.items():
        letter = next((character for character in piece if _is_letter(character)), None)
        if letter is not None and number < len(counts):
            weights[_script(letter)] += int(counts[number])
    return {script for script, weight in weights.items() if weight and weight >= SCRIPT_SHARE * weights.total()}


def pieces_before_unknown(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> set[int]:
    """Return the pieces that WordPiece takes from words before it gives them up as unknown.

    Without them it would take shorter ones, and might then come to the end of the word.

    Args:
        tokenizer: Of any kind; others than WordPiece give nothing.
        texts: Sentences in which an unknown token was found.
    """
    vocabulary = Vocabulary(tokenizer)
    found: set[int] = set()
    if vocabulary.kind != "WordPiece":
        return found
    backend = tokenizer.backend_tokenizer
    prefix, unknown = vocabulary.model["continuing_subword_prefix"], vocabulary.model["unk_token"]
    for text in texts:
        plain = backend.normalizer.normalize_str(text) if backend.normalizer else text
        words = backend.pre_tokenizer.pre_tokenize_str(plain) if backend.pre_tokenizer else [(plain, (0, 0))]
        for word, _ in words:
            if [token.value for token in backend.model.tokenize(word)] == [unknown]:
                found |= _longest_pieces(word, vocabulary.pieces, prefix)
    return found


def _longest_pieces(word: str, pieces: dict[str, int], prefix: str) -> set[int]:
    taken: set[int] = set()
    start = 0
    while start < len(word):
        lead = prefix if start else ""
        stop = next((stop for stop in range(len(word), start, -1) if lead + word[start:stop] in pieces), None)
        if stop is None:
            break
        taken.add(pieces[lead + word[start:stop]])
        start = stop
    return taken
