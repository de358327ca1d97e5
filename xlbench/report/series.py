"""Rows that differ in size only: one method and depth, several embedding tables. A plot joins them to a curve."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from xlbench.fingerprint import fingerprint
from xlbench.records.rows import has_collapsed, stored_parameters
from xlbench.report.formats import layers

if TYPE_CHECKING:
    from xlbench.report.figures import Figures, Line

FEWEST = 3  # sizes that make a curve
WHOLE = 32  # bits of a weight that is not rounded: labels leave them out


class Kind(NamedTuple):
    """What the rows of a series share."""

    method: str
    options: str
    layers: str
    trimmed: bool
    bits: int

    def __str__(self) -> str:
        """Return '6 run as 12 layers, trimmed, 8 bits'."""
        bits = f", {self.bits} bits" if self.bits < WHOLE else ""
        return f"{self.layers} layers{', trimmed' if self.trimmed else ''}{bits}"


class Series(NamedTuple):
    """Rows of one kind, the smallest first."""

    name: str
    rows: tuple[str, ...]


def series_of(table: Figures) -> list[Series]:
    """Return the students of one method, options and depth that come in three sizes or more.

    A series is named after what distinguishes it from the others: its method if that has one series, else its layers.
    """
    found: dict[Kind, dict[int, str]] = {}
    for line in table.lines:
        if (kind := _kind(line)) is not None:
            found.setdefault(kind, {})[stored_parameters(line.row)] = line.row.name
    curves = {kind: sizes for kind, sizes in found.items() if len(sizes) >= FEWEST}
    methods = Counter(kind.method for kind in curves)
    return [
        Series(str(kind) if methods[kind.method] > 1 else kind.method, tuple(sizes[size] for size in sorted(sizes)))
        for kind, sizes in curves.items()
    ]


def _kind(line: Line) -> Kind | None:
    """Return the kind of a row's series; None for a row that is no student, has collapsed, or has no known depth."""
    record = line.row.record
    depth = layers(record.footprint.stored_layers, record.footprint.executed_layers)
    if record.role != "student" or record.experiment is None or has_collapsed(line.row) or not depth:
        return None
    options = fingerprint(record.experiment.options)
    return Kind(record.experiment.method, options, depth, bool(line.languages), record.experiment.student.bits)
