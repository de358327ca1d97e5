"""A board as data frames: a line per encoder, per task, per score. Every format is made from these.

Scores, their intervals and differences are points (score times 100). What is not known is missing (NaN or NA), never
a number that stands for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from xlbench.comparison.rank import frontier, standings
from xlbench.errors import XlbenchError
from xlbench.records.published import published_family_mean, published_task_mean
from xlbench.records.rows import (
    Row,
    baseline,
    check_comparable,
    collapsed_seeds,
    family_deviation,
    family_mean,
    has_collapsed,
    kept_languages,
    latency,
    ranked,
    rows_of,
    task_mean,
    throughput,
    throughput_ratio,
    train_minutes,
    undefined_scores,
    valid_runs,
    weight_bytes,
)
from xlbench.report.fields import TASKS, TIDY, board_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pandas import DataFrame

    from xlbench.comparison.rank import Standing
    from xlbench.comparison.statistics import Interval, Statistics
    from xlbench.experiment import Family
    from xlbench.records.published import PublishedRow
    from xlbench.records.record import Failure, Record
    from xlbench.report.fields import Field
    from xlbench.scoring.scores import SuiteScores

    Rows: TypeAlias = Sequence[Row] | Sequence[Record]

Value: TypeAlias = str | float | bool | None
MEGA = 1e6


# Three-letter codes (ISO 639-3) that MTEB's tasks use, as the two-letter ones (ISO 639-1) of everything else here.
TWO_LETTERS = {
    "ara": "ar", "arb": "ar", "ces": "cs", "cmn": "zh", "deu": "de", "ell": "el", "eng": "en", "fas": "fa",
    "fin": "fi", "fra": "fr", "heb": "he", "hin": "hi", "hun": "hu", "ind": "id", "ita": "it", "jpn": "ja",
    "kor": "ko", "nld": "nl", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru", "spa": "es", "swe": "sv",
    "tha": "th", "tur": "tr", "ukr": "uk", "vie": "vi", "zho": "zh",
}  # fmt: skip


def languages_of(subset: str) -> str:
    """Return the languages of a subset's sides: 'en-de' of 'eng_Latn-deu_Latn', 'de' of 'de-de'."""
    codes = [part.partition("_")[0] for part in subset.split("-")]
    return "-".join(dict.fromkeys(TWO_LETTERS.get(code, code) for code in codes))


def tidy_frame(rows: Rows, statistics: Statistics | None = None) -> DataFrame:
    """Return a line for each row, seed, task and subset, as :data:`~xlbench.report.fields.TIDY` describes it.

    Args:
        rows: Rows, or the records that they are made of.
        statistics: Of the rows; without them no interval is known.
    """
    lines: list[dict[str, Value]] = []
    for row in ranked(as_rows(rows)):
        measured = statistics.rows.get(row.name) if statistics else None
        for run in row.runs:
            identity = _identity(row) | {
                "seed": run.experiment.seed if run.experiment else None,
                "suite": run.scores.suite,
                "collapsed": run.scores.collapsed,
            }
            for task, scores in run.scores.tasks.items():
                known = measured.subsets.get(task, {}) if measured else {}
                about: dict[str, Value] = {"family": scores.family, "task": task}
                about |= {"split": scores.split, "metric": scores.metric}
                for subset, cell in scores.subsets.items():
                    place: dict[str, Value] = {"subset": subset, "languages": languages_of(subset)}
                    figures: dict[str, Value] = {"items": cell.items, "score": cell.main, "undefined": cell.undefined}
                    lines.append(identity | about | place | figures | _ends(known.get(subset)))
    return _frame(lines, TIDY)


def task_frame(rows: Rows, statistics: Statistics | None = None, published: Sequence[PublishedRow] = ()) -> DataFrame:
    """Return a line for each row and task, as :data:`~xlbench.report.fields.TASKS` describes it.

    Args:
        rows: Rows of one table, or the records that they are made of.
        statistics: Of the rows; without them no interval is known.
        published: Rows by others; a task that they were not scored on has no line.
    """
    rows = ranked(as_rows(rows))
    tasks = rows[0].record.scores.tasks if rows else {}
    lines: list[dict[str, Value]] = []
    for row in rows:
        measured = statistics.rows.get(row.name) if statistics else None
        deviations = (measured and measured.task_seed_deviation) or {}
        for task, own in tasks.items():
            about: dict[str, Value] = {"name": row.name, "task": task, "family": own.family}
            lost = sum(place[0] == task for place in undefined_scores(row, own.family))
            about |= {"subsets": len(own.subsets) - lost, "subsets_asked": len(own.subsets)}
            score: dict[str, Value] = {"score": task_mean(row, task), "seed_deviation": deviations.get(task)}
            lines.append(about | score | _ends(measured.tasks.get(task) if measured else None))
    for other in published:
        for task, own in tasks.items():
            mean, there, asked = published_task_mean(other, task, rows[0].record.scores)
            if mean is not None:
                about = {"name": other.name, "published": True, "task": task, "family": own.family}
                lines.append(about | {"subsets": there, "subsets_asked": asked, "score": mean})
    return _frame(lines, TASKS)


def board_frame(
    rows: Rows,
    statistics: Statistics | None = None,
    published: Sequence[PublishedRow] = (),
    failures: Sequence[Failure] = (),
) -> DataFrame:
    """Return a line for each row, as :func:`~xlbench.report.fields.board_fields` describes it, in table order.

    Teacher and assistants come first, then the others by their mean over the families, best first; then rows by
    others, then rows all of whose runs failed.

    Args:
        rows: Rows, or the records that they are made of; at least one.
        statistics: Of the rows; without them neither ranks nor intervals are known.
        published: Rows by others.
        failures: Runs that ended without an encoder.

    Raises:
        XlbenchError: There are no rows, or they do not belong into one table.
    """
    rows = as_rows(rows)
    if not rows:
        raise XlbenchError("There are no records yet.", "Run `xlbench run` first.")
    check_comparable(rows)
    scores = rows[0].record.scores
    families = tuple(scores.families)
    base = baseline(rows)
    ranks = {family: _standings(rows, family, statistics) for family in families}
    front = {family: _frontier(rows, family) for family in families}
    lines: list[dict[str, Value]] = []
    for row in ranked(rows):
        line = _identity(row) | {"reference": row is base} | _size(row, base) | _cost(row, failures)
        for family in families:
            quality = _quality(row, base, family, statistics) | _standing(ranks[family].get(row.name))
            quality["frontier"] = row.name in front[family]
            line |= {f"{family}_{name}": value for name, value in quality.items()}
        lines.append(line)
    lines += [_published(row, scores) for row in published]
    for name in dict.fromkeys(it.row for it in failures if it.row not in {row.name for row in rows}):
        lost: dict[str, Value] = {"name": name, "role": "failed", "seeds": 0}
        lines.append(lost | _failed(name, failures))
    return _frame(lines, board_fields(families))


def as_rows(given: Rows) -> tuple[Row, ...]:
    """Return rows as they are, and records taken together to rows."""
    rows = tuple(it for it in given if isinstance(it, Row))
    return rows or rows_of([it for it in given if not isinstance(it, Row)])


def records_of(frame: DataFrame) -> list[dict[str, Value]]:
    """Return the lines of a frame as plain values by column, what is missing as None."""
    known = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in line.items()} for line in known.to_dict("records")]


def _frame(lines: Sequence[Mapping[str, Value]], fields: Mapping[str, Field]) -> DataFrame:
    from pandas import DataFrame

    flags = {name: False for name, field in fields.items() if field.kind == "bool"}
    frame = DataFrame([flags | dict(line) for line in lines], columns=list(fields))
    return frame.astype({name: field.kind for name, field in fields.items()})


def _identity(row: Row) -> dict[str, Value]:
    experiment = row.record.experiment
    made = {"method": experiment.method, "student": experiment.student.name} if experiment else {}
    return {"name": row.name, "role": row.role, **made}


def _ends(interval: Interval | None) -> dict[str, Value]:
    return {"low": interval.low, "high": interval.high} if interval else {}


def _standing(standing: Standing | None) -> dict[str, Value]:
    return {"rank": standing.rank, "letters": standing.letters} if standing else {}


def _quality(row: Row, base: Row | None, family: Family, statistics: Statistics | None) -> dict[str, Value]:
    """Return score, interval and deviation of a row, and its drop where one is measured."""
    measured = statistics.rows.get(row.name) if statistics else None
    own = family_mean(row, family)
    found: dict[str, Value] = {"score": own, "seed_deviation": family_deviation(row, family)}
    found |= _ends(measured.families.get(family) if measured else None)
    if base is None or row is base or row.role in {"teacher", "assistant", "aligned"} or has_collapsed(row):
        return found
    other = family_mean(base, family)
    if own is None or other is None or undefined_scores(row, family).keys() != undefined_scores(base, family).keys():
        return found  # means over different subsets have no difference
    found |= {"drop": own - other, "drop_percent": 100 * (own / other - 1) if other > 0 else None}
    if statistics is not None and {row.name, base.name} <= statistics.rows.keys():
        interval = statistics.difference(row.name, base.name).families.get(family)
        found |= {"drop_low": interval.low, "drop_high": interval.high} if interval else {}
    return found


def _size(row: Row, base: Row | None) -> dict[str, Value]:
    size, experiment = row.record.footprint, row.record.experiment
    return {
        "parameters": size.parameters,
        "parameters_share": 100 * size.parameters / base.record.footprint.parameters if base else None,
        "embedding_parameters": size.embedding_parameters,
        "executed_parameters": size.executed_parameters,
        "stored_layers": size.stored_layers,
        "executed_layers": size.executed_layers,
        "bits": experiment.student.bits if experiment else None,
        "megabytes": None if size.weight_bytes is None else size.weight_bytes / MEGA,
        "languages": " ".join(kept_languages(row, base)) or None,
    }


def _cost(row: Row, failures: Sequence[Failure]) -> dict[str, Value]:
    found: dict[str, Value] = {
        "throughput_ratio": throughput_ratio(row),
        "sentences_per_second": throughput(row),
        "latency_ms": latency(row),
        "train_minutes": train_minutes(row),
        "collapsed": has_collapsed(row),
    }
    if row.record.experiment is None:
        return found
    seeds: dict[str, Value] = {"seeds": 0 if has_collapsed(row) else len(valid_runs(row))}
    return found | seeds | _failed(row.name, failures, runs=len(row.runs), collapsed=len(collapsed_seeds(row)))


def _failed(name: str, failures: Sequence[Failure], *, runs: int = 0, collapsed: int = 0) -> dict[str, Value]:
    failed = sum(failure.row == name for failure in failures)
    return {"seeds_asked": runs + failed, "seeds_collapsed": collapsed, "seeds_failed": failed}


def _published(row: PublishedRow, scores: SuiteScores) -> dict[str, Value]:
    line: dict[str, Value] = {"name": row.name, "role": "published", "published": True, "parameters": row.parameters}
    for family in scores.families:
        line[f"{family}_score"] = published_family_mean(row, family, scores)
    return line


def _standings(rows: Sequence[Row], family: Family, statistics: Statistics | None) -> dict[str, Standing]:
    if statistics is None:
        return {}
    found = {row.name: mean for row, mean in _comparable(rows, family) if row.name in statistics.rows}
    return standings(sorted(found, key=lambda name: (-found[name], name)), family, statistics)


def _comparable(rows: Sequence[Row], family: Family) -> list[tuple[Row, float]]:
    """Return the rows whose means in a family are over the same subsets, with these means.

    A subset that is undefined in every row, as with equal golds, is missing in all of them. One that is undefined in
    some rows only, as with equal cosines, leaves those rows out.
    """
    missing = [(row, set(undefined_scores(row, family))) for row in rows if not has_collapsed(row)]
    everywhere = set.intersection(*(places for _, places in missing)) if missing else set()
    found = [(row, family_mean(row, family)) for row, places in missing if places == everywhere]
    return [(row, mean) for row, mean in found if mean is not None]


def _frontier(rows: Sequence[Row], family: Family) -> frozenset[str]:
    """Quality against stored parameters, bytes and latency; what was not measured cannot count as small."""
    unknown = float("inf")
    points = {
        row.name: (
            mean,
            float(row.record.footprint.parameters),
            float(weight_bytes(row) or unknown),
            latency(row) or unknown,
        )
        for row, mean in _comparable(rows, family)
    }
    return frontier(points, (True, False, False, False))
