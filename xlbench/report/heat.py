"""Heat maps: scores by language and by subset, shaded by their distance from the assistant's."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan
from typing import TYPE_CHECKING

from xlbench.report.formats import FAMILY_NAMES, plain, points, signed

if TYPE_CHECKING:
    from pandas import DataFrame

    from xlbench.experiment import Family
    from xlbench.report.figures import Figures

STEPS = (1.0, 3.0, 6.0, 12.0)  # points at which the next shade begins


@dataclass(frozen=True)
class Heat:
    """A cell; ``shade`` runs from -4, far below the assistant, to 4; None where nothing is compared."""

    text: str
    small: str
    shade: int | None
    about: str


@dataclass(frozen=True)
class HeatMap:
    """A table of shaded cells; each row also has its key in the main table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Heat, ...]], ...]


def language_of(languages: str) -> str:
    """Return the language of a subset other than English: 'de' for 'en-de'; English if it is the only one."""
    return "-".join(part for part in languages.split("-") if part != "en") or languages


def language_map(figures: Figures, family: Family) -> HeatMap:
    """Return a family's scores by language: the mean over its tasks of the mean over a language's subsets."""
    scores = _valid_scores(figures)
    scores = scores[scores["family"] == family]
    language = scores["languages"].map(language_of).rename("language")
    by_task = scores.groupby(["name", language, "task"])["score"].mean()
    return _map(FAMILY_NAMES[family], figures, by_task.groupby(["name", "language"]).mean().unstack())


def subset_map(figures: Figures, task: str) -> HeatMap:
    """Return a task's scores by subset, each with half of its 95 % interval."""
    scores = _valid_scores(figures)
    scores = scores[scores["task"] == task]
    cells = scores.assign(half=(scores["high"] - scores["low"]) / 2).groupby(["name", "subset"], sort=False)
    # unstack() sorts the columns by name; restore the order of the suite.
    subsets = scores["subset"].unique()
    means, halves = (cells[name].mean().unstack()[subsets] for name in ("score", "half"))
    return _map(task, figures, means, halves)


def _valid_scores(figures: Figures) -> DataFrame:
    """Return the scores of seeds that did not collapse, which a row's mean is taken over."""
    return figures.tidy[~figures.tidy["collapsed"]]


def _map(title: str, figures: Figures, means: DataFrame, halves: DataFrame | None = None) -> HeatMap:
    """Return means, a line per row and a column per language or subset, as shades."""
    base = figures.base.name if figures.base else ""
    changes = _by_row(means - means.loc[base]) if base in means.index else {}
    scores, doubts = _by_row(means), {} if halves is None else _by_row(halves)
    rows = []
    for number, row in enumerate(figures.rows):
        name = row.name
        if name not in scores:
            continue
        cells = []
        for place, score in enumerate(scores[name]):
            half = doubts[name][place] if doubts else nan
            small = "" if isnan(half) else f"±{points(half)}"
            change = changes[name][place] if changes and name != base else None
            shade, about = (None, "") if change is None or isnan(change) else (_shade(change), signed(change))
            cells.append(Heat("–" if isnan(score) else points(score), small, shade, about))
        rows.append((f"r{number}", plain(name), tuple(cells)))
    return HeatMap(title, tuple(means.columns), tuple(rows))


def _by_row(frame: DataFrame) -> dict[str, list[float]]:
    return dict(zip(frame.index, frame.to_numpy().tolist(), strict=True))


def _shade(change: float) -> int:
    steps = sum(abs(change) >= step for step in STEPS)
    return steps if change > 0 else -steps
