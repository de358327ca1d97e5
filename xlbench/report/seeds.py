"""One experiment with several seeds: what each gave, and how far they lie apart."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import TYPE_CHECKING

from xlbench.report.formats import FAMILY_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.records.record import Failure, Record


def seed_table(students: Sequence[Record], failures: Sequence[Failure] = ()) -> str:
    """Return a line per seed and one with mean ± sample standard deviation, as markdown.

    Seeds that collapsed or diverged are shown as such and left out of the mean.

    Args:
        students: The same experiment with different seeds.
        failures: Seeds that left no record.
    """
    from tabulate import tabulate

    families = list(students[0].scores.families) if students else []
    lines: dict[int, list[str]] = {}
    for student in students:
        assert student.experiment is not None
        mark = "†" if student.scores.collapsed else ""
        lines[student.experiment.seed] = [f"{student.scores.families[family]:.1f}{mark}" for family in families]
    lines |= {failure.seed: ["diverged"] * max(1, len(families)) for failure in failures}
    body = [[str(seed), *cells] for seed, cells in sorted(lines.items())]
    sound = [student.scores.families for student in students if not student.scores.collapsed]
    if sound:
        columns = [[scores[family] for scores in sound] for family in families]
        body.append([f"mean of {len(sound)}", *(_spread(column) for column in columns)])
    header = ["Seed", *(FAMILY_NAMES[family] for family in families or FAMILY_NAMES)]
    alignment = ["left", *["right"] * (len(header) - 1)]
    table = tabulate(body, header, tablefmt="github", colalign=alignment, disable_numparse=True)
    if len(sound) < len(students):
        table += "\n\n†: collapsed: all sentences look alike to this student; it is left out of the mean."
    return table


def _spread(values: Sequence[float]) -> str:
    return f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")
