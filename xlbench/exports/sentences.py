"""Sentences that an export is measured on: those of the corpus that trained the encoder, in each of its languages."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from xlbench.corpora.corpus import open_corpus
from xlbench.corpora.overlap import text_key
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Set

    from xlbench.corpora.corpus import CorpusReader
    from xlbench.experiment import Experiment
    from xlbench.settings import Settings

OF_A_LANGUAGE = 64
STARTER = "starter"


def sample_sentences(
    experiment: Experiment | None,
    registered: Mapping[str, CorpusReader],
    settings: Settings,
    say: Callable[[str], None],
    excluded: Callable[[], Set[int]] = frozenset,
) -> dict[str, list[str]]:
    """Return up to 64 different sentences of each language, English first.

    Args:
        experiment: The one whose corpora are read; None takes the starter corpus.
        registered: Corpus readers by scheme.
        settings: Where to look for data.
        say: Told where the corpora are gone and the starter corpus is taken instead.
        excluded: Returns the keys of sentences that are not taken, nor are their translations: those of test sets. See
            :func:`~xlbench.corpora.overlap.text_key`.

    Raises:
        XlbenchError: The starter corpus is not registered.
    """
    if experiment is not None:
        try:
            return _read(
                [it.reference for it in experiment.data.corpora],
                experiment.data.languages,
                registered,
                settings,
                excluded(),
            )
        except XlbenchError as error:
            say(f"{error.problem} The export is measured on the sentences of the starter corpus instead.")
    return _read([STARTER], (), registered, settings, excluded())


def _read(
    references: list[str],
    languages: tuple[str, ...],
    registered: Mapping[str, CorpusReader],
    settings: Settings,
    excluded: Set[int],
) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {"en": {}}  # in order, each once
    for reference in references:
        opened = open_corpus(reference, registered, settings)
        for language in opened.corpus.languages():
            if (languages and language not in languages) or language not in (opened.parsed.languages or (language,)):
                continue
            pairs = (it for it in opened.corpus.pairs(language) if excluded.isdisjoint(map(text_key, it)))
            for pair in islice(pairs, OF_A_LANGUAGE):
                found["en"].setdefault(pair.english)
                found.setdefault(language, {}).setdefault(pair.other)
    sentences = {language: list(texts)[:OF_A_LANGUAGE] for language, texts in found.items() if texts}
    if not sentences:
        raise XlbenchError(f"Corpus {', '.join(references)} has no sentences.")
    return sentences
