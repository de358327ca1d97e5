"""References to corpora: how they are parsed and opened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from toy_corpora import ToyCorpus

from xlbench.corpora.corpus import Corpus, CorpusReader, ParsedReference, open_corpus, parse_reference
from xlbench.errors import XlbenchError
from xlbench.settings import Settings


@pytest.mark.parametrize(
    ("reference", "parsed"),
    [
        ("starter", ParsedReference("starter")),
        ("starter?cap=10", ParsedReference("starter", cap=10)),
        ("tsv:some/place/en-de.tsv.gz", ParsedReference("tsv", "some/place/en-de.tsv.gz")),
        ("parquet:/abs/x", ParsedReference("parquet", "/abs/x")),
        ("hub:org/name", ParsedReference("hub", "org/name")),
        ("org/name", ParsedReference("hub", "org/name")),
        ("org/name@abc?cap=5", ParsedReference("hub", "org/name@abc", 5)),
        ("tsv:x?languages=fr,de,fr&cap=5000", ParsedReference("tsv", "x", 5000, ("de", "fr"))),
        (" starter ", ParsedReference("starter")),
        ("own:a:b", ParsedReference("own", "a:b")),
        ("tsv:x?languages=zh-cn", ParsedReference("tsv", "x", None, ("zh-cn",))),
    ],
)
def test_a_reference_is_split_into_its_parts(reference: str, parsed: ParsedReference) -> None:
    assert parse_reference(reference) == parsed


def test_a_reference_has_one_canonical_spelling() -> None:
    # Keys of stored data contain the options in this spelling.
    assert str(parse_reference("tsv:x?languages=fr,de&cap=05")) == "tsv:x?cap=5&languages=de,fr"
    assert str(parse_reference("org/name")) == "hub:org/name"
    assert str(parse_reference("starter?")) == "starter"


@pytest.mark.parametrize(
    ("reference", "problem", "remedy"),
    [
        ("", "names no corpus", "tsv:PATH"),
        (":x", "names no corpus", "tsv:PATH"),
        ("tsv:", "names no corpus", "tsv:PATH"),
        ("x?limit=3", "Unknown option 'limit'", "cap, language, languages"),
        ("x?cpa=3", "Unknown option 'cpa'", "Did you mean cap?"),
        ("x?cap=0", "cap='0'", "cap=5000"),
        ("x?cap=-3", "cap='-3'", "cap=5000"),
        ("x?cap=1e3", "cap='1e3'", "cap=5000"),
        ("x?cap=٣", "cap='٣'", "cap=5000"),
        ("x?cap", "cap=''", "cap=5000"),
        ("x?cap=3&cap=4", "'cap' occurs twice", "Leave one out"),
        ("x?languages=", "'' in corpus", "languages=de,fr"),
        ("x?languages=de,German", "'German' in corpus", "languages=de,fr"),
        ("data/en-de.tsv", "lacks its scheme", "tsv:data/en-de.tsv"),
        ("en-de.tsv.gz", "lacks its scheme", "tsv:en-de.tsv.gz"),
        ("en-de.parquet", "lacks its scheme", "parquet:en-de.parquet"),
        ("./some/place", "is not the ORG/NAME", "tsv:./some/place"),
        ("/some/place", "is not the ORG/NAME", "parquet:/some/place"),
    ],
)
def test_malformed_references(reference: str, problem: str, remedy: str) -> None:
    with pytest.raises(XlbenchError) as caught:
        parse_reference(reference)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def _open(argument: str, settings: Settings) -> Corpus:
    return ToyCorpus(f"digest of {argument}", {"de": [], "fr": []}, note="a note")


READERS = {"toy": CorpusReader(scheme="toy", summary="", example="toy:x", open=_open)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_an_opened_corpus_has_reference_digest_and_note(settings: Settings) -> None:
    opened = open_corpus("toy:x?languages=fr&cap=7", READERS, settings)
    assert opened.ref.reference == "toy:x?cap=7&languages=fr"
    assert opened.ref.digest == "digest of x"
    assert opened.ref.note == "a note"
    assert opened.languages() == ("fr",)
    assert opened.parsed.cap == 7
    assert open_corpus("toy:x", READERS, settings).languages() == ("de", "fr")


@pytest.mark.parametrize(
    ("reference", "problem", "remedy"),
    [
        ("tyo:x", "Unknown corpus 'tyo'", "Did you mean toy?"),
        ("toy:x?languages=de,nl", "no language 'nl'", "Valid names: de, fr"),
    ],
)
def test_unknown_schemes_and_languages_are_refused(
    reference: str, problem: str, remedy: str, settings: Settings
) -> None:
    with pytest.raises(XlbenchError) as caught:
        open_corpus(reference, READERS, settings)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_built_in_schemes_load_nothing_heavy() -> None:
    # In a new process, since this one has imported them already.
    code = (
        "import sys; from xlbench_plugins.builtin import xlbench_corpora; "
        "import xlbench.corpora.corpus; "
        "print(*[reader.scheme for reader in xlbench_corpora()]); "
        "print(*sorted({'torch', 'numpy', 'pyarrow', 'datasets', 'huggingface_hub'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{root}:{root / 'plugins'}"},
    )
    assert done.stdout.splitlines() == ["starter tsv parquet text hub", ""]
