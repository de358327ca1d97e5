"""A plugin as one file: an objective of one's own, the direction of the target and not its length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.api import (
    Frozen,
    Method,
    Options,
    Plan,
    Stage,
    StageOptions,
    Target,
    centred,
    embedding_edits,
    english,
    hookimpl,
    loop_edit,
    teacher_names,
    training,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from xlbench.api import Experiment, PairVectors


class CosineToTarget(Frozen):
    """1 - cosine, for both sides: mean over pairs of 2 - cos(S(x), t(x)) - cos(S(y), t(y))."""

    target: Target

    def targets(self) -> tuple[Target, ...]:
        """Return what `loss` is given vectors of; computed once, before training."""
        return (self.target,)

    def loss(self, student: PairVectors, targets: Mapping[Target, PairVectors]) -> Tensor:
        """Return a scalar; vectors are float [pairs, dimension], of English perhaps fewer (``english_share``)."""
        from torch.nn.functional import cosine_similarity

        wanted = targets[self.target]
        cosines = cosine_similarity(student.english, wanted.english), cosine_similarity(student.other, wanted.other)
        return 2 - cosines[0].mean() - cosines[1].mean()


def plan(experiment: Experiment, options: Options) -> Plan:
    """Cut the student from the assistant and train it in one stage."""
    assert isinstance(options, StageOptions)
    teacher = teacher_names(experiment, options)[0]
    taught = training(experiment, options, (CosineToTarget(target=english(teacher)),), experiment.budget.student_pairs)
    student = Stage(
        "student", "assistant", (*embedding_edits(experiment, options), loop_edit(experiment, options)), taught
    )
    return Plan((*centred(experiment, options), student), result="student", teacher=teacher)


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the method."""
    return [Method("cosine", "one stage, pulled to the teacher's direction", plan, StageOptions)]
