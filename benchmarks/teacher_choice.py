"""Compares English sides as teachers, on dev data, never on a test set.

Three assistants are aligned with the same pairs (stage 1): to the assistant's own centred English side, to
all-MiniLM-L6-v2's, and to the first with both mixed in the similarity matrix. Each is scored on the dev split of
STSb, per language and across languages (English first sentence, translated second sentence).

    python -m benchmarks.teacher_choice --data-root ROOT [--pairs 6400] [--rows 1500] [--languages de es fr it nl]
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import disable_progress_bars

from benchmarks.dev_scores import dev_scores
from xlbench.api import (
    AlignOptions,
    MatchSimilarities,
    Plan,
    PullToTarget,
    Stage,
    centre_stages,
    english_target,
    make_training,
)
from xlbench.corpora.prepare import prepare
from xlbench.distill.engine import encoder_keys, run_plan
from xlbench.encoders.find import load_encoder
from xlbench.plugins.registry import load_registry
from xlbench.runs.request import Request
from xlbench.runs.resolve import resolve
from xlbench.settings import read_settings
from xlbench.students.load import load_student

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import Experiment

CORPORA = ("multi30k", "wmt_newstest", "anki_tatoeba", "europarl_v7_sample", "stsb_mt_train", "xnli_devtest")
CHOICES = ("own", "minilm", "mixed")


def plan(experiment: Experiment, choice: str, pairs: int) -> Plan:
    """Return a plan that aligns the centred assistant to one of the three."""
    options = AlignOptions(evaluations=2)
    teacher, other = "teacher-centred", "teacher:1-centred"
    pull = PullToTarget(target=english_target(other if choice == "minilm" else teacher))
    mix = [(english_target(pull.target.encoder), 1.0)]
    if choice == "mixed":
        mix = [(english_target(teacher), 0.65), (english_target(other), 0.35)]
    objectives = (pull, MatchSimilarities(mix=tuple(mix), weight=10.0))
    training = make_training(
        experiment, options, objectives, pairs, trainable="all-but-token-embeddings", learning_rate=1e-4
    )
    aligned = Stage("aligned", teacher, (), training)
    return Plan((*centre_stages(experiment, options), aligned), "aligned", assistant="aligned")


def main() -> None:
    """Print a row for each choice."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--pairs", type=int, default=6400)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--languages", nargs="+", default=["de", "es", "fr", "it", "nl"])
    arguments = parser.parse_args()
    languages: list[str] = arguments.languages
    settings = read_settings(arguments.home, arguments.data_root)
    registry = load_registry()
    request = Request(
        teacher=("assistant", "all-minilm-l6-v2"),
        corpus=tuple(f"tsv:{name}" for name in CORPORA),
        languages=tuple(languages),
        budget="example",
        pairs_per_language=max(200, arguments.pairs // len(languages)),  # each pair is seen once or so
    )
    (experiment,), corpora = resolve(request, registry, settings)
    given = {"assistant": experiment.assistant, "teacher": experiment.teachers[0], "teacher:1": experiment.teachers[1]}

    def load(name: str) -> SentenceTransformer:
        return load_encoder(given[name], registry.encoders, settings)

    disable_progress_bars()

    def show(title: str, model: SentenceTransformer) -> None:
        scores = dev_scores(model, settings, experiment.precision, languages, arguments.rows)
        en, own, across = scores["en"], scores["others"], scores["across"]
        print(f"{title:28} en {en:5.1f}   other languages {own:5.1f}   across {across:5.1f}", flush=True)

    show("all-minilm-l6-v2, untrained", load("teacher:1"))
    show("assistant, untrained", load("assistant"))
    for choice in CHOICES:
        tried = plan(experiment, choice, arguments.pairs)
        made = run_plan(
            tried,
            encoder_keys(tried, experiment),
            experiment,
            partial(prepare, experiment.data, corpora, set, settings),
            load,
            settings,
            partial(print, flush=True),
        )
        if choice == CHOICES[0]:
            show("assistant, centred", load_student(made.paths["teacher-centred"]))
        show(f"aligned: {choice}", load_student(made.paths["aligned"]))


if __name__ == "__main__":
    main()
