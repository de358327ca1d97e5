"""The results of the benchmark's parts, as data and as markdown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import Field
from tabulate import tabulate

from xlbench.fingerprint import Frozen, Json
from xlbench.scoring.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Sequence


class Line(Frozen):
    """A target: what is required, what was measured, and whether that is enough."""

    wanted: str
    found: str
    met: bool


class Table(Frozen):
    """A table of finished cells."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Part(Frozen):
    """The results of one part."""

    title: str
    made: str = Field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    how: str = Field(description="What was measured, on what.")
    tables: tuple[Table, ...] = ()
    lines: tuple[Line, ...] = ()
    pictures: tuple[str, ...] = Field(default=(), description="Files beside the README.")
    data: dict[str, Json] = Field(default_factory=dict, description="The raw figures.")
    minutes: float = 0.0


class Results(Frozen):
    """All parts of a run, and the machine."""

    machine: Machine
    precision: str
    quick: bool
    parts: dict[str, Part]


def at_least(wanted: str, found: float, limit: float, shown: str) -> Line:
    """Return a target that a figure must reach."""
    return Line(wanted=wanted, found=shown, met=found >= limit)


def at_most(wanted: str, found: float, limit: float, shown: str) -> Line:
    """Return a target that a figure must not pass."""
    return Line(wanted=wanted, found=shown, met=found <= limit)


def markdown(results: Results) -> str:
    """Return everything as markdown: the targets first, then part by part."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    blocks = [
        f"{machine.cpu}, {machine.cores} cores ({machine.threads} threads), {machine.memory_gib:.0f} GiB, device "
        f"{machine.device}, computing in {results.precision} unless a row says otherwise. {machine.os}, Python "
        f"{machine.python}, {versions}. Figures are medians over repetitions in which the contenders take turns, with "
        "the quartiles in brackets; ratios are taken within each repetition."
    ]
    if results.quick:
        blocks.append("**Run with `--quick`: tiny sizes, to see that everything works. The figures mean nothing.**")
    targets = [
        (part.title, line.wanted, line.found, "met" if line.met else "**not met**")
        for part in results.parts.values()
        for line in part.lines
    ]
    blocks += ["### Targets", _table(("Part", "Target", "Found", ""), targets)]
    for part in results.parts.values():
        blocks += [f"### {part.title}", f"{part.how} Measured {part.made}, in {part.minutes:.1f} minutes."]
        for table in part.tables:
            blocks += [f"**{table.title}**", _table(table.header, table.rows)]
        blocks += [f"![{part.title}]({picture})" for picture in part.pictures]
    return "\n\n".join(blocks)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    align = ["left"] * len(header)
    return tabulate(rows, header, tablefmt="pipe", colalign=align if rows else None, disable_numparse=True)
