"""A suite of canaries: sentences that no training may see, in one file; whoever opens it is detected."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

FILE = Path(__file__).parent / "data" / "canaries.tsv"


class CanarySTS(AbsTaskSTS):
    """English and German canaries with made-up similarities."""

    metadata = TaskMetadata(
        name="CanarySTS",
        dataset={"path": "xlbench-canaries", "revision": "1"},
        description="Sentences that no training may see.",
        type="STS",
        eval_langs={"en-de": ["eng-Latn", "deu-Latn"]},
        main_score="cosine_spearman",
    )

    def load_data(self, num_proc: int | None = None, **kwargs: object) -> None:
        """Read the file."""
        rows = [line.split("\t") for line in FILE.read_text("utf-8").splitlines()]
        first, second, scores = zip(*rows, strict=True)
        columns = {"sentence1": list(first), "sentence2": list(second), "score": [float(score) for score in scores]}
        self.dataset = {"en-de": DatasetDict({"test": Dataset.from_dict(columns)})}
        self.data_loaded = True
