"""What sharing stages and targets saved: each made once, against runs that each make their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from xlbench.corpora.prepare import corpus_key
from xlbench.distill.engine import source_keys
from xlbench.distill.targets import KIND as TARGETS
from xlbench.distill.targets import target_key
from xlbench.runs.run import plan_of
from xlbench.store import read_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from xlbench.experiment import Experiment
    from xlbench.plugins import Registry
    from xlbench.store import Manifest

STAGES = "stages"


class Accounting(NamedTuple):
    """Seconds of stages and targets.

    Attributes:
        shared: Each made once.
        apart: Each made by every run that rests on it.
    """

    shared: float
    apart: float

    def __str__(self) -> str:
        share = f" ({100 * self.shared / self.apart:.0f} %)" if self.apart else ""
        return f"stages and targets: {self.shared:.0f} s, made once; {self.apart:.0f} s in separate runs{share}"


def account(experiments: Iterable[Experiment], registry: Registry, home: Path) -> Accounting:
    """Return what the stages and targets of experiments took when they were made.

    A stage's own time is without that of the targets that were made while it was.

    Args:
        experiments: Those whose stages are in the store; an entry that is no longer there counts nothing.
        registry: What plugins brought.
        home: The store.
    """
    once: dict[str, float] = {}
    apart = 0.0
    for experiment in experiments:
        took = _seconds(experiment, registry, home)
        once |= took
        apart += sum(took.values())
    return Accounting(sum(once.values()), apart)


def _seconds(experiment: Experiment, registry: Registry, home: Path) -> dict[str, float]:
    """Return the seconds that each stage and target of an experiment took, by kind and key."""
    plan = plan_of(experiment, registry)
    keys = source_keys(plan, experiment)
    corpus = corpus_key(experiment.data)
    targets: dict[str, Manifest] = {}
    for stage in plan.stages:
        for term in stage.training.terms if stage.training else ():
            for target in term.targets():
                assert stage.training is not None
                key = target_key(target, keys[target.source], corpus, experiment.precision, stage.training.max_tokens)
                if entry := read_entry(home, TARGETS, key, verify=False):
                    targets[key] = entry.manifest
    took = {f"{TARGETS} {key}": manifest.seconds for key, manifest in targets.items()}
    for stage in plan.stages:
        if entry := read_entry(home, STAGES, keys[stage.name], verify=False):
            took[f"{STAGES} {keys[stage.name]}"] = _own_seconds(entry.manifest, targets)
    return took


def _own_seconds(stage: Manifest, targets: Mapping[str, Manifest]) -> float:
    began = stage.made - stage.seconds
    inside = (it.seconds for it in targets.values() if it.made - it.seconds >= began and it.made <= stage.made)
    return max(0.0, stage.seconds - sum(inside))
