"""From corpora to training data: read, filtered, limited, with dev pairs held out, and kept in the store."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xlbench.corpora.choose import DEV_SHARE, PairStatus, choose_pairs, gather_pairs
from xlbench.corpora.choose_lines import choose_lines
from xlbench.corpora.corpus import Untranslated
from xlbench.corpora.facts import CorpusFacts, count_statuses
from xlbench.corpora.languages import ENGLISH
from xlbench.corpora.prepared import FACTS, PreparedCorpus, check_prepared, load_prepared, write_pairs
from xlbench.errors import XlbenchError
from xlbench.fingerprint import fingerprint
from xlbench.store import get_or_build

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from xlbench.corpora.choose import GatheredPairs, Rows, Statuses
    from xlbench.corpora.choose_lines import ChosenLines
    from xlbench.corpora.corpus import OpenCorpus
    from xlbench.experiment import Data
    from xlbench.fingerprint import Json
    from xlbench.settings import Settings

__all__ = ["PreparedCorpus", "prepare"]

KIND = "corpora"
VERSION = 1  # to be raised whenever the same corpora would give other training data
FEWEST_DEV = 8  # on fewer pairs the choice of a checkpoint would be chance


def prepare(
    data: Data, corpora: Sequence[OpenCorpus], excluded: Callable[[], set[int]], settings: Settings
) -> PreparedCorpus:
    """Return the training data of an experiment, from the store or prepared now.

    All corpora are streamed. A pair is dropped if a side is empty, too long or an evaluation sentence, or if an equal
    pair came earlier. Caps keep the pairs with the lowest hash. The cap per language is spread over the corpora so that
    small ones are used whole. Dev pairs are held out by English sentence; every pair that shares a (folded) text with a
    dev pair is left out. Untranslated lines are filtered alike, and none is held out.

    Args:
        data: What the experiment says of its data; its digest is part of the key in the store.
        corpora: The corpora of ``data``, opened, in any order.
        excluded: Returns the :func:`~xlbench.corpora.overlap.text_key` of every evaluation sentence; called only if the
            data is not in the store.
        settings: Where the store is.

    Raises:
        XlbenchError: A row is malformed, a corpus is empty, a language of ``data`` has no pairs, or there are too few
            pairs to hold some out.
        ValueError: ``corpora`` are not those of ``data``.
    """
    if {corpus.ref for corpus in corpora} != set(data.corpora):
        raise ValueError("the opened corpora are not those of the experiment's data")
    # Ordered by content and options, so that neither the order nor the spelling of the corpora changes the result.
    corpora = sorted(corpora, key=lambda corpus: (corpus.ref.digest, corpus.ref.reference.partition("?")[2]))
    languages = tuple(sorted(data.languages))
    _check_languages(languages, corpora)
    key = corpus_key(data)

    def build(directory: Path) -> dict[str, Json]:
        scratch = directory / "scratch"
        try:
            gathered = gather_pairs(
                corpora, languages, scratch, pairs_per_language=data.pairs_per_language, quiet=settings.quiet
            )
            kept_out = np.fromiter(excluded(), np.uint64)
            status = choose_pairs(
                gathered.rows,
                caps=[corpus.parsed.cap for corpus in corpora],
                languages=len(languages),
                excluded=kept_out,
                pairs_per_language=data.pairs_per_language,
                dev_pairs=data.dev_pairs,
            )
            lines = choose_lines(corpora, gathered.texts, gathered.rows, status, kept_out, quiet=settings.quiet)
            return _write_entry(directory, gathered, status, lines, corpora, languages, quiet=settings.quiet)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)  # as large as the corpora, and not reused by a second try

    doing = "preparing the same training data"
    entry = get_or_build(settings.home, KIND, key, build, doing=doing, quiet=settings.quiet, check=check_prepared)
    return _with_names(load_prepared(entry.path, key), corpora)


def corpus_key(data: Data) -> str:
    """Return the key of the prepared pairs in the store, which is also their digest."""
    return fingerprint({"data": data.digest(), "version": VERSION})


def _check_languages(languages: Sequence[str], corpora: Sequence[OpenCorpus]) -> None:
    for corpus in corpora:
        if isinstance(corpus.corpus, Untranslated) and corpus.text_language() not in {ENGLISH, *languages}:
            raise XlbenchError(
                f"Corpus '{corpus.ref.reference}' has lines in '{corpus.text_language()}', which is none of the"
                f" languages that are trained on: {' '.join(languages)}.",
                "Leave it out, or add pairs in its language.",
            )
    available = {it.ref.reference: it.languages() for it in corpora if not isinstance(it.corpus, Untranslated)}
    missing = sorted(set(languages) - {code for codes in available.values() for code in codes})
    if missing:
        have = "; ".join(f"{reference} has {' '.join(codes)}" for reference, codes in sorted(available.items()))
        raise XlbenchError(
            f"No corpus has pairs in '{missing[0]}': {have}.", "Add a corpus or leave that language out."
        )


def _write_entry(
    directory: Path,
    gathered: GatheredPairs,
    status: Statuses,
    lines: ChosenLines,
    corpora: Sequence[OpenCorpus],
    languages: tuple[str, ...],
    *,
    quiet: bool,
) -> dict[str, Json]:
    rows = gathered.rows
    references = [corpus.ref.reference for corpus in corpora]
    counts = count_statuses(rows, status, references=references, read=gathered.read, languages=languages)
    train, dev = rows[status == PairStatus.TRAIN], rows[status == PairStatus.DEV]
    train = train[np.argsort(train["pair"], kind="stable")]
    dev = dev[np.lexsort((dev["english"], dev["language"]))]
    facts = CorpusFacts(
        languages=languages,
        train=_count_by_language(train, languages),
        dev=_count_by_language(dev, languages),
        sentences=0,
        corpora=counts,
        notes=(),
        warnings=gathered.warnings,
        lines=lines.counts,
    )
    _check_counts(facts)
    sentences = write_pairs(directory, gathered.texts, train, dev, lines.rows, quiet=quiet)
    facts = facts.model_copy(update={"sentences": sentences})
    (directory / FACTS).write_text(facts.model_dump_json(indent=1), "utf-8")
    return {"pairs": len(train), "dev": len(dev), "sentences": sentences, "languages": languages}


def _count_by_language(rows: Rows, languages: Sequence[str]) -> dict[str, int]:
    counts = np.bincount(rows["language"], minlength=len(languages)).tolist()
    return dict(zip(languages, counts, strict=True))


def _check_counts(facts: CorpusFacts) -> None:
    for code in facts.languages:
        if facts.train[code] == 0 or facts.dev[code] == 0:
            overlap, duplicates = facts.overlap(), sum(corpus.duplicates for corpus in facts.corpora)
            raise XlbenchError(
                f"Too few pairs in '{code}': {facts.train[code]} to train on and {facts.dev[code]} held out "
                f"(of all pairs {overlap} occur in the evaluation data, {duplicates} are duplicates).",
                "A language needs at least 10 different pairs: add a corpus or leave it out.",
            )
    if (held_out := sum(facts.dev.values())) < FEWEST_DEV:
        read, kept = sum(corpus.read for corpus in facts.corpora), held_out + sum(facts.train.values())
        raise XlbenchError(
            f"Only {held_out} pairs can be held out for dev scores, a tenth of the {kept:,} that are kept of {read:,};"
            f" {FEWEST_DEV} are needed.",
            f"Add pairs, or raise the budget's: --pairs-per-language {FEWEST_DEV * DEV_SHARE} (in Python"
            f" pairs_per_language={FEWEST_DEV * DEV_SHARE}).",
        )


def _with_names(prepared: PreparedCorpus, corpora: Sequence[OpenCorpus]) -> PreparedCorpus:
    """Name the corpora as this experiment does; the stored entry may come from one that spelt them differently."""
    counts = tuple(
        count.model_copy(update={"reference": corpus.ref.reference})
        for count, corpus in zip(prepared.facts.corpora, corpora, strict=True)
    )
    texts = [corpus.ref.reference for corpus in corpora if isinstance(corpus.corpus, Untranslated)]
    lines = tuple(
        count.model_copy(update={"reference": reference})
        for count, reference in zip(prepared.facts.lines, texts, strict=True)
    )
    notes = tuple(dict.fromkeys(f"{corpus.ref.reference}: {corpus.ref.note}" for corpus in corpora if corpus.ref.note))
    return replace(
        prepared, facts=prepared.facts.model_copy(update={"corpora": counts, "lines": lines, "notes": notes})
    )
