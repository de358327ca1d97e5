"""Which rows a run gives, and the keys that their records have in the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xlbench.fingerprint import Json, fingerprint
from xlbench.scoring.declared import mteb_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xlbench.distill.plan import Plan
    from xlbench.experiment import EncoderRef, Experiment
    from xlbench.leaderboard.record import Role


class Row(NamedTuple):
    """A row that a run gives: which source of the plan, in which role, under which name and key."""

    source: str
    role: Role
    name: str
    key: str


def wanted_rows(plan: Plan, experiment: Experiment, keys: Mapping[str, str], *, student: bool) -> list[Row]:
    """Return the rows of a plan: what taught, what is compared with, each encoder once, and what was made.

    Args:
        plan: The plan.
        experiment: The experiment that it belongs to.
        keys: Fingerprint of every source.
        student: Whether the method makes a student.
    """
    teacher, assistant = title(experiment.teacher), title(experiment.assistant)
    given = {"assistant": assistant, "teacher": teacher}

    def name(source: str, word: str) -> str:
        return given.get(source) or f"{teacher if word == 'centred' else assistant}, {word}"

    beside: list[tuple[str, Role, str]] = [
        (plan.teacher, "teacher", name(plan.teacher, "centred")),
        ("assistant", "assistant", assistant),
        (plan.assistant, "aligned", name(plan.assistant, "aligned")),
    ]
    rows: list[Row] = []
    seen: set[str] = set()
    for source, role, words in beside:
        if keys[source] not in seen:
            seen.add(keys[source])
            rows.append(make_row(source, role, words, keys[source], experiment))
    if student:  # a row of its own, even of an encoder that was given
        rows.append(make_row(plan.result, "student", experiment.student.name, keys[plan.result], experiment))
    return rows


def make_row(source: str, role: Role, name: str, key: str, experiment: Experiment) -> Row:
    """Return a row; ``key`` is the fingerprint of its source."""
    facts: dict[str, Json] = {
        "source": key,
        "suite": experiment.suite.model_dump(mode="json"),
        "evaluation": experiment.data.excluded,
        "mteb": mteb_version(),
        "precision": experiment.precision,
        "name": name,
        "role": role,
        "experiment": experiment.model_dump(mode="json") if role == "student" else None,
    }
    if role in {"teacher", "encoder"} and not experiment.self_taught():
        facts["baseline"] = experiment.assistant.fingerprint  # its speed is a multiple of the assistant's
    return Row(source, role, name, fingerprint(facts))


def title(encoder: EncoderRef) -> str:
    """Return what boards call an encoder: its name, without the place for one in a directory."""
    return Path(encoder.name).name if encoder.origin == "local" else encoder.name


def run_name(experiment: Experiment) -> str:
    """Return what boards call the runs of an experiment, whatever their seeds."""
    return f"{experiment.method}/{experiment.student.name}"
