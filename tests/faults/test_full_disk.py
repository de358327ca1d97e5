"""Disks that are full, limited or read-only: two lines, and the same command resumes when there is space."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from trials import results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trials import Place

pytestmark = pytest.mark.faults


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[None]:
    """Mount a file system of so many bytes; the test skips where it may not."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "xlbench-test", str(path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here: needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def remount(path: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(path)], check=True)


def bytes_of(home: Path) -> int:
    return sum(path.stat().st_size for path in home.rglob("*") if path.is_file())


def shares(count: int) -> list[float]:
    return [(number + 0.5) / count for number in range(count)]


def test_a_full_disk_ends_in_two_lines_and_resumes(
    place: Place, long: bool, report: Callable[[str, object, str], None]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("no file system can be mounted here: needs root")
    sizes = [int(share * bytes_of(place.home)) for share in shares(20 if long else 1)]
    refused = 0
    for size in sizes:
        directory = place.directory()
        with small_disk(directory / "disk", size):
            home = directory / "disk" / "home"
            words = [*place.words(home), "--json"]
            run = place.start(directory, words).wait()
            assert "The disk is full: writing " in run.refusal, (size, run.code, run.said)
            assert "the same command resumes" in run.refusal
            refused += 1
            remount(directory / "disk", "size=1g")
            assert place.start(directory, words, "again").wait().code == 0
            assert results(home) == place.whole, size
    report("Disk full, at that many sizes of a file system", len(sizes), f"{refused} refused in two lines; all resumed")


def test_a_full_disk_can_be_pruned(place: Place, report: Callable[[str, object, str], None]) -> None:
    if os.geteuid() != 0:
        pytest.skip("no file system can be mounted here: needs root")
    directory = place.directory()
    with small_disk(directory / "disk", int(0.5 * bytes_of(place.home))):
        home = directory / "disk" / "home"
        assert "The disk is full: writing " in place.start(directory, place.words(home)).wait().refusal
        with (directory / "disk" / "others").open("wb", buffering=0) as other, suppress(OSError):
            while True:  # and somebody else takes what was left
                other.write(bytes(4096))
        assert os.statvfs(home).f_bavail == 0
        before = bytes_of(home)
        pruned = place.start(directory, ["--home", str(home), "store", "prune", "--yes"], "prune").wait()
        assert pruned.code == 0, pruned.said
        assert bytes_of(home) < 0.5 * before
        assert os.statvfs(home).f_bavail > 0
    report("`store prune --yes` on a disk with no byte left", 1, "what no record needs is gone")


def test_a_limit_of_file_sizes_ends_in_two_lines_and_resumes(
    place: Place, long: bool, report: Callable[[str, object, str], None]
) -> None:
    largest = max(path.stat().st_size for path in place.home.rglob("*") if path.is_file())
    sizes = [int(share * largest) for share in shares(10 if long else 1)]
    for size in sizes:
        directory = place.directory()
        words = [*place.words(directory / "home"), "--json"]
        run = place.start(directory, words, file_size=size).wait()
        assert "A file is too large for this process or disk: writing " in run.refusal, (size, run.code, run.said)
        assert place.start(directory, words, "again").wait().code == 0
        assert results(directory / "home") == place.whole, size
    report("Limited size of files (EFBIG)", len(sizes), "refused in two lines; all resumed")


def test_a_disk_that_turns_read_only_ends_in_two_lines(
    place: Place, report: Callable[[str, object, str], None]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("no file system can be mounted here: needs root")
    directory = place.directory()
    with small_disk(directory / "disk", 1 << 30):
        home = directory / "disk" / "home"
        words = [*place.words(home), "--json"]
        remount(directory / "disk", "ro")
        run = place.start(directory, words).wait()
        assert f"The store '{home}' cannot be written" in run.refusal, run.said
        remount(directory / "disk", "rw")
        assert place.start(directory, words, "again").wait().code == 0
        assert results(home) == place.whole
    report("A file system that may only be read", 1, "refused in two lines; resumed")


def test_output_that_cannot_be_written_ends_in_two_lines(
    place: Place, report: Callable[[str, object, str], None]
) -> None:
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("no /dev/full here")
    directory = place.directory()
    run = place.start(directory, ["list"])
    run.wait()
    assert run.code == 0
    request = {"words": ["list"], "cwd": str(directory), "stdout": "/dev/full", "stderr": str(run.err)}
    run.pid, run.code = place.server.ask(request) or 0, None
    run.wait()
    assert run.refusal.startswith("xlbench: The disk is full: writing the output failed."), run.said
    report("Standard output on a full disk", 1, "refused in two lines")
