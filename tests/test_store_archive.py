"""Entries of the store in one file: what is exported is imported as it was, and anything else is refused."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import random
import tarfile
from typing import TYPE_CHECKING

import pytest

from xlbench import XlbenchError
from xlbench.store import get_or_build, read_entry
from xlbench.store.archive import INDEX, Index, export_entries, import_archive
from xlbench.store.seal import sealed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xlbench.fingerprint import Json

NAMES = [("stages", "k"), ("targets", "t")]


def build(directory: Path) -> dict[str, Json]:
    (directory / "model").mkdir()
    (directory / "model" / "weights").write_bytes(bytes(range(256)) * 40)
    return {"stage": "x"}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for kind, key in NAMES:
        get_or_build(tmp_path / "home", kind, key, build)
    export_entries(tmp_path / "home", NAMES, tmp_path / "some.tar")
    return tmp_path / "some.tar"


def files(home: Path) -> dict[str, bytes]:
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for kind in ("stages", "targets")
        for path in sorted((home / kind).rglob("*"))
        if path.is_file()
    }


def test_an_import_gives_what_was_exported(archive: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    get_or_build(there, "targets", "t", build)
    (there / "targets" / "t" / "model" / "weights").write_bytes(b"damaged")
    assert import_archive(there, archive) == (("stages/k", "targets/t"), ())
    assert files(there) == files(tmp_path / "home")
    assert import_archive(there, archive) == ((), ("stages/k", "targets/t"))
    assert list((there / "partial").iterdir()) == []


def test_what_is_damaged_or_missing_is_not_exported(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(XlbenchError, match="is there already"):
        export_entries(tmp_path / "home", NAMES, archive)
    (tmp_path / "home" / "stages" / "k" / "model" / "weights").write_bytes(b"")
    for names, words in {(("stages", "k"),): "weights has changed", (("stages", "q"),): "no entry stages q"}.items():
        with pytest.raises(XlbenchError, match=words):
            export_entries(tmp_path / "home", names, tmp_path / "other.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "some.tar"]


def rewritten(archive: Path, change: Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]]) -> Path:
    """Return another archive, each member of the first replaced by what ``change`` makes of it."""
    other = archive.with_name("other.tar")
    with tarfile.open(archive) as old, tarfile.open(other, "w") as new:
        for member in old:
            stream = old.extractfile(member)
            assert stream is not None
            for header, content in change(member, stream.read()):
                header.size = len(content)
                new.addfile(header, io.BytesIO(content))
    return other


def link(kind: bytes) -> Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]]:
    def change(member: tarfile.TarInfo, content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        if member.name == "stages/k/model/weights":
            member.type, member.linkname = kind, "/etc/passwd"
            return [(member, b"")]
        return [(member, content)]

    return change


def add(name: str) -> Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]]:
    def change(member: tarfile.TarInfo, content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        more = [(tarfile.TarInfo(name), b"evil")] if member.name.startswith("targets/t/entry") else []
        return [(member, content), *more]

    return change


def flip(name: str) -> Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]]:
    def change(member: tarfile.TarInfo, content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        return [(member, content if member.name != name else bytes([content[0] ^ 1, *content[1:]]))]

    return change


def drop(name: str) -> Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]]:
    return lambda member, content: [] if member.name == name else [(member, content)]


def outside(member: tarfile.TarInfo, content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    if member.name != INDEX:
        return [(member, content)]
    return [(member, sealed(Index(manifests={"../home2/k": "0", "stages/k": "0"})).encode())]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (link(tarfile.SYMTYPE), "is no plain file of an entry"),
        (link(tarfile.LNKTYPE), "is no plain file of an entry"),
        (link(tarfile.FIFOTYPE), "is no plain file of an entry"),
        (add("/tmp/evil"), "is no plain file of an entry"),
        (add("../evil"), "is no plain file of an entry"),
        (add("stages/k/../../../evil"), "is no plain file of an entry"),
        (add("records/r/entry.json"), "belongs to no entry"),
        (add("stages/k/entry.json"), "belongs to no entry"),  # a second time
        (add("stages/k/more"), "more does not belong to it"),
        (flip("stages/k/model/weights"), "weights has changed"),
        (flip("stages/k/entry.json"), "entry.json is missing or has changed"),
        (flip(INDEX), "does not begin with an intact"),
        (drop(INDEX), "does not begin with an intact"),
        (drop("targets/t/model/weights"), "weights is missing"),
        (outside, "names what is no entry"),
    ],
)
def test_an_archive_that_is_not_as_it_was_written_leaves_nothing(
    archive: Path,
    tmp_path: Path,
    change: Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]],
    words: str,
) -> None:
    there = tmp_path / "there"
    with pytest.raises(XlbenchError, match=words) as caught:
        import_archive(there, rewritten(archive, change))
    assert str(caught.value).count("\n") == 1
    assert read_entry(there, "stages", "k") is None
    assert list((there / "partial").iterdir()) == []
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("packed", [lzma.compress, bz2.compress, gzip.compress])
def test_a_packed_archive_that_is_damaged_is_refused(
    archive: Path, tmp_path: Path, packed: Callable[[bytes], bytes]
) -> None:
    def longer(member: tarfile.TarInfo, content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        return [(member, random.Random(0).randbytes(3 << 20) if member.name == "stages/k/model/weights" else content)]

    content = bytearray(packed(rewritten(archive, longer).read_bytes()))  # of several blocks, the first of them whole
    at = len(content) * 3 // 4
    content[at : at + 60] = bytes(60)
    archive.write_bytes(content)
    with pytest.raises(XlbenchError, match="is not imported") as caught:
        import_archive(tmp_path / "there", archive)
    assert str(caught.value).count("\n") == 1
    assert not (tmp_path / "there" / "stages").exists()


@pytest.mark.parametrize("size", [0, 100, 600, 20_000])
def test_a_file_that_was_cut_off_is_refused(archive: Path, tmp_path: Path, size: int) -> None:
    archive.write_bytes(archive.read_bytes()[:size])
    with pytest.raises(XlbenchError, match="is not imported"):
        import_archive(tmp_path / "there", archive)
    assert not (tmp_path / "there" / "stages").exists()


def test_a_disk_that_the_archive_fills_is_not_the_stores(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(XlbenchError, match=r"^The disk is full: writing the archive 'more\.tar'") as refused:
        export_entries(tmp_path / "home", NAMES, tmp_path / "more.tar")
    assert "prune" not in refused.value.remedy
    assert not list(tmp_path.glob("*more*"))
