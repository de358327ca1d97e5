"""Local copies of datasets: what is read is what is there and what the record says, and what cannot be is named."""

from __future__ import annotations

import gzip
import json
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
from toy_scoring import SUITE, WordCounts, toy_encoder, toy_settings

from xlbench import XlbenchError
from xlbench.comparison.weighted import Counts, scorer
from xlbench.experiment import Suite, TaskRef
from xlbench.scoring.data import data_identity
from xlbench.scoring.harness import score
from xlbench.scoring.tasks import load_task, read_data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xlbench.scoring.harness import Scored
    from xlbench.scoring.tasks import Columns

STS17 = TaskRef(task="STS17", family="sts", subsets=("en-en", "en-de"))
CARD = """---
license: other
configs:
- config_name: default
  default: true
  data_files:
  - split: test
    path: {path}
- config_name: en-de
  data_files:
  - split: test
    path: test/en-de.jsonl.gz
---
Text.
"""
PLAIN = CARD.format(path="test/*.jsonl.gz")
Row = dict[str, object]


def rows(subset: str, *golds: float) -> list[Row]:
    return [
        {"sentence1": "a" + " b" * row, "sentence2": "a b", "score": gold, "lang": subset}
        for row, gold in enumerate(golds)
    ]


def write(folder: Path, subset: str, content: list[Row]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in content)
    (folder / "test" / f"{subset}.jsonl.gz").write_bytes(gzip.compress(text.encode()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small STS17 under a data root, in the layout of the hub and with a card."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = tmp_path / "root" / "datasets" / "mteb" / "sts17-crosslingual-sts"
    (found / "test").mkdir(parents=True)
    (found / "README.md").write_text(PLAIN, "utf-8")
    for subset in STS17.subsets:
        write(found, subset, rows(subset, 1, 2, 3))
    return found


def read(tmp_path: Path) -> list[Columns]:
    settings = toy_settings(tmp_path, tmp_path / "root")
    return read_data(load_task(STS17, settings), STS17, settings)


def scored(tmp_path: Path) -> Scored:
    suite = Suite(name="one", summary="", tasks=(STS17,))
    return score(toy_encoder(), suite, toy_settings(tmp_path, tmp_path / "root"), precision="float32", title="toy")


def test_a_file_that_was_edited_is_read_again(tmp_path: Path, folder: Path) -> None:
    assert list(read(tmp_path)[1].gold) == [1, 2, 3]
    write(folder, "en-de", rows("en-de", 3, 2, 1))
    assert list(read(tmp_path)[1].gold) == [3, 2, 1]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("card", "plain"),
    [
        ("Text alone.", True),
        (PLAIN, True),
        (PLAIN.replace("license: other", "license: mit"), True),
        (CARD.format(path="test.jsonl.gz"), True),
        (CARD.format(path="data/test-*"), True),
        (CARD.format(path="train/*.jsonl.gz"), False),  # another split
        (CARD.format(path="test/en-*.jsonl.gz"), False),  # some of the subsets
        (PLAIN.replace("path: test/en-de", "path: test/en-en"), False),  # another subset
        (PLAIN.replace("- config_name: en-de", "- config_name: en-de\n  sep: ;"), False),
        (PLAIN.replace("configs:", "dataset_info:\n  features:\n  - name: score\n    dtype: int64\nconfigs:"), False),
        (PLAIN.replace("configs:", "configs: ["), False),  # no YAML
        (CARD.format(path="test/*.jsonl.gz\n  - split: test\n    path: test/*.jsonl.gz"), False),  # a split twice
        (PLAIN.replace("- config_name: en-de", "- config_name: en-de\n  default: true"), False),  # another default
    ],
)
def test_a_card_that_decides_what_is_read_is_part_of_the_identity(
    tmp_path: Path, folder: Path, card: str, *, plain: bool
) -> None:
    settings = toy_settings(tmp_path, tmp_path / "root")
    (folder / "README.md").unlink()
    before = data_identity(STS17, settings)
    (folder / "README.md").write_text(card, "utf-8")
    after = data_identity(STS17, settings)
    assert after.startswith(before)
    assert (after == before) is plain


def test_a_file_of_settings_beside_the_card_is_part_of_the_identity(tmp_path: Path, folder: Path) -> None:
    settings = toy_settings(tmp_path, tmp_path / "root")
    before = data_identity(STS17, settings)
    (folder / ".huggingface.yaml").write_text("configs: []\n", "utf-8")
    first = data_identity(STS17, settings)
    (folder / ".huggingface.yaml").write_text("configs: [1]\n", "utf-8")
    assert len({before, first, data_identity(STS17, settings)}) == 3


def test_a_second_file_of_a_subset_is_found_unpacked_too(tmp_path: Path, folder: Path) -> None:
    (folder / "test" / "old.jsonl").write_text(json.dumps(rows("en-de", 1)[0]) + "\n", "utf-8")
    with pytest.raises(XlbenchError, match=r"old\.jsonl' has rows of subset en-de, which 'en-de\.jsonl\.gz'"):
        read(tmp_path)


def test_of_golds_that_are_text_the_one_that_is_no_number_is_named(tmp_path: Path, folder: Path) -> None:
    for subset, golds in (("en-en", ("1", "2", "3")), ("en-de", ("1", "x", "3"))):
        content = [{**row, "score": gold} for row, gold in zip(rows(subset, 1, 2, 3), golds, strict=True)]
        write(folder, subset, content)
    with pytest.raises(XlbenchError, match="subset en-de: row 2: 'score' is 'x' and not a number"):
        read(tmp_path)


def test_rows_of_no_subset_are_counted(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "en-de", [*rows("en-de", 1, 2, 3), *rows("en-xx", 4, 5)])
    settings = toy_settings(tmp_path, tmp_path / "root").model_copy(update={"quiet": False})
    assert len(read_data(load_task(STS17, settings), STS17, settings)[1].gold) == 3
    told = capsys.readouterr().err
    assert "2 of 8 rows of split test of task STS17 belong to none of its subsets" in told
    assert "'lang' is 'en-xx'." in told


def without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        # Files are read in the order of their names, so rows of en-de come first.
        ({"en-de": [*rows("en-de", 1, 2), rows("en-de", 3)[0] | {"lang": None}]}, "row 3: 'lang' is None and names"),
        ({"en-de-old": rows("en-de", 1, 2)}, "en-de-old.jsonl.gz' has rows of subset en-de, which 'en-de.jsonl.gz'"),
        ({"en-de": [without(rows("en-de", 1)[0], "lang")]}, "en-de.jsonl.gz', row 1: no column 'lang', which MTEB exp"),
        (
            {name: [without(rows(name, 1)[0], "lang")] for name in STS17.subsets},
            "split test: no column 'lang', which MTEB expects; there are sentence1, sentence2, score",
        ),
        ({"en-de": rows("en-de", 1, 1e300)}, "subset en-de: row 2: 'score' is 1e+300, which float32 cannot hold"),
    ],
)
def test_rows_that_would_be_lost_or_doubled_are_refused(
    tmp_path: Path, folder: Path, changed: dict[str, list[Row]], problem: str
) -> None:
    for subset, content in changed.items():
        write(folder, subset, content)
    with pytest.raises(XlbenchError) as caught:
        read(tmp_path)
    assert problem in caught.value.problem
    assert "task STS17" in caught.value.problem


@pytest.mark.parametrize(
    "damage", [lambda text: text.replace(b"a b", b"a \xfc"), lambda text: text.decode().encode("utf-16")]
)
def test_text_that_is_not_utf8_is_named_with_its_file_alone(
    tmp_path: Path, folder: Path, capfd: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    path = folder / "test" / "en-de.jsonl.gz"
    path.write_bytes(gzip.compress(damage(gzip.decompress(path.read_bytes()))))
    with pytest.raises(
        XlbenchError, match=r"task STS17 .*cannot be read: subset en-de, '.*en-de\.jsonl\.gz', row \d: .*ut"
    ):
        read(tmp_path)
    assert capfd.readouterr().err == ""


def test_a_subset_of_one_row_is_undefined(tmp_path: Path, folder: Path) -> None:
    write(folder, "en-de", rows("en-de", 1))
    found = scored(tmp_path)
    assert found.scores.tasks["STS17"].undefined() == {"en-de": "it has a single row"}
    assert found.items["STS17", "en-de"].prediction == pytest.approx(2**-0.5)  # of (1, 0) and (1, 1)


def test_golds_that_only_float32_takes_for_equal_are_said_to_be_rounded(tmp_path: Path, folder: Path) -> None:
    write(folder, "en-de", rows("en-de", 1, 1 + 1e-9, 1))
    undefined = "all 3 golds are equal once rounded to float32"
    assert scored(tmp_path).scores.tasks["STS17"].undefined() == {"en-de": undefined}
    write(folder, "en-de", rows("en-de", 2, 2, 2))
    assert scored(tmp_path).scores.tasks["STS17"].undefined() == {"en-de": "all 3 golds are equal"}
    write(folder, "en-de", rows("en-de", 3, 1, 1 + 1e-9))
    same = r"STS17, subset en-de: golds 1\.0 and 1\.000000001 differ for MTEB and are equal in float32, .*: .*100.0000 "
    with pytest.raises(XlbenchError, match=same):
        scored(tmp_path)


def test_embeddings_whose_cosines_overflow_leave_both_families_undefined(tmp_path: Path) -> None:
    # Sentences with an a are 1e30 long: finite in float32, their squares are not.
    encoder = toy_encoder(WordCounts(lambda vectors: vectors * (1 + 1e30 * (vectors[:, :1] > 0))))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = score(encoder, SUITE, toy_settings(tmp_path), precision="float32", title="toy")
    tasks = found.scores.tasks
    assert tasks["ToySTS"].undefined() == dict.fromkeys(
        ("zz", "xx", "yy"), "the cosine of row 1 (and 3 more) is not a number"
    )
    assert tasks["ToySTS"].subsets["zz"].metrics == {}  # MTEB's are of the embeddings without those
    large = "row 1 (and 1 more) has no nearest neighbour: embeddings are too large"
    # Of yy-en (d d, d), (b b, b) no sentence has an a; of xx-en the candidate 'a' does, which all rows are compared
    # with.
    assert tasks["ToyBitext"].undefined() == {"xx-en": large.replace("1 more", "2 more")}
    assert tasks["ToyBitext"].subsets["yy-en"].main == 100
    assert set(tasks["ToyParallel"].undefined().values()) == {large}
    assert np.isnan(found.items["ToyBitext", "xx-en"].prediction).all()


def test_a_score_that_is_not_a_number_does_not_agree_with_its_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xlbench.scoring.harness.main_score", lambda *_: float("nan"))
    with pytest.raises(XlbenchError, match=r"MTEB scores ToySTS zz with 100\.0000, but its items give nan"):
        score(toy_encoder(), SUITE, toy_settings(tmp_path), precision="float32", title="toy")


def test_a_bitext_subset_without_neighbours_has_no_interval() -> None:
    gold, lost = np.arange(3, dtype=np.float32), np.array([0, np.nan, 2], np.float32)
    points = scorer("bitext", gold, [gold, lost])(Counts(np.ones((1, 3), np.int32)))
    np.testing.assert_array_equal(points, [[100], [np.nan]])
