"""The built-in suites: the paper's evaluation on MTEB's data, and the starter example."""

from __future__ import annotations

from xlbench.api import Suite, TaskRef, hookimpl

STARTER_TASKS = "xlbench.scoring.starter_tasks"

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
            loader=f"{STARTER_TASKS}:StarterSTS",
        ),
        TaskRef(
            task="StarterBitext",
            family="bitext",
            subsets=("de-en", "es-en", "fr-en", "it-en", "nl-en", "tr-en", "ar-en"),
            loader=f"{STARTER_TASKS}:StarterBitext",
        ),
    ),
)

# The languages of the paper's students, under the names that the tasks give them.
NTREX = ("deu_Latn", "spa_Latn", "ita_Latn", "fra_Latn", "arb_Arab", "tur_Latn", "nld_Latn")

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
            subsets=(
                *(f"eng_Latn-{language}" for language in NTREX),
                *(f"{language}-eng_Latn" for language in NTREX),
            ),
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
    return (STARTER, PAPER, QUICK)
