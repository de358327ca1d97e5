"""How much of a test set the training data nearly has: sentences of which four words in five are the same."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING

from xlbench.corpora.folding import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PART, WHOLE = 4, 5  # near: the words in common are at least this part of all words of the two (Jaccard's index)
STEP = 2000  # sentences between two reports

# Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han. There a character is a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_folded = lru_cache(maxsize=1 << 18)(fold)


def words(text: str) -> frozenset[str]:
    """Return the words of a text, without case and accents; in scripts without spaces, its characters."""
    return frozenset(map(_folded, _WORD.findall(text))) - {""}


def near_duplicates(
    tested: Mapping[str, Iterable[str]], sentences: Iterable[str], advance: Callable[[int], None] = lambda _: None
) -> dict[str, float]:
    """Return, for each task, the share of its distinct sentences that have a near-duplicate among others.

    Two sentences are that if |A and B| / |A or B| >= 4 / 5 for their sets of words A and B. Then each of them has one
    of its |A| - ceil(4 |A| / 5) + 1 rarest words among the other's, which is all that is looked up (prefix filtering:
    Chaudhuri et al., ICDE 2006; Bayardo et al., WWW 2007).

    Args:
        tested: Sentences by task.
        sentences: Those of the training data.
        advance: Told how many sentences more are done.
    """
    by_task = {task: [words(text) for text in set(texts)] for task, texts in tested.items()}
    known = list({found for sets in by_task.values() for found in sets if found})
    count = Counter(word for found in known for word in found)
    # The rarest first, and before them what no test sentence has: any order will do that is the same for all.
    place = {word: number for number, word in enumerate(sorted(count, key=lambda word: (count[word], word)))}

    def rarest(found: frozenset[str]) -> list[str]:
        needed = -(-PART * len(found) // WHOLE)
        return sorted(found, key=lambda word: place.get(word, -1))[: len(found) - needed + 1]

    holders: defaultdict[str, list[int]] = defaultdict(list)
    for number, found in enumerate(known):
        for word in rarest(found):
            holders[word].append(number)
    near: set[int] = set()
    for done, text in enumerate(sentences, 1):
        own = words(text)
        for number in {number for word in rarest(own) if word in holders for number in holders[word]} - near:
            common = len(own & known[number])
            if WHOLE * common >= PART * (len(own) + len(known[number]) - common):
                near.add(number)
        if done % STEP == 0:
            advance(STEP)
    met = {known[number] for number in near}
    return {task: sum(found in met for found in sets) / len(sets) if sets else 0.0 for task, sets in by_task.items()}
