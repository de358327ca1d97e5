"""Text files that are compressed: one that is damaged anywhere, or packed in another way, is named in two lines."""

from __future__ import annotations

import bz2
import gzip
import lzma
from typing import TYPE_CHECKING

import pytest

from xlbench import XlbenchError
from xlbench.corpora import lines
from xlbench.corpora.files import read_tsv
from xlbench.corpora.lines import numbered_lines
from xlbench.corpora.text import keep_text
from xlbench.disk import require_regular
from xlbench.retrieval.sentences import collect
from xlbench.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = [f"sentence {number} about {number * 7919 % 1000}\tSatz {number}" for number in range(200)]
TEXT = "".join(f"{row}\n" for row in ROWS).encode()
PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def told(read: Callable[[], object]) -> str:
    with pytest.raises(XlbenchError) as caught:
        read()
    assert str(caught.value).count("\n") == 1
    return caught.value.problem


@pytest.mark.parametrize("ending", PACKERS)
def test_a_packed_file_is_read_whole_or_named_wherever_it_is_cut(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"en-de.tsv{ending}"
    packed = PACKERS[ending](TEXT)
    path.write_bytes(packed)
    assert [line for _, line in numbered_lines(path)] == ROWS
    for cut in (*range(30), *range(30, len(packed) - 30, 31), *range(len(packed) - 30, len(packed))):
        path.write_bytes(packed[:cut])
        assert told(lambda: list(numbered_lines(path))).startswith(f"{path}: damaged or cut off after line "), cut


@pytest.mark.parametrize("ending", PACKERS)
def test_a_flipped_bit_is_named_by_every_reader(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"en-de.tsv{ending}"
    packed = bytearray(PACKERS[ending](TEXT))
    packed[len(packed) // 2] ^= 4
    path.write_bytes(packed)
    settings = Settings(home=tmp_path / "home", quiet=True)
    for read in (
        lambda: list(read_tsv(path)),
        lambda: keep_text(str(path), settings),
        lambda: collect(path, "1", noun="texts", quiet=True),
    ):
        assert str(path) in told(read)
    assert not list(tmp_path.glob("home/texts/*"))


@pytest.mark.parametrize("ending", [".zst", ".ZST", ".lz4", ".zip", ".7z"])
def test_a_file_that_is_packed_in_another_way_is_refused_as_that(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(b"\x28\xb5\x2f\xfd")
    problem = f"'{path}' is packed as {ending.lower()}, which is not read."
    assert told(lambda: list(numbered_lines(path))) == problem
    assert told(lambda: collect(path, None, noun="texts", quiet=True)) == problem


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_line_without_an_end_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 1000)
    path = tmp_path / f"zeros{ending}"
    content = b"one\n" + b"x" * 999 + b"\n" + bytes(5000)
    path.write_bytes(gzip.compress(content) if ending else content)
    assert told(lambda: list(numbered_lines(path))) == f"{path}, line 3: it has more than 1,000 bytes."


def test_a_device_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "en-de.tsv").symlink_to("/dev/zero")
    assert told(lambda: require_regular(tmp_path / "en-de.tsv")).endswith(
        "en-de.tsv' is a pipe or a device, and no file."
    )
