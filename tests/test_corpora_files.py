"""Corpora in local files."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as h_settings
from hypothesis import strategies as st
from pyarrow import parquet
from xlbench_plugins.builtin import xlbench_corpora

from xlbench.corpora.corpus import Pair, open_corpus
from xlbench.corpora.files import open_parquet, open_tsv, read_tsv
from xlbench.corpora.hub import open_hub
from xlbench.errors import XlbenchError
from xlbench.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

ROWS = "Good morning.\tGuten Morgen.\nGood night.\tGute Nacht.\n"
PAIRS = [Pair("Good morning.", "Guten Morgen."), Pair("Good night.", "Gute Nacht.")]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "root" / "parallel").mkdir(parents=True)
    return Settings(home=tmp_path / "home", data_root=tmp_path / "root")


def write_parquet(path: Path, columns: dict[str, list[str | None]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path)


def test_tsv_may_be_plain_or_compressed(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "en-de.tsv").write_text(ROWS, "utf-8")
    (tmp_path / "en-fr.tsv.gz").write_bytes(gzip.compress(ROWS.encode()))
    (tmp_path / "README.md").write_text("not a corpus", "utf-8")
    corpus = open_tsv(str(tmp_path), settings)
    assert corpus.languages() == ("de", "fr")
    assert list(corpus.pairs("de")) == list(corpus.pairs("fr")) == PAIRS
    alone = open_tsv(str(tmp_path / "en-fr.tsv.gz"), settings)
    assert alone.languages() == ("fr",)
    assert list(alone.pairs("fr")) == PAIRS


def test_unusual_but_valid_rows_are_read(tmp_path: Path, settings: Settings) -> None:
    # A byte order mark, Windows line ends, quotes, a line separator inside a sentence, no last line end.
    text = '\ufeff"Quoted" text\t„Zitat"\r\nOne\u2028line\tEine\x85Zeile\r\nlast\tletzte'
    (tmp_path / "en-de.tsv").write_bytes(text.encode())
    assert list(open_tsv(str(tmp_path), settings).pairs("de")) == [
        Pair('"Quoted" text', '„Zitat"'),
        Pair("One\u2028line", "Eine\x85Zeile"),
        Pair("last", "letzte"),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\tb\nonly one column\n", ["line 2", "1 column instead of 2"]),
        (b"a\tb\n\nc\td\n", ["line 2: it is empty"]),
        (b"a\tb\nc\td\te\n", ["line 2", "3 columns instead of 2"]),
        (b"a\tb\nc\t  \n", ["line 2", "second column is empty"]),
        (b"\tb\n", ["line 1", "first column is empty"]),
        (b"a\tb\nc\td\nsch\xf6n\tx\n", ["line 3", "not UTF-8", "0xf6"]),
    ],
)
def test_malformed_rows_are_located(content: bytes, words: list[str], tmp_path: Path, settings: Settings) -> None:
    for name, data in (("en-de.tsv", content), ("en-fr.tsv.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(data)
        corpus = open_tsv(str(tmp_path / name), settings)
        with pytest.raises(XlbenchError) as caught:
            list(corpus.pairs(*corpus.languages()))
        assert all(word in caught.value.problem for word in [name, *words]), caught.value.problem
        assert caught.value.remedy


def test_a_damaged_gzip_file_is_refused(tmp_path: Path, settings: Settings) -> None:
    lines = "".join(f"English {n * 7919}\tDeutsch {n * 104729}\n" for n in range(5000))
    whole = gzip.compress(lines.encode())
    # The header takes 10 bytes. A first block of ones only has a type that does not exist.
    invalid_block = whole[:10] + b"\xff" * 20 + whole[30:]
    wrong_checksum = whole[:-8] + bytes(4) + whole[-4:]
    for number, content in enumerate((whole[: len(whole) // 2], ROWS.encode(), invalid_block, wrong_checksum)):
        path = tmp_path / str(number) / "en-de.tsv.gz"
        path.parent.mkdir()
        path.write_bytes(content)
        with pytest.raises(XlbenchError) as caught:
            list(open_tsv(str(path), settings).pairs("de"))
        assert str(path) in caught.value.problem
    with pytest.raises(XlbenchError, match=r"cut off after line [1-9]"):
        list(open_tsv(str(tmp_path / "0"), settings).pairs("de"))


def test_where_relative_paths_are_looked_up(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.data_root is not None
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(XlbenchError) as caught:
        open_tsv("mine", settings)
    assert all(str(path) in caught.value.problem for path in ("mine", settings.data_root / "parallel" / "mine"))
    # Each directory takes precedence over those before it in this list.
    for directory in (settings.data_root / "parallel", settings.data_root, here):
        (directory / "mine").mkdir()
        (directory / "mine" / "en-de.tsv").write_text(f"{directory}\tx\n", "utf-8")
        assert next(open_tsv("mine", settings).pairs("de")).english == str(directory)


@pytest.mark.parametrize(
    ("names", "argument", "words"),
    [
        (["de.tsv"], "", ["holds no corpus files", "en-xx.tsv"]),
        (["de-en.tsv"], "de-en.tsv", ["does not tell its language", "en-xx.tsv"]),
        (["en-de.tsv", "en-de.tsv.gz"], "", ["Both 'en-de.tsv' and 'en-de.tsv.gz'", "Keep one"]),
        ([], "missing", ["no corpus at", "missing"]),
    ],
)
def test_missing_or_misnamed_files_are_refused(
    names: list[str], argument: str, words: list[str], tmp_path: Path, settings: Settings
) -> None:
    for name in names:
        (tmp_path / name).write_text(ROWS, "utf-8")
    with pytest.raises(XlbenchError) as caught:
        open_tsv(str(tmp_path / argument), settings)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_directory_in_place_of_a_file_is_refused(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "en-de.tsv").mkdir()
    with pytest.raises(XlbenchError, match=r"en-de\.tsv' cannot be read"):
        open_corpus(f"tsv:{tmp_path}", {it.scheme: it for it in xlbench_corpora()}, settings)


def test_the_digest_depends_on_content_and_not_on_the_path(tmp_path: Path, settings: Settings) -> None:
    digests = []
    for number, (name, text) in enumerate(
        [("en-de.tsv", ROWS), ("en-de.tsv", ROWS), ("en-de.tsv", ROWS + "a\tb\n"), ("en-nl.tsv", ROWS)]
    ):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        path.write_text(text, "utf-8")
        digests.append(open_tsv(str(path), settings).digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_parquet_with_either_pair_of_column_names(tmp_path: Path, settings: Settings) -> None:
    english, german = [pair.english for pair in PAIRS], [pair.other for pair in PAIRS]
    write_parquet(tmp_path / "en-de.parquet", {"non_english": german, "english": english, "id": ["1", "2"]})
    write_parquet(tmp_path / "en-nl.parquet", {"nl": german, "en": english})
    corpus = open_parquet(str(tmp_path), settings)
    assert corpus.languages() == ("de", "nl")
    assert list(corpus.pairs("de")) == list(corpus.pairs("nl")) == PAIRS
    assert list(open_parquet(str(tmp_path / "en-nl.parquet"), settings).pairs("nl")) == PAIRS


def test_parquet_in_the_layout_of_hub_datasets(tmp_path: Path, settings: Settings) -> None:
    assert settings.data_root is not None
    copy = settings.data_root / "datasets" / "org" / "talks"
    write_parquet(copy / "en-de" / "train-00000-of-00002.parquet", {"english": ["a"], "non_english": ["A"]})
    write_parquet(copy / "en-de" / "train-00001-of-00002.parquet", {"english": ["b"], "non_english": ["B"]})
    write_parquet(copy / "en-de" / "dev-00000-of-00001.parquet", {"english": ["c"], "non_english": ["C"]})
    write_parquet(copy / "en-zh-cn" / "train" / "0000.parquet", {"english": ["d"], "non_english": ["D"]})
    write_parquet(copy / "all" / "train-00000-of-00001.parquet", {"english": ["e"], "non_english": ["E"]})
    for corpus in (open_parquet("datasets/org/talks", settings), open_hub("org/talks", settings)):
        assert corpus.languages() == ("de", "zh-cn")
        assert list(corpus.pairs("de")) == [Pair("a", "A"), Pair("b", "B")]
        assert list(corpus.pairs("zh-cn")) == [Pair("d", "D")]


def test_invalid_parquet_files_are_refused(tmp_path: Path, settings: Settings) -> None:
    write_parquet(tmp_path / "en-de.parquet", {"source": ["a"], "target": ["b"]})
    write_parquet(tmp_path / "en-fr.parquet", {"english": ["a", "b"], "non_english": ["A", None]})
    whole = (tmp_path / "en-fr.parquet").read_bytes()
    (tmp_path / "en-it.parquet").write_bytes(whole[: len(whole) // 2])
    corpus = open_parquet(str(tmp_path), settings)
    twice = pa.table([["a"], ["b"], ["A"]], names=["english", "english", "non_english"])
    parquet.write_table(twice, tmp_path / "en-nl.parquet")
    with pytest.raises(XlbenchError, match=r"en-nl\.parquet has the column 'english' 2 times"):
        list(open_parquet(str(tmp_path / "en-nl.parquet"), settings).pairs("nl"))
    with pytest.raises(XlbenchError, match="has the columns source, target"):
        list(corpus.pairs("de"))
    with pytest.raises(XlbenchError, match=r"en-fr\.parquet, row 2: a side is empty"):
        list(corpus.pairs("fr"))
    with pytest.raises(XlbenchError, match=r"en-it\.parquet is not a valid Parquet file"):
        list(corpus.pairs("it"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(XlbenchError, match="holds no corpus files"):
        open_parquet(str(tmp_path / "empty"), settings)


@pytest.mark.data
def test_a_corpus_of_the_real_data_root_opens(data_root: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, data_root=data_root)
    corpus = open_tsv("multi30k", settings)
    assert corpus.languages() == ("cs", "de", "fr")
    # The number in the corpus's description.
    assert sum(1 for _ in corpus.pairs("de")) == 29629


@pytest.mark.parametrize(
    ("name", "would_be"),
    [
        ("en-pt_BR.tsv", "call it en-pt-br.tsv"),
        ("fr-en.tsv", "call it en-fr.tsv, with the English column first"),
        ("en-fr.TSV", "call it en-fr.tsv"),
        ("TED2020-en-es-train.tsv.gz", "call it en-es.tsv.gz"),
        ("en-nl.tsv.bz2", "call it en-nl.tsv.gz, compressed with gzip"),
        ("en-fr.tsv.gz.part", "finish its download, as en-fr.tsv.gz"),
        ("en-it.csv", "call it en-it.tsv, as tab-separated text"),
        ("german-english.tsv", "call it en-de.tsv, which is there already, with the English column first"),
        ("opus.en-tr.tr", "call it en-tr.tsv, as tab-separated text"),
        ("sample.tsv", "call it en-xx.tsv"),
    ],
)
def test_a_file_that_is_not_read_is_named_with_the_name_that_would_be(
    name: str, would_be: str, tmp_path: Path, settings: Settings
) -> None:
    for file in ("en-de.tsv", name, "README.md", "LICENSE.txt", "notes.txt", ".hidden.tsv"):
        (tmp_path / file).write_text(ROWS, "utf-8")
    corpus = open_tsv(str(tmp_path), settings)
    assert corpus.languages() == ("de",)
    (notice,) = corpus.notices
    assert notice.endswith(f"looks like a corpus: '{name}' ({would_be}).")
    if "de" not in would_be:
        with pytest.raises(XlbenchError) as caught:
            open_tsv(str(tmp_path / name), settings)
        assert would_be in caught.value.remedy or "en-xx" in would_be


def test_parquet_beside_what_is_read_is_named(tmp_path: Path, settings: Settings) -> None:
    for place in ("en-de/train-0.parquet", "en-pt_BR/train.parquet", "data_en_fr.parquet"):
        write_parquet(tmp_path / place, {"english": ["a"], "non_english": ["b"]})
    (notice,) = open_parquet(str(tmp_path), settings).notices
    assert "'data_en_fr.parquet' (call it en-fr.parquet), 'en-pt_BR' (call it en-pt-br)" in notice


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["en-gr.tsv"], ["'gr'", "'el' (Greek)"]),
        (["en-cz.tsv"], ["'cz'", "'cs' (Czech)"]),
        (["en-xx.tsv"], ["'xx'", "ISO 639"]),
        (["en-fi-dev.tsv"], ["'fi-dev'", "'fi'"]),
        (["en-en.tsv", "en-de.tsv"], ["English with English"]),
        (["en-de.tsv", "en-deu.tsv"], ["'de' and 'deu'", "one language"]),
    ],
)
def test_codes_that_are_no_languages_are_refused_with_the_nearest(
    names: list[str], words: list[str], tmp_path: Path, settings: Settings
) -> None:
    for name in names:
        (tmp_path / name).write_text(ROWS, "utf-8")
    readers = {it.scheme: it for it in xlbench_corpora()}
    with pytest.raises(XlbenchError) as caught:
        open_corpus(f"tsv:{tmp_path}", readers, settings)
    assert all(word in str(caught.value) for word in words), caught.value


def test_codes_with_regions_scripts_and_private_ones_are_languages(tmp_path: Path, settings: Settings) -> None:
    codes = ("de", "gsw", "pt-br", "qaa", "sr-latn", "zh-cn", "zh-hant")
    for code in codes:
        (tmp_path / f"en-{code}.tsv").write_text(ROWS, "utf-8")
    assert open_corpus(f"tsv:{tmp_path}", {it.scheme: it for it in xlbench_corpora()}, settings).languages() == codes


# Bytes of which lines are made, so that most files have some valid rows.
PARTS = st.sampled_from([b"a", b"\t", b"\n", b"\r", b" ", b'"', b"\xff", b"\x00", b"\xef\xbb\xbf", "é中".encode()])


@given(st.one_of(st.binary(max_size=40), st.lists(PARTS, max_size=20).map(b"".join)), st.booleans())
@h_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_pairs_or_an_error_with_file_and_line(tmp_path: Path, content: bytes, packed: bool) -> None:
    path = tmp_path / ("en-de.tsv.gz" if packed else "en-de.tsv")
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    try:
        pairs = list(read_tsv(path))
    except XlbenchError as error:
        problem = error.problem
    else:
        problem = ""
        assert len(pairs) == len(content.split(b"\n")) - (content[-1:] in {b"\n", b""})
        assert all(english.strip() and other.strip() for english, other in pairs)
    assert not problem or re.match(rf"{re.escape(str(path))}, line [1-9]", problem), problem
