"""A method: a way to train a student, as a plan of stages, with typed options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeAlias

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

from xlbench.errors import look_up
from xlbench.validation import validated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xlbench.distill.plan import Plan
    from xlbench.experiment import Experiment
    from xlbench.fingerprint import Json

Scalar: TypeAlias = bool | int | float | str


class Options(BaseModel):
    """Base of a method's options: every field described and bounded, unknown ones refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


# Covariant, so that a registry can hold methods of all kinds of options as `Method`. That is safe as long as callers
# use `plan_for`, which gives `plan` the options that it was written for.
O_co = TypeVar("O_co", bound=Options, default=Options, covariant=True)


@dataclass(frozen=True)
class Method(Generic[O_co]):
    """A way to train a student, as a plan of stages.

    Attributes:
        name: What ``--method`` takes.
        summary: One line for listings.
        plan: Turns an experiment and its options, already validated, into a plan; reads no data, loads no weights.
        options: The class of its options; ``Options`` itself for a method that has none.
        reference: Where the method is described.
        student: Whether it makes a student; False for rows that only score an encoder.
        sized: Whether the student spec decides how large its students are; where not, tables call them after it.
        presets: Named sets of option values; a run that names none gets the options' own defaults.
    """

    name: str
    summary: str
    plan: Callable[[Experiment, O_co], Plan]
    options: type[O_co]
    reference: str = ""
    student: bool = True
    sized: bool = True
    presets: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)

    def read_options(self, given: Mapping[str, Json], preset: str | None = None) -> O_co:
        """Return validated options: those given, else those of the preset, else the defaults.

        Raises:
            XlbenchError: The preset or an option is unknown, or an option is of the wrong kind or out of bounds.
        """
        chosen = {} if preset is None else look_up(f"preset of method {self.name}", preset, self.presets)
        return validated(self.options, {**chosen, **given}, f"option of method {self.name}:")

    def plan_for(self, experiment: Experiment) -> Plan:
        """Return the plan of an experiment, its options validated.

        Raises:
            XlbenchError: An option is unknown, of the wrong kind or out of bounds, or the method cannot do this
                experiment.
        """
        return self.plan(experiment, self.read_options(experiment.options))
