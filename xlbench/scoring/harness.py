"""Scoring an encoder on a suite with MTEB's own task classes."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlbench.encoders.encode import encode
from xlbench.encoders.unknown import unknown_shares
from xlbench.errors import XlbenchError, shortened
from xlbench.progress import progress
from xlbench.scoring.data import data_identity, mteb_version
from xlbench.scoring.items import TOLERANCE, Items, ItemScores, main_score, number_items, undefined_reason
from xlbench.scoring.quiet import kept_random_state, quiet_mteb
from xlbench.scoring.scores import MAIN_METRIC, SubsetScores, SuiteScores, TaskScores, family_means
from xlbench.scoring.tasks import MONOLINGUAL, Columns, load_task, read_data, with_lists

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mteb.abstasks import AbsTask
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import Measure, Precision, Suite, TaskRef
    from xlbench.scoring.sentence_table import SentenceTable
    from xlbench.settings import Settings

# The highest mean cosine of an encoder that has not collapsed is about 0.8, that of multilingual-e5-small.
COLLAPSED = 0.99
SUBSETS = 128  # of a task at a time: MTEB holds what it finds as objects of Python, one for each sentence
ZEROS = 0.5  # share of embeddings that are zero, from which on an encoder has collapsed as well


class Scored(NamedTuple):
    """Scores for records, and the items behind them for the bootstrap."""

    scores: SuiteScores
    items: Items


def score(model: SentenceTransformer, suite: Suite, settings: Settings, *, precision: Precision, title: str) -> Scored:
    """Score an encoder on a suite.

    The distinct sentences of all tasks are encoded once, in one pass with a progress bar; MTEB's tasks then look their
    embeddings up. Nothing here is random: the same weights on the same machine get the same scores.

    Args:
        model: The encoder.
        suite: What to score it on.
        settings: Where the data is.
        precision: What the encoder computes in; embeddings are compared in float32.
        title: Of the progress bar.

    Raises:
        XlbenchError: A task or its data is missing, a task is listed twice, or the embeddings are not finite.
    """
    tasks = _load_tasks(suite, settings)
    sides = {id(side): side for _, _, subsets in tasks for it in subsets for side in (it.first, it.second)}
    texts = list(dict.fromkeys(text for side in sides.values() for text in side))
    began = time.perf_counter()
    with progress(title, len(texts), quiet=settings.quiet, unit="sentences") as advance:
        embeddings = encode(model, texts, precision=precision, advance=advance)
    seconds = time.perf_counter() - began
    if not np.isfinite(embeddings).all():
        first = shortened(texts[int(np.isfinite(embeddings).all(axis=1).argmin())])
        raise XlbenchError(
            f"{title}: embeddings that are not finite, of suite '{suite.name}' first for {first}.",
            "Its training has diverged (train with a lower learning rate, or in float32), or its weights are damaged.",
        )
    too_large = _take_out_too_large(texts, embeddings)
    with kept_random_state():
        from xlbench.scoring.sentence_table import SentenceTable
    table = SentenceTable(texts, embeddings, partial(encode, model, precision=precision))
    scores: dict[str, TaskScores] = {}
    items: dict[tuple[str, str], ItemScores] = {}
    with progress(f"{title}: evaluating", len(tasks), quiet=settings.quiet, unit="tasks") as advance:
        for ref, task, subsets in tasks:
            subset_scores, subset_items = _evaluate(table, ref, task, subsets, too_large)
            scores[ref.name] = TaskScores(
                family=ref.family,
                split=ref.split,
                metric=MAIN_METRIC[ref.measure],
                data=data_identity(ref, settings),
                subsets=subset_scores,
            )
            items.update({(ref.name, subset): it for subset, it in subset_items.items()})
            advance(1, ref.name)
    similarity = mean_cosine(embeddings)
    return Scored(
        SuiteScores(
            suite=suite.name,
            example=suite.example,
            tasks=scores,
            families=family_means(scores.values()),
            sentences=len(texts),
            mean_cosine=similarity,
            collapsed=similarity > COLLAPSED or float(np.mean(~embeddings.any(axis=1))) > ZEROS,
            unknown=unknown_shares(model, _by_language(tasks)),
            encode_seconds=seconds,
            precision=precision,
            mteb_version=mteb_version(),
        ),
        items,
    )


def _by_language(tasks: Sequence[tuple[TaskRef, AbsTask, list[Columns]]]) -> dict[str, list[str]]:
    """Return the distinct sentences of a suite by the code that their subsets' names have for their language."""
    sides: dict[str, dict[int, Sequence[str]]] = {}
    for _, task, subsets in tasks:
        for columns in subsets:
            name = columns.subset if columns.subset != MONOLINGUAL else task.metadata.languages[0]
            first, _, second = name.partition("-")
            for code, side in ((first, columns.first), (second or first, columns.second)):
                sides.setdefault(code, {})[id(side)] = side
    return {code: list(dict.fromkeys(chain.from_iterable(own.values()))) for code, own in sides.items()}


def unpredicted_items(suite: Suite, settings: Settings) -> Items:
    """Return the items of a suite as :func:`score` does, without an encoder: predictions are NaN.

    Raises:
        XlbenchError: A task or its data is missing, or a task is listed twice.
    """
    tasks = _load_tasks(suite, settings)
    return {(ref.name, subset): it for ref, _, subsets in tasks for subset, it in _unpredicted(ref, subsets).items()}


def mean_cosine(embeddings: NDArray[np.float32]) -> float:
    """Return the mean cosine over all pairs of two different rows; 0 for fewer than two rows.

    Of unit vectors, the squared length of their sum is the sum of cosines over all ordered pairs. The n pairs of a row
    with itself add n to it. Rows of zeros have no direction; they are alike, and so have the cosine 1 with each other
    and 0 with other rows.

    Args:
        embeddings: float32 [n, dimension].
    """
    rows = len(embeddings)
    if rows < 2:
        return 0.0
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    total = (embeddings / np.maximum(lengths, 1e-12)).sum(axis=0, dtype=np.float64)
    zeros = int((lengths == 0).sum())
    return float((total @ total + zeros**2 - rows) / (rows * (rows - 1)))


def _take_out_too_large(texts: Sequence[str], embeddings: NDArray[np.float32]) -> set[str]:
    """Return the sentences whose embeddings are so long that their squares overflow, and make those zero.

    Args:
        texts: The sentences.
        embeddings: float32 [n, dimension], finite.
    """
    with np.errstate(over="ignore"):
        large = np.flatnonzero(~np.isfinite(np.einsum("nd,nd->n", embeddings, embeddings)))
    embeddings[large] = 0
    return {texts[row] for row in large.tolist()}


def _lost_rows(measure: Measure, columns: Columns, too_large: set[str]) -> NDArray[np.bool_]:
    """Return which rows have no prediction, bool [n]: of bitext, all of them once one candidate has no embedding."""
    first, second = ([text in too_large for text in side] for side in (columns.first, columns.second))
    return np.array(first, bool) | (np.array(second, bool) if measure == "sts" else any(second))


def _load_tasks(suite: Suite, settings: Settings) -> list[tuple[TaskRef, AbsTask, list[Columns]]]:
    names = [ref.name for ref in suite.tasks]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise XlbenchError(
            f"Suite '{suite.name}' lists {', '.join(sorted(repeated))} more than once.",
            "Give one entry all subsets; put another split of the task into another suite.",
        )
    loaded = [(ref, load_task(ref, settings)) for ref in suite.tasks]
    return [(ref, task, read_data(task, ref, settings)) for ref, task in loaded]


def _unpredicted(ref: TaskRef, subsets: list[Columns]) -> dict[str, ItemScores]:
    """Return the items of a task by subset, with numbers and golds; predictions are NaN."""
    return {
        columns.subset: ItemScores(
            item=numbers,
            prediction=np.full(len(numbers), np.nan, np.float32),
            gold=np.asarray(columns.gold, np.float32),
        )
        for columns, numbers in zip(subsets, number_items(ref.measure, subsets), strict=True)
    }


def _evaluate(
    table: SentenceTable, ref: TaskRef, task: AbsTask, subsets: list[Columns], too_large: set[str]
) -> tuple[dict[str, SubsetScores], dict[str, ItemScores]]:
    """Evaluate a task with MTEB; return scores and items by subset."""
    items = _unpredicted(ref, subsets)
    lost = {it.subset: _lost_rows(ref.measure, it, too_large) for it in subsets} if too_large else {}
    golds = {it.subset: it.gold for it in subsets}
    with_lists(task, ref, subsets)
    scores: dict[str, SubsetScores] = {}
    for start in range(0, len(ref.subsets), SUBSETS):
        some = ref.subsets[start : start + SUBSETS]
        task.hf_subsets = list(some)  # a task with a column per language heeds nothing else
        with TemporaryDirectory(prefix="xlbench-") as folder, quiet_mteb(), kept_random_state():
            results = task.evaluate(
                table,
                ref.split,
                encode_kwargs={"batch_size": 4096, "show_progress_bar": False},
                prediction_folder=Path(folder),
            )
            content = json.loads(Path(folder, task.prediction_file_name).read_text("utf-8"))
        for subset in some:
            prediction = _predictions(content, ref, subset)
            if subset in lost:
                prediction = np.where(lost[subset], np.float32(np.nan), prediction)
            items[subset] = replace(items[subset], prediction=prediction)
            scores[subset] = _check_scores(ref, subset, results[subset], items[subset], golds[subset])
    return scores, items


def _check_scores(
    ref: TaskRef, subset: str, result: Mapping[str, object], items: ItemScores, golds: Sequence[float]
) -> SubsetScores:
    """Return MTEB's metrics of a subset, after checking that its items give the same main score."""
    metrics = {
        name: 100 * float(value)
        for name, value in result.items()
        if isinstance(value, (int, float))
        and not np.isnan(value)
        and name != "main_score"  # here the measure decides which one is the main score
    }
    recomputed = main_score(ref.measure, items.prediction, items.gold)
    if recomputed is None:
        reason = undefined_reason(ref.measure, items.prediction, items.gold)
        if np.isnan(items.prediction).any():
            metrics = {}  # of embeddings that were taken out
        elif len(set(items.gold.tolist())) == 1 < len(set(golds)):
            reason = f"{reason} once rounded to float32"
        return SubsetScores(items=len(items.item), main=None, metrics=metrics, undefined=reason)
    main = metrics.get(MAIN_METRIC[ref.measure])
    if main is None or not abs(main - recomputed) <= TOLERANCE:  # not a number fails as well
        if main is not None and (same := _rounded_alike(golds)):
            raise XlbenchError(
                f"Task {ref.task}, subset {subset}: golds {same[0]!r} and {same[1]!r} differ for MTEB and are equal in"
                f" float32, in which items are kept: {main:.4f} would be {recomputed:.4f}.",
                "Round the golds of this subset to six digits.",
            )
        given = "no number" if main is None else f"{main:.4f}"
        raise XlbenchError(
            f"MTEB scores {ref.task} {subset} with {given}, but its items give {recomputed:.4f}.",
            "The task computes its score in another way: leave it out of the suite.",
        )
    return SubsetScores(items=len(items.item), main=main, metrics=metrics)


def _rounded_alike(golds: Sequence[float]) -> tuple[float, float] | None:
    """Return the first two different golds that float32 cannot tell apart; None where there are none."""
    ordered = sorted({gold for gold in golds if not np.isnan(gold)})
    return next((two for two in pairwise(ordered) if np.float32(two[0]) == np.float32(two[1])), None)


def _predictions(content: Mapping[str, Mapping[str, object]], ref: TaskRef, subset: str) -> NDArray[np.float32]:
    """Return the predictions of one subset from MTEB's prediction file: float32 [n]."""
    # A task with a column per language stores all its subsets under one name.
    of_split = content["parallel" if "parallel" in content else subset][ref.split]
    assert isinstance(of_split, dict)
    if ref.measure == "sts":
        return np.asarray(of_split["cosine_scores"], np.float32)
    neighbours = of_split[subset] if subset in of_split else of_split["sentence1-sentence2"]
    return np.asarray([neighbour["corpus_id"] for neighbour in neighbours], np.float32)
