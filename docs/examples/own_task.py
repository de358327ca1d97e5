"""A task that MTEB does not have: sentence pairs with similarities judged by people, in a TSV file."""

from __future__ import annotations

import csv
from pathlib import Path

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

FILE = Path(__file__).with_name("phrases.tsv")  # first sentence, tab, second sentence, tab, 0 to 5


class PhraseSTS(AbsTaskSTS):
    """Our phrases, English and German."""

    metadata = TaskMetadata(
        name="PhraseSTS",
        dataset={"path": "ours/phrases", "revision": "1"},
        description="Phrases of our product, judged by three colleagues.",
        type="STS",
        eval_splits=["test"],
        eval_langs={"en-de": ["eng-Latn", "deu-Latn"]},
        main_score="cosine_spearman",
    )
    min_score = 0
    max_score = 5

    def load_data(self, **_options: object) -> None:
        """Read the file."""
        with FILE.open(encoding="utf-8", newline="") as stream:
            first, second, gold = zip(*csv.reader(stream, delimiter="\t"), strict=True)
        columns = {"sentence1": first, "sentence2": second, "score": [float(score) for score in gold]}
        self.dataset = {"en-de": DatasetDict({"test": Dataset.from_dict(columns)})}
        self.data_loaded = True
