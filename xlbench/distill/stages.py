"""The stages of Ding et al. (2022) as functions: what the built-in methods, and others', are put together from.

Stage 1 is :func:`align_stages`, stage 2 :func:`bottleneck_stage`, stage 3 :func:`recurrent_stage`, stage 4
:func:`contrastive_stage`. Before stage 1 :func:`centre_stages` prepares the teachers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.distill.blend import Blend, parse_weights
from xlbench.distill.edits import Average, Bottleneck, Centre, Loop
from xlbench.distill.live import MatchHidden, MatchRelations
from xlbench.distill.objectives import MatchNeighbours, MatchSimilarities, PullToTarget, Target
from xlbench.distill.options import AlignOptions, BlendOptions, TrainingOptions
from xlbench.distill.plan import Stage, Training
from xlbench.distill.trim import TrimVocabulary
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.distill.live import LiveObjective
    from xlbench.distill.objectives import Level, Objective
    from xlbench.distill.options import (
        BottleneckOptions,
        CentreOptions,
        CutOptions,
        EmbeddingOptions,
        LoopOptions,
        MatrixOptions,
        NeighbourOptions,
        StepOptions,
        StudentOptions,
        StudentTrainingOptions,
        TrimOptions,
    )
    from xlbench.distill.plan import Edit, Trainable
    from xlbench.experiment import Experiment


BLEND, JOINT = "blend", "blend-joint"  # what plans call the blend of the teachers, and the same before it is reduced


def centre_stages(experiment: Experiment, options: CentreOptions) -> tuple[Stage, ...]:
    """Return a stage for each teacher that subtracts the mean of its vectors.

    None without ``centre``; nor with a blend, which subtracts the means itself.
    """
    if not options.centre or _is_blended(options):
        return ()
    return tuple(Stage(f"{encoder}-centred", encoder, (Centre(),)) for encoder in _teachers(experiment))


def teacher_names(experiment: Experiment, options: CentreOptions) -> list[str]:
    """Return the names that targets give what teaches: the blend, or the teachers, centred or not, the first first."""
    if _is_blended(options):
        return [BLEND]
    return [f"{encoder}-centred" if options.centre else encoder for encoder in _teachers(experiment)]


def matrix_teachers(experiment: Experiment, options: AlignOptions) -> list[str]:
    """Return the names of what gives the similarity matrix: as of what teaches, or a blend's joint space."""
    return [JOINT] if _is_joint(options) else teacher_names(experiment, options)


def shown_teacher(experiment: Experiment, options: CentreOptions) -> str:
    """Return the encoder that boards show as the teacher: the first, of a blend as it was given."""
    return "teacher" if _is_blended(options) else teacher_names(experiment, options)[0]


def blends(experiment: Experiment, options: BlendOptions) -> tuple[Blend, ...]:
    """Return the blends of the teachers that a plan's targets are of: none, one, or one more for the matrix.

    Raises:
        XlbenchError: There are not as many weights as teachers.
    """
    if options.blend is None:
        return ()
    weights, teachers = parse_weights(options.blend), _teachers(experiment)
    if len(weights) != len(teachers):
        named = ", ".join(teacher.name for teacher in experiment.teachers)
        raise XlbenchError(
            f"The option 'blend' gives {options.blend}, for the teachers {named}.",
            "Give one weight for each --teacher, in their order.",
        )
    together = tuple(zip(teachers, weights, strict=True))
    blend = Blend(name=BLEND, teachers=together, centre=options.centre)
    joint = Blend(name=JOINT, teachers=together, centre=options.centre, dimension="joint")
    return (blend, joint) if _is_joint(options) else (blend,)


def _is_joint(options: CentreOptions) -> bool:
    return isinstance(options, AlignOptions) and options.blend is not None and options.blend_matrix == "joint"


def _is_blended(options: CentreOptions) -> bool:
    return isinstance(options, BlendOptions) and options.blend is not None


def _teachers(experiment: Experiment) -> list[str]:
    return list(experiment.named_teachers())


def align_stages(experiment: Experiment, options: AlignOptions) -> tuple[Stage, ...]:
    """Stage 1: pull both sides of the assistant to the teacher's English vectors; its result is called 'aligned'.

    Where the teacher is the assistant's own centred English side, the centred assistant is also what is trained; so it
    is towards a blend, which is rotated onto the centred assistant. With an ``assistant_start_share`` the weights are
    then averaged with those before, in a stage of its own.
    """
    teachers = teacher_names(experiment, options)
    before: tuple[Stage, ...] = ()
    if options.blend is not None and options.centre:
        before = (Stage("assistant-centred", "assistant", (Centre(),)),)
        start = "assistant-centred"
    elif options.blend is None and experiment.self_taught():
        start = teachers[0]
    else:
        start = "assistant"
    if experiment.budget.assistant_pairs == 0:
        return (*before, Stage("aligned", start))
    objectives: tuple[Objective, ...] = (
        PullToTarget(target=english_target(teachers[0])),
        *similarity_terms(matrix_teachers(experiment, options), options.assistant_matrix_weight, options),
        *neighbour_terms(teachers[0], options.assistant_neighbour_weight, options),
    )
    if options.assistant_own_weight > 0:
        objectives += (PullToTarget(target=own_target(start), weight=options.assistant_own_weight),)
    training = make_training(
        experiment,
        options,
        objectives,
        experiment.budget.assistant_pairs,
        learning_rate=options.assistant_learning_rate,
        trainable="all" if options.assistant_embeddings else "all-but-token-embeddings",
        seed=options.assistant_seed,
    )
    if options.assistant_start_share == 0:
        return (*before, Stage("aligned", start, (), training))
    average = Average(other=start, share=options.assistant_start_share)
    return (*before, Stage("alignment", start, (), training), Stage("aligned", "alignment", (average,)))


def bottleneck_stage(
    experiment: Experiment, options: StudentOptions, start: str, pairs: float, *, batch_size: int | None = None
) -> Stage:
    """Stage 2: fit the narrow token embeddings to the output of ``start``'s embedding layer; no other layer runs."""
    training = make_training(
        experiment,
        options,
        (PullToTarget(target=own_target(start, level="embeddings")),),
        pairs,
        learning_rate=options.learning_rate,
        level="embeddings",
        trainable="embeddings",
        batch_size=batch_size,
    )
    return Stage("bottleneck", start, embedding_edits(experiment, options), training)


def recurrent_stage(
    experiment: Experiment,
    options: StudentTrainingOptions,
    start: str,
    assistant: str,
    pairs: float,
    *,
    edits: Sequence[Edit],
    hidden_weight: float = 0.0,
    name: str = "recurrent",
) -> Stage:
    """Stage 3: keep and loop layers (``edits``), and pull each sentence to the assistant's own vector of it.

    With a ``hidden_weight`` the last hidden states are matched too, token by token; the assistant runs beside for that.
    """
    objectives: tuple[Objective | LiveObjective, ...] = (PullToTarget(target=own_target(assistant)),)
    if hidden_weight > 0:
        objectives += (MatchHidden(encoder=assistant, weight=hidden_weight),)
    training = make_training(experiment, options, objectives, pairs, learning_rate=options.learning_rate)
    return Stage(name, start, tuple(edits), training)


def contrastive_stage(
    experiment: Experiment,
    options: StudentTrainingOptions,
    start: str,
    pairs: float,
    *,
    teacher: str,
    terms: Sequence[Objective] = (),
    edits: Sequence[Edit] = (),
    name: str = "contrastive",
) -> Stage:
    """Stage 4: pull both sides to the teacher's English vectors, and minimise further terms.

    The paper's term is :func:`similarity_terms`. Without any, and with edits that cut the student, this is the one
    stage of Reimers & Gurevych (2020).
    """
    objectives = (PullToTarget(target=english_target(teacher)), *terms)
    training = make_training(experiment, options, objectives, pairs, learning_rate=options.learning_rate)
    return Stage(name, start, tuple(edits), training)


def relation_stage(
    experiment: Experiment,
    options: StudentTrainingOptions,
    start: str,
    encoder: str,
    pairs: float,
    *,
    edits: Sequence[Edit],
    layer: int = -1,
    heads: int | None = None,
) -> Stage:
    """Relation distillation: match the student's last layer with a layer of ``encoder``, which runs beside it."""
    objectives = (MatchRelations(encoder=encoder, layer=layer, heads=heads),)
    training = make_training(experiment, options, objectives, pairs, learning_rate=options.learning_rate)
    return Stage("relations", start, tuple(edits), training)


def make_training(
    experiment: Experiment,
    options: StepOptions,
    objectives: Sequence[Objective | LiveObjective],
    pairs: float,
    *,
    learning_rate: float,
    level: Level = "sentence",
    trainable: Trainable = "all",
    seed: int | None = None,
    batch_size: int | None = None,
) -> Training:
    """Return the training of a stage.

    An evaluation encodes both sides of every dev pair, which is about half of the work of training on as many pairs. A
    stage of few pairs is therefore evaluated less often than ``options.evaluations``.

    Args:
        experiment: Whose dev pairs and seed.
        options: How stages are trained.
        objectives: What is minimised.
        pairs: Pairs seen, rounded.
        learning_rate: Its peak.
        level: 'embeddings' runs no layer but the embedding layer.
        trainable: Which weights change.
        seed: None for the experiment's.
        batch_size: None for the options'.
    """
    count = max(1, round(pairs))
    return Training.model_validate(
        {
            "objectives": tuple(objectives),
            "pairs": count,
            "seed": experiment.seed if seed is None else seed,
            "level": level,
            "trainable": trainable,
            "batch_size": batch_size or options.batch_size,
            "english_share": 1.0 if level == "embeddings" else options.english_share,
            "learning_rate": learning_rate,
            "weight_decay": options.weight_decay,
            "dropout": isinstance(options, TrainingOptions) and options.dropout,
            "max_tokens": options.max_tokens,
            "evaluations": min(options.evaluations, max(1, count // experiment.data.dev_pairs)),
        }
    )


def english_target(encoder: str) -> Target:
    """Return the target that is an encoder's English vector, for both sides of a pair."""
    return Target(encoder=encoder, side="english")


def own_target(encoder: str, level: Level = "sentence") -> Target:
    """Return the target that is an encoder's own vector of each side of a pair."""
    return Target(encoder=encoder, side="own", level=level)


def similarity_terms(teachers: Sequence[str], weight: float, options: MatrixOptions) -> tuple[MatchSimilarities, ...]:
    """Return the similarity-matrix term, where it has weight; further teachers share ``options.teacher_share``."""
    if weight == 0:
        return ()
    first, *others = teachers
    mix = [(english_target(first), 1.0 if not others else 1.0 - options.teacher_share)]
    mix += [(english_target(other), options.teacher_share / len(others)) for other in others]
    return (MatchSimilarities(mix=tuple(mix), weight=weight, sides=options.matrix_sides),)


def neighbour_terms(teacher: str, weight: float, options: NeighbourOptions) -> tuple[MatchNeighbours, ...]:
    """Return the term on a teacher's nearest English vectors, where it has weight."""
    if weight == 0:
        return ()
    target = Target(encoder=teacher, side="english", bank=options.neighbour_bank)
    return (MatchNeighbours(target=target, weight=weight, temperature=options.neighbour_temperature),)


def trim_edits(options: TrimOptions) -> tuple[Edit, ...]:
    """Return the edit that trims the vocabulary, if that is wanted."""
    return (TrimVocabulary(),) if options.trim else ()


def bottleneck_edits(experiment: Experiment, options: BottleneckOptions) -> tuple[Edit, ...]:
    """Return the edit that narrows the token embeddings, if the student spec has a bottleneck."""
    width = experiment.student.bottleneck
    if width is None:
        return ()
    bottleneck = Bottleneck(
        width=width,
        start=options.bottleneck_start,
        weighting=options.bottleneck_weighting,
        seed=experiment.seed if options.bottleneck_start == "random" else 0,
        frequent_share=options.frequent_share,
    )
    return (bottleneck,)


def embedding_edits(experiment: Experiment, options: EmbeddingOptions) -> tuple[Edit, ...]:
    """Return what is done to the token embeddings: trimmed if wanted, narrowed if the student spec says so."""
    return (*trim_edits(options), *bottleneck_edits(experiment, options))


def layer_edit(experiment: Experiment, options: LoopOptions) -> Loop:
    """Return the choice of layers that the student spec asks for, and how they are looped."""
    spec = experiment.student
    return Loop(layers=spec.layers, repeats=spec.repeats, choice=options.layer_choice, order=options.loop_order)


def cut_edits(experiment: Experiment, options: CutOptions) -> tuple[Edit, ...]:
    """Return all that cuts the student from the assistant in one step."""
    return (*embedding_edits(experiment, options), layer_edit(experiment, options))
