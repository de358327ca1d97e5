"""The stages of Ding et al. (2022) as functions: what xlbench's own methods, and others', are put together from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.distill.edits import Average, Bottleneck, Centre, Loop
from xlbench.distill.live import LiveObjective, MatchHidden, MatchRelations
from xlbench.distill.method import Options, Scalar
from xlbench.distill.objectives import MatchNeighbours, MatchSimilarities, Objective, PullToTarget, Target
from xlbench.distill.plan import Edit, Stage, Trainable, Training
from xlbench.distill.trim import TrimVocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xlbench.distill.objectives import Sides
    from xlbench.experiment import Experiment


class StageOptions(Options):
    """Options that every method with the paper's stages has."""

    centre: bool = Field(
        default=True, description="Take the corpus's mean English vector out of the teachers' vectors."
    )
    batch_size: int = Field(default=64, ge=4, le=4096, description="Pairs in a step.")
    bottleneck_batch_size: int | None = Field(
        default=None, ge=4, le=4096, description="Pairs in a step of stage 2; None: as in the other stages."
    )
    learning_rate: float = Field(default=6e-4, gt=0, le=1, description="Peak rate of the student's stages.")
    english_share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="Of a batch's pairs, those whose English side is read too: English is in all of them.",
    )
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="AdamW's, on matrices only.")
    dropout: bool = Field(default=False, description="Keep the encoder's own dropout while training.")
    max_tokens: int = Field(default=128, ge=8, le=512, description="Where sentences are cut.")
    evaluations: int = Field(
        default=4,
        ge=1,
        le=100,
        description="Looks at the dev pairs in a stage, at most one for each time that as many pairs were seen.",
    )
    bottleneck_start: Literal["pca", "random"] = Field(
        default="pca", description="First value of the bottleneck; the paper's is random."
    )
    bottleneck_weighting: Literal["frequency", "uniform"] = Field(
        default="frequency", description="What a token counts for in the PCA."
    )
    frequent_share: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="Of the bottleneck's parameters, those spent on whole rows of the tokens that the corpus uses most:"
        " as large, but narrower for all others.",
    )
    layer_choice: Literal["spaced", "first", "last"] = Field(
        default="spaced", description="Which of the assistant's layers a student keeps."
    )
    loop_order: Literal["cycle", "adjacent"] = Field(
        default="adjacent", description="Looped layers run 1, 1, 2, 2, ... or, as in the paper, 1..K, 1..K, ..."
    )
    neighbour_temperature: float = Field(
        default=0.05,
        gt=0,
        description="Of the softmax over neighbours: the lower, the fewer of them count.",
    )
    neighbour_bank: int = Field(
        default=16384,
        ge=0,
        description="English sentences drawn for each batch that are neighbours too, beside the batch's own.",
    )
    trim: bool = Field(
        default=False, description="Drop the tokens that the corpus never uses: other languages are given up."
    )


class AlignOptions(StageOptions):
    """Options of methods that align the assistant first (stage 1)."""

    assistant_learning_rate: float = Field(default=1e-4, gt=0, le=1, description="Peak rate of stage 1.")
    assistant_seed: int = Field(
        default=0, ge=0, description="Seed of stage 1: one assistant for all the seeds of a comparison."
    )
    assistant_embeddings: bool = Field(default=False, description="Train the assistant's word table too in stage 1.")
    assistant_matrix_weight: float = Field(
        default=10.0,
        ge=0,
        description="Weight in stage 1 of the similarity-matrix term; the paper has it in stage 4 only.",
    )
    assistant_neighbour_weight: float = Field(
        default=30.0,
        ge=0,
        description="Weight in stage 1 of matching the nearest English neighbours.",
    )
    assistant_own_weight: float = Field(
        default=0.0,
        ge=0,
        description="Weight in stage 1 of the pull of each side to its own vector before it: protects what it knew.",
    )
    assistant_start_share: float = Field(
        default=0.25,
        ge=0,
        lt=1,
        description="What the weights before stage 1 count for in the mean of those before and after it.",
    )
    matrix_sides: Literal["across", "all"] = Field(
        default="all",
        description="What similarity matrices compare: English with the other side, as in the paper, or each side too.",
    )
    teacher_share: float = Field(
        default=0.35, gt=0, lt=1, description="What further teachers count for in the similarity matrix."
    )


PAPER: Mapping[str, Scalar] = {
    "centre": False,
    "batch_size": 64,
    "english_share": 1.0,
    "bottleneck_batch_size": 256,
    "learning_rate": 1.6e-4,
    "weight_decay": 0.01,
    "dropout": True,
    "max_tokens": 128,
    "bottleneck_start": "random",
    "frequent_share": 0.0,
    "layer_choice": "first",
    "loop_order": "cycle",
    "assistant_learning_rate": 2e-5,
    "assistant_embeddings": True,
    "assistant_matrix_weight": 0.0,
    "assistant_neighbour_weight": 0.0,
    "assistant_start_share": 0.0,
    "matrix_sides": "across",
    "bottleneck_share": 0.125,
    "recurrent_share": 0.125,
    "matrix_weight": 1.0,
    "neighbour_weight": 0.0,
}
"""The published settings: those of Ding et al. (2022) for the student (stages 2 to 4 had 10, 10 and 60 epochs, so an
eighth, an eighth and the rest of the pairs), those of Reimers & Gurevych (2020) for stage 1."""


def presets(options: type[Options]) -> dict[str, dict[str, Scalar]]:
    """Return the presets of a method of the paper's stages: ``paper``, the published values of its options."""
    return {"paper": {option: value for option, value in PAPER.items() if option in options.model_fields}}


def centred(experiment: Experiment, options: StageOptions) -> tuple[Stage, ...]:
    """Return a stage for each teacher that takes the mean out of its vectors; none without ``centre``."""
    if not options.centre:
        return ()
    return tuple(Stage(f"{encoder}-centred", encoder, (Centre(),)) for encoder in _teachers(experiment))


def _teachers(experiment: Experiment) -> list[str]:
    return ["teacher" if number == 0 else f"teacher:{number}" for number in range(len(experiment.teachers))]


def teacher_names(experiment: Experiment, options: StageOptions) -> list[str]:
    """Return the encoders that teach, the first one first: the teachers, centred or as they are."""
    return [f"{encoder}-centred" if options.centre else encoder for encoder in _teachers(experiment)]


def english(encoder: str) -> Target:
    """Return the target that is an encoder's English vector, for both sides of a pair."""
    return Target(encoder=encoder, side="english")


def similarities(teachers: list[str], weight: float, share: float, sides: Sides = "across") -> MatchSimilarities:
    """Return the matrix term; the further teachers count for ``share`` in all."""
    first, *others = teachers
    mix = [(english(first), 1.0 if not others else 1.0 - share)]
    mix += [(english(other), share / len(others)) for other in others]
    return MatchSimilarities(mix=tuple(mix), weight=weight, sides=sides)


def neighbours(teacher: str, weight: float, options: StageOptions) -> MatchNeighbours:
    """Return the term on a teacher's nearest English vectors, those of the batch and of a bank."""
    target = Target(encoder=teacher, side="english", bank=options.neighbour_bank)
    return MatchNeighbours(target=target, weight=weight, temperature=options.neighbour_temperature)


def training(
    experiment: Experiment,
    options: StageOptions,
    objectives: tuple[Objective | LiveObjective, ...],
    pairs: float,
    *,
    level: Literal["sentence", "embeddings"] = "sentence",
    trainable: Trainable = "all",
    learning_rate: float | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
) -> Training:
    """Return the training of a stage with the method's options and the experiment's seed.

    A look reads both sides of every dev pair, about half of the work of training on as many: a stage of few pairs looks
    less often than ``options.evaluations``, so that it does not look for longer than it trains.
    """
    count = max(1, round(pairs))
    return Training.model_validate(
        {
            "objectives": objectives,
            "pairs": count,
            "seed": experiment.seed if seed is None else seed,
            "level": level,
            "trainable": trainable,
            "batch_size": batch_size or options.batch_size,
            "english_share": 1.0 if level == "embeddings" else options.english_share,
            "learning_rate": learning_rate or options.learning_rate,
            "weight_decay": options.weight_decay,
            "dropout": options.dropout,
            "max_tokens": options.max_tokens,
            "evaluations": min(options.evaluations, max(1, count // experiment.data.dev_pairs)),
        }
    )


def aligned(experiment: Experiment, options: AlignOptions) -> tuple[Stage, ...]:
    """Stage 1: pull both sides of the assistant to the teacher's English vectors; the outcome is called 'aligned'.

    Where the teacher is the assistant's own centred English side, it is also where the assistant starts. With an
    ``assistant_start_share`` the weights are then averaged with those at the start, in a stage of its own.
    """
    teacher = teacher_names(experiment, options)[0]
    start = teacher if experiment.self_taught() else "assistant"
    if experiment.budget.assistant_pairs == 0:
        return (Stage("aligned", start),)
    objectives: tuple[Objective, ...] = (PullToTarget(target=english(teacher)),)
    if options.assistant_matrix_weight > 0:
        teachers = teacher_names(experiment, options)
        objectives += (
            similarities(teachers, options.assistant_matrix_weight, options.teacher_share, options.matrix_sides),
        )
    if options.assistant_neighbour_weight > 0:
        objectives += (neighbours(teacher, options.assistant_neighbour_weight, options),)
    if options.assistant_own_weight > 0:
        own = Target(encoder=start, side="own")
        objectives += (PullToTarget(target=own, weight=options.assistant_own_weight),)
    taught = training(
        experiment,
        options,
        objectives,
        experiment.budget.assistant_pairs,
        trainable="all" if options.assistant_embeddings else "all-but-token-embeddings",
        learning_rate=options.assistant_learning_rate,
        seed=options.assistant_seed,
    )
    if options.assistant_start_share == 0:
        return (Stage("aligned", start, (), taught),)
    mixed = Average(other=start, share=options.assistant_start_share)
    return Stage("alignment", start, (), taught), Stage("aligned", "alignment", (mixed,))


def embedding_edits(experiment: Experiment, options: StageOptions) -> tuple[Edit, ...]:
    """Return what is done to the word table: trimmed if wanted, cut if the student spec asks for a bottleneck."""
    trimmed: tuple[Edit, ...] = (TrimVocabulary(),) if options.trim else ()
    width = experiment.student.bottleneck
    if width is None:
        return trimmed
    return (
        *trimmed,
        Bottleneck(
            width=width,
            start=options.bottleneck_start,
            weighting=options.bottleneck_weighting,
            seed=experiment.seed if options.bottleneck_start == "random" else 0,
            frequent_share=options.frequent_share,
        ),
    )


def loop_edit(experiment: Experiment, options: StageOptions, *, repeats: int | None = None) -> Loop:
    """Return the choice of layers that the student spec asks for."""
    spec, choice, order = experiment.student, options.layer_choice, options.loop_order
    return Loop(layers=spec.layers, repeats=repeats or spec.repeats, choice=choice, order=order)


def bottleneck(experiment: Experiment, options: StageOptions, start: str, pairs: float) -> Stage:
    """Stage 2: fit the bottleneck table to the output of ``start``'s embedding layer, no encoder layer run."""
    own = Target(encoder=start, side="own", level="embeddings")
    fitted = training(
        experiment,
        options,
        (PullToTarget(target=own),),
        pairs,
        level="embeddings",
        trainable="embeddings",
        batch_size=options.bottleneck_batch_size,
    )
    return Stage("bottleneck", start, embedding_edits(experiment, options), fitted)


def recurrent(
    experiment: Experiment,
    options: StageOptions,
    start: str,
    assistant: str,
    pairs: float,
    *,
    edits: tuple[Edit, ...],
    hidden_weight: float = 0.0,
    name: str = "recurrent",
) -> Stage:
    """Stage 3: keep and loop layers; pull each side to the assistant's own vector of it.

    With a ``hidden_weight`` the last hidden states are matched too, token by token, the assistant run beside.
    """
    objectives: tuple[Objective | LiveObjective, ...] = (PullToTarget(target=Target(encoder=assistant, side="own")),)
    if hidden_weight > 0:
        objectives += (MatchHidden(encoder=assistant, weight=hidden_weight),)
    return Stage(name, start, edits, training(experiment, options, objectives, pairs))


def relations(
    experiment: Experiment,
    options: StageOptions,
    start: str,
    encoder: str,
    pairs: float,
    *,
    edits: tuple[Edit, ...],
    layer: int = -1,
    heads: int | None = None,
) -> Stage:
    """Relation distillation: the last layer that the student runs against a layer of ``source``, run beside it."""
    taught = MatchRelations(encoder=encoder, layer=layer, heads=heads)
    return Stage("relations", start, edits, training(experiment, options, (taught,), pairs))


def contrastive(
    experiment: Experiment,
    options: StageOptions,
    start: str,
    pairs: float,
    *,
    matrix_weight: float,
    teacher_share: float,
    matrix_sides: Sides = "across",
    neighbour_weight: float = 0.0,
    edits: tuple[Edit, ...] = (),
    name: str = "contrastive",
) -> Stage:
    """Stage 4: pull both sides to the teacher's English vectors; match its similarities and its nearest ones.

    A term without weight is left out.
    """
    teachers = teacher_names(experiment, options)
    objectives: tuple[Objective, ...] = (PullToTarget(target=english(teachers[0])),)
    if matrix_weight > 0:
        objectives += (similarities(teachers, matrix_weight, teacher_share, matrix_sides),)
    if neighbour_weight > 0:
        objectives += (neighbours(teachers[0], neighbour_weight, options),)
    return Stage(name, start, edits, training(experiment, options, objectives, pairs))
