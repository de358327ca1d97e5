"""What the options of stage 1 put into a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from xlbench.api import Average, Loop, MatchNeighbours, MatchSimilarities, PullToTarget, Stage, Target
from xlbench.errors import XlbenchError
from xlbench.plugins.registry import load_registry
from xlbench.runs.job import make_plan
from xlbench.runs.request import Request
from xlbench.runs.resolve import method_options, resolve
from xlbench.settings import Settings
from xlbench.testing.toys import toy_experiment

if TYPE_CHECKING:
    from pathlib import Path

ENGLISH = Target(encoder="teacher-centred", side="english")
OWN = Target(encoder="teacher-centred", side="own")


def stage_of(name: str, method: str, **options: object) -> Stage | None:
    kind = load_registry().methods[method]
    chosen = kind.options.model_validate(options)
    return kind.plan(toy_experiment(method, chosen), chosen).stage(name)


def alignment(method: str, **options: object) -> Stage:
    stage = stage_of("alignment", method, **options)
    assert stage is not None
    return stage


@pytest.mark.parametrize("method", ["multistage", "no-contrastive", "no-bottleneck", "no-recurrent", "minilmv2"])
def test_stage_1_pulls_to_the_teacher_and_without_the_matrix_does_nothing_else(method: str) -> None:
    stage = alignment(method, assistant_matrix_weight=0)
    assert stage.start == "teacher-centred"  # the toy experiment's assistant teaches itself
    assert stage.training is not None
    assert stage.training.objectives == (PullToTarget(target=ENGLISH),)


def test_the_order_of_loops_is_the_options_where_layers_run_more_than_once() -> None:
    def loop(method: str) -> Loop:
        stage = stage_of("recurrent", method, loop_order="adjacent")
        assert stage is not None
        return next(edit for edit in stage.edits if isinstance(edit, Loop))

    assert (loop("multistage").repeats, loop("multistage").order) == (2, "adjacent")
    assert (loop("no-recurrent").repeats, loop("no-recurrent").order) == (1, "cycle")


def test_stage_1_matches_similarities_and_holds_on_to_what_the_assistant_knew() -> None:
    stage = alignment("multistage", assistant_matrix_weight=10, assistant_own_weight=0.5)
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
def test_what_is_over_the_bound_of_stage_4_goes_to_stage_3(bound: int, parts: dict[str, int]) -> None:
    options = {"bottleneck_share": 0.1, "recurrent_share": 0.2, "contrastive_pairs": bound}
    stages = {name: stage_of(name, "multistage", **options) for name in parts}
    assert {name: stage.training.pairs for name, stage in stages.items() if stage and stage.training} == parts


def test_after_stage_1_the_assistant_is_averaged_with_what_it_was() -> None:
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


def test_a_stage_looks_no_oftener_than_it_sees_as_many_pairs_as_a_look_reads() -> None:
    def looks(name: str, evaluations: int) -> int:
        stage = stage_of(name, "multistage", evaluations=evaluations)
        assert stage is not None
        assert stage.training is not None
        return stage.training.evaluations

    # 16 dev pairs; 128 pairs in stage 1, and 0.4 of 512 in stage 3: 205 / 16 = 12.8.
    assert looks("alignment", 100) == 8
    assert looks("recurrent", 100) == 12
    assert looks("recurrent", 4) == 4
    few = load_registry().methods["multistage"]
    chosen = few.options.model_validate({})
    experiment = toy_experiment("multistage", chosen)
    scarce = experiment.model_copy(update={"data": experiment.data.model_copy(update={"dev_pairs": 300})})
    trained = [stage.training for stage in few.plan(scarce, chosen).stages if stage.training]
    assert [training.evaluations for training in trained] == [1, 1, 1]  # at its end there is always one


def test_the_paper_preset_is_what_was_published_and_options_go_over_it(tmp_path: Path) -> None:
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
        "assistant_embeddings": True,
    }
    assert {name: experiment.options[name] for name in published} == published
    assert not {"neighbour_weight", "assistant_neighbour_weight"} & experiment.options.keys()  # 0 is not written down
    assert experiment.options["dropout"] is False
    plan = make_plan(experiment, load_registry().methods[experiment.method])
    sizes = {stage.name: stage.training.batch_size for stage in plan.stages if stage.training}
    assert sizes == {"aligned": 64, "bottleneck": 256, "recurrent": 64, "contrastive": 64}


@pytest.mark.parametrize("method", ["single-stage", "no-contrastive", "no-bottleneck", "no-recurrent"])
def test_what_is_compared_with_the_method_has_the_preset_too(method: str) -> None:
    kind = load_registry().methods[method]
    options = method_options(kind, {}, "paper")
    assert options.model_dump()["bottleneck_start"] == "random"
    assert method_options(kind, {}, "matrix") == kind.options()


@pytest.mark.parametrize("method", ["multistage", "no-contrastive", "full-size", "frequency-adaptive", "minilmv2"])
def test_a_run_that_names_no_preset_matches_neighbours_in_stage_1(method: str) -> None:
    options = method_options(load_registry().methods[method], {}).model_dump()
    assert (options["assistant_neighbour_weight"], options["assistant_start_share"]) == (30.0, 0.25)


def test_a_run_that_names_no_preset_gives_stage_3_a_tenth_of_its_pairs() -> None:
    options = method_options(load_registry().methods["multistage"], {}).model_dump()
    stages = {name: stage_of(name, "multistage", **options) for name in ("recurrent", "contrastive")}
    pairs = {name: stage.training.pairs for name, stage in stages.items() if stage and stage.training}
    assert pairs == {"recurrent": 51, "contrastive": 461}  # of 512


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
def test_a_run_that_names_no_preset_matches_neighbours_in_its_last_stage(
    method: str, last: str, *, neighbours: bool, matrix: bool
) -> None:
    options = method_options(load_registry().methods[method], {})
    stage = stage_of(last, method, **options.model_dump())
    assert stage is not None
    assert stage.training is not None
    terms = {type(objective) for objective in stage.training.objectives}
    assert (MatchNeighbours in terms, MatchSimilarities in terms) == (neighbours, matrix)
    weights = [it.weight for it in stage.training.objectives if isinstance(it, MatchNeighbours)]
    assert weights == [10.0] * neighbours


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(XlbenchError, match="preset of method multistage 'papr'") as error:
        method_options(load_registry().methods["multistage"], {}, "papr")
    assert "paper" in str(error.value)
