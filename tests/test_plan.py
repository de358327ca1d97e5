"""Plans: validated whole on shapes alone, and fingerprinted by all that decides a result."""

from __future__ import annotations

import pytest

from xlbench import XlbenchError
from xlbench.api import Blend, Bottleneck, Centre, Loop, Plan, PullToTarget, Stage, Target, Training
from xlbench.distill.check import check_names, check_plan
from xlbench.distill.plan import stage_keys
from xlbench.students.shape import MINILM, XLMR

SHAPES = {"teacher": MINILM, "assistant": MINILM}
WIDTHS = {"teacher": 384, "assistant": 384}
GIVEN = {"teacher": "t1", "assistant": "a1"}


def training(**changes: object) -> Training:
    target = Target(encoder="teacher", side="english")
    return Training.model_validate(
        {"objectives": (PullToTarget(target=target),), "pairs": 640, "seed": 0, **changes},
    )


def plan(*stages: Stage) -> Plan:
    return Plan(stages, stages[-1].name)


CUT = Stage("cut", "assistant", (Bottleneck(width=128), Loop(layers=6, repeats=2)), training())


def test_a_valid_plan_passes() -> None:
    check_plan(plan(Stage("centred", "teacher", (Centre(),)), CUT), SHAPES, WIDTHS)


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ((Stage("a", "nowhere"),), "reads 'nowhere', which no earlier stage makes"),
        ((Stage("b", "a"), Stage("a", "assistant")), "reads 'a', which no earlier stage makes"),
        ((Stage("a", "assistant"), Stage("a", "teacher")), "Two encoders of the plan are called 'a'"),
        ((Stage("assistant", "teacher"),), "Two encoders of the plan are called 'assistant'"),
        # What the paper's shipped configurations do: 128 then 256; 6 x 2 then 12 x 1.
        ((CUT, Stage("again", "cut", (Bottleneck(width=256),))), "'again': .* bottleneck of 128 already"),
        ((CUT, Stage("again", "cut", (Loop(layers=12),))), "'again': The layers are looped already"),
        ((Stage("wide", "assistant", (Bottleneck(width=384),)),), "not narrower"),
        ((Stage("deep", "assistant", (Loop(layers=13),)),), "has only 12"),
    ],
)
def test_an_invalid_plan_is_refused_before_anything_runs(stages: tuple[Stage, ...], words: str) -> None:
    with pytest.raises(XlbenchError, match=words):
        check_plan(plan(*stages), SHAPES, WIDTHS)


CENTRED = Stage("centred", "teacher", (Centre(),))
BLEND = Blend(name="blend", teachers=(("teacher", 1.0),))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (plan(Stage("a", "nowhere")), "reads 'nowhere', which no earlier stage makes"),
        (plan(CUT, CUT), "Two encoders of the plan are called 'cut'"),
        (plan(Stage("teacher", "assistant")), "Two encoders of the plan are called 'teacher'"),
        (Plan((CUT,), "zz"), "shows 'zz', which none"),
        (Plan((CUT,), "cut", teacher="zz"), "shows 'zz', which none"),
        (Plan((CUT,), "cut", assistant="zz"), "shows 'zz', which none"),
        (Plan((CUT,), "blend", blends=(BLEND,)), "shows 'blend', which none"),
        (Plan((CUT,), "cut", blends=(BLEND, BLEND)), "A blend is called 'blend'"),
        (Plan((CUT,), "cut", blends=(Blend(name="teacher", teachers=BLEND.teachers),)), "A blend is called 'teacher'"),
        (Plan((CUT,), "cut", blends=(Blend(name="b", teachers=(("cut", 1.0),)),)), "'b' blends 'cut'"),
        (Plan((Stage("cut", "blend"),), "cut", blends=(BLEND,)), "reads 'blend' as an encoder"),
        (Plan((Stage("blend", "assistant"),), "blend", blends=(BLEND,)), "encoders of the plan are called 'blend'"),
    ],
)
def test_names_are_refused_without_a_look_at_any_encoder(wrong: Plan, words: str) -> None:
    check_names(plan(CENTRED, CUT), GIVEN)
    with pytest.raises(XlbenchError, match=words):
        check_names(wrong, GIVEN)
    with pytest.raises(XlbenchError, match=words):
        check_plan(wrong, SHAPES, WIDTHS)


def test_vectors_are_not_pulled_to_targets_of_another_width() -> None:
    with pytest.raises(XlbenchError, match="width 768 to 'teacher', whose width is 384"):
        check_plan(
            plan(Stage("s", "assistant", (), training())), {"assistant": XLMR}, {"teacher": 384, "assistant": 768}
        )


def test_nothing_is_cut_from_an_encoder_that_is_neither_bert_nor_xlmr() -> None:
    with pytest.raises(XlbenchError, match="starts from 'teacher', which is no BERT or XLM-R"):
        check_plan(plan(Stage("s", "teacher", (Centre(),))), {"assistant": MINILM}, WIDTHS)


def test_a_result_that_no_stage_makes_is_refused() -> None:
    with pytest.raises(XlbenchError, match="shows 'student', which none of its stages makes"):
        check_plan(Plan((CUT,), "student"), SHAPES, WIDTHS)


def key(stage: Stage, data: str = "d", precision: str = "float32", **given: str) -> str:
    return stage_keys(plan(stage), {**GIVEN, **given}, data, precision)[stage.name]


@pytest.mark.parametrize(
    "other",
    [
        Stage("cut", "teacher", CUT.edits, training()),
        Stage("cut", "assistant", (Bottleneck(width=64), CUT.edits[1]), training()),
        Stage("cut", "assistant", CUT.edits[:1], training()),
        Stage("cut", "assistant", CUT.edits),
        *(
            Stage("cut", "assistant", CUT.edits, training(**{name: value}))
            for name, value in {
                "pairs": 641,
                "seed": 1,
                "batch_size": 32,
                "learning_rate": 1e-3,
                "weight_decay": 0.0,
                "warmup": 0.2,
                "clip": 2.0,
                "dropout": True,
                "max_tokens": 64,
                "evaluations": 5,
                "trainable": "embeddings",
                "level": "embeddings",
                "objectives": (PullToTarget(target=Target(encoder="teacher", side="own")),),
            }.items()
        ),
    ],
)
def test_everything_that_decides_a_stage_changes_its_fingerprint(other: Stage) -> None:
    assert key(other) != key(CUT)


def test_what_a_stage_reads_changes_its_fingerprint_and_nothing_else_does() -> None:
    assert key(CUT, data="other") != key(CUT)
    assert key(CUT, precision="bfloat16") != key(CUT)
    assert key(CUT, assistant="a2") != key(CUT)
    assert key(CUT, teacher="t2") != key(CUT)
    renamed = Stage("student", "assistant", CUT.edits, CUT.training)
    assert key(renamed) == key(CUT)
    unread = Stage("loop", "assistant", (Loop(layers=6),))
    assert key(unread, teacher="t2") == key(unread)


def test_a_later_stage_depends_on_an_earlier_one() -> None:
    last = Stage("last", "cut", (), training())
    short = Stage("cut", "assistant", CUT.edits, training(pairs=64))
    assert (
        stage_keys(plan(CUT, last), GIVEN, "d", "x")["last"] != stage_keys(plan(short, last), GIVEN, "d", "x")["last"]
    )


def test_fingerprints_are_the_same_on_every_machine() -> None:
    # Written down: a change here makes every stage ever trained unfindable, and so must be meant.
    assert key(CUT) == "94a0be80648980b74e11"


def test_keys_of_a_plan_with_a_missing_input_are_refused_with_the_same_text() -> None:
    with pytest.raises(XlbenchError, match="reads 'nowhere', which no earlier stage makes"):
        stage_keys(plan(Stage("a", "nowhere")), {"assistant": "1"}, "data", "float32")
