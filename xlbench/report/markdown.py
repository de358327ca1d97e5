"""Tables as markdown: a board's with its legend, the scores of one encoder, the seeds of one experiment."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import TYPE_CHECKING

from xlbench.experiment import is_main
from xlbench.records.rows import distinct_runs
from xlbench.report.columns import COLLAPSED, PUBLISHED, number, table_of
from xlbench.report.formats import FAMILY_NAMES, escaped, points
from xlbench.report.frame import records_of
from xlbench.report.notes import EXAMPLE_NOTE, basis, reading, run_warnings, unknown_note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.records.record import Failure, Record
    from xlbench.report.columns import Cell, Column, Table
    from xlbench.report.figures import Figures
    from xlbench.report.frame import Value
    from xlbench.scoring.scores import SubsetScores, SuiteScores

LONG = 1000  # characters of a line of the legend


def markdown(figures: Figures) -> str:
    """Return the table of a board, its legend, and a table by task."""
    table = table_of(figures)
    legend = [*reading(figures, table), *basis(figures), *run_warnings(figures)]
    example = [f"**{EXAMPLE_NOTE}**", ""] if figures.scores.example else []
    parts = [_main(table), "", *example, *(f"- {escaped(line, LONG)}" for line in legend)]
    if len(figures.scores.tasks) > len(figures.families) or figures.published:
        parts += ["", "By task:", "", _by_task(figures)]
    return "\n".join(parts)


def _main(table: Table) -> str:
    body = [[_cell(*pair) for pair in zip(table.columns, cells, strict=True)] for cells in table.cells]
    return _table([column.title for column in table.columns], body, [column.words for column in table.columns])


def _cell(column: Column, cell: Cell) -> str:
    if column.words:
        return f"{escaped(cell.figure)}{cell.rest}"
    return f"**{cell.figure}**{cell.rest}" if cell.bold else f"{cell.figure}{cell.rest}"


def _by_task(figures: Figures) -> str:
    tasks = list(figures.scores.tasks)
    found: dict[str, dict[str, str]] = {}
    for line in records_of(figures.tasks):
        name = escaped(str(line["name"])) + (PUBLISHED if line["published"] else "")
        found.setdefault(name, {})[str(line["task"])] = _task_score(line)
    body = [[name, *(scores.get(task, "") for task in tasks)] for name, scores in found.items()]
    return _table(["Encoder", *tasks], body, [True, *(False for _ in tasks)])


def _task_score(line: dict[str, Value]) -> str:
    """Return a score with its doubt, and how many subsets it covers where these are not all of the task's."""
    score, low, high, deviation = (number(line[name]) for name in ("score", "low", "high", "seed_deviation"))
    text = "" if score is None else points(score)
    text += "" if low is None or high is None else f" ± {points((high - low) / 2)}"
    text += "" if deviation is None else f" (sd {points(deviation)})"
    there, asked = line["subsets"], line["subsets_asked"]
    return text if there == asked else f"{text} ({there} of {asked} subsets)"


def subset_table(scores: SuiteScores) -> str:
    """Return the scores of one encoder by task and subset, and what keeps them from meaning anything."""
    mark = COLLAPSED if scores.collapsed else ""
    body = [
        [name, subset, str(cell.items), _main_score(cell) + mark]
        for name, task in scores.tasks.items()
        for subset, cell in task.subsets.items()
    ]
    for family, mean in scores.families.items():
        subsets = [cell for task in scores.tasks.values() if task.family == family for cell in task.subsets.values()]
        defined = sum(cell.main is not None for cell in subsets)
        over = "mean" if defined == len(subsets) else f"mean over {defined} of {len(subsets)} subsets"
        body.append(
            [f"**{FAMILY_NAMES[family]}**", over, "", ("undefined" if mean is None else f"**{mean:.2f}**") + mark]
        )
    parts = [_table(["Task", "Subset", "Items", "Score"], body, [True, True, False, False])]
    if mark:
        parts.append(
            f"{mark}: collapsed: all sentences look alike to this encoder (mean cosine {scores.mean_cosine:.3f}), or"
            " most get a vector of zeros; its scores mean nothing."
        )
    if scores.unknown:
        parts.append(unknown_note("This encoder", scores.unknown, f"suite {scores.suite}"))
    return "\n\n".join([*parts, *([f"**{EXAMPLE_NOTE}**"] if scores.example else [])])


def _main_score(cell: SubsetScores) -> str:
    return f"undefined: {cell.undefined}" if cell.main is None else f"{cell.main:.2f}"


def seed_table(students: Sequence[Record], failures: Sequence[Failure] = ()) -> str:
    """Return a line per seed and one with mean ± sample standard deviation.

    Seeds that collapsed or diverged are shown as such and left out of the mean; seeds that gave one and the same
    encoder count once.

    Args:
        students: The same experiment with different seeds.
        failures: Seeds that left no record.
    """
    families = list(students[0].scores.families) if students else [it for it in FAMILY_NAMES if is_main(it)]
    lines: dict[int, list[str]] = {}
    for student in students:
        assert student.experiment is not None
        mark = "†" if student.scores.collapsed else ""
        means = [student.scores.families[family] for family in families]
        lines[student.experiment.seed] = ["undefined" if mean is None else f"{mean:.1f}{mark}" for mean in means]
    lines |= {failure.seed: ["diverged"] * len(families) for failure in failures}
    body = [[str(seed), *cells] for seed, cells in sorted(lines.items())]
    ended = [student for student in students if not student.scores.collapsed]
    valid = [student.scores.families for student in distinct_runs(ended)]
    if valid:
        body.append([f"mean of {len(valid)}", *(_spread([it[family] for it in valid]) for family in families)])
    header = ["Seed", *(FAMILY_NAMES[family] for family in families)]
    table = _table(header, body, [True, *(False for _ in families)])
    if len(valid) < len(ended):
        table += "\n\nSeeds that gave the same encoder again count once: nothing in it is drawn at random."
    if len(ended) < len(students):
        table += "\n\n†: collapsed: all sentences look alike to this student; it is left out of the mean."
    return table


def _spread(found: Sequence[float | None]) -> str:
    values = [value for value in found if value is not None]
    if not values:
        return "undefined"
    over = "" if len(values) == len(found) else f" ({len(values)} of {len(found)} seeds)"
    return f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "") + over


def _table(header: Sequence[str], body: Sequence[Sequence[str]], left: Sequence[bool]) -> str:
    """Return a table; columns that are ``left`` hold words."""
    from tabulate import tabulate

    aligned = ["left" if words else "right" for words in left]
    return tabulate(body, header, tablefmt="github", colalign=aligned, disable_numparse=True)
