"""The paper's suite on the real data, offline, through MTEB's own classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from toy_scoring import toy_settings
from xlbench_plugins.builtin import PAPER

from xlbench.scoring.items import number_items
from xlbench.scoring.tasks import Columns, load_task, read_data

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.data

ROWS = {"STS17": 250, "STSBenchmarkMultilingualSTS": 1379, "Tatoeba": 1000, "NTREXBitextMining": 1997}
REFS = {ref.task: ref for ref in PAPER.tasks}


def loaded(name: str, tmp_path: Path, data_root: Path) -> list[Columns]:
    settings = toy_settings(tmp_path, data_root)
    return read_data(load_task(REFS[name], settings), REFS[name], settings)


@pytest.mark.parametrize("name", ROWS)
def test_subsets_have_the_published_sizes(name: str, tmp_path: Path, data_root: Path) -> None:
    columns = loaded(name, tmp_path, data_root)
    assert [it.subset for it in columns] == list(REFS[name].subsets)
    for it in columns:
        assert len(it.first) == len(it.second) == len(it.gold) == ROWS[name]
        assert all(it.first)
        assert all(it.second)


def test_five_pairs_of_sts17_translate_the_same_items(tmp_path: Path, data_root: Path) -> None:
    columns = loaded("STS17", tmp_path, data_root)
    numbers = dict(zip(REFS["STS17"].subsets, map(tuple, number_items("sts", columns)), strict=True))
    assert len({numbers[pair] for pair in ("en-en", "en-de", "fr-en", "it-en", "nl-en")}) == 1
    # The ten subsets have six different sets of 250 items.
    assert len({number for pair in numbers.values() for number in pair}) == 6 * 250


def test_both_directions_of_ntrex_are_the_same_items(tmp_path: Path, data_root: Path) -> None:
    columns = loaded("NTREXBitextMining", tmp_path, data_root)
    numbers = number_items("bitext", columns)
    assert len({tuple(it) for it in numbers}) == 1
    assert len(set(numbers[0].tolist())) > 1980  # a few of the 1,997 English sentences occur twice
