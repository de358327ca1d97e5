"""What the options of the paper's stages put into a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from xlbench.api import Average, Loop, MatchNeighbours, MatchSimilarities, PullToTarget, Stage, Target
from xlbench.errors import XlbenchError
from xlbench.plugins.registry import load_registry
from xlbench.runs.job import make_plan
from xlbench.runs.request import Request
from xlbench.runs.resolve import resolve
from xlbench.settings import Settings
from xlbench.testing.toys import toy_experiment

if TYPE_CHECKING:
    from pathlib import Path

ENGLISH = Target(encoder="teacher-centred", side="english")
OWN = Target(encoder="teacher-centred", side="own")


def stage_of(name: str, method: str, **options: object) -> Stage | None:
    kind = load_registry().methods[method]
    return kind.plan_for(toy_experiment(method, kind.options.model_validate(options))).stage(name)


def alignment(method: str, **options: object) -> Stage:
    stage = stage_of("alignment", method, **options)
    assert stage is not None
    return stage


@pytest.mark.parametrize("method", ["multistage", "no-contrastive", "no-bottleneck", "no-recurrent", "minilmv2"])
def test_stage_1_pulls_to_the_teacher_and_without_weights_does_nothing_else(method: str) -> None:
    stage = alignment(method, assistant_matrix_weight=0, assistant_neighbour_weight=0)
    assert stage.start == "teacher-centred"  # the toy experiment's assistant teaches itself
    assert stage.training is not None
    assert stage.training.objectives == (PullToTarget(target=ENGLISH),)


def test_the_order_of_loops_is_the_options_where_layers_run_more_than_once() -> None:
    def loop(method: str) -> Loop:
        stage = stage_of("recurrent", method)
        assert stage is not None
        return next(edit for edit in stage.edits if isinstance(edit, Loop))

    assert (loop("multistage").repeats, loop("multistage").order) == (2, "adjacent")
    assert (loop("no-recurrent").repeats, loop("no-recurrent").order) == (1, "cycle")


def test_stage_1_matches_similarities_and_keeps_near_the_assistants_own_vectors() -> None:
    stage = alignment("multistage", assistant_neighbour_weight=0, assistant_own_weight=0.5)
    assert stage.training is not None
    assert stage.training.objectives == (
        PullToTarget(target=ENGLISH),
        MatchSimilarities(mix=((ENGLISH, 1.0),), weight=10, sides="all"),
        PullToTarget(target=OWN, weight=0.5),
    )


def test_neighbours_are_matched_where_their_weight_is_given() -> None:
    bank = Target(encoder="teacher-centred", side="english", bank=512)
    options = {"neighbour_bank": 512, "neighbour_temperature": 0.1}
    first = alignment("multistage", assistant_neighbour_weight=3, **options)
    assert first.training is not None
    assert first.training.objectives[2:] == (MatchNeighbours(target=bank, weight=3, temperature=0.1),)
    last = stage_of("contrastive", "multistage", neighbour_weight=2, **options)
    assert last is not None
    assert last.training is not None
    assert last.training.objectives[2:] == (MatchNeighbours(target=bank, weight=2, temperature=0.1),)


@pytest.mark.parametrize(
    ("bound", "parts"),
    [
        (0, {"bottleneck": 51, "recurrent": 102, "contrastive": 359}),  # a tenth and a fifth of 512, and the rest
        (359, {"bottleneck": 51, "recurrent": 102, "contrastive": 359}),
        (100, {"bottleneck": 51, "recurrent": 361, "contrastive": 100}),
        (9999, {"bottleneck": 51, "recurrent": 102, "contrastive": 359}),
    ],
)
def test_pairs_beyond_the_limit_of_stage_4_go_to_stage_3(bound: int, parts: dict[str, int]) -> None:
    options = {"bottleneck_share": 0.1, "recurrent_share": 0.2, "contrastive_pairs": bound}
    stages = {name: stage_of(name, "multistage", **options) for name in parts}
    assert {name: stage.training.pairs for name, stage in stages.items() if stage and stage.training} == parts


def test_stage_3_gets_at_most_what_stage_2_leaves() -> None:
    options = {"bottleneck_share": 0.5, "recurrent_share": 0.9, "contrastive_pairs": 0}
    stages = [stage_of(name, "multistage", **options) for name in ("bottleneck", "recurrent", "contrastive")]
    # Half of 512, the other half, and the one pair that a stage has at least.
    assert [stage.training.pairs for stage in stages if stage and stage.training] == [256, 256, 1]


def test_after_stage_1_the_assistant_is_averaged_with_its_weights_before() -> None:
    stage = stage_of("aligned", "multistage", assistant_start_share=0.4)
    assert stage == Stage("aligned", "alignment", (Average(other="teacher-centred", share=0.4),))
    plain = stage_of("aligned", "multistage", assistant_start_share=0.0)
    assert plain is not None
    assert (plain.start, plain.edits) == ("teacher-centred", ())
    assert plain.training == alignment("multistage").training
    assert stage_of("alignment", "multistage", assistant_start_share=0.0) is None


def test_fewer_english_sides_are_read_in_every_stage_that_runs_the_encoder() -> None:
    shares = {
        name: stage.training.english_share
        for name in ("alignment", "bottleneck", "recurrent", "contrastive")
        if (stage := stage_of(name, "multistage", english_share=0.5, bottleneck_share=0.1)) and stage.training
    }
    assert shares == {"alignment": 0.5, "bottleneck": 1.0, "recurrent": 0.5, "contrastive": 0.5}


def test_evaluations_of_a_stage_read_no_more_pairs_than_its_training() -> None:
    def evaluations_of(name: str, evaluations: int) -> int:
        stage = stage_of(name, "multistage", evaluations=evaluations)
        assert stage is not None
        assert stage.training is not None
        return stage.training.evaluations

    # 16 dev pairs; 128 pairs in stage 1, and a tenth of 512 in stage 3: 51 / 16 = 3.2.
    assert evaluations_of("alignment", 100) == 8
    assert evaluations_of("recurrent", 100) == 3
    assert evaluations_of("recurrent", 2) == 2
    kind = load_registry().methods["multistage"]
    experiment = toy_experiment("multistage", kind.options())
    scarce = experiment.model_copy(update={"data": experiment.data.model_copy(update={"dev_pairs": 500})})
    trained = [stage.training for stage in kind.plan_for(scarce).stages if stage.training]
    assert [training.evaluations for training in trained] == [1, 1, 1]  # at its end there is always one


def test_the_paper_preset_has_the_published_values_and_options_override_it(tmp_path: Path) -> None:
    request = Request(preset="paper", options={"dropout": False})
    (experiment,), _ = resolve(request, load_registry(), Settings(home=tmp_path))
    published = {
        "centre": False,
        "batch_size": 64,
        "bottleneck_batch_size": 256,
        "learning_rate": 1.6e-4,
        "weight_decay": 0.01,
        "max_tokens": 128,
        "loop_order": "cycle",
        "matrix_sides": "across",
        "bottleneck_start": "random",
        "layer_choice": "first",
        "bottleneck_share": 10 / 80,  # 10, 10 and 60 epochs
        "recurrent_share": 10 / 80,
        "matrix_weight": 1.0,
        "assistant_own_weight": 0.0,
        "assistant_start_share": 0.0,
        "english_share": 1.0,
        "frequent_share": 0.0,
        "assistant_matrix_weight": 0.0,
        "assistant_neighbour_weight": 0.0,
        "assistant_embeddings": True,
        "neighbour_weight": 0.0,
        "contrastive_pairs": 0,
    }
    assert {name: experiment.options[name] for name in published} == published
    assert experiment.options["dropout"] is False
    plan = make_plan(experiment, load_registry().methods[experiment.method])
    sizes = {stage.name: stage.training.batch_size for stage in plan.stages if stage.training}
    assert sizes == {"aligned": 64, "bottleneck": 256, "recurrent": 64, "contrastive": 64}


METHODS = load_registry().methods
PUBLISHED = sorted(name for name, kind in METHODS.items() if "paper" in kind.presets)


@pytest.mark.parametrize("method", PUBLISHED)
def test_a_method_beside_the_papers_has_those_published_values_that_it_has_options_for(method: str) -> None:
    kind, published = METHODS[method], METHODS["multistage"].presets["paper"]
    assert {"multistage", "single-stage", "no-contrastive", "no-bottleneck", "no-recurrent"} <= set(PUBLISHED)
    assert kind.presets["paper"] == {name: it for name, it in published.items() if name in kind.options.model_fields}
    assert kind.read_options({}, "paper").model_dump() == {**kind.options().model_dump(), **kind.presets["paper"]}


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_run_that_names_no_preset_gets_the_defaults_of_the_fields(method: str) -> None:
    kind = METHODS[method]
    assert kind.read_options({}) == kind.options()


@pytest.mark.parametrize(
    ("method", "last", "neighbours", "matrix"),
    [
        ("multistage", "contrastive", True, True),
        ("no-bottleneck", "contrastive", True, True),
        ("low-rank", "contrastive", True, True),
        ("single-stage", "student", True, False),
        ("no-contrastive", "contrastive", False, False),  # the ablation compares sentences with nothing
        ("minilmv2", "contrastive", False, True),  # its last stage is as published
    ],
)
def test_neighbours_are_matched_in_the_last_stage_by_default(
    method: str, last: str, *, neighbours: bool, matrix: bool
) -> None:
    stage = stage_of(last, method)
    assert stage is not None
    assert stage.training is not None
    terms = {type(objective) for objective in stage.training.objectives}
    assert (MatchNeighbours in terms, MatchSimilarities in terms) == (neighbours, matrix)
    weights = [it.weight for it in stage.training.objectives if isinstance(it, MatchNeighbours)]
    assert weights == [10.0] * neighbours


def test_stage_3_gets_a_tenth_of_the_pairs_by_default_and_those_beyond_the_limit_of_stage_4() -> None:
    stages = {name: stage_of(name, "multistage") for name in ("recurrent", "contrastive")}
    pairs = {name: stage.training.pairs for name, stage in stages.items() if stage and stage.training}
    assert pairs == {"recurrent": 51, "contrastive": 461}  # of 512
    experiment = toy_experiment("multistage", METHODS["multistage"].options())
    more = experiment.model_copy(update={"budget": experiment.budget.model_copy(update={"student_pairs": 300_000})})
    seen = {it.name: it.training.pairs for it in METHODS["multistage"].plan_for(more).stages if it.training}
    assert (seen["recurrent"], seen["contrastive"]) == (270_000, 30_000)


def test_an_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(XlbenchError, match="preset of method multistage 'papr'") as error:
        METHODS["multistage"].read_options({}, "papr")
    assert "paper" in str(error.value)
    with pytest.raises(XlbenchError, match="preset of method static 'paper'"):
        METHODS["static"].read_options({}, "paper")


def test_a_plan_refuses_options_that_do_not_fit_by_name() -> None:
    experiment = toy_experiment("multistage", METHODS["multistage"].options())
    for options, words in (
        ({"batch_size": 2}, "Option of method multistage: 'batch_size' cannot be 2: input should be greater than"),
        ({"batch": 2}, "Unknown option of method multistage: 'batch'"),
    ):
        with pytest.raises(XlbenchError, match=words):
            METHODS["multistage"].plan_for(experiment.model_copy(update={"options": options}))
