"""Scores on dev data, which choices may rest on."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from datasets import load_dataset
from scipy.stats import spearmanr

from xlbench.corpora.corpus import open_corpus
from xlbench.distill.health import bitext_accuracy
from xlbench.encoders.encode import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import Precision
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings


def dev_scores(
    model: SentenceTransformer, settings: Settings, precision: Precision, languages: Sequence[str], count: int
) -> dict[str, float]:
    """Return Spearman x 100 on the first ``count`` rows of STSb's dev split.

    In English, the mean over the other languages, and the mean across from English (its first sentence, the
    other's second).
    """
    root = settings.local("datasets", "mteb/stsb_multi_mt")
    assert root is not None
    sides = {}
    for language in ("en", *languages):
        rows = load_dataset(str(root), name=language, split=f"dev[:{count}]")
        gold = np.asarray(rows["similarity_score"])
        sides[language] = [encode(model, list(rows[f"sentence{n}"]), precision=precision) for n in (1, 2)]

    def score(first: np.ndarray, second: np.ndarray) -> float:
        return 100 * float(spearmanr(gold, (first * second).sum(1))[0])

    return {
        "en": score(*sides["en"]),
        "others": float(np.mean([score(*sides[language]) for language in languages])),
        "across": float(np.mean([score(sides["en"][0], sides[language][1]) for language in languages])),
    }


def dev_bitext(
    model: SentenceTransformer,
    registry: Registry,
    settings: Settings,
    precision: Precision,
    references: Sequence[str],
    languages: Sequence[str],
    count: int,
) -> float:
    """Return how often the nearest English sentence is the translation, x 100: mean over corpora, and their languages.

    Args:
        model: The encoder.
        registry: Has the corpora's schemes.
        settings: Where corpora are.
        precision: What it computes in.
        references: Corpora, e.g. ``tsv:xquad_questions``; none that it was trained on.
        languages: What is read of them: of others, a trimmed vocabulary has lost the tokens.
        count: Pairs of each language, the first ones: the more, the harder.
    """
    found = []
    for reference in references:
        opened = open_corpus(reference, registry.corpora, settings)
        sides, numbers = [], []
        for number, language in enumerate(it for it in opened.languages() if it in languages):
            pairs = list(islice(opened.corpus.pairs(language), count))
            sides += pairs
            numbers += [number] * len(pairs)
        texts = [pair.english for pair in sides] + [pair.other for pair in sides]
        distinct = list(dict.fromkeys(texts))  # languages share English sentences
        row = {text: number for number, text in enumerate(distinct)}
        vectors = torch.from_numpy(encode(model, distinct, precision=precision))
        english, other = vectors[[row[text] for text in texts]].chunk(2)
        found.append(100 * bitext_accuracy(english, other, np.array(numbers)))
    return float(np.mean(found))
