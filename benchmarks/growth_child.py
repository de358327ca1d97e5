"""One size of :mod:`benchmarks.growth`, in a process of its own: ``CORPUS ENCODER STORE STEPS``; prints JSON."""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from threading import Event, Thread

import psutil

from xlbench.corpora.corpus import open_corpus
from xlbench.corpora.prepare import prepare
from xlbench.distill.context import StageContext
from xlbench.distill.objectives import PullToTarget
from xlbench.distill.outcome import peak_memory
from xlbench.distill.plan import Stage, Training
from xlbench.distill.stages import english_target
from xlbench.distill.training import train_stage
from xlbench.encoders.directories import load_directory
from xlbench.experiment import Data
from xlbench.plugins.registry import load_registry
from xlbench.settings import Settings

BATCH = 64


class Watcher:
    """Samples the memory of this process and keeps the largest value, in bytes."""

    def __init__(self) -> None:
        self.most = 0
        self._over = Event()
        Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, own_memory())

    def stop(self) -> int:
        """Stop sampling and return the largest value."""
        self._over.set()
        return self.most


def own_memory() -> int:
    """Return the resident bytes without mapped files, where the system reports them (Linux); else all of them."""
    found = psutil.Process().memory_info()
    return int(found.rss - getattr(found, "shared", 0))


def main() -> None:
    """Prepare, tokenise, compute targets, train a few steps."""
    place, encoder, home, steps = sys.argv[1:]
    settings = Settings(home=Path(home), quiet=True, device="cpu")
    corpus = open_corpus(f"tsv:{place}", load_registry().corpora, settings)
    model = load_directory(Path(encoder), settings)
    before = own_memory()
    watcher = Watcher()
    seconds: dict[str, float] = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        seconds[name] = time.perf_counter() - began - sum(seconds.values())

    data = Data(corpora=(corpus.ref,), languages=corpus.languages(), dev_pairs=210, excluded="")
    prepared = prepare(data, [corpus], partial(set[int]), settings)
    lap("prepare")
    context = StageContext(
        prepared, settings, "float32", {"teacher": "tiny"}, lambda _: load_directory(Path(encoder), settings)
    )
    context.tokens(model)
    lap("tokenise")
    objective = PullToTarget(target=english_target("teacher"))
    context.targets(objective.target)
    lap("targets")
    taught = Training(objectives=(objective,), pairs=int(steps) * BATCH, seed=0, batch_size=BATCH, evaluations=1)
    scratch = Path(home) / "training"
    scratch.mkdir()
    train_stage(model, Stage("tiny", "teacher", (), taught), context, scratch)
    lap(f"{steps} steps")
    own = watcher.stop()
    print(
        json.dumps(
            {"pairs": len(prepared.pairs), "seconds": seconds, "own": own, "resident": peak_memory(), "before": before}
        )
    )


if __name__ == "__main__":
    main()
