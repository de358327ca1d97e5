"""What plots show, as plain data: a point for each row, and panels of points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xlbench.comparison.rank import frontier
from xlbench.report.formats import plain, points

if TYPE_CHECKING:
    from collections.abc import Iterable

ROLE_NAMES = {
    "student": "student",
    "encoder": "encoder as given",
    "assistant": "assistant",
    "aligned": "aligned assistant",
    "teacher": "teacher",
    "published": "published, not measured here",
}


@dataclass(frozen=True)
class Point:
    """A row in a plot.

    Attributes:
        key: Ties the point to its row on the page.
        number: The row's place in the table, from 1.
        name: Of the row.
        role: One of `ROLE_NAMES`.
        x: What the row costs, or how fast it is.
        y: Its score times 100.
        low: The lower end of the score's interval; None where no interval is known.
        high: The upper end.
        series: The series that the row belongs to; empty for none.
        frontier: Whether no other point of the panel is as good in both and better in one.
    """

    key: str
    number: int
    name: str
    role: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    series: str = ""
    frontier: bool = False


@dataclass(frozen=True)
class Panel:
    """One plot.

    Attributes:
        title: What y is: 'STS'.
        axis: What x is, in words.
        unit: What follows a value of x, with the space before it: ' MB'.
        points: In table order.
        series: For each series its name and the keys of its points, in the order in which a line joins them.
        more: Whether a larger x is better.
    """

    title: str
    axis: str
    unit: str
    points: tuple[Point, ...]
    series: tuple[tuple[str, tuple[str, ...]], ...] = ()
    more: bool = False

    @property
    def best(self) -> list[Point]:
        """The points of the frontier, by ascending x."""
        return sorted((point for point in self.points if point.frontier), key=lambda point: point.x)

    def about(self) -> str:
        """Describe the panel to those who do not see it."""
        names = ", ".join(plain(point.name) for point in self.best)
        return f"{self.title} of {len(self.points)} encoders. On the frontier, from left to right: {names}."

    def tip(self, point: Point) -> str:
        """Return what is said of a point: its name and role, its score with the interval, its cost."""
        score = f"{self.title} {points(point.y)}"
        if point.low is not None and point.high is not None:
            score += f" ± {points((point.high - point.low) / 2)}"
        digits = 0 if point.x >= 100 else 1 if point.x >= 10 else 2  # three significant digits or more
        cost = f"{point.x:.{digits}f}{self.unit}"
        front = ", on the frontier" if point.frontier else ""
        return f"{plain(point.name)} ({ROLE_NAMES[point.role]})\n{score}\n{cost}{front}"


def with_frontier(found: Iterable[Point], *, more: bool = False) -> tuple[Point, ...]:
    """Mark the points that no other beats in both quality and cost; published rows do not take part.

    Args:
        found: The points of one panel.
        more: Whether a larger x is better.
    """
    found = tuple(found)
    front = frontier({point.key: (point.y, point.x) for point in found if point.role != "published"}, (True, more))
    return tuple(replace(point, frontier=point.key in front) for point in found)
