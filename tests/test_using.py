"""Encoders put to use: what is read, encoded, found, mined, written and refused, by both doors."""

from __future__ import annotations

import bz2
import errno
import gzip
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet

import xlbench
from xlbench import XlbenchError
from xlbench.cli.app import app
from xlbench.encoders.encode import encode
from xlbench.retrieval import index, neighbours, rows, sentences, vectors
from xlbench.students.load import load_student
from xlbench.testing.toys import save_toy_encoder, toy_pairs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

PAIRS = toy_pairs(30)
ENGLISH = [english for english, _ in PAIRS]
GERMAN = [other for _, other in PAIRS]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_encoder(tmp_path_factory.mktemp("toy") / "encoder")


@pytest.fixture
def given(toy: Path, tmp_path: Path) -> dict[str, Any]:
    """What all calls are given: the toy encoder, in float32, and a store of the test's own."""
    return {"model": toy, "precision": "float32", "home": tmp_path / "home", "device": "cpu", "quiet": True}


@pytest.fixture
def expected(toy: Path) -> NDArray[np.floating]:
    return encode(load_student(toy), ENGLISH)


def command(given: dict[str, Any], *words: str | Path) -> str:
    """Run a command with what all calls are given, and return its standard output."""
    before = ["-q", "--home", str(given["home"]), "--device", "cpu", str(words[0]), "--model", str(given["model"])]
    if words[0] != "mine":
        before += ["--precision", "float32"]
    done = CliRunner().invoke(app, [*before, *map(str, words[1:])], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def write_text(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def write_packed(path: Path, lines: list[str]) -> None:
    packed = {".gz": gzip, ".bz2": bz2}[path.suffix]
    path.write_bytes(packed.compress("\r\n".join(lines).encode()))


def write_table(path: Path, lines: list[str]) -> None:
    number = pa.array(range(len(lines)), pa.int32())
    parquet.write_table(pa.table({"number": number, "text": lines, "other": lines[::-1]}), path)


FILES: dict[str, tuple[Callable[[Path, list[str]], None], str | int | None]] = {
    "a.txt": (write_text, None),
    "a.txt.gz": (write_packed, None),
    "a.txt.bz2": (write_packed, None),
    "bom.txt": (lambda path, lines: write_text(path, ["\ufeff" + lines[0], *lines[1:]]), None),
    "a.tsv": (lambda path, lines: write_text(path, [f"{n}\t{line}\tx" for n, line in enumerate(lines)]), 2),
    "named.tsv": (lambda path, lines: write_text(path, ["n\ttext", *(f"1\t{line}" for line in lines)]), "text"),
    "one.tsv": (write_text, None),
    "a.parquet": (write_table, "text"),
    "numbered.parquet": (write_table, 2),
    "only.parquet": (lambda path, lines: parquet.write_table(pa.table({"n": [1] * 30, "x": lines}), path), None),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_any_format_gives_the_vectors_of_its_sentences(
    name: str, given: dict[str, Any], expected: NDArray[np.floating], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sentences, vectors):  # so that 30 sentences are several blocks
        monkeypatch.setattr(module, "BATCH" if module is sentences else "BLOCK", 7)
    write, column = FILES[name]
    write(tmp_path / name, ENGLISH)
    found = xlbench.encode(tmp_path / name, tmp_path / "out.npy", column=column, **given)
    assert isinstance(found, np.memmap)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-6)
    np.testing.assert_array_equal(found, np.load(tmp_path / "out.npy"))


def test_a_list_is_encoded_in_memory(given: dict[str, Any], expected: NDArray[np.floating]) -> None:
    np.testing.assert_allclose(xlbench.encode(ENGLISH, **given), expected, atol=1e-6)


def test_vectors_in_parquet_stand_beside_their_sentences(
    given: dict[str, Any], expected: NDArray[np.floating], tmp_path: Path
) -> None:
    write_text(tmp_path / "a.txt", ENGLISH)
    out = tmp_path / "new" / "out.parquet"
    said = command(given, "encode", tmp_path / "a.txt", out)
    assert said == f"{out}: 30 vectors of 16 numbers, 0.0 MB in float32\n"
    table = parquet.read_table(out)
    assert table.column("sentence").to_pylist() == ENGLISH
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 16)
    np.testing.assert_allclose(np.stack(table.column("vector").to_pylist()), expected, atol=1e-6)
    assert [it.name for it in out.parent.iterdir()] == ["out.parquet"]


def test_a_search_finds_the_nearest_sentences_and_both_doors_say_the_same(
    given: dict[str, Any], expected: NDArray[np.floating], tmp_path: Path
) -> None:
    write_text(tmp_path / "corpus.txt", ENGLISH)
    asked = [ENGLISH[3], ENGLISH[17]]
    found = xlbench.search(tmp_path / "corpus.txt", asked, top=4, **given)
    frame = found.to_dataframe()
    assert list(frame) == ["query", "rank", "cosine", "line", "sentence"]
    best = np.argsort(-(expected[[3, 17]] @ expected.T), axis=1)[:, :4]
    assert frame.line.tolist() == (best + 1).reshape(-1).tolist()
    assert frame.sentence.tolist() == [ENGLISH[number] for number in best.reshape(-1)]
    assert frame["query"].tolist() == [asked[0]] * 4 + [asked[1]] * 4
    np.testing.assert_allclose(frame.cosine[[0, 4]], 1, atol=1e-6)  # each finds itself
    assert (len(found), str(found)) == (8, "30 sentences searched; all compared with all")

    words = ["search", tmp_path / "corpus.txt", *asked, "--top", 4]
    printed = json.loads(command(given, *words, "--json"))
    assert printed == json.loads(frame.round(6).to_json(orient="records"))
    lines = command(given, *words, "--tsv").splitlines()
    assert lines[0] == "query\trank\tcosine\tline\tsentence"
    assert lines[1] == f"{asked[0]}\t1\t1.000000\t4\t{ENGLISH[3]}"
    shown = command(given, *words)
    assert f" 1.000  line 4  {ENGLISH[3]}\n" in shown
    assert shown.endswith("all compared with all\n")
    # The same queries from a file, and the corpus's vectors from an earlier call.
    write_text(tmp_path / "queries.tsv", [f"{query}\t1" for query in asked])
    xlbench.encode(tmp_path / "corpus.txt", tmp_path / "corpus.npy", **given)
    again = xlbench.search(
        tmp_path / "corpus.txt", queries_from=tmp_path / "queries.tsv", column_queries=1, top=4,
        vectors=tmp_path / "corpus.npy", **given,
    )  # fmt: skip
    pd.testing.assert_frame_equal(again.to_dataframe(), frame)


def angles(*degrees: float) -> NDArray[np.float32]:
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


@pytest.fixture
def sides(tmp_path: Path) -> dict[str, Path]:
    """Two files whose sentences have known vectors; line 3 of the first is its line 1 again."""
    write_text(tmp_path / "a.txt", ["one", "two", "one", "three"])
    write_text(tmp_path / "b.txt", ["drei", "eins", "zwei"])
    np.save(tmp_path / "a.npy", angles(0, 40, 0, 80))
    np.save(tmp_path / "b.npy", angles(81, 2, 43))
    return {"a": tmp_path / "a.txt", "b": tmp_path / "b.txt"} | {
        f"vectors_{side}": tmp_path / f"{side}.npy" for side in "ab"
    }


def test_mining_pairs_lines_by_margin_and_takes_equal_sentences_once(
    sides: dict[str, Path], given: dict[str, Any], tmp_path: Path
) -> None:
    found = xlbench.mine(**sides, neighbours=2, **given)
    frame = found.to_dataframe()
    assert list(frame) == ["margin", "cosine", "line_a", "line_b", "sentence_a", "sentence_b"]
    pairs = list(zip(frame.sentence_a, frame.sentence_b, frame.line_a, frame.line_b, strict=True))
    assert sorted(pairs) == [("one", "eins", 1, 2), ("three", "drei", 4, 1), ("two", "zwei", 2, 3)]
    # one (0 degrees): neighbours eins (2), zwei (43); eins: one, two (38 away); their cosine is that of 2 degrees.
    cosine = np.cos(np.radians([2, 43, 38]))
    margin = cosine[0] / ((cosine[0] + cosine[1]) / 4 + (cosine[0] + cosine[2]) / 4)
    line = frame[frame.sentence_a == "one"].iloc[0]
    assert line.margin == pytest.approx(margin, rel=1e-5)
    assert line.cosine == pytest.approx(cosine[0], rel=1e-5)
    assert frame.margin.is_monotonic_decreasing
    np.testing.assert_array_equal(found.lines, frame[["line_a", "line_b"]])
    np.testing.assert_allclose(found.margins, frame.margin)
    assert (len(found), found.exact, found.recall, str(found)) == (
        3,
        True,
        None,
        "3 pairs of 3 and 3 sentences; all compared with all",
    )

    options = [word for side in "ab" for word in (f"--vectors-{side}", sides[f"vectors_{side}"])]
    words = ["mine", sides["a"], sides["b"], "--neighbours", 2, *options]
    assert json.loads(command(given, *words, "--json")) == json.loads(frame.round(6).to_json(orient="records"))
    assert f"margin {frame.margin[0]:.3f}, cosine {frame.cosine[0]:.3f}\n" in command(given, *words)
    for ending in rows.FORMATS:
        path = tmp_path / f"out{ending}"
        assert command(given, *words, "--output", path) == f"{path}: {found}\n"
    read = {
        ".tsv": pd.read_csv(tmp_path / "out.tsv", sep="\t"),
        ".json": pd.read_json(tmp_path / "out.json"),
        ".parquet": pd.read_parquet(tmp_path / "out.parquet"),
    }
    for each in read.values():
        pd.testing.assert_frame_equal(each, frame, check_dtype=False, atol=1e-6)


def test_retrieval_and_threshold_choose_pairs(sides: dict[str, Path], given: dict[str, Any]) -> None:
    assert len(xlbench.mine(**sides, threshold=20, **given)) == 0
    assert len(xlbench.mine(**sides, retrieval="forward", threshold=0, **given)) == 3
    empty = xlbench.mine(**sides, threshold=20, **given)
    assert list(empty.to_dataframe()) == ["margin", "cosine", "line_a", "line_b", "sentence_a", "sentence_b"]


def test_many_sentences_go_through_an_index_whose_recall_is_printed(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbours, "EXACT_ON_CPU", 1000)
    generator = np.random.default_rng(0)
    meaning = generator.standard_normal((400, 16)).astype(np.float32)
    order = generator.permutation(400)
    for side, chosen in (("a", meaning), ("b", meaning[order])):
        write_text(tmp_path / f"{side}.txt", [f"{side} {number}" for number in range(400)])
        np.save(tmp_path / f"{side}.npy", chosen + 0.1 * generator.standard_normal(chosen.shape).astype(np.float32))
    files = {f"vectors_{side}": tmp_path / f"{side}.npy" for side in "ab"}
    found = xlbench.mine(tmp_path / "a.txt", tmp_path / "b.txt", **files, **given)
    assert not found.exact
    assert found.recall is not None
    assert index.WANTED - 0.05 < found.recall <= 1
    # The pair of line i of b is line order[i] of a.
    right = {(int(first) + 1, place + 1) for place, first in enumerate(order)}
    assert len({*map(tuple, found.lines.tolist())} & right) >= 390
    options = [word for side in "ab" for word in (f"--vectors-{side}", tmp_path / f"{side}.npy")]
    shown = command(given, "mine", tmp_path / "a.txt", tmp_path / "b.txt", *options)
    assert f"finds {100 * found.recall:.1f} % of the 4 nearest (recall against the exact search, on 786 s" in shown
    assert shown.count("margin ") == 20
    assert "more: --output FILE, --tsv or --json gives all\n" in shown


def test_a_full_disk_is_said_in_two_lines_and_nothing_is_left(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "a.txt", ENGLISH)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(vectors, "reserve", full)
    monkeypatch.setattr(vectors, "BLOCK", 7)
    monkeypatch.setattr("xlbench.retrieval.mining.BLOCK", 7)
    for work in (
        lambda: xlbench.encode(tmp_path / "a.txt", tmp_path / "out.npy", **given),
        lambda: xlbench.encode(tmp_path / "a.txt", tmp_path / "out.parquet", **given),
        lambda: xlbench.search(tmp_path / "a.txt", "cat", output=tmp_path / "out.tsv", **given),
    ):
        with pytest.raises(
            XlbenchError, match=r"^The disk is full: writing the vectors to .*needed, .*free"
        ) as refused:
            work()
        assert refused.value.remedy == "Free some space or choose another disk; then run the command again."
        assert sorted(it.name for it in tmp_path.iterdir()) == ["a.txt", "home"]


def test_vectors_that_are_not_finite_are_refused(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: object, texts: list[str], **_: object) -> NDArray[np.float32]:
        return np.array([[np.nan if text == ENGLISH[2] else 1.0] * 16 for text in texts], np.float32)

    monkeypatch.setattr("xlbench.encoders.encode.encode", broken)
    with pytest.raises(XlbenchError, match=rf"not finite, first for '{ENGLISH[2][:20]}"):
        xlbench.encode(ENGLISH, tmp_path / "out.npy", **given)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    ("shape", "dtype", "said"),
    [
        ((29, 16), np.float32, "holds 29 vectors, and '"),
        ((30, 8), np.float32, "have 8 numbers, and those beside them 16"),
        ((30,), np.float32, "holds no vectors"),
        ((30, 16), np.int64, "holds no vectors"),
        ((30, 16), object, "cannot be read"),
        ((30, 16), np.float32, "are not those of this encoder: that of '"),
    ],
)
def test_vectors_of_something_else_are_refused(
    shape: tuple[int, ...], dtype: type, said: str, given: dict[str, Any], tmp_path: Path
) -> None:
    write_text(tmp_path / "a.txt", ENGLISH)
    np.save(tmp_path / "a.npy", np.zeros(shape, dtype), allow_pickle=True)
    with pytest.raises(XlbenchError, match=said):
        xlbench.search(tmp_path / "a.txt", "cat", vectors=tmp_path / "a.npy", **given)


def test_vectors_of_another_encoder_or_with_a_number_that_is_none_are_refused(
    given: dict[str, Any], tmp_path: Path
) -> None:
    other = save_toy_encoder(tmp_path / "other", seed=1)
    write_text(tmp_path / "a.txt", ENGLISH)
    xlbench.encode(tmp_path / "a.txt", tmp_path / "a.npy", **given | {"model": other})
    for ask in (
        lambda: xlbench.search(tmp_path / "a.txt", "cat", vectors=tmp_path / "a.npy", **given),
        lambda: xlbench.mine(tmp_path / "a.txt", ENGLISH, vectors_a=tmp_path / "a.npy", **given),
    ):
        with pytest.raises(XlbenchError, match=r"a\.npy' are not those of this encoder: that of '"):
            ask()
    # In another precision they are the same encoder's.
    own = xlbench.encode(tmp_path / "a.txt", **given)
    np.save(tmp_path / "a.npy", own.astype(np.float16))
    assert len(xlbench.search(tmp_path / "a.txt", "cat", vectors=tmp_path / "a.npy", **given).to_dataframe())
    own = np.array(own)
    own[20, 3] = np.nan
    np.save(tmp_path / "a.npy", own)
    with pytest.raises(XlbenchError, match=r"a\.npy' holds a vector that is not finite, that of line 21\."):
        xlbench.search(tmp_path / "a.txt", "cat", vectors=tmp_path / "a.npy", **given)


def test_half_a_character_is_told_by_its_sentence(given: dict[str, Any]) -> None:
    with pytest.raises(XlbenchError, match=r"^Argument 'texts', sentence 2 holds half of a character"):
        xlbench.encode(["whole", "half \ud83d"], **given)


def test_sides_of_different_encoders_are_refused(sides: dict[str, Path], given: dict[str, Any]) -> None:
    np.save(sides["vectors_b"], np.zeros((3, 5), np.float32))
    with pytest.raises(XlbenchError, match=r"a.npy' have 2 numbers, and those beside them 5"):
        xlbench.mine(**sides, **given)


def test_copies_of_files_are_deleted_when_their_result_is_gone(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    write_text(tmp_path / "a.txt", ENGLISH)
    found = xlbench.search(tmp_path / "a.txt", "cat", **given)
    assert len(list(temporary.iterdir())) == 1  # the corpus, of which sentences are still looked up
    assert found.to_dataframe().sentence[0] in ENGLISH
    del found
    assert list(temporary.iterdir()) == []


def test_the_starters_sentences_need_no_file(given: dict[str, Any]) -> None:
    every = xlbench.search("starter", "cat", top=1000, **given)
    german = xlbench.search("starter:de", "cat", top=1000, **given)
    assert (len(every), len(german)) == (8 * 112, 112)
    with pytest.raises(XlbenchError, match=r"^Unknown language of the starter sentences 'dee'\.\nDid you mean de"):
        xlbench.search("starter:dee", "cat", **given)
