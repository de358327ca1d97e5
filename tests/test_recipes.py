"""What the options of stage 1 put into a plan."""

from __future__ import annotations

import pytest

from xlbench.api import MatchSimilarities, PullToTarget, Stage, Target
from xlbench.plugins import load_registry
from xlbench.testing.toys import toy_experiment

ENGLISH = Target(source="teacher-centred", side="english")
OWN = Target(source="teacher-centred", side="own")


def aligned(method: str, **options: object) -> Stage:
    kind = load_registry().methods[method]
    chosen = kind.options.model_validate(options)
    stage = kind.plan(toy_experiment(method, chosen), chosen).stage("aligned")
    assert stage is not None
    return stage


@pytest.mark.parametrize("method", ["multistage", "no-contrastive", "no-bottleneck", "no-recurrent", "minilmv2"])
def test_stage_1_is_the_papers_unless_asked_otherwise(method: str) -> None:
    stage = aligned(method)
    assert stage.start == "teacher-centred"  # the toy experiment's assistant teaches itself
    assert stage.training is not None
    assert stage.training.objectives == (PullToTarget(target=ENGLISH),)


def test_stage_1_matches_similarities_and_holds_on_to_what_the_assistant_knew() -> None:
    stage = aligned("multistage", assistant_matrix_weight=10, assistant_own_weight=0.5)
    assert stage.training is not None
    assert stage.training.objectives == (
        PullToTarget(target=ENGLISH),
        MatchSimilarities(mix=((ENGLISH, 1.0),), weight=10),
        PullToTarget(target=OWN, weight=0.5),
    )
