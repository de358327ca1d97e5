"""Equal learning: our trainer and sentence-transformers' recipe on the same pairs, compared by the same dev loss."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from benchmarks.contenders import train_recipe, train_xlbench
from benchmarks.measure import spread
from benchmarks.results import Part, Table, at_most
from xlbench.distill.objectives import PairVectors
from xlbench.encoders.encode import encode

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from benchmarks.material import Material
    from xlbench.fingerprint import Json

SEEDS = (0, 1, 2)


def measure_learning(material: Material, *, batches: int) -> Part:
    """Train both with every seed, one pass over the same pairs, and compare the dev losses."""
    pairs = batches * material.batch_size
    before = dev_loss(material, material.student(), pairs)
    rows, quotients, raw = [], [], []
    for seed in SEEDS:
        one, other = material.student(), material.student()
        train_xlbench(material, pairs, seed=seed, passes=1, model=one)
        train_recipe(material, pairs, seed=seed, model=other)
        losses = dev_loss(material, one, pairs), dev_loss(material, other, pairs)
        quotients.append(losses[0] / losses[1])
        raw.append(list(losses))
        rows.append((str(seed), f"{losses[0]:.4f}", f"{losses[1]:.4f}", f"{quotients[-1]:.4f}"))
        print(f"learning, seed {seed}: xlbench {losses[0]:.4f}, (b) {losses[1]:.4f}", flush=True)
    mean = fmean(one for one, _ in raw) / fmean(other for _, other in raw)
    rows.append(
        ("mean", f"{fmean(one for one, _ in raw):.4f}", f"{fmean(other for _, other in raw):.4f}", f"{mean:.4f}")
    )
    return Part(
        title="Equal learning",
        how=(
            f"minilm-half, one pass over the same {pairs:,} pairs from {material.source}, three seeds of their order; "
            "the same learning rate, warm-up, decay and weight decay, no dropout. Dev loss: squared distance of both "
            "sides to the assistant's English vector, summed over dimensions, mean over "
            f"{len(material.context(pairs).corpus.dev_pairs)} dev pairs, computed in float32 for both; {before:.4f} "
            "before training. (b)'s MSELoss is the same up to a constant factor, which AdamW does not see; the "
            "limit of 1 on the gradient's norm does."
        ),
        tables=(Table(title="Dev loss", header=("Seed", "xlbench", "(b)", "Ratio"), rows=tuple(rows)),),
        lines=(
            at_most(
                "equal learning: dev loss within 1 % of (b)'s over three seeds (or lower)",
                mean,
                1.01,
                f"{mean:.4f} of it (seeds {spread(quotients).show(4)})",
            ),
        ),
        data={"pairs": pairs, "losses": cast("Json", raw), "before": before},
    )


def dev_loss(material: Material, model: SentenceTransformer, pairs: int) -> float:
    """Return the stage's objective on the dev pairs, student and teacher in float32."""
    context, stage = material.context(pairs), material.stage(pairs)
    assert stage.training is not None
    (objective,) = stage.training.terms
    (target,) = objective.targets()
    english, other = material.texts(np.asarray(context.corpus.dev_pairs))
    expected = torch.from_numpy(np.asarray(encode(material.assistant(), english)))
    model.to(material.device)
    actual = PairVectors(*(torch.from_numpy(np.asarray(encode(model, side))) for side in (english, other)))
    return float(objective.loss(actual, {target: PairVectors(expected, expected)}))
