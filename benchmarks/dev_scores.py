"""Scores on dev data, which choices may rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from datasets import load_dataset
from scipy.stats import spearmanr

from xlbench.encoders.encode import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import Precision
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
