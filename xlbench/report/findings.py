"""A board's findings: sentences that compare two of its rows and say whether a published claim is confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from xlbench.errors import XlbenchError, nearest
from xlbench.fingerprint import Frozen
from xlbench.records.rows import (
    family_mean,
    latency_difference,
    score_by_seed,
    stored_parameters,
    undefined_scores,
    weight_bytes,
)
from xlbench.report.formats import FAMILY_NAMES, MEGA, plain, signed, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.comparison.statistics import Interval, Statistics
    from xlbench.experiment import Family
    from xlbench.records.rows import Row
    from xlbench.report.figures import Figures

LONG = 300  # characters of a claim


Claim = Literal["gain", "loss", "same"]


class FindingEntry(Frozen):
    """``[[finding]]``: two rows; a sentence under the table states their difference."""

    part: str = Field(min_length=1, description="The difference between the two rows, in words.")
    row: str = Field(min_length=1, description="Name of the first row in the table.")
    beside: str = Field(min_length=1, description="Name of the row that it is compared with.")
    claim: Claim | None = Field(
        default=None, description="The result that was published before: 'gain', 'loss' or 'same'."
    )
    allowed_loss: float | None = Field(
        default=None,
        gt=0,
        description="For 'same': the loss that the claim allows, in per cent of the second row's score.",
    )
    citation: str = Field(default="", description="Who published the claim, in a sentence.")

    @model_validator(mode="after")
    def _allows_what_it_claims(self) -> FindingEntry:
        if self.allowed_loss is not None and self.claim != "same":
            raise ValueError("'allowed_loss' belongs to the claim 'same'")
        return self


def findings(entries: Sequence[FindingEntry], table: Figures) -> tuple[str, ...]:
    """Return a line of plain text for each finding that a board asks for.

    Each gives the first row minus the second one: points by family with their paired 95 % interval over items and
    the smallest and largest value of any seed, stored parameters, bytes, and milliseconds for a sentence alone where
    both were measured on one machine; and whether the claim is confirmed. If all runs of a row failed, the line says
    so.

    Raises:
        XlbenchError: A finding names a row that the board does not have.
    """
    rows = {row.name: row for row in table.rows}
    return tuple(_finding(entry, rows, table) for entry in entries)


def _finding(entry: FindingEntry, rows: dict[str, Row], table: Figures) -> str:
    for name in (entry.row, entry.beside):
        if name in table.lost():
            return f"{plain(entry.part)}: nothing can be said, all runs of {plain(name)} failed."
        if name not in rows:
            problem = f"The finding '{plain(entry.part)}' names '{plain(name)}', which is no row."
            raise XlbenchError(problem, nearest(name, rows))
    row, beside = rows[entry.row], rows[entry.beside]
    parts = []
    for family in table.families:
        own, whole = family_mean(row, family), family_mean(beside, family)
        if (
            own is None
            or whole is None
            or undefined_scores(row, family).keys() != undefined_scores(beside, family).keys()
        ):
            parts.append(f"{FAMILY_NAMES[family]} undefined, as a score of one of them is")
            continue
        difference = own - whole
        interval = _interval(table.statistics, row, beside, family)
        doubt = ""
        if interval:
            loss = entry.allowed_loss
            conclusion = verdict(interval, entry.claim) if loss is None else loss_verdict(interval, loss, whole)
            doubt = f" {span(interval)}, {conclusion}"
        parts.append(f"{FAMILY_NAMES[family]} {signed(difference)}{doubt}{_over_seeds(row, beside, family)}")
    parts.append(f"{signed((stored_parameters(row) - stored_parameters(beside)) / MEGA)} M parameters")
    saved, other = weight_bytes(row), weight_bytes(beside)
    if saved is not None and other is not None:
        parts.append(f"{signed((saved - other) / MEGA, 0)} MB")
    if (later := latency_difference(row, beside)) is not None:
        parts.append(f"{signed(later, 0)} ms for a sentence alone")
    source = f" Before: {plain(entry.citation, LONG)}" if entry.citation else ""
    heading = f"{plain(entry.part)} ({plain(row.name)} against {plain(beside.name)})"
    return f"{heading}: {'; '.join(parts)}.{source}{_few_seeds(row, beside)}"


def _over_seeds(row: Row, beside: Row, family: Family) -> str:
    """Return the range of the difference over seeds; pairs runs of a seed where both rows have several."""
    one, two = score_by_seed(row, family), score_by_seed(beside, family)
    if len(one) > 1 and len(two) > 1:
        found = [one[seed] - two[seed] for seed in one.keys() & two.keys()]
    else:
        found = [first - second for first in one.values() for second in two.values()]
    return f" (by seed {signed(min(found))} to {signed(max(found))})" if len(found) > 1 else ""


def _few_seeds(row: Row, beside: Row) -> str:
    trained = [it for it in (row, beside) if it.role in {"aligned", "student"}]
    single = [it for it in trained if len(it.runs) == 1]
    if not single:
        return ""
    which = "" if len(single) == len(trained) else f" of {plain(single[0].name)}"
    return f" One seed{which}: what another would change is not in the intervals."


def _interval(statistics: Statistics | None, row: Row, beside: Row, family: str) -> Interval | None:
    if statistics is None or not {row.name, beside.name} <= set(statistics.rows):
        return None
    found = {str(name): it for name, it in statistics.difference(row.name, beside.name).families.items()}
    return found.get(family)


def verdict(interval: Interval, claim: Claim | None) -> str:
    """Return what an interval of a difference shows, and whether it confirms the claimed direction."""
    if interval.holds_zero():
        return "not told apart" if claim in {None, "same"} else f"the claimed {claim} is not seen"
    found = "gain" if interval.value > 0 else "loss"
    if claim is None:
        return f"a {found}"
    return f"a {found}, as claimed" if claim == found else f"a {found}, unlike the claim"


def loss_verdict(interval: Interval, allowed: float, whole: float) -> str:
    """Return whether the loss is at most ``allowed`` per cent of the score ``whole``: a test of non-inferiority.

    The claim is confirmed if the whole interval lies above that loss, and refuted if it lies below.
    """
    limit = -allowed / 100 * whole
    if interval.low >= limit:
        return f"at most {allowed:g} % lower, as claimed"
    if interval.high < limit:
        return f"more than {allowed:g} % lower, unlike the claim"
    return f"at most {allowed:g} % lower is neither seen nor excluded"
