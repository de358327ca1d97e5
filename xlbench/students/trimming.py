"""Trimming a vocabulary: dropping tokens that a corpus never uses from the tokenizer and the embedding table.

References: Abdaoui et al. (2020), 'Load What You Need'; Ushio et al. (2023), who trim for several languages at once.
The kept tokens are chosen so that every sentence whose tokens were counted is split into the same tokens as before.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer

from xlbench.errors import XlbenchError
from xlbench.students.architecture import BottleneckEmbedding
from xlbench.students.token_embeddings import embedding_table, select_rows, set_token_embeddings, token_embeddings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from transformers import BertModel, PreTrainedTokenizerFast, XLMRobertaModel

MODELS = ("Unigram", "WordPiece", "WordLevel")  # of the `tokenizers` library
SCRIPT_SHARE = 1e-3
"""Share of the counted tokens with letters above which a script counts as used; below it, it comes from a few foreign
names."""


class Vocabulary:
    """A tokenizer's vocabulary, read from its serialised description.

    Args:
        tokenizer: The tokenizer, which is not changed.

    Attributes:
        settings: The whole description of the tokenizer.
        model: Its part on the tokenization model.
        kind: Type of the model, one of :data:`MODELS`.
        pieces: Id of each token of the model.
        added: Id of each token that was added to the model, e.g. the special ones.

    Raises:
        XlbenchError: The tokenizer has another model than one of :data:`MODELS`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.settings = json.loads(tokenizer.backend_tokenizer.to_str())
        self.model = self.settings["model"]
        self.kind: str = self.model["type"]
        if self.kind not in MODELS:
            raise XlbenchError(
                f"The vocabulary of a {self.kind} tokenizer cannot be trimmed.",
                f"Choose an assistant whose tokenizer is one of {', '.join(MODELS)}.",
            )
        if self.kind == "Unigram":
            self.pieces = {piece: number for number, (piece, _) in enumerate(self.model["vocab"])}
        else:
            self.pieces = dict(self.model["vocab"])
        self.added = {token["content"]: int(token["id"]) for token in self.settings["added_tokens"]}

    def size(self) -> int:
        """Return the highest id plus one."""
        return 1 + max(*self.pieces.values(), *self.added.values())

    def characters(self) -> Iterator[tuple[str, int]]:
        """Yield the pieces that are one character or one byte (``<0x..>``), and their ids."""
        prefix = self.model.get("continuing_subword_prefix") or ""
        for piece, number in self.pieces.items():
            text = piece.removeprefix(prefix) if prefix else piece
            if len(text) == 1 or (self.model.get("byte_fallback") and piece[:3] == "<0x" and len(piece) == 6):
                yield text, number


def choose_tokens(
    tokenizer: PreTrainedTokenizerFast,
    counts: NDArray[np.int64],
    *,
    least: int = 1,
    characters: bool = True,
    below: int = 0,
) -> NDArray[np.int64]:
    """Return the ids of the tokens that a trimmed vocabulary keeps, ascending.

    With ``least`` 1 the counted sentences keep their tokens exactly. WordLevel looks whole words up and WordPiece takes
    the longest piece that fits, so a piece that was taken still is. Unigram takes the most probable path; with fewer
    pieces the best path is still the best one, unless a character that has lost its own piece can now be skipped as
    unknown. SentencePiece scores an unknown character 10 below the least probable piece, so this never pays as long
    as that piece is kept, which it always is.

    Args:
        tokenizer: A Unigram, WordPiece or WordLevel tokenizer.
        counts: Occurrences of each token, int [number of tokens or more].
        least: Tokens with fewer occurrences are dropped.
        characters: Keep pieces of one character, so that words outside the corpus can still be spelt, except letters
            of scripts that the corpus does not use. Pieces of one byte are always kept.
        below: Tokens with an id below this one are kept.

    Raises:
        XlbenchError: The tokenizer is of another kind.
    """
    vocabulary = Vocabulary(tokenizer)
    kept = {*np.flatnonzero(counts[: vocabulary.size()] >= least).tolist(), *range(below)}
    kept |= set(vocabulary.added.values())
    scripts = used_scripts(vocabulary, counts)
    for text, number in vocabulary.characters():
        if len(text) > 1 or (characters and (not _is_letter(text) or script_of(text) in scripts)):
            kept.add(number)
    if vocabulary.kind == "Unigram":
        scores = [score for _, score in vocabulary.model["vocab"]]
        kept |= {int(np.argmin(scores)), int(vocabulary.model["unk_id"])}
    elif (unknown := vocabulary.model.get("unk_token")) in vocabulary.pieces:
        kept.add(vocabulary.pieces[unknown])
    return np.array(sorted(kept), np.int64)


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"


def script_of(text: str) -> str | None:
    """Return the script of a text's first letter, the first word of its Unicode name (LATIN); None without a letter."""
    letter = next((character for character in text if unicodedata.category(character)[0] in "LM"), None)
    return None if letter is None else unicodedata.name(letter, "").partition(" ")[0]


def used_scripts(vocabulary: Vocabulary, counts: NDArray[np.int64]) -> set[str]:
    """Return the scripts that at least :data:`SCRIPT_SHARE` of the counted tokens with letters are written in."""
    weights: Counter[str] = Counter()
    for piece, number in vocabulary.pieces.items():
        script = script_of(piece)
        if script is not None and number < len(counts):
            weights[script] += int(counts[number])
    return {script for script, weight in weights.items() if weight and weight >= SCRIPT_SHARE * weights.total()}


def pieces_before_unknown(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> set[int]:
    """Return the ids of the pieces that WordPiece matches in a word before it gives the whole word up as unknown.

    They must be kept: without them WordPiece would match shorter pieces, and might reach the end of the word.

    Args:
        tokenizer: The tokenizer; the result is empty unless it is a WordPiece one.
        texts: Sentences with an unknown token.
    """
    vocabulary = Vocabulary(tokenizer)
    found: set[int] = set()
    if vocabulary.kind != "WordPiece":
        return found
    backend = tokenizer.backend_tokenizer
    prefix, unknown = vocabulary.model["continuing_subword_prefix"], vocabulary.model["unk_token"]
    for text in texts:
        normalised = backend.normalizer.normalize_str(text) if backend.normalizer else text
        words = backend.pre_tokenizer.pre_tokenize_str(normalised) if backend.pre_tokenizer else [(normalised, (0, 0))]
        for word, _ in words:
            if [token.value for token in backend.model.tokenize(word)] == [unknown]:
                found |= _longest_pieces(word, vocabulary.pieces, prefix)
    return found


def _longest_pieces(word: str, pieces: dict[str, int], prefix: str) -> set[int]:
    """Return the ids of the pieces that WordPiece's longest-match-first search takes from the start of a word."""
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


def trim_tokenizer(
    tokenizer: PreTrainedTokenizerFast, kept: NDArray[np.int64]
) -> tuple[PreTrainedTokenizerFast, NDArray[np.int64]]:
    """Return a tokenizer with the kept tokens only, and the old id of each of its ids.

    Args:
        tokenizer: The tokenizer, which is not changed.
        kept: Ids of the kept tokens, from :func:`choose_tokens`.

    Returns:
        The trimmed tokenizer, and int64 [kept tokens]: entry i is the old id of the token whose new id is i.

    Raises:
        XlbenchError: The tokenizer cannot be trimmed, see :class:`Vocabulary`.
    """
    from transformers import PreTrainedTokenizerFast

    vocabulary = Vocabulary(tokenizer)
    wanted = set(kept.tolist())
    # The `tokenizers` library numbers added tokens after those of the model.
    inner = sorted(number for number in vocabulary.pieces.values() if number in wanted)
    outer = sorted(set(vocabulary.added.values()) - set(vocabulary.pieces.values()))
    old = np.array([*inner, *outer], np.int64)
    new = {number: place for place, number in enumerate(old.tolist())}
    model, settings = vocabulary.model, vocabulary.settings
    if vocabulary.kind == "Unigram":
        model["vocab"] = [model["vocab"][number] for number in inner]
        model["unk_id"] = new[model["unk_id"]]
    else:
        model["vocab"] = {piece: new[number] for piece, number in vocabulary.pieces.items() if number in wanted}
    for token in settings["added_tokens"]:
        token["id"] = new[token["id"]]
    _renumber(settings["post_processor"], new)
    settings["truncation"] = settings["padding"] = None  # leftovers of the last call, not settings of the tokenizer
    trimmed = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_str(json.dumps(settings)),
        **tokenizer.special_tokens_map,
        model_max_length=tokenizer.model_max_length,
        model_input_names=list(tokenizer.model_input_names),
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        clean_up_tokenization_spaces=False,
    )
    return trimmed, old


def _renumber(processor: dict[str, Any] | None, new: dict[int, int]) -> None:
    """Give the special tokens in the description of a post-processor their new ids."""
    if processor is None:
        return
    for part in processor.get("processors") or ():  # Sequence
        _renumber(part, new)
    for end in ("sep", "cls"):  # BertProcessing, RobertaProcessing
        if end in processor:
            text, number = processor[end]
            processor[end] = [text, new[number]]
    if processor["type"] == "TemplateProcessing":
        for token in processor["special_tokens"].values():
            token["ids"] = [new[number] for number in token["ids"]]


def trim_embeddings(model: BertModel | XLMRobertaModel, old: NDArray[np.int64]) -> None:
    """Keep only the embeddings of the kept tokens, in their new order, and update the ids in the configuration.

    Args:
        model: A stock or student encoder, with or without a bottleneck; changed in place.
        old: The old id of each new id, from :func:`trim_tokenizer`, int64 [kept tokens].

    Raises:
        XlbenchError: The embedding table has no row for one of the tokens.
    """
    table = embedding_table(model)
    if int(old.max()) >= table.num_embeddings:
        raise XlbenchError(
            f"The tokenizer has a token {old.max()}, but the embedding table has only {table.num_embeddings} rows.",
            "Use the tokenizer that belongs to the encoder.",
        )
    new = {number: place for place, number in enumerate(old.tolist())}
    padding = None if table.padding_idx is None else new.get(table.padding_idx)
    kept = select_rows(token_embeddings(model), torch.as_tensor(old), padding)
    set_token_embeddings(model, kept)
    model.config.vocab_size = len(old)
    if isinstance(kept, BottleneckEmbedding):
        model.config.frequent = kept.frequent
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id"):
        number = getattr(model.config, name, None)
        if number is not None:
            setattr(model.config, name, new.get(number))
