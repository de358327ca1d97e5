"""No training: the teacher or the assistant itself, as a row to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.api import Method, Options, Plan, hookimpl

if TYPE_CHECKING:
    from xlbench.api import Experiment


class ReferenceOptions(Options):
    """Which encoder is scored."""

    encoder: Literal["assistant", "teacher"] = Field(default="assistant", description="The one that is scored.")


def plan(experiment: Experiment, options: ReferenceOptions) -> Plan:
    """Score an encoder as it is."""
    return Plan((), options.encoder)


@hookimpl
def xlbench_methods() -> list[Method[ReferenceOptions]]:
    """Register the method."""
    summary = "the teacher or the assistant itself, untrained"
    return [Method("reference", summary, plan, ReferenceOptions, student=False)]
