"""Toys for the scoring tests: encoders whose cosines can be worked out by hand, and tasks for them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskBitextMining, AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import BoW

from xlbench.experiment import Suite, TaskRef
from xlbench.scoring.tasks import load_task
from xlbench.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

WORDS = ["a", "b", "c", "d"]
LATIN = ["eng-Latn"]


class WordCounts(BoW):
    """Encodes a text as its counts of a, b, c, d: 'a b b' is (1, 2, 0, 0). Records the texts it encodes."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor] = lambda vectors: vectors) -> None:
        super().__init__(WORDS)
        self.change = change
        self.encoded: list[str] = []

    def preprocess(self, inputs: list[str], prompt: str | None = None, **_options: object) -> dict[str, torch.Tensor]:
        self.encoded.extend(inputs)
        features: dict[str, torch.Tensor] = super().preprocess(inputs, prompt)
        return {"sentence_embedding": self.change(features["sentence_embedding"])}


def toy_encoder(counts: BoW | None = None) -> SentenceTransformer:
    return SentenceTransformer(modules=[counts or WordCounts()], device="cpu")


def toy_settings(tmp_path: Path, data_root: Path | None = None) -> Settings:
    return Settings(home=tmp_path / "home", data_root=data_root, offline=True, quiet=True)


def evaluate_with_mteb(encoder: SentenceTransformer, suite: Suite, settings: Settings) -> dict[tuple[str, str], float]:
    """Return what ``mteb.evaluate`` gives, without xlbench's harness: main scores by task and subset."""
    import mteb

    tasks = [load_task(ref, settings) for ref in suite.tasks]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mteb and sentence-transformers warn of each other
        result = mteb.evaluate(encoder, tasks, cache=None, show_progress_bar=False)
    rows = [(it.task_name, row) for it in result.task_results for split in it.scores.values() for row in split]
    return {(task, str(row["hf_subset"])): float(row["main_score"]) for task, row in rows}


class ToySTS(AbsTaskSTS):
    """Three subsets: 'yy' has the golds of 'xx' and therefore counts as its translation; 'zz' has others."""

    metadata = TaskMetadata(
        name="ToySTS",
        dataset={"path": "toy", "revision": "1"},
        description="toy",
        type="STS",
        eval_langs={"xx": LATIN, "yy": LATIN, "zz": LATIN},
        main_score="cosine_spearman",
    )
    rows = (("a", "a"), ("a b", "a"), ("a b c d", "a"), ("a", "b"))
    golds: ClassVar = {"xx": [5.0, 3.0, 4.0, 0.0], "yy": [5.0, 3.0, 4.0, 0.0], "zz": [5.0, 4.0, 3.0, 0.0]}

    def load_data(self, **_options: object) -> None:
        first, second = zip(*self.rows, strict=True)
        self.dataset = {
            subset: DatasetDict({"test": Dataset.from_dict({"sentence1": first, "sentence2": second, "score": gold})})
            for subset, gold in self.golds.items()
        }
        self.data_loaded = True


class ToyBitext(AbsTaskBitextMining):
    """The nearest neighbour of row 3 of xx-en is the translation of row 2. Both subsets have the translation 'b'."""

    metadata = TaskMetadata(
        name="ToyBitext",
        dataset={"path": "toy", "revision": "1"},
        description="toy",
        type="BitextMining",
        eval_langs={"xx-en": LATIN, "yy-en": LATIN},
        main_score="f1",
    )

    def load_data(self, **_options: object) -> None:
        pairs = {
            "xx-en": {"sentence1": ["a", "b", "a b b b"], "sentence2": ["a", "b", "c"]},
            "yy-en": {"sentence1": ["d d", "b b"], "sentence2": ["d", "b"]},
        }
        self.dataset = {subset: DatasetDict({"test": Dataset.from_dict(columns)}) for subset, columns in pairs.items()}
        self.data_loaded = True


class ToyParallel(AbsTaskBitextMining):
    """One column per language, as in NTREX."""

    parallel_subsets = True
    metadata = TaskMetadata(
        name="ToyParallel",
        dataset={"path": "toy", "revision": "1"},
        description="toy",
        type="BitextMining",
        eval_langs={"en-xx": LATIN, "xx-en": LATIN, "en-yy": LATIN},
        main_score="f1",
    )

    def load_data(self, **_options: object) -> None:
        columns = {"en": ["a", "b"], "xx": ["a a", "a b b"], "yy": ["b", "a"], "zz": ["c", "d"]}
        self.dataset = DatasetDict({"test": Dataset.from_dict(columns)})
        self.data_loaded = True


STS = TaskRef(task="ToySTS", family="sts", subsets=("zz", "xx", "yy"), loader="toy_scoring:ToySTS")
BITEXT = TaskRef(task="ToyBitext", family="bitext", subsets=("xx-en", "yy-en"), loader="toy_scoring:ToyBitext")
PARALLEL = TaskRef(
    task="ToyParallel", family="bitext", subsets=("xx-en", "en-xx", "en-yy"), loader="toy_scoring:ToyParallel"
)
SUITE = Suite(name="toy", summary="toy", tasks=(STS, BITEXT, PARALLEL))
