"""The tasks of the starter suite: MTEB task classes over the small data that ships with xlbench.

With them the first command works without a download. They are a working example and not a benchmark.
"""

from __future__ import annotations

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskBitextMining, AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

from xlbench.corpora.starter import starter_items

SPLIT = "test"
SCRIPTS = {
    "en": "eng-Latn",
    "de": "deu-Latn",
    "es": "spa-Latn",
    "fr": "fra-Latn",
    "it": "ita-Latn",
    "nl": "nld-Latn",
    "tr": "tur-Latn",
    "ar": "ara-Arab",
}
STS_SUBSETS = ("en-en", "en-de", "en-es", "en-fr", "en-it", "en-nl", "en-tr", "en-ar", "es-es", "ar-ar")
BITEXT_SUBSETS = ("de-en", "es-en", "fr-en", "it-en", "nl-en", "tr-en", "ar-en")
WARNING = "A working example, not a benchmark: a few dozen sentences written for xlbench and shipped with it."


def _scripts(subset: str) -> list[str]:
    return [SCRIPTS[language] for language in dict.fromkeys(subset.split("-"))]


class StarterSTS(AbsTaskSTS):
    """Sentence pairs with a similarity from 0 to 5; in ``en-xx`` the second sentence is translated."""

    metadata = TaskMetadata(
        name="StarterSTS",
        # Not a hub dataset; one word cannot be mistaken for the name of one.
        dataset={"path": "starter", "revision": "1"},
        description=f"Semantic similarity of everyday sentence pairs in eight languages. {WARNING}",
        type="STS",
        category="t2t",
        eval_splits=[SPLIT],
        eval_langs={subset: _scripts(subset) for subset in STS_SUBSETS},
        main_score="cosine_spearman",
        sample_creation="created",
    )
    min_score = 0
    max_score = 5

    def load_data(self, num_proc: int | None = None, **kwargs: object) -> None:
        """Read the shipped pairs."""
        if self.data_loaded:
            return
        items = starter_items("sts")
        self.dataset = {}
        for subset in self.hf_subsets:
            first, second = subset.split("-")
            self.dataset[subset] = _split(
                {
                    "sentence1": [item.sentence1[first] for item in items],
                    "sentence2": [item.sentence2[second] for item in items],
                    "score": [item.score for item in items],
                }
            )
        self.data_loaded = True


class StarterBitext(AbsTaskBitextMining):
    """Sentences whose English translation is to be found among all English sentences."""

    metadata = TaskMetadata(
        name="StarterBitext",
        dataset={"path": "starter", "revision": "1"},
        description=f"Translation pairs of everyday sentences, seven languages to English. {WARNING}",
        type="BitextMining",
        category="t2t",
        eval_splits=[SPLIT],
        eval_langs={subset: _scripts(subset) for subset in BITEXT_SUBSETS},
        main_score="f1",
        sample_creation="created",
    )

    def load_data(self, num_proc: int | None = None, **kwargs: object) -> None:
        """Read the shipped translations."""
        if self.data_loaded:
            return
        items = starter_items("bitext")
        self.dataset = {}
        for subset in self.hf_subsets:
            first, second = subset.split("-")
            self.dataset[subset] = _split(
                {
                    "sentence1": [item.texts[first] for item in items],
                    "sentence2": [item.texts[second] for item in items],
                }
            )
        self.data_loaded = True


def _split(columns: dict[str, list[str] | list[float]]) -> DatasetDict:
    return DatasetDict({SPLIT: Dataset.from_dict(columns)})
