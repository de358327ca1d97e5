"""A method on trial: what several tests examine, computed once and only if a test needs it."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from xlbench.distill.check import check_plan
from xlbench.distill.engine import encoder_keys
from xlbench.errors import XlbenchError
from xlbench.store import read_entry
from xlbench.testing.children import Moment, in_child, run_until
from xlbench.testing.knobs import CONTEXTS, KNOBS, RENAMED, other_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from xlbench.distill.method import Scalar
    from xlbench.distill.plan import Plan
    from xlbench.experiment import Experiment
    from xlbench.students.shape import Shape
    from xlbench.testing.bench import Bench, CompletedRun

FIRST = "first"


class Trial:
    """A method on trial.

    Attributes:
        bench: The toys that it runs on.
        name: Of the method.
        home: Directory for its stores.
    """

    def __init__(self, bench: Bench, name: str, home: Path) -> None:
        self.bench = bench
        self.name = name
        self.home = home
        self.method = bench.method(name)

    @cached_property
    def experiment(self) -> Experiment:
        """The toy experiment, defaults filled in."""
        return self.bench.experiment(self.name, {})[0]

    def plan(self, experiment: Experiment) -> Plan:
        """Return a new plan of an experiment."""
        return self.bench.plan(experiment)

    def keys(self, experiment: Experiment) -> dict[str, str]:
        """Return the fingerprint of every encoder of an experiment's plan, and under ``""`` its result's."""
        plan = self.plan(experiment)
        keys = encoder_keys(plan, experiment)
        return {**keys, "": keys[plan.result]}

    @cached_property
    def outcome(self) -> CompletedRun | Exception:
        """The first run, or the exception that ended it."""
        try:
            return self.bench.run(self.name, self.home / FIRST)
        except Exception as error:  # noqa: BLE001 - one test reports it, the others skip
            return error

    @property
    def ran(self) -> CompletedRun:
        """The first run; skips the test if it failed."""
        if isinstance(self.outcome, Exception):
            pytest.skip("it does not run: see test_it_runs_without_a_network")
        return self.outcome

    @property
    def trained(self) -> CompletedRun:
        """The first run; skips the test where the method makes no student."""
        if not self.method.student:
            pytest.skip(f"{self.name} makes no student")
        if self.ran.plan.result not in self.ran.distilled.paths:
            pytest.skip("its result is no stage: see test_the_plan_is_valid_and_always_the_same")
        return self.ran

    def again(self, where: str, changes: Mapping[str, object] | None = None) -> CompletedRun:
        """Run once more, in a store of its own, from another state of all random generators."""
        import numpy as np
        import torch

        random.seed(where)
        np.random.seed(len(where))
        torch.manual_seed(len(where))
        return self.bench.run(self.name, self.store(where), changes or {})

    def store(self, name: str) -> Path:
        """Return a new store that holds the prepared pairs of the first run, and no stage."""
        assert self.ran.corpus.sentences
        shutil.copytree(self.home / FIRST / "corpora", self.home / name / "corpora")
        return self.home / name

    def killed_and_resumed(self) -> tuple[dict[str, str], tuple[str, ...], list[str]]:
        """Run in processes that are killed, then in one that is not.

        Returns:
            The keys of all encoders, what the engine reported in the last process, and the stages that were in the
            store when it began.
        """
        home = self.store("killed")
        for moment in self.moments():
            assert in_child(run_until, self.bench, self.name, home, moment) is None, f"the kit could not kill {moment}"
        keys = self.keys(self.experiment)
        done = [stage.name for stage in self.ran.plan.stages if read_entry(home, "stages", keys[stage.name])]
        result = in_child(run_until, self.bench, self.name, home, None)
        assert result is not None, "the process that should finish died"
        return *result, done

    def moments(self) -> list[Moment]:
        """Return when to kill: as the last stage begins, then at its last step, or as it is about to be saved."""
        stages = self.ran.plan.stages
        if not stages:
            return []
        last = stages[-1]
        between = [Moment(stage=last.name)] if len(stages) > 1 else []
        return [*between, Moment(step=last.training.steps) if last.training else Moment(saving=last.name)]

    def same_key(self) -> dict[str, dict[str, object]]:
        """Return the changes of a request that leave the result's fingerprint as it is, by what is changed."""
        base = self.keys(self.experiment)[""]
        changes: dict[str, dict[str, object]] = {
            f"option {name}": {"options": {name: values[0]}} for name, values in self.values.items() if values
        }
        unchanged = {}
        for what, change in {**changes, **KNOBS}.items():
            try:
                key = self.keys(self.bench.experiment(self.name, change)[0])[""]
            except XlbenchError:  # the method refuses it
                continue
            if key == base:
                unchanged[what] = change
        return unchanged

    @cached_property
    def values(self) -> dict[str, list[Scalar]]:
        """Other values of every option."""
        return {name: other_values(self.method.options, name) for name in self.method.options.model_fields}

    def inert(self) -> list[str]:
        """Return the options of which no other value changes a key, whatever the other settings are.

        They are first tried alone, then with other teachers, students and budgets, then with another value of one
        other option as well.
        """
        alone: list[tuple[Experiment, dict[str, Scalar]]] = [(experiment, {}) for experiment in self.contexts]
        remaining = [name for name, values in self.values.items() if not self.changes_a_key(name, values, alone)]
        found = []
        for name in remaining:
            others = [{other: it} for other, values in self.values.items() if other != name for it in values]
            both = ((experiment, change) for experiment in self.contexts for change in others)
            if not self.changes_a_key(name, self.values[name], both):
                found.append(name)
        return found

    @cached_property
    def contexts(self) -> list[Experiment]:
        """The toy experiment as it is, and with other teachers, students and budgets."""
        found = []
        for changes in CONTEXTS:
            with suppress(XlbenchError):  # the method refuses it
                experiment = self.bench.experiment(self.name, changes)[0]
                self.plan(experiment)
                found.append(experiment)
        return found

    def changes_a_key(
        self, name: str, values: list[Scalar], contexts: Iterable[tuple[Experiment, dict[str, Scalar]]]
    ) -> bool:
        """Return whether a value of an option changes a key in one of the contexts."""
        for experiment, others in contexts:
            with suppress(XlbenchError):
                before = self.shown_keys(experiment, others)
                for value in values:
                    with suppress(XlbenchError):
                        if self.shown_keys(experiment, {**others, name: value}) != before:
                            return True
        return False

    def shown_keys(self, experiment: Experiment, options: Mapping[str, Scalar]) -> list[str]:
        """Return the fingerprints of all that boards show of an experiment with some options changed."""
        changed = experiment.model_copy(update={"options": {**experiment.options, **options}})
        plan = self.plan(changed)
        keys = encoder_keys(plan, changed)
        return [keys[encoder] for encoder in (plan.result, plan.teacher, plan.assistant)]

    def quantised(self) -> CompletedRun:
        """Run with 8 bits, the other stages taken from the first run.

        Raises:
            XlbenchError: The method's result cannot have 8 bits.
        """
        assert self.ran.plan
        return self.bench.run(self.name, self.home / FIRST, {"bits": 8})

    def renamed(self) -> dict[str, str]:
        """Return the result's fingerprint with each part of the experiment under another name."""
        return {
            part: self.keys(self.experiment.model_copy(update={part: other}))[""] for part, other in RENAMED.items()
        }

    def declared_shapes(self, experiment: Experiment, plan: Plan) -> dict[str, Shape]:
        """Return the shape of every encoder, as the plan's edits declare it.

        Raises:
            XlbenchError: The plan is not valid.
        """
        shapes = self.bench.input_shapes(experiment)
        return check_plan(plan, shapes, {name: shape.width for name, shape in shapes.items()})


def keys_of(bench: Bench, name: str) -> dict[str, str]:
    """Return the fingerprints of the encoders of a method's plan; for another process."""
    trial = Trial(bench, name, bench.place)
    return trial.keys(trial.experiment)


def files(directory: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def differing(one: Path, other: Path) -> list[str]:
    """Return the names of files that are not the same in two directories."""
    first, second = files(one), files(other)
    return sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
