"""A table as markdown: ranks, quality by family, drop against the assistant, size, speed, cost; then task by task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError
from xlbench.records.published import published_family_mean, published_task_mean
from xlbench.records.rows import (
    collapsed_seeds,
    has_collapsed,
    latency,
    stored_parameters,
    task_mean,
    throughput_ratio,
    train_minutes,
    weight_bytes,
)
from xlbench.report.figures import Figures, figures, seeds_used
from xlbench.report.formats import FAMILY_NAMES, MEGA, doubt, escaped, layers, points, signed, span
from xlbench.report.notes import EXAMPLE_NOTE, basis, reading, run_warnings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.comparison.statistics import Statistics
    from xlbench.records.published import PublishedRow
    from xlbench.records.record import Failure
    from xlbench.records.rows import Row
    from xlbench.report.figures import Line, Quality
    from xlbench.scoring.scores import SuiteScores

METHOD, SEEDS = "Method", "Seeds"


def markdown(
    rows: Sequence[Row],
    statistics: Statistics | None = None,
    *,
    published: Sequence[PublishedRow] = (),
    failures: Sequence[Failure] = (),
) -> str:
    """Return the table, its legend, and a table by task, as markdown.

    Args:
        rows: What :func:`~xlbench.leaderboard.rows.rows_of` makes of records.
        statistics: Of these rows; None leaves ranks and intervals out, and the legend says so.
        published: Rows by others, shown below, never ranked.
        failures: Runs that could not end well.

    Raises:
        XlbenchError: There are no rows, or they do not belong into one table.
    """
    if not rows:
        raise XlbenchError("There are no records yet.", "Run `xlbench run` first.")
    table = figures(rows, statistics, published, failures)
    legend = [f"- {escaped(line, 1000)}" for line in [*reading(table), *basis(table), *run_warnings(table)]]
    example = [f"**{EXAMPLE_NOTE}**", ""] if table.scores.example else []
    parts = [_table(_main_rows(table)), "", *example, *legend]
    if len(table.scores.tasks) > len(table.families) or table.published:
        parts += ["", "By task:", "", _table(_task_rows(table))]
    return "\n".join(parts)


def subset_table(scores: SuiteScores) -> str:
    """Return the scores of one encoder by task and subset, as markdown."""
    body = [
        {"Task": name, "Subset": subset, "Items": str(cell.items), "Score": f"{cell.main:.2f}"}
        for name, task in scores.tasks.items()
        for subset, cell in task.subsets.items()
    ]
    for family, mean in scores.families.items():
        body.append({"Task": f"**{FAMILY_NAMES[family]}**", "Subset": "mean", "Items": "", "Score": f"**{mean:.2f}**"})
    table = _table(body, left=2)
    return f"{table}\n\n**{EXAMPLE_NOTE}**" if scores.example else table


def _table(rows: Sequence[dict[str, str]], left: int = 1) -> str:
    """Return rows of the same keys as a table; the first ``left`` columns are text, empty columns are left out."""
    from tabulate import tabulate

    header = [name for number, name in enumerate(rows[0]) if number == 0 or any(row[name] for row in rows)]
    aligned = ["left" if number < left or name == METHOD else "right" for number, name in enumerate(header)]
    body = [[row[name] for name in header] for row in rows]
    return tabulate(body, header, tablefmt="github", colalign=aligned, disable_numparse=True)


def _main_rows(table: Figures) -> list[dict[str, str]]:
    cells = [_line(line, table) for line in table.lines]
    empty = dict.fromkeys(cells[0], "")
    for name, lost in table.lost().items():
        cells.append({**empty, "": escaped(name), SEEDS: f"0 of {len(lost)} ‡"})
    for row in table.published:
        means = {
            FAMILY_NAMES[family]: f"{mean:.1f}"
            for family in table.families
            if (mean := published_family_mean(row, family, table.scores)) is not None
        }
        size = f"{row.parameters / MEGA:.1f}" if row.parameters else ""
        cells.append({**empty, "": f"{escaped(row.name)} (published)", **means, "Params M": size})
    return cells


def _line(line: Line, table: Figures) -> dict[str, str]:
    row, experiment = line.row, line.row.record.experiment
    told = experiment is None or experiment.method in row.name
    cells = {"": escaped(row.name), METHOD: "" if told or experiment is None else escaped(experiment.method)}
    for family in table.families:
        cells |= _quality(FAMILY_NAMES[family], line.qualities[family], collapsed=has_collapsed(row))
    size = row.record.footprint
    share = f" ({100 * line.share:.0f} %)" if line.share is not None and line.share != 1 else ""
    saved, ratio, single, minutes = weight_bytes(row), throughput_ratio(row), latency(row), train_minutes(row)
    cells["Params M"] = f"{stored_parameters(row) / MEGA:.1f}{share}"
    cells["Languages"] = " ".join(line.languages)
    cells["Layers"] = layers(size.stored_layers, size.executed_layers)
    cells["MB"] = "" if saved is None else f"{saved / MEGA:.0f}"
    cells["Speed"] = "" if ratio is None else f"{ratio:.2f}×"
    cells["ms"] = "" if single is None else f"{single:.1f}"
    cells["Train min"] = "" if minutes is None else f"{minutes:.1f}"
    # The column is left out where every row rests on the one seed that it was asked for.
    several = any(len(other.row.runs) + len(other.failed) > 1 for other in table.lines)
    cells[SEEDS] = " ".join(seeds_used(line)).strip() if several or line.failed or collapsed_seeds(row) else ""
    return cells


def _quality(name: str, quality: Quality, *, collapsed: bool) -> dict[str, str]:
    score = points(quality.score)
    if quality.frontier:
        score = f"**{score}**"
    standing, drop = quality.standing, quality.drop
    change = ""
    if drop is not None:
        interval = f" {span(drop.interval)}" if drop.interval else ""
        change = f"{signed(drop.points)}{interval}, {signed(drop.percent, 0)} %"
    return {
        f"{name} rank": f"{standing.rank} {standing.letters}" if standing else "",
        name: score + ("†" if collapsed else "") + doubt(quality.interval, quality.deviation),
        f"Δ {name}": change,
    }


def _task_rows(table: Figures) -> list[dict[str, str]]:
    tasks = table.scores.tasks
    cells = []
    for line in table.lines:
        found = table.statistics.rows.get(line.row.name) if table.statistics else None
        deviation = (found and found.task_seed_deviation) or {}
        cells.append(
            {
                "": escaped(line.row.name),
                **{
                    task: points(task_mean(line.row, task))
                    + doubt(found.tasks.get(task) if found else None, deviation.get(task))
                    for task in tasks
                },
            }
        )
    for row in table.published:
        shown = {task: published_task_text(row, task, table.scores) for task in tasks}
        cells.append({"": f"{escaped(row.name)} (published)", **shown})
    return cells


def published_task_text(row: PublishedRow, task: str, scores: SuiteScores) -> str:
    """Return a published task score, with how many of our subsets it covers where these are not all."""
    mean, there, wanted = published_task_mean(row, task, scores)
    if mean is None:
        return ""
    return points(mean) + (f" ({there} of {wanted} subsets)" if there < wanted else "")
