"""What makes a plan valid: its names, known without a look at any encoder, and the shapes that its stages need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.distill.objectives import MatchNeighbours, PullToTarget
from xlbench.distill.plan import check_inputs
from xlbench.errors import PartError, XlbenchError
from xlbench.students.shape import TRANSFORMERS, Shape

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from xlbench.distill.live import Layer
    from xlbench.distill.plan import Edit, Plan, Stage, Training


def check_names(plan: Plan, given: Collection[str]) -> None:
    """Validate what a plan says without a look at any encoder: the names in it.

    Args:
        plan: The plan.
        given: Names of the encoders that are there from the start.

    Raises:
        XlbenchError: A name is unknown or doubled, or a stage takes a blend for an encoder.
    """
    encoders = list(given)
    blends: list[str] = []
    for blend in plan.blends:
        if blend.name in (*encoders, *blends):
            raise XlbenchError(f"A blend is called '{blend.name}', as another one or an encoder is.", "Rename it.")
        blend.check_inputs(given)
        blends.append(blend.name)
    for stage in plan.stages:
        if stage.name in (*encoders, *blends):
            raise XlbenchError(f"Two encoders of the plan are called '{stage.name}'.", "Rename one of the stages.")
        check_inputs(stage, (*encoders, *blends))
        for blend in plan.blends:
            blend.check_read(stage.name, stage.encoders(), stage.targets())
        encoders.append(stage.name)
    for shown in (plan.result, plan.teacher, plan.assistant):
        if shown not in encoders:
            raise XlbenchError(
                f"The plan shows '{shown}', which none of its stages makes.",
                f"It can show: {', '.join(encoders)}.",
            )


def check_teachers(plan: Plan, teachers: Mapping[str, str]) -> None:
    """Refuse a teacher that would teach nothing: the student would be the same without it, and nobody would know.

    A plan that reads no teacher at all is not refused: where nothing is learnt, nothing is left out. Nor is one with a
    blend, where a weight of zero says that a teacher is not meant.

    Args:
        plan: The plan.
        teachers: What the plan calls each teacher, and what a user calls it.

    Raises:
        XlbenchError: The plan's result rests on some of the teachers, and not on others.
    """
    needed = plan.below(plan.result)
    read = {encoder for stage in plan.stages if stage.name in needed for encoder in stage.inputs()}
    if plan.blends or not read & teachers.keys():
        return
    for name, title in teachers.items():
        if name not in read:
            raise XlbenchError(
                f"The teacher '{title}' would teach nothing: of several teachers, this plan reads others only.",
                "Leave it out, or blend the teachers where the method can: -o blend=WEIGHT,WEIGHT.",
            )


def check_plan(plan: Plan, shapes: Mapping[str, Shape], widths: Mapping[str, int]) -> dict[str, Shape]:
    """Validate a whole plan before anything runs.

    Args:
        plan: The plan.
        shapes: Shapes of the encoders that are there from the start, as far as stages may be cut from them.
        widths: How wide the vectors of every encoder are that is there from the start.

    Returns:
        The shape of every encoder: as given, or as its stage's edits declare it.

    Raises:
        XlbenchError: A name is unknown or doubled, shapes do not chain, a stage trains what cannot be trained,
            or a target has another width than the student that is pulled to it.
    """
    shapes, widths = dict(shapes), dict(widths)  # those of stages are added in their order
    check_names(plan, widths)
    blended = {blend.name: blend.width(widths) for blend in plan.blends}
    for stage in plan.stages:
        if stage.start not in shapes:
            raise XlbenchError(
                f"Stage '{stage.name}' starts from '{stage.start}', which is no BERT or XLM-R encoder.",
                "It can teach as it is (-o centre=false), but nothing can be cut from it.",
            )
        shape = shapes[stage.start]
        for edit in stage.edits:
            shape = declared_shape(stage, edit, shape)
        _check_training(stage, shape, shapes, {**widths, **blended})
        shapes[stage.name] = shape
        widths[stage.name] = shape.width
    return shapes


def declared_shape(stage: Stage, edit: Edit, shape: Shape) -> Shape:
    """Return the shape that an edit of a stage says that it makes of a shape.

    Raises:
        XlbenchError: The edit does not fit an encoder of this shape, or says nothing.
    """
    try:
        declared = edit.reshape(shape)
    except XlbenchError as error:
        raise XlbenchError(f"Stage '{stage.name}': {error.problem}", error.remedy) from None
    if not isinstance(declared, Shape):
        raise PartError(
            f"Stage '{stage.name}': {type(edit).__name__}.reshape returned {type(declared).__name__}.",
            "It must return the Shape of the edited encoder.",
            type(edit).reshape,
        )
    return declared


def _check_training(stage: Stage, shape: Shape, shapes: Mapping[str, Shape], widths: Mapping[str, int]) -> None:
    """Refuse a stage that trains what cannot be trained, or by what it cannot read or compare itself with."""
    if stage.training is None:
        return
    try:
        _require_trainable(shape, stage.training)
        for target in stage.targets():
            if target.level == "embeddings" and target.encoder in shapes:
                shapes[target.encoder].require_transformer("read at their embedding layer")
    except XlbenchError as error:
        raise XlbenchError(f"Stage '{stage.name}': {error.problem}", "Leave its training out.") from None
    width = shape.hidden if stage.training.level == "embeddings" else shape.width
    for term in stage.training.terms:
        if not isinstance(term, PullToTarget | MatchNeighbours):  # a matrix of cosines has no width
            continue
        encoder = term.target.encoder
        at_embeddings = term.target.level == "embeddings" and encoder in shapes
        target_width = shapes[encoder].hidden if at_embeddings else widths[encoder]
        if target_width != width:
            verb, with_ = ("pulls", "to") if isinstance(term, PullToTarget) else ("compares", "with")
            raise XlbenchError(
                f"Stage '{stage.name}' {verb} vectors of width {width} {with_} '{encoder}', whose width is"
                f" {target_width}.",
                "Choose a teacher as wide as the assistant (--teacher assistant always is), or bring it to that width"
                " (-o blend=1).",
            )
    try:
        _check_live(stage.training, shape, shapes)
    except XlbenchError as error:
        raise XlbenchError(f"Stage '{stage.name}': {error.problem}", error.remedy) from None


def _require_trainable(shape: Shape, training: Training) -> None:
    """Refuse to train what is neither a BERT nor an XLM-R nor a static encoder, or parts that it has not."""
    if shape.architecture != "static":
        shape.require_transformer("trained")
    elif (training.level, training.trainable) != ("sentence", "all"):
        raise XlbenchError("A static encoder has no layers: it is trained as a whole.", "")


def _check_live(training: Training, shape: Shape, shapes: Mapping[str, Shape]) -> None:
    for term in training.live_terms:
        compared: dict[Layer, Shape] = {}
        for layer in term.layers():
            name = "the student" if layer.encoder is None else f"'{layer.encoder}'"
            read = shape if layer.encoder is None else shapes.get(layer.encoder)
            if read is None or read.architecture not in TRANSFORMERS:
                raise XlbenchError(f"{name} is no BERT or XLM-R, so its layers cannot be read.", "Leave that term out.")
            if training.level == "embeddings":
                raise XlbenchError("It trains without encoder layers, so none can be read.", "Leave that term out.")
            if not 1 <= abs(layer.number) <= read.executed_layers:
                raise XlbenchError(
                    f"Layer {layer.number} of {name} cannot be read, it runs {read.executed_layers}.",
                    "Layers count from 1 at the bottom, or from -1 at the top.",
                )
            # A trimmed vocabulary cuts the corpus's sentences as the whole one does.
            if read.vocabulary != shape.vocabulary and not (read.trimmed or shape.trimmed):
                raise XlbenchError(
                    f"{name} has a vocabulary of {read.vocabulary:,}, the student one of {shape.vocabulary:,}:"
                    " they cannot be compared token by token.",
                    "Choose an encoder with the student's tokenizer, e.g. the assistant.",
                )
            compared[layer] = read
        term.check(compared)
