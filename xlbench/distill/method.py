"""A method: a way to train a student, as a plan of stages, with typed options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xlbench.distill.plan import Plan
    from xlbench.experiment import Experiment

Scalar: TypeAlias = bool | int | float | str


class Options(BaseModel):
    """Base of a method's options: every field described and bounded, unknown ones refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Method:
    """A way to train a student, as a plan of stages.

    Attributes:
        name: What ``--method`` takes.
        summary: One line for listings.
        plan: Turns an experiment and the validated options into a plan; reads no data, loads no weights.
        options: The class of its options.
        reference: Where the method is described.
        student: Whether it makes a student; False for rows that only score an encoder.
        presets: Named sets of option values; a run that names none gets the options' own defaults.
    """

    name: str
    summary: str
    plan: Callable[[Experiment, Options], Plan]
    options: type[Options] = Options
    reference: str = ""
    student: bool = True
    presets: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
