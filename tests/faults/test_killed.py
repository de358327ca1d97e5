"""A run that is killed, anywhere: the same command afterwards leaves what a run leaves that nobody killed."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from trials import results, tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from trials import Place

pytestmark = pytest.mark.faults
PHASES = ("targets", "training", "saving", "scoring", "export")


def test_a_killed_run_resumes_and_leaves_the_same(
    place: Place, long: bool, report: Callable[[str, object, str], None]
) -> None:
    generator = random.Random(7)
    each, phases = (10, PHASES) if long else (1, PHASES[::2])
    killed: Counter[str] = Counter()
    for phase in phases:
        at = [number for number, its in enumerate(place.events, 1) if its == phase]
        assert at, f"no event of {phase}"
        for number in (generator.choice(at) for _ in range(each)):
            directory = place.directory()
            delay = 0.0 if phase == "export" else generator.uniform(0, 0.02)  # an export takes a few milliseconds
            words = [*place.words(directory / "home"), "--save", str(directory / "student"), "--json"]
            first = place.start(directory, words, kill=[number, delay]).wait()
            killed[phase] += first.code == -9
            again = place.start(directory, words, "again").wait()
            assert again.code == 0, (phase, number, again.said)
            assert results(directory / "home") == place.whole, (phase, number)
            assert tree(directory / "student") == place.student, (phase, number)
    total = each * len(phases)
    assert sum(killed.values()) >= (0.8 * total if long else 1)  # a delay may outlive a run
    what = ", ".join(f"{killed[phase]} in {phase}" for phase in phases)
    report(
        f"SIGKILL at random moments of a run ({what})", total, "the same command ends with equal weights and records"
    )
