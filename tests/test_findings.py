"""Findings: two rows beside each other in words, and what was claimed before."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from toy_board import around, example_records, statistics_of, student

from xlbench.boards.board import Board, RunEntry
from xlbench.errors import XlbenchError
from xlbench.records.record import Failure
from xlbench.records.rows import rows_of
from xlbench.report.figures import figures
from xlbench.report.findings import Claim, FindingEntry, findings, loss_verdict, verdict
from xlbench.report.page import BoardText, render

WITH, WITHOUT = "multistage/minilm-half", "without/minilm-half"


def entry(**changes: object) -> FindingEntry:
    facts: dict[str, object] = {"part": "Stage 4", "row": WITH, "beside": WITHOUT}
    return FindingEntry.model_validate({**facts, **changes})


def finding(points: float, **changes: object) -> str:
    rows = rows_of([*example_records(), student(points, method="without", parameters=2_500_000)])
    (line,) = findings([entry(**changes)], figures(rows, statistics_of(rows)))
    return line


def test_a_finding_gives_points_with_their_interval_and_their_cost() -> None:
    # The other row is 2 points better and 2.5 M parameters larger; differences are known to 1 point. A
    # parameter is four bytes.
    line = finding(2.0)
    assert line.startswith(f"Stage 4 ({WITH} against {WITHOUT}): STS −2.0 [−3.0, −1.0], a loss; Bitext −2.0 ")
    assert "; −2.5 M parameters; −10 MB; 0 ms for a sentence alone." in line  # their speeds are copies of one
    assert line.endswith("One seed: what another would change is not in the intervals.")


def over_seeds(*points: float, beside: tuple[float, ...]) -> str:
    mine = [student(value, seed=seed) for seed, value in enumerate(points)]
    others = [student(value, seed=seed, method="without") for seed, value in enumerate(beside)]
    rows = rows_of([*mine, *others])
    (line,) = findings([entry()], figures(rows, statistics_of(rows)))
    return line


def test_a_finding_gives_the_range_over_seeds() -> None:
    # Seeds are paired: 1 - 0, 2 - 3 and 3 - 1, their mean 2/3.
    line = over_seeds(1.0, 2.0, 3.0, beside=(0.0, 3.0, 1.0))
    assert "STS +0.7 [−0.3, +1.7], not told apart (by seed −1.0 to +2.0); Bitext" in line
    assert "One seed" not in line


def test_a_row_of_one_seed_is_named_beside_one_of_several() -> None:
    line = over_seeds(1.0, 2.0, beside=(0.0,))
    assert "STS +1.5 [+0.5, +2.5], a gain (by seed +1.0 to +2.0); Bitext" in line
    assert line.endswith(f"One seed of {WITHOUT}: what another would change is not in the intervals.")


def test_a_finding_says_whether_a_claim_is_confirmed() -> None:
    line = finding(-2.0, claim="gain", citation="Somebody: two points.")
    assert "STS +2.0 [+1.0, +3.0], a gain, as claimed;" in line
    assert " Before: Somebody: two points." in line
    assert "[−0.5, +1.5], the claimed gain is not seen;" in finding(-0.5, claim="gain")


@pytest.mark.parametrize(
    ("value", "claim", "words"),
    [
        (0.5, None, "not told apart"),
        (0.5, "same", "not told apart"),
        (0.5, "loss", "the claimed loss is not seen"),
        (1.5, None, "a gain"),
        (1.5, "gain", "a gain, as claimed"),
        (1.5, "loss", "a gain, unlike the claim"),
        (-1.5, "same", "a loss, unlike the claim"),
        (-1.5, "loss", "a loss, as claimed"),
    ],
)
def test_an_interval_with_zero_in_it_decides_nothing(value: float, claim: Claim | None, words: str) -> None:
    assert verdict(around(value, 1.0), claim) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.5, "at most 1 % lower, as claimed"),
        (-0.3, "at most 1 % lower, as claimed"),  # down to -0.8 at worst
        (-0.4, "at most 1 % lower is neither seen nor excluded"),
        (-1.3, "at most 1 % lower is neither seen nor excluded"),  # up to -0.8 at best
        (-1.4, "more than 1 % lower, unlike the claim"),
    ],
)
def test_a_claim_may_allow_a_loss(value: float, words: str) -> None:
    # Of a score of 80, one per cent is 0.8 points.
    assert loss_verdict(around(value, 0.5), 1.0, 80.0) == words


def test_an_allowed_loss_is_of_the_other_rows_score() -> None:
    # Differences are known to 1 point; 10 % of a score is more and 1 % is less.
    assert "[−1.5, +0.5], at most 10 % lower, as claimed; " in finding(0.5, claim="same", allowed_loss=10)
    assert "[−1.5, +0.5], at most 1 % lower is neither seen nor excluded; " in finding(
        0.5, claim="same", allowed_loss=1
    )
    with pytest.raises(ValidationError, match="belongs to the claim 'same'"):
        entry(claim="gain", allowed_loss=1)


def test_a_finding_about_an_unknown_row_is_refused_by_name() -> None:
    with pytest.raises(XlbenchError, match="The finding 'Stage 4' names 'with/minilm-half', which is no row"):
        finding(1.0, beside="with/minilm-half")


def test_a_finding_about_a_row_whose_runs_all_failed_says_so() -> None:
    rows = rows_of(example_records())
    failed = Failure(row=WITHOUT, seed=0, message="Training diverged.")
    lines = findings([entry(row="minilm-half")], figures(rows, statistics_of(rows), failures=(failed,)))
    assert lines == (f"Stage 4: nothing can be said, all runs of {WITHOUT} failed.",)


def test_pages_show_findings_and_escape_markup_in_them() -> None:
    rows = rows_of([*example_records(), student(2.0, method="without")])
    text = BoardText(name="board", title="A board", findings=(entry(part="<script>|"),))
    files = render(text, rows, statistics_of(rows))
    assert f"## Findings\n\n- &lt;script>\\| ({WITH} against {WITHOUT}): STS −2.0" in files["board.md"]
    assert f"<li>&lt;script&gt;| ({WITH} against {WITHOUT}): STS −2.0" in files["board.html"]


def test_findings_of_a_board_do_not_change_its_results() -> None:
    board = Board(title="A board", run=(RunEntry(),))
    assert board.model_copy(update={"finding": (entry(),)}).digest() == board.digest()
