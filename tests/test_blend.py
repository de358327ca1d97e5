"""Blended teachers: the arithmetic by hand, what is computed once, keys, training towards one, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from toy_runs import make_place, settings_at, toy_request, toy_run

from xlbench.api import Blend, MatchNeighbours, MatchSimilarities, Plan, PullToTarget, Stage, Target, Training
from xlbench.distill.blended_targets import KNOWN
from xlbench.distill.blending import fit_blend, unit_rows
from xlbench.distill.check import check_plan
from xlbench.distill.engine import encoder_keys
from xlbench.distill.plan import stage_keys
from xlbench.distill.training import train_stage
from xlbench.errors import XlbenchError
from xlbench.experiment import EncoderRef
from xlbench.plugins.registry import load_registry
from xlbench.store import entries
from xlbench.students.load import load_student
from xlbench.students.shape import Shape
from xlbench.testing.toys import save_toy_encoder, toy_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.distill.context import StageContext

TARGET = Target(encoder="blend", side="english")
WIDTHS = {"assistant": 16, "teacher": 16, "teacher:1": 24}

# Four sentences. The first teacher gives (1, 0), (-1, 0), (0, 1), (0, -1), the second (0, 1), (0, 1), (0, -1), (0, -1).
# Neither has a mean, and no two of their four columns vary together.
FIRST = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
SECOND = np.array([[0, 1], [0, 1], [0, -1], [0, -1]], np.float32)


def blend_of(*weights: float, **changes: object) -> Blend:
    teachers = tuple(zip(("teacher", "teacher:1"), weights, strict=False))
    return Blend.model_validate({"name": "blend", "teachers": teachers, **changes})


def turned(vectors: np.ndarray, degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return vectors @ np.array([[cosine, sine], [-sine, cosine]])


def test_cosines_of_the_joint_space_are_the_weighted_means_of_the_teachers() -> None:
    blend = blend_of(1, 3, dimension="joint")  # shares 1/4 and 3/4
    joint = fit_blend(blend, [FIRST, SECOND], FIRST, 4).blended([FIRST, SECOND])
    # cos(0, 1) = -1/4 + 3/4, cos(0, 2) = 0/4 - 3/4, cos(2, 3) = -1/4 + 3/4
    np.testing.assert_allclose(joint @ joint.T, FIRST @ FIRST.T / 4 + 3 * SECOND @ SECOND.T / 4, atol=1e-12)
    assert (joint @ joint.T)[0, 1] == pytest.approx(0.5)


@pytest.mark.parametrize(("width", "kept"), [(1, 0.75), (3, 1.0)])
def test_principal_axes_keep_what_is_largest(width: int, kept: float) -> None:
    # Mean squares of the four columns: 1/4 x 1/2 twice, 0, and 3/4 x 1.
    fitted = fit_blend(blend_of(1, 3, dimension=width), [FIRST, SECOND], np.ones((4, 5), np.float32), width)
    assert fitted.explained == pytest.approx(kept)
    assert fitted.cosine is None  # of another width than the assistant: not rotated
    if width == 1:
        np.testing.assert_allclose(fitted.blended([FIRST, SECOND]), SECOND[:, 1:], atol=1e-12)


def test_a_blend_is_rotated_onto_the_assistant() -> None:
    # The second teacher is the first one turned, and so is the assistant: two axes keep all, and the rotation meets it.
    second, own = turned(FIRST, 90), turned(FIRST, 37)
    fitted = fit_blend(blend_of(1, 1), [FIRST, second], own, 2)
    assert (fitted.explained, fitted.cosine) == (pytest.approx(1), pytest.approx(1))
    np.testing.assert_allclose(fitted.blended([FIRST, second]), own, atol=1e-12)
    # A mirror image is met too; three sentences of four at the right place and one opposite are not.
    assert fit_blend(blend_of(1), [FIRST], own * [1, -1], 2).cosine == pytest.approx(1)
    # By hand: A'B = sum of a b' = [[1, 1], [0, 2]] of own = (1, 0), (0, -1), (0, 1), (0, -1).
    # R = UV', and the mean cosine is the sum of its singular values / 4: sqrt(1 + 1 + 4 + 2 x det 2) / 4.
    own = np.array([[1, 0], [0, -1], [0, 1], [0, -1]], np.float32)
    fitted = fit_blend(blend_of(1, centre=False), [FIRST], own, 2)
    assert fitted.cosine == pytest.approx(np.sqrt(10) / 4)


def test_means_are_taken_out_of_unit_vectors() -> None:
    # Scaled to (1, 0) and (0, 1), mean (1/2, 1/2): what is left points in opposite directions.
    vectors = np.array([[5, 0], [0, 0.5]], np.float32)
    for centre, cosine in ((True, -1), (False, 0)):
        joint = fit_blend(blend_of(1, centre=centre, dimension="joint"), [vectors], vectors, 2).blended([vectors])
        assert joint[0] @ joint[1] == pytest.approx(cosine, abs=1e-12)
    np.testing.assert_array_equal(unit_rows(np.array([[0, 0], [3, 4]])), [[0, 0], [0.6, 0.8]])


@pytest.fixture
def teachers(context: StageContext, tmp_path: Path) -> tuple[StageContext, list[str]]:
    """A context with an assistant, itself as the first teacher and a wider second one; and what was loaded of it."""
    wide = save_toy_encoder(tmp_path / "wide", seed=5, hidden=24, scale=1.0)
    toy = save_toy_encoder(tmp_path / "narrow", seed=3, scale=1.0)
    loaded: list[str] = []

    def load(name: str) -> object:
        loaded.append(name)
        return load_student(wide if name == "teacher:1" else toy)

    keys = {"assistant": "a", "teacher": "a", "teacher:1": "w"}
    return replace(context, keys=keys, load=load), loaded  # type: ignore[arg-type]


def with_blend(context: StageContext, blend: Blend) -> StageContext:
    keys = {**context.keys, "blend": blend.fingerprint(context.keys)}  # as the keys of a plan are
    return replace(context, keys=keys, blends={"blend": blend}, metadata={}, targets_used=[])


def test_tables_are_encoded_once_for_all_blends_and_facts_are_stored(
    teachers: tuple[StageContext, list[str]],
) -> None:
    context, loaded = teachers
    for weights in ((1, 1), (3, 7)):
        used = with_blend(context, blend_of(*weights))
        table = used.targets(TARGET)
        assert loaded == ["teacher", "teacher:1"]
        assert table.dimension == 16
        made = {it.key: it.facts for it in entries(context.settings.home) if it.kind == "targets"}
        assert len(set(used.targets_used)) == 3  # both teachers' tables and the blend's
        assert set(used.targets_used) <= set(made)
        facts = made[table.key]
        assert facts["shares"] == pytest.approx([weights[0] / sum(weights), weights[1] / sum(weights)])
        assert (facts["width"], facts["joint_width"]) == (16, 40)
        assert used.metadata["blend"] == {name: facts[name] for name in KNOWN}
        # The mean cosine, from the stored vectors: of the sample all English sentences of training.
        ids = context.corpus.english_ids()
        own = context.targets(Target(encoder="teacher", side="english")).take(ids).numpy().astype(float)
        own = unit_rows(own - own.mean(axis=0))
        assert facts["sample"] == len(ids)
        assert facts["cosine"] == pytest.approx(float((own * table.take(ids).numpy()).sum(axis=1).mean()), abs=1e-3)
    before = len(list(entries(context.settings.home)))
    again = with_blend(context, blend_of(30, 70))
    again.targets(TARGET)
    assert len(list(entries(context.settings.home))) == before
    assert len(set(again.targets_used)) == 3  # also where the blend was there, so that its cost is known
    assert loaded == ["teacher", "teacher:1"]


def test_all_weight_on_one_teacher_is_that_teacher_centred_and_no_other_is_encoded(
    teachers: tuple[StageContext, list[str]],
) -> None:
    context, loaded = teachers
    ids = context.corpus.english_ids()
    joint = with_blend(context, blend_of(0, 1, dimension="joint")).targets(TARGET).take(ids).numpy()
    # The assistant is encoded for the sample alone.
    assert loaded == ["teacher:1", "assistant"]
    alone = context.targets(Target(encoder="teacher:1", side="english")).take(ids).numpy().astype(float)
    alone = unit_rows(alone - alone.mean(axis=0))
    np.testing.assert_allclose(joint @ joint.T, alone @ alone.T, atol=2e-3)  # stored as float16
    first = with_blend(context, blend_of(1, 0)).targets(TARGET).take(ids).numpy()
    own = context.targets(Target(encoder="teacher", side="english")).take(ids).numpy().astype(float)
    np.testing.assert_allclose(first, unit_rows(own - own.mean(axis=0)), atol=2e-3)  # rotated onto itself


def experiment_keys(
    options: dict[str, object], teachers: int = 2, name: str = "multistage"
) -> tuple[dict[str, str], dict[str, object]]:
    """Return the keys of a method's plan, and the experiment's options."""
    method = load_registry().methods[name]
    experiment = toy_experiment(name, method.read_options(options))  # type: ignore[arg-type]
    further = EncoderRef(name="other", origin="registered", fingerprint="other-teacher")
    experiment = experiment.model_copy(update={"teachers": (*experiment.teachers, further)[:teachers]})
    return encoder_keys(method.plan_for(experiment), experiment), dict(experiment.options)


def test_what_decides_a_blend_is_in_the_keys_of_the_stages_that_read_it() -> None:
    plain, options = experiment_keys({})
    assert "blend" not in {**plain, **options}
    assert "blend_matrix" not in options
    variants = [{"blend": "1,1"}, {"blend": "0.3,0.7"}, {"blend": "1,1", "centre": "false"}]
    keys = [experiment_keys(it)[0] for it in variants]
    for name in ("blend", "aligned", "contrastive"):
        assert len({it[name] for it in keys} | {plain.get(name)}) == 1 + len(variants)
    joint, _ = experiment_keys({"blend": "1,1", "blend_matrix": "joint"})
    assert joint["blend"] == keys[0]["blend"] != joint["blend-joint"]
    assert joint["aligned"] != keys[0]["aligned"]
    assert experiment_keys({"blend": "0.5, 0.5"})[0] == keys[0]  # proportions count
    assert Blend(name="b", teachers=(("teacher", 1), ("x", 0))) == Blend(name="b", teachers=(("teacher", 0.2),))


def training(*terms: object) -> Training:
    return Training.model_validate(
        {"objectives": terms, "pairs": 1024, "seed": 0, "batch_size": 16, "learning_rate": 1e-3, "evaluations": 1}
    )


PULL = PullToTarget(target=TARGET)
MATRIX = MatchSimilarities(mix=((TARGET, 1.0),), sides="all")
NEIGHBOURS = MatchNeighbours(target=Target(encoder="blend", side="english", bank=32))


@pytest.mark.parametrize(
    ("term", "dimension"), [(PULL, "assistant"), (MATRIX, "joint"), (MATRIX, 8), (NEIGHBOURS, "assistant")]
)
def test_every_objective_trains_towards_a_blend(
    teachers: tuple[StageContext, list[str]], tmp_path: Path, term: object, dimension: object
) -> None:
    context, _ = teachers
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    used = with_blend(context, blend_of(1, 1, dimension=dimension))
    stage = Stage("trained", "assistant", (), training(term))
    before, after = train_stage(context.load("assistant"), stage, used, scratch)
    assert after["loss"] < 0.95 * before["loss"]


def plan_of(term: object, blend: Blend) -> Plan:
    return Plan((Stage("s", "assistant", (), training(term)),), "s", blends=(blend,))


SHAPE = Shape(architecture="bert", vocabulary=40, hidden=16, intermediate=32, positions=64, layers=2)


def checked(plan: Plan) -> None:
    check_plan(plan, {"assistant": SHAPE, "teacher": SHAPE}, WIDTHS)


@pytest.mark.parametrize(
    ("term", "blend", "message"),
    [
        (PULL, blend_of(1, 1, dimension="joint"), "pulls vectors of width 16 to 'blend', whose width is 40"),
        (NEIGHBOURS, blend_of(1, 1, dimension=8), "compares vectors of width 16 with 'blend', whose width is 8"),
        (MATRIX, blend_of(1, 1, dimension=41), "cannot have 41 dimensions: its teachers have 40 together"),
        (MATRIX, blend_of(1, 0, dimension=17), "cannot have 17 dimensions: its teachers have 16 together"),
        (MATRIX, blend_of(1, 1, dimension=30, sample=29), "30 dimensions: they would be found in 29 sentences"),
        (MATRIX, Blend(name="blend", teachers=(("far", 1),)), "blends 'far', which is not there from the start"),
        (MATRIX, Blend(name="teacher", teachers=(("teacher", 1),)), "A blend is called 'teacher'"),
        (
            PullToTarget(target=Target(encoder="blend", side="own")),
            blend_of(1, 1),
            "reads vectors of 'blend' that it has not",
        ),
    ],
)
def test_what_a_blend_cannot_give_is_refused_before_anything_runs(term: object, blend: Blend, message: str) -> None:
    with pytest.raises(XlbenchError, match=message):
        checked(plan_of(term, blend))


def test_nothing_starts_from_a_blend() -> None:
    with pytest.raises(XlbenchError, match="Stage 's' reads 'blend' as an encoder"):
        checked(Plan((Stage("s", "blend"),), "s", blends=(blend_of(1, 1),)))
    with pytest.raises(XlbenchError, match="'blend' blends 'teacher:1', which is not there"):
        stage_keys(plan_of(PULL, blend_of(1, 1)), {"assistant": "a", "teacher": "t"}, "data", "float32")
    checked(plan_of(PULL, blend_of(1, 1)))


def test_a_corpus_too_small_for_the_axes_is_refused(teachers: tuple[StageContext, list[str]]) -> None:
    context, _ = teachers
    few = replace(context.corpus, pairs=context.corpus.pairs[:5])
    used = with_blend(replace(context, corpus=few), blend_of(1, 1))
    with pytest.raises(XlbenchError, match="16 dimensions: they would be found in 5 sentences"):
        used.targets(TARGET)
    assert "blend" not in {it.facts.get("encoder") for it in entries(context.settings.home)}


def test_weights_are_one_for_each_teacher() -> None:
    with pytest.raises(XlbenchError, match=r"'blend' gives 1,1, for the teachers toy\.\nGive one weight for each"):
        experiment_keys({"blend": "1,1"}, teachers=1)
    for given, message in (
        ("1,-1", "negative"),
        ("0,0", "no weight is above zero"),
        ("1e308,1e308", "the sum of the weights is not finite"),
        ("a,b", "no numbers"),
    ):
        with pytest.raises(XlbenchError, match=f"'blend' cannot be '{given}': .*{message}"):
            experiment_keys({"blend": given})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("single-stage", {}),
        ("static-trained", {}),
        ("no-contrastive", {"assistant_matrix_weight": 0}),
        ("multistage", {"assistant_matrix_weight": 0, "matrix_weight": 0}),
    ],
)
def test_a_teacher_that_would_teach_nothing_is_refused(name: str, options: dict[str, object]) -> None:
    message = f"Method '{name}': The teacher 'other' would teach nothing: .*\nLeave it out, or blend the teachers"
    with pytest.raises(XlbenchError, match=message):
        experiment_keys(options, name=name)
    experiment_keys(options, teachers=1, name=name)
    experiment_keys({**options, "blend": "1,0"}, name=name)  # whoever gives it no weight knows


def test_several_teachers_are_not_refused_where_all_are_read_or_none() -> None:
    experiment_keys({"assistant_matrix_weight": 0})  # the second still has its share of the matrix of stage 4
    experiment_keys({}, name="static")


def test_one_weight_may_be_a_number() -> None:
    assert experiment_keys({"blend": 1}, teachers=1) == experiment_keys({"blend": "1"}, teachers=1)


def test_a_whole_run_towards_a_blend_records_what_it_is(tmp_path: Path) -> None:
    save_toy_encoder(tmp_path / "wide", seed=5, hidden=24, scale=1.0)
    request = toy_request(
        make_place(tmp_path),
        teacher=("assistant", str(tmp_path / "wide")),
        options={"blend": "0.3,0.7", "blend_matrix": "joint"},
    )
    results, _ = toy_run(request, settings_at(tmp_path / "home"))
    record = results.student.record
    assert record.experiment.options["blend"] == "0.3,0.7"
    stages = {stage.name: stage.metadata for stage in record.stages}
    assert "blend" not in stages["assistant-centred"]
    for name in ("alignment", "aligned", "contrastive"):
        assert stages[name]["blend"]["shares"] == pytest.approx([0.3, 0.7])
        assert (stages[name]["blend"]["width"], stages[name]["blend-joint"]["width"]) == (16, 40)
    legend = results.markdown()
    assert ": the first teacher; the target of training is a blend of English embeddings: " in legend
    assert "English embeddings: assistant 0.3, wide 0.7." in legend
    # Boards show the first teacher as it was given: here it is the assistant, which has one row.
    card = (results.student.save(tmp_path / "saved") / "README.md").read_text("utf-8")
    assert "- First teacher of a blend, whose English vectors are the target: the assistant itself" in card
    assert "- Weights of the teachers in the blend: `0.3,0.7`\n" in card
    assert sorted(it.role for it in results.records) == ["aligned", "student", "teacher"]
