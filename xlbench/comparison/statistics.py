"""The result of the bootstrap over the rows of a board: intervals, differences and deviations over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AfterValidator, Field

from xlbench.errors import XlbenchError, nearest
from xlbench.experiment import Family
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

DIGITS = 4  # decimals of a point: much finer than any interval, and files stay small and reproducible
K = TypeVar("K", bound=str)


def _rounded(value: float) -> float:
    return round(value, DIGITS) + 0.0  # turns -0.0 into 0.0


Points = Annotated[float, AfterValidator(_rounded)]  # score times 100


class Interval(Frozen):
    """A score, or a difference of two scores, with its uncertainty; in points (score times 100)."""

    value: Points = Field(description="On the items as they are.")
    low: Points = Field(description="Lower end of the 95 % percentile interval over resamples of the items.")
    high: Points = Field(description="Upper end of the interval.")
    error: Points = Field(description="Standard deviation over the resamples: the bootstrap standard error.")

    def holds_zero(self) -> bool:
        """Return whether zero is inside the interval: a difference is then not significant."""
        return self.low <= 0 <= self.high

    def negative(self) -> Interval:
        """Return the interval of the opposite difference."""
        return Interval(value=-self.value, low=-self.high, high=-self.low, error=self.error)


class RowStatistics(Frozen):
    """One row: its mean over seeds with intervals over items, and separately its deviation over seeds."""

    families: dict[Family, Interval] = Field(
        description="Mean over the family's tasks of the mean over subsets. Here and below: what is undefined is left"
        " out, and no part of a mean."
    )
    tasks: dict[str, Interval] = Field(description="Mean over a task's subsets.")
    subsets: dict[str, dict[str, Interval]] = Field(description="By task, then subset.")
    seeds: int = Field(ge=1, description="Number of runs that the row is the mean of.")
    seed_deviation: dict[Family, Points] | None = Field(
        default=None, description="Sample standard deviation of the family mean over seeds; None with one seed."
    )
    task_seed_deviation: dict[str, Points] | None = Field(
        default=None, description="Sample standard deviation of the task mean over seeds; None with one seed."
    )


class Difference(Frozen):
    """The paired difference of two rows, first minus second: both are scored on the same resamples.

    A task or family in which their scores are defined on different subsets is left out.
    """

    first: str
    second: str
    families: dict[Family, Interval]
    tasks: dict[str, Interval]

    def reversed(self) -> Difference:
        """Return second minus first."""
        return Difference(
            first=self.second, second=self.first, families=_negative(self.families), tasks=_negative(self.tasks)
        )


def _negative(intervals: Mapping[K, Interval]) -> dict[K, Interval]:
    return {name: interval.negative() for name, interval in intervals.items()}


class Statistics(Frozen):
    """The statistics of all rows of a board and of every pair of rows."""

    resamples: int = Field(ge=1)
    seed: int = Field(ge=0, description="Of the resampling.")
    items: int = Field(ge=1, description="Number of distinct items over all tasks; translations of an item count once.")
    rows: dict[str, RowStatistics]
    differences: tuple[Difference, ...] = Field(description="Every pair of rows, once.")

    def difference(self, first: str, second: str) -> Difference:
        """Return ``first`` minus ``second``.

        Raises:
            XlbenchError: One of them is not a row of these statistics, or they are the same row.
        """
        for pair in self.differences:
            if (pair.first, pair.second) == (first, second):
                return pair
            if (pair.second, pair.first) == (first, second):
                return pair.reversed()
        for name in (first, second):
            if name not in self.rows:
                raise XlbenchError(f"The statistics have no row '{name}'.", nearest(name, self.rows))
        raise XlbenchError(f"The statistics have no difference between '{first}' and '{second}'.")
