"""What the bootstrap says of the rows of a board: intervals, differences, seeds. Light: reads and writes JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AfterValidator, Field

from xlbench.errors import XlbenchError, nearest
from xlbench.experiment import Family
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

DIGITS = 4  # of a point: far finer than any interval, and the file stays small and stable
K = TypeVar("K", bound=str)


def _rounded(value: float) -> float:
    return round(value, DIGITS) + 0.0  # no -0.0


Points = Annotated[float, AfterValidator(_rounded)]  # score times 100


class Interval(Frozen):
    """A score or a difference of two, with its doubt; all in points (score times 100)."""

    value: Points = Field(description="On the items as they are.")
    low: Points = Field(description="Lower end of the 95 % percentile interval over resamples of the items.")
    high: Points = Field(description="Upper end of it.")
    error: Points = Field(description="Standard deviation over the resamples: the bootstrap standard error.")

    def holds_zero(self) -> bool:
        """Return whether zero is inside: of a difference, that nothing tells the two apart."""
        return self.low <= 0 <= self.high

    def negative(self) -> Interval:
        """Return the interval of the opposite difference."""
        return Interval(value=-self.value, low=-self.high, high=-self.low, error=self.error)


class RowStatistics(Frozen):
    """One row: the mean over its seeds, with intervals over items; the doubt over seeds stated apart."""

    families: dict[Family, Interval] = Field(description="Mean over the family's tasks of the mean over subsets.")
    tasks: dict[str, Interval] = Field(description="Mean over a task's subsets.")
    subsets: dict[str, dict[str, Interval]] = Field(description="By task, then subset.")
    seeds: int = Field(ge=1, description="How many runs the row is the mean of.")
    seed_deviation: dict[Family, Points] | None = Field(
        default=None, description="Sample standard deviation over seeds of the family mean; None with one seed."
    )
    task_seed_deviation: dict[str, Points] | None = Field(
        default=None, description="The same of the task mean; None with one seed."
    )


class Difference(Frozen):
    """First minus second, paired: both rows scored on the same resamples."""

    first: str
    second: str
    families: dict[Family, Interval]
    tasks: dict[str, Interval]

    def turned(self) -> Difference:
        """Return second minus first."""
        return Difference(
            first=self.second, second=self.first, families=_negative(self.families), tasks=_negative(self.tasks)
        )


def _negative(intervals: Mapping[K, Interval]) -> dict[K, Interval]:
    return {name: interval.negative() for name, interval in intervals.items()}


class Statistics(Frozen):
    """All rows of a board and every pair of them."""

    resamples: int = Field(ge=1)
    seed: int = Field(ge=0, description="Of the resampling.")
    items: int = Field(ge=1, description="Distinct items over all tasks; translations of one item count once.")
    rows: dict[str, RowStatistics]
    differences: tuple[Difference, ...] = Field(description="Every pair of rows, once.")

    def difference(self, first: str, second: str) -> Difference:
        """Return ``first`` minus ``second``, whichever way round it is kept.

        Raises:
            XlbenchError: One of them is no row of these statistics, or they are the same row.
        """
        for kept in self.differences:
            if (kept.first, kept.second) == (first, second):
                return kept
            if (kept.second, kept.first) == (first, second):
                return kept.turned()
        for name in (first, second):
            if name not in self.rows:
                raise XlbenchError(f"The statistics have no row '{name}'.", nearest(name, self.rows))
        raise XlbenchError(f"The statistics have no difference between '{first}' and '{second}'.")
