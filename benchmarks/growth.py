"""Growth: time and memory for ten thousand to a million pairs, each size in a process of its own."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, TextIO, cast

import numpy as np

from benchmarks.material import parallel_corpora
from benchmarks.pictures import growth_lines
from benchmarks.results import Part, Table, at_most
from xlbench.corpora.starter import open_starter
from xlbench.encoders.directories import quiet_transformers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.material import Material
    from xlbench.fingerprint import Json
    from xlbench.settings import Settings

PICTURE = "growth.svg"
STEPS = 20
MOST_EXPONENT = 1.1
MOST_GROWTH = 1.5
MIB = 2**20


def measure_growth(material: Material, out: Path, sizes: tuple[int, ...]) -> Part:
    """Prepare, tokenise, compute targets of and train on corpora of growing size."""
    toy = save_tiny_encoder(material)
    outcomes = []
    for size in sizes:
        print(f"growth: {size:,} pairs", flush=True)
        corpus = write_corpus(material.settings, material.work / f"pairs-{size}", size)
        command = [sys.executable, "-m", "benchmarks.growth_child", corpus, toy, material.work / f"store-{size}", STEPS]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"growth at {size} pairs failed: {done.stderr.strip()}")
        outcomes.append(json.loads(done.stdout.splitlines()[-1]))
    pairs = [int(outcome["pairs"]) for outcome in outcomes]
    phases = {name: [float(outcome["seconds"][name]) for outcome in outcomes] for name in outcomes[0]["seconds"]}
    own = [outcome["own"] / MIB for outcome in outcomes]
    resident = [outcome["resident"] / MIB for outcome in outcomes]
    total = np.sum(list(phases.values()), axis=0)
    slope, start = np.polyfit(pairs, total, 1)
    exponent = float(np.log(total[-1] / total[-2]) / np.log(pairs[-1] / pairs[-2]))
    growth = own[-1] / own[0]
    growth_lines(out / PICTURE, pairs, phases, {"own": own, "resident, mapped files in": resident})
    rows = [
        (
            f"{count:,}",
            *(f"{each[place]:.1f}" for each in phases.values()),
            f"{total[place]:.1f}",
            f"{own[place]:.0f}",
            f"{resident[place]:.0f}",
        )
        for place, count in enumerate(pairs)
    ]
    source = "the data root's corpora" if parallel_corpora(material.settings) else "starter sentences, put together"
    return Part(
        title="Growth",
        how=(
            f"Pairs from {source}, as one TSV corpus for each size, and a tiny encoder (one layer, hidden size 32) "
            f"with the real tokenizer, so that data is what is measured; then {STEPS} training steps. Own memory is "
            "what the process holds without mapped files (which the system takes back when it needs room), sampled "
            f"every 20 ms; Python and its libraries are {outcomes[0]['before'] / MIB:.0f} MiB of it. A straight line "
            f"through the sums: {start:.1f} s + {1e6 * slope:.0f} s for a million pairs."
        ),
        tables=(
            Table(
                title="Seconds, and peak memory in MiB",
                header=("Pairs kept", *phases, "Sum", "Own memory", "Resident, mapped files in"),
                rows=tuple(rows),
            ),
        ),
        lines=(
            at_most(
                f"growth: time linear, from {pairs[-2]:,} to {pairs[-1]:,} pairs n^{MOST_EXPONENT} at most",
                exponent,
                MOST_EXPONENT,
                f"n^{exponent:.2f}",
            ),
            at_most(
                f"growth: own memory flat, at {pairs[-1]:,} pairs at most {MOST_GROWTH}× that at {pairs[0]:,}",
                growth,
                MOST_GROWTH,
                f"{growth:.2f}×",
            ),
        ),
        pictures=(PICTURE,),
        data={"outcomes": cast("Json", outcomes)},
    )


def save_tiny_encoder(material: Material) -> Path:
    """Save a one-layer encoder with the assistant's tokenizer and return its directory."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel

    raw, path = material.work / "tiny-raw", material.work / "tiny"
    tokenizer = material.assistant().tokenizer
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=130,
        pad_token_id=tokenizer.pad_token_id,
    )
    with quiet_transformers():
        BertModel(config).save_pretrained(raw)
        tokenizer.save_pretrained(raw)
        parts = [Transformer(str(raw), max_seq_length=128), Pooling(32, pooling_mode="mean"), Normalize()]
        SentenceTransformer(modules=parts, device="cpu").save_pretrained(str(path), create_model_card=False)
    return path


def write_corpus(settings: Settings, path: Path, size: int) -> Path:
    """Write ``size`` lines as en-xx.tsv files and return their directory."""
    path.mkdir(parents=True, exist_ok=True)
    streams: dict[str, TextIO] = {}
    with ExitStack() as stack:
        for language, line in islice(_lines(settings), size):
            if language not in streams:
                file = path / f"en-{language}.tsv"
                streams[language] = stack.enter_context(file.open("w", encoding="utf-8"))
            streams[language].write(line)
    return path


def _lines(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield languages and lines, the files in turn, so that every size has all languages."""
    files = [file for corpus in parallel_corpora(settings) for file in sorted(corpus.glob("en-*.tsv.gz"))]
    if not files:
        yield from _joined_lines()
        return
    with ExitStack() as stack:
        left = {file: stack.enter_context(gzip.open(file, "rt", encoding="utf-8")) for file in files}
        while left:
            for file, stream in list(left.items()):
                for line in (some := list(islice(stream, 20))):
                    yield file.name.removeprefix("en-").removesuffix(".tsv.gz"), line
                if not some:
                    del left[file]


def _joined_lines() -> Iterator[tuple[str, str]]:
    """Yield endless pairs of two starter sentences each, joined; repetitions are rare."""
    from pathlib import Path

    from xlbench.settings import Settings as AnySettings

    corpus = open_starter("", AnySettings(home=Path()))
    sides = {language: list(corpus.pairs(language)) for language in corpus.languages()}
    generator = np.random.default_rng(0)
    while True:
        for language, pairs in sides.items():
            one, two = (pairs[int(place)] for place in generator.integers(len(pairs), size=2))
            yield language, f"{one.english} {two.english}\t{one.other} {two.other}\n"
