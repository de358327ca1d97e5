"""What a student costs and keeps as integers: scored on the suite ``paper`` before and after, and timed in turns.

The student is trained if the store does not have it: an aligned assistant in minutes, then twelve layers with narrow
embeddings for rare tokens. Its export is scored on the same suite, and timed beside torch and beside the export in
float32 on sentences of mixed length. Nothing is chosen on these scores: the export is calibrated on the corpus.

    python -m benchmarks.integers --data-root DATA [--student minilm-half-deep] [--repetitions 5]
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch

import xlbench
from benchmarks.measure import Spread, clock, in_turns, ratios, spread
from xlbench.encoders.encode import encode
from xlbench.encoders.exported import load_exported
from xlbench.runs.session import prepare_process
from xlbench.scoring.machine import describe_machine
from xlbench.settings import read_settings
from xlbench.students.load import load_student

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentence_transformers import SentenceTransformer

    from xlbench.arguments import Where
    from xlbench.experiment import Precision
    from xlbench.runs.results import Results

CORPUS = (
    "tsv:multi30k",
    "tsv:flickr30k_ar_mt",
    "tsv:tatoeba_challenge_test",
    "tsv:anki_tatoeba",
    "tsv:xnli_devtest",
    "tsv:stsb_mt_train",
    "tsv:europarl_v7_sample",
    "tsv:wmt_newstest?cap=1500",
)
LANGUAGES = ("ar", "de", "es", "fr", "it", "nl", "tr")
SENTENCES = 1024
FAMILY_DROP, LANGUAGE_DROP, MEGABYTES = 0.5, 1.0, 60.0  # the goal: at most
OVER_BFLOAT16, OVER_FLOAT32 = 1.5, 3.0  # the goal: at least
FORMS: tuple[Literal["onnx", "onnx-int8", "openvino-int8"], ...] = ("onnx", "onnx-int8", "openvino-int8")
INTEGERS = dict(zip(FORMS[1:], ("onnxruntime, int8", "OpenVINO, int8"), strict=True))


def main() -> None:
    """Train, export, score, time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--method", default="frequency-adaptive")
    parser.add_argument("--student", default="minilm-half-deep")
    parser.add_argument("--repetitions", type=int, default=5)
    asked = parser.parse_args()
    where: Where = {"data_root": asked.data_root, "home": asked.home}
    results = xlbench.run(
        method=asked.method,
        student=asked.student,
        corpus=CORPUS,
        languages=LANGUAGES,
        suite="paper",
        budget="minutes",
        pairs_per_language=3500,
        assistant_pairs=24_000,
        student_pairs=9_600,
        speed=False,
        say=print,
        **where,
    )
    student = results.student
    with TemporaryDirectory() as folder:
        exports = {form: Path(folder, form) for form in FORMS}
        megabytes = {form: student.export(form, exports[form], force=True).weight_bytes / 1e6 for form in FORMS}
        scored = {form: xlbench.score(exports[form], suite="paper", **where) for form in INTEGERS}
        settings = read_settings(asked.home, asked.data_root)
        prepare_process(settings)
        stored = load_student(student.path)
        runs: dict[str, Callable[[], float]] = {
            "torch, bfloat16": partial(timed, stored, "bfloat16"),
            "torch, float32": partial(timed, stored, "float32"),
            "SentenceTransformer.encode, bfloat16": partial(timed_peer, load_student(student.path).to(torch.bfloat16)),
            "SentenceTransformer.encode, float32": partial(timed_peer, stored),
            "onnxruntime, float32": partial(timed, load_exported(exports["onnx"], settings.threads), "float32"),
            **{
                name: partial(timed, load_exported(exports[it], settings.threads), "float32")
                for it, name in INTEGERS.items()
            },
        }
        for run in runs.values():
            run()  # builds what depends on shapes
        seconds = in_turns(runs, asked.repetitions)
    print(f"\n{rates(seconds)}")
    for form, name in INTEGERS.items():
        drops = dropped(results, scored[form])
        print(f"\n{name}:\n\n{describe(seconds, name, drops, megabytes[form])}")
    print(f"\n{machine()}")


def timed(model: SentenceTransformer, precision: Precision) -> float:
    """Return the seconds that an encoder takes for sentences of mixed length and language, cutting into tokens in."""
    texts = sample()
    with clock() as taken:
        encode(model, texts, precision=precision)
    return taken.seconds


def timed_peer(model: SentenceTransformer) -> float:
    """Return the seconds that sentence-transformers' own encode takes for the same, in batches of 32, its default."""
    texts = sample()
    with clock() as taken:
        model.encode(texts, show_progress_bar=False)
    return taken.seconds


def sample() -> list[str]:
    """Return sentences of the starter corpus, which no figure of quality rests on."""
    from xlbench.corpora.starter import StarterCorpus

    corpus = StarterCorpus()
    pairs = [pair for language in corpus.languages() for pair in corpus.pairs(language)]
    texts = [side for pair in pairs for side in pair]
    return texts[:: max(1, len(texts) // SENTENCES)][:SENTENCES]


def dropped(before: Results, after: Results) -> pd.DataFrame:
    """Return by how many points each family's mean and each language's subsets are lower after the export.

    A subset counts for each of its languages; a family's mean is over its tasks, a task's over its subsets.
    """
    keys = ["family", "task", "subset"]
    one = before.to_dataframe()
    one = one[one["name"] == before.student.name].set_index(keys)
    two = after.to_dataframe().set_index(keys)
    gaps = (two["score"] - one["score"]).rename("points").reset_index()
    gaps["languages"] = [one.loc[tuple(row), "languages"] for row in gaps[keys].to_numpy()]
    tasks = gaps.groupby(["family", "task"])["points"].mean()
    families = tasks.groupby("family").mean().rename_axis("of").reset_index().assign(kind="family")
    split = gaps.assign(of=gaps["languages"].str.split("-")).explode("of")
    languages = split.groupby("of")["points"].mean().reset_index().assign(kind="language")
    return pd.concat([families, languages], ignore_index=True)


def rates(seconds: dict[str, list[float]]) -> str:
    """Return a table of sentences per second."""
    found: dict[str, Spread] = {name: spread([len(sample()) / it for it in of]) for name, of in seconds.items()}
    lines = [
        "| Encoder | Sentences/s |",
        "|---|---|",
        *(f"| {name} | {rate.show(0)} |" for name, rate in found.items()),
    ]
    return "\n".join(lines)


def describe(seconds: dict[str, list[float]], name: str, drops: pd.DataFrame, megabytes: float) -> str:
    """Return what an export in integers loses, and each part of the goal with what was found."""
    lines = ["| Points after minus before | |", "|---|---|"]
    rows = zip(drops["kind"], drops["of"], drops["points"], strict=True)
    lines += [f"| {kind} {of} | {points:+.2f} |" for kind, of, points in rows]
    # torch is what xlbench makes of it: sentence-transformers' own encode, on the same weights, takes longer.
    half, full = (ratios(seconds[it], seconds[name]) for it in ("torch, bfloat16", "torch, float32"))
    family, language = (float(drops.loc[drops["kind"] == it, "points"].min()) for it in ("family", "language"))
    goals = [
        (f"at least {OVER_BFLOAT16}× torch in bfloat16", f"{half.show(2)}×", half.median >= OVER_BFLOAT16),
        (f"at least {OVER_FLOAT32}× torch in float32", f"{full.show(2)}×", full.median >= OVER_FLOAT32),
        (f"at most {FAMILY_DROP} points lower in a family", f"{family:+.2f}", family >= -FAMILY_DROP),
        (f"at most {LANGUAGE_DROP} point lower in a language", f"{language:+.2f}", language >= -LANGUAGE_DROP),
        (f"at most {MEGABYTES:.0f} MB", f"{megabytes:.1f} MB", megabytes <= MEGABYTES),
    ]
    lines += ["", "| Goal | Found | |", "|---|---|---|"]
    lines += [f"| {goal} | {found} | {'met' if met else '**not met**'} |" for goal, found, met in goals]
    return "\n".join(lines)


def machine() -> str:
    """Return the machine and the versions."""
    found = describe_machine(read_settings())
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    return f"{found.cpu}, {found.cores} cores ({found.threads} threads), {found.os}, Python {found.python}, {versions}."


if __name__ == "__main__":
    main()
