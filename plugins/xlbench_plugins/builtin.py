"""What comes with xlbench by name: encoders, corpora, students, budgets and suites."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.api import (
    Budget,
    CorpusReader,
    Engine,
    EngineOptions,
    RayOptions,
    SlurmOptions,
    StudentSpec,
    Suite,
    TaskRef,
    further_teachers,
    hookimpl,
    open_hub,
    open_parquet,
    open_starter,
    open_text,
    open_tsv,
    run_on_ray,
    run_on_slurm,
    starter_encoders,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xlbench.api import RegisteredEncoder


@hookimpl
def xlbench_encoders() -> tuple[RegisteredEncoder, ...]:
    """Bring the starter teacher and assistant, and a stronger teacher."""
    return (*starter_encoders(), *further_teachers())


@hookimpl
def xlbench_corpora() -> Iterable[CorpusReader]:
    """Return the schemes starter, tsv, parquet, text and hub."""
    return (
        CorpusReader(
            scheme="starter",
            summary="shipped with xlbench, en + ar de es fr it nl tr; a working example",
            example="starter",
            open=open_starter,
        ),
        CorpusReader(
            scheme="tsv",
            summary="a file en-xx.tsv or en-xx.tsv.gz (English, tab, translation), or a directory of them",
            example="tsv:my/corpus?cap=5000&languages=de,fr",
            open=open_tsv,
        ),
        CorpusReader(
            scheme="parquet",
            summary="a file en-xx.parquet (columns english, non_english), or a directory of them",
            example="parquet:my/corpus/en-de.parquet",
            open=open_parquet,
        ),
        CorpusReader(
            scheme="text",
            summary="untranslated: a file with a sentence on each line, .gz too, beside a corpus of pairs",
            example="text:my/lines.txt?language=de",
            open=open_text,
        ),
        CorpusReader(
            scheme="hub",
            summary="a hub dataset with configurations en-xx, or its copy under the data root",
            example="hub:sentence-transformers/parallel-sentences-talks?cap=20000",
            open=open_hub,
        ),
    )


@hookimpl
def xlbench_engines() -> Iterable[Engine]:
    """Return local, ray and slurm."""
    return (
        Engine(
            name="local",
            summary="this process, one stage after another",
            run=None,
            options=EngineOptions,
        ),
        Engine(
            name="ray",
            summary="tasks on a Ray cluster, or on one that is started on this machine for the run",
            run=run_on_ray,
            options=RayOptions,
            package="ray",
            install="xlbench[ray]",
        ),
        Engine(
            name="slurm",
            summary="jobs on a Slurm cluster, submitted by submitit; queued again at their time limit",
            run=run_on_slurm,
            options=SlurmOptions,
            package="submitit",
            install="xlbench[slurm]",
        ),
    )


@hookimpl
def xlbench_students() -> list[StudentSpec]:
    """Register the paper's sizes, for MiniLM (hidden size 384) and XLM-R (768)."""
    return [
        StudentSpec(name="minilm-half", bottleneck=128, layers=6, repeats=2, hidden=384, summary="43.0 M, -63 %"),
        StudentSpec(name="minilm-half-deep", bottleneck=128, layers=12, hidden=384, summary="53.7 M, -54 %"),
        StudentSpec(name="minilm-third", bottleneck=128, layers=3, repeats=4, hidden=384, summary="37.7 M, -68 %"),
        StudentSpec(name="xlmr-half", bottleneck=128, layers=12, hidden=768, summary="118.1 M, -58 %"),
        StudentSpec(name="xlmr-fifth", bottleneck=128, layers=3, repeats=4, hidden=768, summary="54.3 M, -80 %"),
    ]


@hookimpl
def xlbench_budgets() -> list[Budget]:
    """Register budgets from a smoke run to a night on a GPU."""
    return [
        Budget(name="smoke", pairs_per_language=40, dev_pairs=70, assistant_pairs=128, student_pairs=256),
        Budget(name="example", dev_pairs=210, assistant_pairs=1_536, student_pairs=6_144),
        Budget(
            name="minutes",
            pairs_per_language=8_000,
            dev_pairs=700,
            assistant_pairs=24_000,
            student_pairs=48_000,
        ),
        Budget(
            name="hours",
            pairs_per_language=80_000,
            dev_pairs=2_100,
            assistant_pairs=300_000,
            student_pairs=300_000,
        ),
        Budget(name="night", dev_pairs=2_100, assistant_pairs=2_000_000, student_pairs=8_000_000),
    ]


STARTER = Suite(
    name="starter",
    summary="Small tasks that ship with xlbench, in eight languages: a working example, not a benchmark",
    example=True,
    tasks=(
        TaskRef(
            task="StarterSTS",
            family="sts",
            subsets=(
                "en-en",
                "en-de",
                "en-es",
                "en-fr",
                "en-it",
                "en-nl",
                "en-tr",
                "en-ar",
                "es-es",
                "ar-ar",
            ),
            loader="starter-sts/1",
        ),
        TaskRef(
            task="StarterBitext",
            family="bitext",
            subsets=("de-en", "es-en", "fr-en", "it-en", "nl-en", "tr-en", "ar-en"),
            loader="starter-bitext/1",
        ),
    ),
)

# The languages of the paper's students, and twelve that these need not know, under the names that the tasks give them.
NTREX = ("deu_Latn", "spa_Latn", "ita_Latn", "fra_Latn", "arb_Arab", "tur_Latn", "nld_Latn")


def _from_and_to_english(languages: tuple[str, ...]) -> tuple[str, ...]:
    """Return NTREX's subsets of some languages."""
    return (*(f"eng_Latn-{language}" for language in languages), *(f"{language}-eng_Latn" for language in languages))


STS17 = TaskRef(
    task="STS17",
    family="sts",
    # The ten pairs of Reimers & Gurevych 2020; MTEB's ko-ko is in none of the paper's languages.
    subsets=(
        "ar-ar",
        "en-ar",
        "es-es",
        "es-en",
        "en-en",
        "en-tr",
        "en-de",
        "fr-en",
        "it-en",
        "nl-en",
    ),
)

TATOEBA = TaskRef(
    task="Tatoeba",
    family="bitext",
    subsets=("deu-eng", "spa-eng", "ita-eng", "fra-eng", "ara-eng", "tur-eng", "nld-eng"),
)

PAPER = Suite(
    name="paper",
    summary="STS17 (ten pairs), multilingual STSb, Tatoeba and NTREX in the paper's eight languages",
    tasks=(
        STS17,
        TaskRef(task="STSBenchmarkMultilingualSTS", family="sts", subsets=("en", "de", "es", "fr", "it", "nl")),
        TATOEBA,
        TaskRef(
            task="NTREXBitextMining",
            family="bitext",
            subsets=_from_and_to_english(NTREX),
        ),
    ),
)

OTHER_TATOEBA = ("ces", "cmn", "fin", "heb", "hin", "jpn", "kor", "pol", "por", "rus", "swe", "vie")
OTHER_NTREX = (
    "ces_Latn",
    "zho_Hans",
    "fin_Latn",
    "heb_Hebr",
    "hin_Deva",
    "jpn_Jpan",
    "kor_Hang",
    "pol_Latn",
    "por_Latn",
    "rus_Cyrl",
    "swe_Latn",
    "vie_Latn",
)

FRONTIER = Suite(
    name="frontier",
    summary="The suite paper, and apart from it the same in twelve other languages, which a student may have lost",
    tasks=(
        *PAPER.tasks,
        TaskRef(task="STSBenchmarkMultilingualSTS", family="sts_other", subsets=("pl", "pt", "ru", "zh")),
        TaskRef(task="Tatoeba", family="bitext_other", subsets=tuple(f"{it}-eng" for it in OTHER_TATOEBA)),
        TaskRef(
            task="NTREXBitextMining",
            family="bitext_other",
            subsets=_from_and_to_english(OTHER_NTREX),
        ),
    ),
)

QUICK = Suite(
    name="quick",
    summary="STS17 and Tatoeba of the suite paper alone: its short sentences, in a fraction of its time",
    tasks=(STS17, TATOEBA),
)


@hookimpl
def xlbench_suites() -> tuple[Suite, ...]:
    """Return the built-in suites."""
    return (STARTER, PAPER, FRONTIER, QUICK)
