"""The store: complete entries only, one build at a time, damaged entries built again."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from typing import TYPE_CHECKING

import pytest

from xlbench import XlbenchError
from xlbench.store import entries, get_or_build, read_entry, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.fingerprint import Json


def build(directory: Path) -> dict[str, Json]:
    (directory / "data.txt").write_text("precious")
    return {"stage": "x"}


def test_an_entry_is_built_once(tmp_path: Path) -> None:
    first = get_or_build(tmp_path, "stages", "k", build)
    second = get_or_build(tmp_path, "stages", "k", lambda _: pytest.fail("built again"))
    assert (first.reused, second.reused) == (False, True)
    assert second.manifest.facts == {"stage": "x"}
    assert [entry.key for entry in entries(tmp_path)] == ["k"]


def test_a_damaged_entry_is_found_and_built_again(tmp_path: Path) -> None:
    path = get_or_build(tmp_path, "stages", "k", build).path
    (path / "data.txt").write_text("precIous")
    assert read_entry(tmp_path, "stages", "k") is None
    assert get_or_build(tmp_path, "stages", "k", build).reused is False
    assert (path / "data.txt").read_text() == "precious"


def test_a_missing_file_is_damage_too(tmp_path: Path) -> None:
    path = get_or_build(tmp_path, "stages", "k", build).path
    (path / "data.txt").unlink()
    assert get_or_build(tmp_path, "stages", "k", build).reused is False


def test_the_time_of_an_entry_includes_interrupted_builds(tmp_path: Path) -> None:
    def interrupt(directory: Path) -> dict[str, Json]:
        (directory / "half").write_text("done so far")
        last = time.time() + 1000  # as if writing had taken that long
        os.utime(directory / "half", (last, last))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_or_build(tmp_path, "stages", "k", interrupt)

    def fail(directory: Path) -> dict[str, Json]:
        os.utime(directory / "half", (0, 0))  # this build wrote nothing
        raise ValueError("again")

    with pytest.raises(ValueError, match="again"):
        get_or_build(tmp_path, "stages", "k", fail)
    entry = get_or_build(tmp_path, "stages", "k", lambda _: {})
    assert 999 < entry.manifest.seconds < 1100
    assert sorted(path.name for path in entry.path.iterdir()) == ["entry.json", "half"]


def test_a_failed_build_leaves_no_entry_and_the_next_one_resumes(tmp_path: Path) -> None:
    def fail(directory: Path) -> dict[str, Json]:
        (directory / "scratch").mkdir()
        (directory / "scratch" / "half").write_text("half")
        raise RuntimeError("killed")

    def resume(directory: Path) -> dict[str, Json]:
        assert (directory / "scratch" / "half").read_text() == "half"
        return build(directory)

    with pytest.raises(RuntimeError):
        get_or_build(tmp_path, "stages", "k", fail)
    assert read_entry(tmp_path, "stages", "k") is None
    path = get_or_build(tmp_path, "stages", "k", resume).path
    assert sorted(file.name for file in path.iterdir()) == ["data.txt", "entry.json"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "data"),
        # The errors of safetensors and torch, as observed on a full file system.
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:668] . PytorchStreamWriter failed writing file data/9"),
    ],
)
def test_a_full_disk_is_reported_in_two_lines(tmp_path: Path, error: Exception) -> None:
    def full(directory: Path) -> dict[str, Json]:
        raise error

    with pytest.raises(XlbenchError, match=r"(?s)^The disk is full.*Free some space") as caught:
        get_or_build(tmp_path, "stages", "k", full)
    assert str(caught.value).count("\n") == 1
    assert read_entry(tmp_path, "stages", "k") is None


def _slow(directory: Path) -> dict[str, Json]:
    time.sleep(1.0)
    return build(directory)


def _get(home: Path, messages: multiprocessing.Queue[str]) -> None:
    entry = get_or_build(home, "stages", "k", _slow, waiting=lambda: messages.put("waiting"))
    messages.put(f"reused {entry.reused}")


def test_a_second_process_waits_and_uses_the_result_of_the_first(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    messages: multiprocessing.Queue[str] = context.Queue()
    both = [context.Process(target=_get, args=(tmp_path, messages)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert sorted(messages.get(timeout=5) for _ in range(3)) == ["reused False", "reused True", "waiting"]


def test_a_file_is_replaced_and_no_temporary_file_remains(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    write_atomically(path, "old")
    write_atomically(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["table.md"]
    assert path.read_text() == "new"
