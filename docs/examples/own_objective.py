"""A plugin as one file: an objective of one's own, the direction of the target and not its length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.api import (
    CentreOptions,
    Frozen,
    Method,
    Plan,
    Stage,
    StudentOptions,
    Target,
    centre_stages,
    cut_edits,
    english_target,
    hookimpl,
    make_training,
    teacher_names,
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


class CosineOptions(CentreOptions, StudentOptions):
    """What `-o` takes: the options of the groups that the plan uses."""


def plan(experiment: Experiment, options: CosineOptions) -> Plan:
    """Cut the student from the assistant and train it in one stage."""
    teacher = teacher_names(experiment, options)[0]
    training = make_training(
        experiment,
        options,
        (CosineToTarget(target=english_target(teacher)),),
        experiment.budget.student_pairs,
        learning_rate=options.learning_rate,
    )
    student = Stage("student", "assistant", cut_edits(experiment, options), training)
    return Plan((*centre_stages(experiment, options), student), result="student", teacher=teacher)


@hookimpl
def xlbench_methods() -> list[Method[CosineOptions]]:
    """Register the method."""
    return [Method("cosine", "one stage, pulled to the teacher's direction", plan, CosineOptions)]
