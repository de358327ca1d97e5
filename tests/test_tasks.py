"""The tasks of a suite and their data: how they are found, read and identified."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from toy_scoring import BITEXT, PARALLEL, STS, SUITE, ToySTS, toy_settings
from xlbench_plugins.builtin import PAPER, STARTER

from xlbench import XlbenchError
from xlbench.corpora.starter import starter_items
from xlbench.experiment import Suite, TaskRef
from xlbench.scoring.data import DeclaredData, data_identity, read_declaration
from xlbench.scoring.tasks import evaluation_digest, evaluation_texts, load_task, read_data

if TYPE_CHECKING:
    from pathlib import Path

STS17 = TaskRef(task="STS17", family="sts", subsets=("en-en", "en-de"))
STS17_DATA = "mteb/sts17-crosslingual-sts"


@pytest.fixture
def local_sts17(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data root with a small STS17 in the layout of the hub."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "root" / "datasets" / STS17_DATA / "test"
    folder.mkdir(parents=True)
    for subset in STS17.subsets:
        rows = [
            {"sentence1": f"{subset} {row}", "sentence2": "same", "score": float(row), "lang": subset}
            for row in range(3)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{subset}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path / "root"


def test_the_local_copy_is_read_and_the_task_class_unchanged(tmp_path: Path, local_sts17: Path) -> None:
    import mteb

    settings = toy_settings(tmp_path, local_sts17)
    task = load_task(STS17, settings)
    columns = read_data(task, STS17, settings)
    assert [it.subset for it in columns] == ["en-en", "en-de"]
    assert list(columns[1].first) == ["en-de 0", "en-de 1", "en-de 2"]
    assert list(columns[1].gold) == [0.0, 1.0, 2.0]
    assert mteb.get_task("STS17").metadata.dataset["path"] == STS17_DATA
    suite = Suite(name="one", summary="", tasks=(STS17,))
    assert sorted(set(evaluation_texts((suite,), settings))) == [
        "en-de 0",
        "en-de 1",
        "en-de 2",
        "en-en 0",
        "en-en 1",
        "en-en 2",
        "same",
    ]


def test_a_local_copy_without_a_subset_is_refused(tmp_path: Path, local_sts17: Path) -> None:
    ref = STS17.model_copy(update={"subsets": ("en-en", "nl-en")})
    settings = toy_settings(tmp_path, local_sts17)
    with pytest.raises(XlbenchError, match=r"task STS17 .*subset nl-en: there is no subset 'nl-en'"):
        read_data(load_task(ref, settings), ref, settings)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"score": None}, "subset en-de: row 2: 'score' is None and not a number"),
        # One text makes text of all golds that are read with it, those of en-en too.
        ({"score": "five"}, "subset en-de: row 2: 'score' is 'five' and not a number"),
        ({"sentence1": None}, "subset en-de: row 2: 'sentence1' is None and not text"),
        ({"score": [1.0]}, r"subset en-de.* row 2: 'score' is \[1.0\] and not a number"),
    ],
)
def test_a_malformed_row_is_named_with_its_task_and_subset(
    tmp_path: Path, local_sts17: Path, row: dict[str, object], problem: str
) -> None:
    path = local_sts17 / "datasets" / STS17_DATA / "test" / "en-de.jsonl.gz"
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    lines[1] |= row
    path.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    settings = toy_settings(tmp_path, local_sts17)
    with pytest.raises(XlbenchError, match=rf"task STS17 .*{problem}"):
        read_data(load_task(STS17, settings), STS17, settings)


def test_other_columns_and_another_split_are_named(tmp_path: Path, local_sts17: Path) -> None:
    folder = local_sts17 / "datasets" / STS17_DATA
    settings = toy_settings(tmp_path, local_sts17)
    path = folder / "test" / "en-de.jsonl.gz"
    whole = path.read_bytes()
    path.write_bytes(gzip.compress(b'{"s1": "a", "s2": "b", "score": 1.0, "lang": "en-de"}\n'))
    with pytest.raises(XlbenchError, match=r"subset en-de, .*row 1: no column 'sentence1'.* there are s1, s2, score"):
        read_data(load_task(STS17, settings), STS17, settings)
    path.write_bytes(whole)
    (folder / "test").rename(folder / "train")
    with pytest.raises(XlbenchError, match=r"subset en-en: there is no split 'test'.*; there are train"):
        read_data(load_task(STS17, settings), STS17, settings)


class EmptySTS(ToySTS):
    """The subset 'yy' has no rows."""

    metadata = ToySTS.metadata.model_copy(update={"name": "EmptySTS"})

    def load_data(self, **options: object) -> None:
        super().load_data(**options)
        assert isinstance(self.dataset, dict)
        self.dataset["yy"]["test"] = self.dataset["yy"]["test"].select([])


def test_an_empty_subset_of_an_own_suite_is_named(tmp_path: Path) -> None:
    ref = STS.model_copy(update={"task": "EmptySTS", "loader": "test_tasks:EmptySTS"})
    with pytest.raises(XlbenchError, match=r"task EmptySTS .*, subset yy: split test: no rows"):
        read_data(load_task(ref, toy_settings(tmp_path)), ref, toy_settings(tmp_path))


def test_a_damaged_local_copy_is_refused(tmp_path: Path, local_sts17: Path) -> None:
    damaged = local_sts17 / "datasets" / STS17_DATA / "test" / "en-de.jsonl.gz"
    damaged.write_bytes(damaged.read_bytes()[:30])
    settings = toy_settings(tmp_path, local_sts17)
    with pytest.raises(XlbenchError, match=r"task STS17 .* cannot be read"):
        read_data(load_task(STS17, settings), STS17, settings)


def test_offline_without_a_copy_names_the_path_and_the_command(tmp_path: Path) -> None:
    with pytest.raises(XlbenchError) as caught:
        load_task(STS17, toy_settings(tmp_path, tmp_path))
    expected = f"{tmp_path}/datasets/{STS17_DATA}"
    assert expected in caught.value.problem
    assert f"hf download --repo-type dataset {STS17_DATA} --local-dir {expected}" in caught.value.remedy


def test_without_a_data_root_the_hub_is_used_when_online(tmp_path: Path) -> None:
    online = toy_settings(tmp_path).model_copy(update={"offline": False})
    assert load_task(STS17, online).metadata.dataset["path"] == STS17_DATA


def test_offline_without_a_data_root_only_the_cache_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    settings = toy_settings(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    # The datasets library knows that it is offline, so its cache is tried; here it is empty.
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(XlbenchError, match=r"--local-dir DATA_ROOT/datasets/mteb/sts17.*--data-root DATA_ROOT"):
        read_data(load_task(STS17, settings), STS17, settings)
    # Only xlbench knows, so the library must not be asked.
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    with pytest.raises(XlbenchError, match="--data-root DATA_ROOT"):
        load_task(STS17, settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "STS71"}, "has no task 'STS71'.\nDid you mean .*STS17"),
        ({"subsets": ("en-dd",)}, "Unknown subset of STS17 'en-dd'.\nDid you mean .*en-de"),
        ({"split": "tests"}, "Unknown split of STS17 'tests'.\nDid you mean test?"),
        ({"family": "bitext"}, "STS17 is of MTEB's type STS, not of the family 'bitext'"),
        ({"loader": "nowhere:Task"}, "cannot be loaded from 'nowhere:Task'"),
        ({"loader": "toy_scoring:Nothing"}, "cannot be loaded from 'toy_scoring:Nothing'"),
        ({"loader": "toy_scoring:WordCounts"}, "does not give an MTEB task but WordCounts"),
    ],
)
def test_unknown_names_are_refused_with_a_remedy(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(XlbenchError, match=message):
        load_task(STS17.model_copy(update=change), toy_settings(tmp_path))


def test_declarations_read_from_the_code_are_those_of_the_classes() -> None:
    assert read_declaration(STS17) == DeclaredData(STS17_DATA, "faeb762787bd10488a50c8b5be4a3b82e411949c")
    for ref in PAPER.tasks:
        import mteb

        dataset = mteb.get_task(ref.task).metadata.dataset
        assert read_declaration(ref) == DeclaredData(dataset["path"], dataset["revision"])


def test_digest_and_records_need_neither_torch_nor_mteb(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from xlbench.scoring import footprint, items, scores, speed\n"
        "from xlbench.scoring.tasks import evaluation_digest\n"
        "from xlbench.settings import Settings\n"
        "from xlbench_plugins.builtin import PAPER, STARTER\n"
        f"settings = Settings(home=Path({str(tmp_path)!r}))\n"
        "print(evaluation_digest((PAPER,), settings), evaluation_digest((STARTER,), settings))\n"
        "heavy = {'torch', 'mteb', 'datasets', 'transformers', 'sentence_transformers', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    digests, heavy = out.splitlines()
    assert heavy == "[]"
    settings = toy_settings(tmp_path)
    assert digests.split() == [evaluation_digest((PAPER,), settings), evaluation_digest((STARTER,), settings)]


def test_the_digest_depends_on_tasks_and_data_only(tmp_path: Path, local_sts17: Path) -> None:
    settings = toy_settings(tmp_path, local_sts17)
    suite = Suite(name="one", summary="", tasks=(STS17, STS))
    digest = evaluation_digest((suite,), settings)
    same = Suite(name="renamed", summary="", tasks=(STS, STS17), example=True)
    assert evaluation_digest((same,), settings) == digest
    fewer = STS17.model_copy(update={"subsets": ("en-en",)})
    others = [
        evaluation_digest((Suite(name="one", summary="", tasks=(fewer, STS)),), settings),
        evaluation_digest((suite,), toy_settings(tmp_path)),  # the hub's copy
    ]
    folder = local_sts17 / "datasets" / STS17_DATA
    (folder / "README.md").write_text("a description")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("")
    assert evaluation_digest((suite,), settings) == digest
    (folder / "test" / "en-en.jsonl.gz").write_bytes(gzip.compress(b"{}"))
    others.append(evaluation_digest((suite,), settings))
    assert len({digest, *others}) == 4


def test_a_task_in_two_suites_counts_once(tmp_path: Path) -> None:
    settings = toy_settings(tmp_path)
    part = SUITE.model_copy(update={"name": "part", "tasks": SUITE.tasks[:1]})
    assert evaluation_digest((part, SUITE), settings) == evaluation_digest((SUITE,), settings)
    assert evaluation_digest((part,), settings) != evaluation_digest((SUITE,), settings)
    assert list(evaluation_texts((part, SUITE), settings)) == list(evaluation_texts((SUITE,), settings))


def test_the_data_of_a_task_is_identified(tmp_path: Path, local_sts17: Path) -> None:
    assert data_identity(STS17, toy_settings(tmp_path)) == (
        "mteb/sts17-crosslingual-sts@faeb762787bd10488a50c8b5be4a3b82e411949c"
    )
    assert data_identity(STS17, toy_settings(tmp_path, local_sts17)).startswith("sha256:")
    shipped = [data_identity(ref, toy_settings(tmp_path)) for ref in STARTER.tasks]
    assert all(name.startswith("sha256:") for name in shipped)
    assert len(set(shipped)) == 2
    with pytest.raises(XlbenchError, match="no module 'nowhere'"):
        data_identity(STS17.model_copy(update={"loader": "nowhere:Task"}), toy_settings(tmp_path))


def test_evaluation_texts_have_both_sides(tmp_path: Path) -> None:
    texts = list(evaluation_texts((SUITE.model_copy(update={"tasks": (BITEXT, PARALLEL)}),), toy_settings(tmp_path)))
    # ToyBitext has 3 + 2 pairs and ToyParallel 2 + 2 + 2, together 22 sentences, of which nine are distinct.
    assert len(texts) == 22
    assert set(texts) == {"a", "b", "a b b b", "c", "d d", "d", "b b", "a a", "a b b"}


def test_starter_tasks_have_the_shipped_sentences(tmp_path: Path) -> None:
    settings = toy_settings(tmp_path)
    sts, bitext = (
        {it.subset: it for it in read_data(load_task(ref, settings), ref, settings)} for ref in STARTER.tasks
    )
    pairs, rows = starter_items("sts"), starter_items("bitext")
    assert list(sts["en-de"].first) == [pair.sentence1["en"] for pair in pairs]
    assert list(sts["en-de"].second) == [pair.sentence2["de"] for pair in pairs]
    assert list(sts["ar-ar"].first) == [pair.sentence1["ar"] for pair in pairs]
    assert list(sts["ar-ar"].gold) == [pair.score for pair in pairs]
    assert list(bitext["tr-en"].first) == [row.texts["tr"] for row in rows]
    assert list(bitext["tr-en"].second) == [row.texts["en"] for row in rows]
