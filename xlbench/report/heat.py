"""Scores by language and by subset, shaded by how far they are from the assistant's."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from xlbench.records.rows import has_collapsed, subset_mean
from xlbench.report.formats import FAMILY_NAMES, half, plain, points, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xlbench.experiment import Family
    from xlbench.records.rows import Row
    from xlbench.report.figures import Figures

STEPS = (1.0, 3.0, 6.0, 12.0)  # points at which the next shade begins
# Three-letter codes (ISO 639-3) that MTEB's tasks use, as the two-letter ones (ISO 639-1) of everything else here.
TWO_LETTERS = {
    "ara": "ar", "arb": "ar", "ces": "cs", "cmn": "zh", "deu": "de", "ell": "el", "eng": "en", "fas": "fa",
    "fin": "fi", "fra": "fr", "heb": "he", "hin": "hi", "hun": "hu", "ind": "id", "ita": "it", "jpn": "ja",
    "kor": "ko", "nld": "nl", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru", "spa": "es", "swe": "sv",
    "tha": "th", "tur": "tr", "ukr": "uk", "vie": "vi", "zho": "zh",
}  # fmt: skip


@dataclass(frozen=True)
class Heat:
    """A cell; ``shade`` runs from -4, far below the assistant, to 4; None where nothing is compared."""

    text: str
    small: str
    shade: int | None
    about: str


@dataclass(frozen=True)
class HeatMap:
    """Rows by columns; each row has its key in the main table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Heat, ...]], ...]


def language_of(subset: str) -> str:
    """Return the language that a subset is about, as two letters where it has them: 'de' of 'eng_Latn-deu_Latn'.

    English is named only where there is nothing else; two other languages are joined: 'de-fr'.
    """
    codes = [part.partition("_")[0] for part in subset.split("-")]
    short = [TWO_LETTERS.get(code, code) for code in codes]
    return "-".join(dict.fromkeys(code for code in short if code != "en")) or short[0]


def language_map(table: Figures, family: Family) -> HeatMap:
    """Return a family's scores by language: the mean over its tasks of the mean over a language's subsets."""
    places: dict[str, dict[str, list[str]]] = {}
    for task, scores in table.scores.tasks.items():
        if scores.family == family:
            for subset in scores.subsets:
                places.setdefault(language_of(subset), {}).setdefault(task, []).append(subset)

    def score(row: Row, language: str) -> float:
        return fmean(
            fmean(subset_mean(row, task, subset) for subset in subsets) for task, subsets in places[language].items()
        )

    return _map(FAMILY_NAMES[family], table, sorted(places), score, lambda row, language: "")


def subset_map(table: Figures, task: str) -> HeatMap:
    """Return a task's scores by subset, each with half of its 95 % interval."""

    def interval(row: Row, subset: str) -> str:
        found = table.statistics.rows.get(row.name) if table.statistics else None
        known = found.subsets.get(task, {}).get(subset) if found else None
        return f"±{points(half(known))}" if known else ""

    subsets = tuple(table.scores.tasks[task].subsets)
    return _map(task, table, subsets, lambda row, subset: subset_mean(row, task, subset), interval)


def _map(
    title: str,
    table: Figures,
    columns: Sequence[str],
    score: Callable[[Row, str], float],
    small: Callable[[Row, str], str],
) -> HeatMap:
    base = table.base
    rows = []
    for number, line in enumerate(table.lines):
        row = line.row
        if has_collapsed(row):
            continue
        cells = []
        for column in columns:
            value = score(row, column)
            change = None if base is None or row is base else value - score(base, column)
            about = "" if change is None else signed(change)
            cells.append(Heat(points(value), small(row, column), None if change is None else _shade(change), about))
        rows.append((f"r{number}", plain(row.name), tuple(cells)))
    return HeatMap(title, tuple(columns), tuple(rows))


def _shade(change: float) -> int:
    steps = sum(abs(change) >= step for step in STEPS)
    return steps if change > 0 else -steps
