"""Comparing two runs: copies share a rank, noise lowers it, and disagreements are shown with their texts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from toy_scoring import SUITE, WordCounts, toy_encoder, toy_settings

from xlbench import XlbenchError
from xlbench.cli.app import app
from xlbench.comparison.compute import compute_statistics
from xlbench.comparison.gaps import disagreements
from xlbench.comparison.rank import standings
from xlbench.comparison.statistics import Interval
from xlbench.plugins.registry import load_registry
from xlbench.records.record import ITEMS, KIND, Provenance, Record
from xlbench.records.stored import find_run, write_entry
from xlbench.runs.compare import Comparison, compare
from xlbench.scoring.footprint import Footprint
from xlbench.scoring.harness import score
from xlbench.scoring.item_files import write_items
from xlbench.scoring.items import ItemScores
from xlbench.scoring.machine import describe_machine

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from xlbench.settings import Settings

REGISTRY = replace(load_registry(), suites={"toy": SUITE})
PLUGIN = """
from toy_scoring import SUITE
from xlbench.api import hookimpl

@hookimpl
def xlbench_suites():
    return [SUITE]
"""
# Vectors of the words a, b, c, d: the changed encoders take c for something else.
BETTER = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [1, 3, 0, 0], [0, 0, 0, 1]])  # c is 'a b b b'
OTHER = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [5, 1, 0, 0], [0, 0, 0, 1]])  # c is much like a


class Kept(NamedTuple):
    """A store with three runs: 'plain' 1111…, 'better' 2222…, 'other' 3333…."""

    settings: Settings
    records: dict[str, Record]


def keep(settings: Settings, key: str, record: Record, items: dict[tuple[str, str], ItemScores]) -> None:
    def make(directory: Path) -> Record:
        write_items(directory / ITEMS, items)
        return record

    write_entry(key, settings, make)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    settings = toy_settings(tmp_path_factory.mktemp("compare"))
    records: dict[str, Record] = {}
    for digit, name, change in (("1", "plain", torch.eye(4)), ("2", "better", BETTER), ("3", "other", OTHER)):
        model = toy_encoder(WordCounts(lambda vectors, change=change: vectors @ change))  # type: ignore[misc]
        scored = score(model, SUITE, settings, precision="float32", title=name)
        records[name] = Record(
            name=name,
            role="encoder",
            encoder_key=name,
            experiment=None,
            scores=scored.scores,
            footprint=Footprint(parameters=0, dimension=4),
            provenance=Provenance(made="2026-01-01T00:00", xlbench="0", git=None, machine=describe_machine(settings)),
        )
        keep(settings, digit * 20, records[name], scored.items)
    return Kept(settings, records)


def changed(kept: Kept, name: str, settings: Settings, key: str, **scores: object) -> None:
    """Store a run a second time, in another store and with other facts."""
    from xlbench.records.stored import items_of

    record = kept.records[name]
    other = record.model_copy(update={"scores": record.scores.model_copy(update=scores)})
    keep(settings, key, other, items_of(find_run(name, kept.settings), kept.settings))


def run(kept: Kept, first: str, second: str, **options: int) -> Comparison:
    return compare(first, second, REGISTRY, kept.settings, **options)


def cosines(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / lengths, np.float32)


def test_two_copies_of_a_model_share_a_rank_and_one_with_noise_does_not() -> None:
    # A model of `size` sentence pairs, whose cosines s are golds plus noise, in `width` dimensions. Normal noise
    # of variance v / width in each coordinate of both unit vectors adds variance (2 v + v^2) / width to the
    # cosines, and divides all of them by about 1 + v, which ranks do not see. So the rank correlation rho with
    # the gold becomes about rho sqrt(var(s) / (var(s) + (2 v + v^2) / width)).
    size, width = 1600, 64
    generator = np.random.default_rng(0)
    gold = generator.uniform(-0.5, 0.5, size)
    wanted = gold + 0.2 * generator.standard_normal(size).clip(-2, 2)
    first = np.zeros((size, width))
    first[:, 0] = 1
    second = np.zeros((size, width))
    second[:, 0], second[:, 1] = wanted, np.sqrt(1 - wanted**2)
    # The standard error of a rank correlation is at most about 1 / sqrt(size - 1), of a difference of two at most
    # twice that. A drop of 1.96 of them is seen on the mean, of 6 practically always: from rho = 0.8 by 0.3.
    drop = 6 * 2 / math.sqrt(size - 1)
    rho = float(np.corrcoef(gold, wanted)[0, 1])
    ratio = 1 - drop / rho
    added = width * wanted.var() * (1 / ratio**2 - 1)  # = 2 v + v^2
    level = math.sqrt((math.sqrt(1 + added) - 1) / width)

    def noisy(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        return vectors + level * generator.standard_normal(vectors.shape)

    def items(cosine: NDArray[np.float32]) -> dict[tuple[str, str], ItemScores]:
        return {("S", "x"): ItemScores(np.arange(size, dtype=np.int32), cosine, gold.astype(np.float32))}

    exact = items(cosines(first, second))
    rows = {"model": [exact], "copy": [exact], "noisy": [items(cosines(noisy(first), noisy(second)))]}
    statistics = compute_statistics(rows, {"S": "sts"}, resamples=1000, quiet=True)
    found = standings(["model", "copy", "noisy"], "sts", statistics)
    assert found["model"] == found["copy"] == (1, "a")
    assert found["noisy"] == (3, "b")
    lost = statistics.difference("model", "noisy").tasks["S"]
    assert lost.value == pytest.approx(100 * drop, abs=5)  # the derivation holds


def test_gaps_and_the_items_that_cause_them(kept: Kept) -> None:
    found = run(kept, "plain", "better")
    # 'a b b b' takes 'b' for its translation 'c': classes have F1 1, 2/3 and 0. The better one makes no error.
    gap = found.gaps.subsets["ToyBitext"]["xx-en"]
    assert (gap.first, gap.second, gap.difference.value) == (55.5556, 100, -44.4444)
    assert gap.difference.low < gap.difference.value < gap.difference.high <= 0
    assert found.gaps.tasks["ToyBitext"].difference.value == -22.2222  # the other subset has no error
    assert found.gaps.families["bitext"].difference.value == -11.1111  # nor has the other task
    assert found.gaps.families["sts"].difference == Interval(value=0, low=0, high=0, error=0)
    (example,) = found.examples
    assert (example.task, example.subset, example.row) == ("ToyBitext", "xx-en", 2)
    assert (example.gold, example.first, example.second) == (2, 1, 2)
    assert (example.texts, example.taken) == (("a b b b", "c"), "b")
    assert found.notes == ()


def test_sts_disagreements_are_of_ranks_and_subsets_take_turns(kept: Kept) -> None:
    # Cosines with 'a' of 'a b' and 'a b c d': 0.71 and 0.5 plain, 0.71 and 0.94 when c is much like a. The golds
    # of xx and yy rank them 2 and 3, those of zz 3 and 2.
    found = run(kept, "plain", "other", examples=4)
    shown = [(it.subset, it.row, it.gold, it.first, it.second) for it in found.examples if it.task == "ToySTS"]
    assert shown == [("zz", 1, 3, 3, 2), ("xx", 1, 2, 3, 2), ("yy", 1, 2, 3, 2), ("zz", 2, 2, 2, 3)]
    assert found.gaps.subsets["ToySTS"]["xx"].difference.value == -20  # rho 0.8 against 1
    assert run(kept, "plain", "other", examples=0).examples == ()


def test_the_item_with_the_largest_difference_comes_first() -> None:
    gold = np.array([1, 2, 3, 4], np.float32)
    number = np.arange(4, dtype=np.int32)
    one = ItemScores(number, np.array([0.1, 0.2, 0.3, 0.4], np.float32), gold)
    two = ItemScores(number, np.array([0.4, 0.1, 0.2, 0.3], np.float32), gold)
    # The second ranks them 4, 1, 2, 3: off by 3, 1, 1, 1, of four ranks; the first is right.
    found = disagreements("sts", one, two)
    assert [(it.row, it.apart) for it in found] == [(0, 0.75), (1, 0.25), (2, 0.25), (3, 0.25)]
    assert found[0][1:4] == (1, 1, 4)


def test_runs_by_fingerprint_and_by_record(kept: Kept, tmp_path: Path) -> None:
    path = tmp_path / "row.json"
    path.write_text(kept.records["better"].model_dump_json(by_alias=True), "utf-8")
    found = compare("1111", str(path), REGISTRY, kept.settings, examples=0)
    assert (found.first.name, found.second.name) == ("plain", "better")
    assert found.second.fingerprint == "2" * 20
    stranger = kept.records["better"].model_copy(update={"name": "stranger"})
    path.write_text(stranger.model_dump_json(by_alias=True), "utf-8")
    with pytest.raises(XlbenchError, match=r"row\.json' is not in the store"):
        find_run(str(path), kept.settings)
    with pytest.raises(XlbenchError, match=r"is called 'plian'\.\nDid you mean plain\?"):
        find_run("plian", kept.settings)
    with pytest.raises(XlbenchError, match="is called '111'"):  # too short for a fingerprint
        find_run("111", kept.settings)


def test_a_name_of_two_runs_is_ambiguous(kept: Kept, tmp_path: Path) -> None:
    settings = toy_settings(tmp_path)
    changed(kept, "plain", settings, "a" * 20)
    changed(kept, "plain", settings, "b" * 20, suite="another")
    with pytest.raises(XlbenchError, match=r"2 runs .* called 'plain'\.\n.*aaaaaaaa .*bbbbbbbb"):
        find_run("plain", settings)
    with pytest.raises(XlbenchError, match="cannot be compared: suites 'toy' and 'another'"):
        compare("aaaa", "bbbb", REGISTRY, settings)


def test_missing_items_are_an_error(kept: Kept, tmp_path: Path) -> None:
    settings = toy_settings(tmp_path)
    changed(kept, "plain", settings, "a" * 20)
    (settings.home / KIND / ("a" * 20) / ITEMS).unlink()
    with pytest.raises(XlbenchError, match=r"is damaged \(items\.parquet is missing\)"):
        compare("plain", "plain", REGISTRY, settings)


def test_without_sentences_items_are_shown_by_number(kept: Kept, tmp_path: Path) -> None:
    none = compare("plain", "better", load_registry(), kept.settings)
    assert none.notes == ("The sentences of ToyBitext are not shown: no plugin provides suite 'toy'.",)
    assert [(it.row, it.texts, it.taken) for it in none.examples] == [(2, None, None)]
    settings = toy_settings(tmp_path)
    for name, key in (("plain", "a" * 20), ("better", "b" * 20)):
        tasks = kept.records[name].scores.tasks
        data = {task: it.model_copy(update={"data": "another"}) for task, it in tasks.items()}
        changed(kept, name, settings, key, tasks=data, collapsed=name == "better")
    other = compare("plain", "better", REGISTRY, settings)
    assert other.notes == (
        "All sentences look alike to B: its scores mean nothing.",
        "The sentences of ToyBitext are not shown: its data is not what the runs were scored on.",
    )
    assert other.examples[0].texts is None


def test_the_command_prints_a_table_and_the_sentences(kept: Kept, tmp_path: Path) -> None:
    plugin = tmp_path / "brings_toy.py"
    plugin.write_text(PLUGIN, "utf-8")
    words = ["--home", str(kept.settings.home), "--offline", "--quiet", "--plugin", str(plugin), "compare"]
    done = CliRunner().invoke(app, [*words, "plain", "better"], catch_exceptions=False)
    lines = done.output.splitlines()
    assert lines[0] == "A: plain (encoder, suite toy, 2026-01-01 00:00; 11111111)"
    (row,) = (line for line in lines if "ToyBitext" in line and "xx-en" in line)
    assert [cell.strip() for cell in row.split("|")[1:6]] == ["ToyBitext", "xx-en", "55.56", "100.00", "-44.44"]
    at = lines.index("  xx-en, item 2: B finds the translation, A takes item 1")
    assert [line.strip() for line in lines[at + 1 : at + 4]] == ["a b b b", "c", "taken: b"]
    done = CliRunner().invoke(app, [*words, "plain", "other", "--examples", "1"], catch_exceptions=False)
    assert "  zz, item 1: rank 3 of 4 by people, 3 by A, 2 by B" in done.output.splitlines()
    done = CliRunner().invoke(app, [*words, "plain", "better", "--json"], catch_exceptions=False)
    assert json.loads(done.output)["gaps"]["families"]["bitext"]["difference"]["value"] == -11.1111
