"""Scoring: a suite by our harness against plain ``mteb.evaluate`` with a SentenceTransformer."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, cast

import torch

from benchmarks.measure import clock
from benchmarks.results import Line, Part, Table, at_most
from xlbench.encoders.find import find_encoder, load_encoder
from xlbench.errors import look_up
from xlbench.runs.session import prepare_process
from xlbench.scoring.harness import score
from xlbench.scoring.quiet import quiet_datasets, quiet_mteb
from xlbench.scoring.scores import MAIN_METRIC
from xlbench.scoring.tasks import load_task

if TYPE_CHECKING:
    from benchmarks.material import Material
    from xlbench.experiment import Precision, Suite
    from xlbench.fingerprint import Json

TOLERANCE = 1e-4  # of scores between 0 and 1


def measure_scoring(material: Material, *, suite: str, encoder: str) -> Part:
    """Score an encoder both ways, once: the whole suite in the machine's dtype, its first task in float32 too."""
    import mteb  # noqa: F401 - imported by neither of the two while it is timed

    prepare_process(material.settings)
    whole = look_up("suite", suite, material.registry.suites)
    rows, lines, raw = [], [], dict[str, "Json"]()
    first = whole.model_copy(update={"name": whole.tasks[0].task, "tasks": whole.tasks[:1]})
    plans: list[tuple[Suite, Precision]] = [(whole, material.precision)]
    if material.precision != "float32":
        plans.append((first, "float32"))
    for chosen, precision in plans:
        print(f"scoring: {chosen.name} in {precision}", flush=True)
        own, own_scores = _run_xlbench(material, chosen, encoder, precision)
        print(f"  xlbench ({own:.0f} s)", flush=True)
        peer, peer_scores = _run_peer(material, chosen, encoder, precision)
        print(f"  mteb.evaluate ({peer:.0f} s)", flush=True)
        assert own_scores.keys() == peer_scores.keys()
        apart = max(abs(own_scores[key] - peer_scores[key]) for key in own_scores)
        title = f"scoring {chosen.name} in {precision}"
        share = f"{own / peer:.2f}"
        rows.append((chosen.name, precision, f"{own:.1f}", f"{peer:.1f}", share, f"{apart:.1e}"))
        if chosen is whole:
            lines.append(at_most(f"{title}: at most a third of mteb.evaluate's time", own / peer, 1 / 3, share))
        if precision == "float32":
            lines.append(Line(wanted=f"{title}: the same scores to 1e-4", found=f"{apart:.1e}", met=apart <= TOLERANCE))
        raw[title] = {
            "seconds": [own, peer],
            "xlbench": cast("Json", own_scores),
            "mteb": cast("Json", peer_scores),
        }
    return Part(
        title="Scoring",
        how=(
            f"'{encoder}' on suite '{suite}', loading the data in, loading the encoder and importing mteb out; both "
            "ways once. mteb.evaluate has mteb's own encode settings and the same local data; in bfloat16 the "
            "encoder's weights are in that dtype. Scores are main scores between 0 and 1; only in float32 are they "
            "comparable to 1e-4, since in bfloat16 they depend on the padding."
        ),
        tables=(
            Table(
                title="Seconds",
                header=(
                    "Suite or task",
                    "Computes in",
                    "xlbench",
                    "mteb.evaluate",
                    "Ratio",
                    "Largest score difference",
                ),
                rows=tuple(rows),
            ),
        ),
        lines=tuple(lines),
        data=raw,
    )


def _run_xlbench(
    material: Material, suite: Suite, encoder: str, precision: Precision
) -> tuple[float, dict[str, float]]:
    registry, settings = material.registry, material.settings
    model = load_encoder(find_encoder(encoder, registry.encoders, settings), registry.encoders, settings)
    with clock() as taken:
        scored = score(model, suite, settings, precision=precision, title="scoring")
    scores = {
        f"{name} {subset}": of_subset.main / 100
        for name, task in scored.scores.tasks.items()
        for subset, of_subset in task.subsets.items()
        if of_subset.main is not None
    }
    return taken.seconds, scores


def _run_peer(material: Material, suite: Suite, encoder: str, precision: Precision) -> tuple[float, dict[str, float]]:
    import mteb

    registry, settings = material.registry, material.settings
    model = load_encoder(find_encoder(encoder, registry.encoders, settings), registry.encoders, settings)
    if precision == "bfloat16":
        model = model.to(torch.bfloat16)
    families = {ref.task: ref.measure for ref in suite.tasks}
    with warnings.catch_warnings(), quiet_datasets(), quiet_mteb(), clock() as taken:
        warnings.simplefilter("ignore")
        tasks = [load_task(ref, settings) for ref in suite.tasks]
        result = mteb.evaluate(
            model, tasks, cache=None, show_progress_bar=False, encode_kwargs={"show_progress_bar": False}
        )
    scores: dict[str, float] = {}
    for task in result.task_results:
        for by_subset in task.scores.values():
            for one in by_subset:
                metric = MAIN_METRIC[families[task.task_name]]
                scores[f"{task.task_name} {one['hf_subset']}"] = float(one[metric])
    return taken.seconds, scores
