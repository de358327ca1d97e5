"""Records as a markdown table: quality by family, drop against the assistant, size, speed, cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.experiment import Family
    from xlbench.leaderboard.record import Record
    from xlbench.scoring.scores import SuiteScores

FAMILY_NAMES: dict[Family, str] = {"sts": "STS", "bitext": "Bitext"}
EXAMPLE_NOTE = "This is a worked example on the starter kit's small data, not a benchmark."
ROLE_ORDER = {"teacher": 0, "assistant": 1, "aligned": 2, "encoder": 3, "student": 4}
MEGA = 1e6


def baseline(rows: Sequence[Record]) -> Record | None:
    """Return the row that drops are measured against: the aligned assistant, else the given one."""
    for role in ("aligned", "assistant"):
        for row in rows:
            if row.role == role:
                return row
    return None


def ranked(rows: Sequence[Record]) -> list[Record]:
    """Return given encoders first, then students by their mean over the families, best first."""

    def order(row: Record) -> tuple[int, float, str]:
        mean = sum(row.scores.families.values()) / len(row.scores.families)
        return ROLE_ORDER[row.role], -mean if row.role in {"student", "encoder"} else 0.0, row.name

    return sorted(rows, key=order)


def check_comparable(rows: Sequence[Record]) -> None:
    """Refuse to put scores into one table that do not belong together.

    Raises:
        XlbenchError: Suites, subsets, data or harness versions differ; says which.
    """
    first = rows[0]
    for row in rows[1:]:
        differing = None
        if row.scores.suite != first.scores.suite:
            differing = f"suites '{first.scores.suite}' and '{row.scores.suite}'"
        elif _major(row.scores.mteb_version) != _major(first.scores.mteb_version):
            differing = f"mteb {first.scores.mteb_version} and {row.scores.mteb_version}"
        else:
            for task, scores in first.scores.tasks.items():
                other = row.scores.tasks.get(task)
                if other is None or other.data != scores.data or set(other.subsets) != set(scores.subsets):
                    differing = f"other data or subsets of {task}"
                    break
        if differing:
            raise XlbenchError(
                f"'{first.name}' and '{row.name}' cannot share a table: {differing}.",
                "Score one of them again, or give --suite.",
            )


def _major(version: str) -> str:
    return version.partition(".")[0]


def markdown(rows: Sequence[Record]) -> str:
    """Return the table and its legend as markdown.

    Raises:
        XlbenchError: There are no rows, or they do not belong into one table.
    """
    from tabulate import tabulate

    if not rows:
        raise XlbenchError("There are no records yet.", "Run `xlbench run` first.")
    check_comparable(rows)
    base = baseline(rows)
    families = list(rows[0].scores.families)
    header = ["", "Method", *(FAMILY_NAMES[family] for family in families)]
    header += [f"Δ {FAMILY_NAMES[family]}" for family in families]
    header += ["Params M", "Layers", "MB", "Sent./s", "Speed", "ms", "Train min"]
    body = [_cells(row, base, families) for row in ranked(rows)]
    alignment = ["left", "left", *["right"] * (len(header) - 2)]
    table = tabulate(body, header, tablefmt="github", colalign=alignment, disable_numparse=True)
    legend = [line if line.startswith("**") or not line else f"- {line}" for line in _legend(rows, base)]
    return "\n".join([table, "", *legend])


def _cells(row: Record, base: Record | None, families: Sequence[Family]) -> list[str]:
    cells = [_escape(row.name), _escape(row.experiment.method if row.experiment else "")]
    cells += [f"{row.scores.families[family]:.1f}" + ("†" if row.scores.collapsed else "") for family in families]
    for family in families:
        if base is None or row is base or row.role != "student":
            cells.append("")
        else:
            cells.append(f"{row.scores.families[family] - base.scores.families[family]:+.1f}")
    size = row.footprint
    share = ""
    if base is not None and row.role == "student":
        share = f" ({100 * (size.parameters / base.footprint.parameters - 1):+.0f} %)"
    cells.append(f"{size.parameters / MEGA:.1f}{share}")
    layers = ""
    if size.stored_layers is not None:
        looped = size.executed_layers != size.stored_layers
        layers = f"{size.stored_layers} run as {size.executed_layers}" if looped else str(size.stored_layers)
    cells.append(layers)
    cells.append(f"{size.weight_bytes / MEGA:.0f}" if size.weight_bytes else "")
    speed = row.speed
    cells += [""] * 3
    if speed is not None:
        cells[-3:] = [
            f"{speed.model.throughput.median:.0f}",
            f"{speed.throughput_ratio.median:.2f}×",
            f"{speed.model.latency.median:.1f}",
        ]
    cells.append(f"{sum(stage.seconds for stage in row.stages) / 60:.1f}" if row.stages else "")
    return cells


def _escape(text: str, longest: int = 80) -> str:
    short = text if len(text) <= longest else text[: longest - 1] + "…"
    return short.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _legend(rows: Sequence[Record], base: Record | None) -> list[str]:
    first = rows[0]
    scores = first.scores
    lines = [f"**{EXAMPLE_NOTE}**", ""] if scores.example else []
    tasks = "; ".join(
        f"{name} ({task.metric.replace('_', ' ')}, mean of {len(task.subsets)} subsets)"
        for name, task in scores.tasks.items()
    )
    lines.append(f"Suite `{scores.suite}`: {tasks}; scores × 100, mteb {scores.mteb_version}.")
    if base is not None:
        lines.append(f"Δ: points against '{_escape(base.name)}'; size likewise.")
    lines.append("Layers that run more than once save bytes, not time.")
    machine = first.provenance.machine
    if any(row.speed for row in rows):
        lines.append(
            "Speed: sentences per second, the same as a multiple of the given assistant's (measured in turns in one"
            f" process), and milliseconds for a sentence alone, on {machine.cpu} ({machine.cores} cores,"
            f" {scores.precision})."
        )
    lines.append("Train min: all stages of the row, whether made for it or taken from the store.")
    seeds = sorted({row.experiment.seed for row in rows if row.experiment and row.role == "student"})
    if seeds:
        lines.append(
            f"Seed{'s' if len(seeds) > 1 else ''}: {', '.join(map(str, seeds))}. Differences of a point or two on"
            " few items are noise: this table gives no intervals yet."
        )
    if any(row.scores.collapsed for row in rows):
        lines.append("†: all sentences look alike to this encoder; its scores mean nothing.")
    notes = sorted({note for row in rows if row.corpus for note in row.corpus.notes if note})
    lines += [f"Training data: {_escape(note, 300)}." for note in notes]
    dropped = max((row.corpus.overlap() for row in rows if row.corpus), default=None)
    if dropped is not None:
        lines.append(f"Training pairs dropped because a side is also a sentence of the suite: {dropped:,}.")
    return lines


def subset_table(scores: SuiteScores) -> str:
    """Return the scores of one encoder by task and subset, as markdown."""
    from tabulate import tabulate

    body = [
        [name, subset, str(cell.items), f"{cell.main:.2f}"]
        for name, task in scores.tasks.items()
        for subset, cell in task.subsets.items()
    ]
    body += [[f"**{FAMILY_NAMES[family]}**", "mean", "", f"**{mean:.2f}**"] for family, mean in scores.families.items()]
    table = tabulate(
        body,
        ["Task", "Subset", "Items", "Score"],
        tablefmt="github",
        colalign=["left", "left", "right", "right"],
        disable_numparse=True,
    )
    return f"{table}\n\n**{EXAMPLE_NOTE}**" if scores.example else table
