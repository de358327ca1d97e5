"""The store: complete entries only, one build at a time, damaged entries built again."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import multiprocessing
import os
import pathlib
import re
import socket
import time
from typing import TYPE_CHECKING

import pytest

from xlbench import XlbenchError
from xlbench.store import (
    Damage,
    Manifest,
    entries,
    entry_path,
    examine,
    get_or_build,
    lease,
    read_entry,
    write_atomically,
    write_sealed,
)
from xlbench.store.entry import entry_names
from xlbench.store.owner import new_owner
from xlbench.store.remove import remove_entry, remove_unfinished, unfinished

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


@pytest.mark.parametrize("years", [70, -70])
def test_a_clock_that_was_set_gives_no_absurd_time(tmp_path: Path, years: int) -> None:
    def interrupt(directory: Path) -> dict[str, Json]:
        (directory / "half").write_text("done so far")
        last = time.time() + years * 365 * 24 * 3600
        os.utime(directory / "half", (last, last))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_or_build(tmp_path, "stages", "k", interrupt)
    assert get_or_build(tmp_path, "stages", "k", build).manifest.seconds < 60  # of this build alone


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
    with contextlib.redirect_stderr(io.StringIO()) as said:
        entry = get_or_build(home, "stages", "k", _slow, doing="slow")
    messages.put(f"{entry.reused} {os.getpid()} {said.getvalue()}")


def test_a_second_process_waits_and_uses_the_result_of_the_first(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    messages: multiprocessing.Queue[str] = context.Queue()
    both = [context.Process(target=_get, args=(tmp_path, messages)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    built, reused = sorted(messages.get(timeout=5) for _ in range(2))
    assert re.fullmatch(r"False \d+ ", built)
    holder = rf"process {built.split()[1]} on {re.escape(socket.gethostname())} \(since \d{{4}}-\d\d-\d\d [\d:+-]+\)"
    assert re.fullmatch(rf"True \d+ xlbench: waiting for {holder} that is slow\n", reused)
    assert list((tmp_path / "locks").iterdir()) == []


def test_what_a_killed_process_had_not_finished_is_no_part_of_an_entry(tmp_path: Path) -> None:
    left = tmp_path / "partial" / "stages-k" / "deep" / ".record.json.4711"
    left.parent.mkdir(parents=True)
    left.write_text("hal")
    entry = get_or_build(tmp_path, "stages", "k", build)
    assert set(entry.manifest.files) == {"data.txt"}
    assert [path.name for path in entry.path.rglob(".*")] == []


def test_a_file_is_replaced_and_no_temporary_file_remains(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    write_atomically(path, "old")
    write_atomically(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["table.md"]
    assert path.read_text() == "new"


def damage(home: Path) -> str:
    found = examine(home, "stages", "k")
    assert isinstance(found, Damage)
    return found.reason


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        # The manifest with its digest as it was: any change is noticed.
        ("seconds", 3.0, "entry.json is missing or has changed"),
        ("facts", {"stage": "y"}, "entry.json is missing or has changed"),
        ("digest", "0" * 20, "entry.json is missing or has changed"),
        ("digest", None, "entry.json is missing or has changed"),
        ("more", 1, "entry.json is missing or has changed"),
    ],
)
def test_a_manifest_that_has_changed_is_damage(tmp_path: Path, field: str, value: object, reason: str) -> None:
    path = get_or_build(tmp_path, "stages", "k", build).path / "entry.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, field: value}))
    assert damage(tmp_path) == reason
    assert list(entries(tmp_path)) == []
    assert get_or_build(tmp_path, "stages", "k", build, quiet=True).reused is False
    assert read_entry(tmp_path, "stages", "k") is not None


@pytest.mark.parametrize(
    ("kind", "key", "files"),
    [("stages", "/some/dir", {}), ("../..", "k", {}), ("targets", "k", {}), ("stages", "k", {"../../precious": "0"})],
)
def test_what_an_entry_is_follows_from_its_path(tmp_path: Path, kind: str, key: str, files: dict[str, str]) -> None:
    """A manifest that was forged, digest and all, names nothing outside of its own directory."""
    home, precious = tmp_path / "home", tmp_path / "precious"
    precious.write_text("precious")
    manifest = Manifest(kind=kind, key=key, made=0, seconds=0, facts={}, files=files)
    write_sealed(home / "stages" / "k" / "entry.json", manifest)
    assert isinstance(examine(home, "stages", "k", only=()), Damage)
    assert list(entries(home)) == []
    assert remove_entry(home, "stages", "k") is None
    assert not (home / "stages" / "k").exists()
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(
    ("kind", "key"), [("stages", "../k"), ("..", "k"), ("stages", ""), ("partial", "k"), ("a/b", "k")]
)
def test_no_name_leads_out_of_the_store(tmp_path: Path, kind: str, key: str) -> None:
    for ask in (entry_path, read_entry, remove_entry):
        with pytest.raises(XlbenchError, match="is no name of an entry"):
            ask(tmp_path, kind, key)
    with pytest.raises(XlbenchError, match="is no name of an entry"):
        get_or_build(tmp_path, kind, key, build)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["entry.json", "data.txt"])
def test_no_bit_flips_unnoticed(tmp_path: Path, name: str) -> None:
    path = get_or_build(tmp_path, "stages", "k", build).path / name
    content = path.read_bytes()
    written = read_entry(tmp_path, "stages", "k")
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        # The last of the seventeen digits of a time may be another and mean the same.
        assert read_entry(tmp_path, "stages", "k") in (None, written), place
        if name == "data.txt":
            assert read_entry(tmp_path, "stages", "k") is None


def test_directories_that_are_no_entries_are_left_alone(tmp_path: Path) -> None:
    """As of somebody who gives his home directory as the store."""
    get_or_build(tmp_path, "stages", "k", build)
    for place in ("documents/letters/one.txt", "stages/mine/one.txt", "partial/mine/one.txt"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("precious")
    (tmp_path / "stages" / ("0" * 20)).mkdir()  # an entry that has lost its manifest
    assert list(entry_names(tmp_path)) == [("stages", "0" * 20), ("stages", "k")]
    assert list(unfinished(tmp_path)) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    path = get_or_build(home, "stages", "k", build).path
    path.rename(outside)
    path.symlink_to(outside)
    assert damage(home) == "it is a link, or lies in one"
    assert get_or_build(home, "stages", "k", build, quiet=True).reused is False
    assert not path.is_symlink()
    (path / "data.txt").unlink()
    (path / "data.txt").symlink_to(outside / "data.txt")  # of the same content
    assert damage(home) == "data.txt is a link"
    (path.parent / "other").symlink_to(outside)
    assert remove_entry(home, "stages", "other") is None
    assert sorted(it.name for it in outside.iterdir()) == ["data.txt", "entry.json"]


@pytest.mark.parametrize("folder", ["stages", "partial", "locks"])
def test_a_folder_that_is_a_link_is_refused(tmp_path: Path, folder: str) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    outside.mkdir()
    (home / folder).symlink_to(outside)
    with pytest.raises(XlbenchError, match=f"home/{folder}' is a link, and the store follows none"):
        get_or_build(home, "stages", "k", build)
    assert list(outside.iterdir()) == []


def test_a_file_that_does_not_belong_to_an_entry_is_damage(tmp_path: Path) -> None:
    path = get_or_build(tmp_path, "stages", "k", build).path
    (path / "more.json").write_text("{}")
    assert damage(tmp_path) == "more.json does not belong to it"
    (path / "more.json").rename(path / ".DS_Store")  # hidden files are no matter
    assert read_entry(tmp_path, "stages", "k") is not None


def test_damage_is_said_once_and_the_damaged_entry_stays_until_it_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = get_or_build(tmp_path, "stages", "k", build).path
    (path / "data.txt").write_text("precIous")

    def fail(directory: Path) -> dict[str, Json]:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        get_or_build(tmp_path, "stages", "k", fail)
    assert (path / "data.txt").read_text() == "precIous"
    assert capsys.readouterr().err == "xlbench: stages k is damaged (data.txt has changed); it is made again\n"
    get_or_build(tmp_path, "stages", "k", build, quiet=True)
    get_or_build(tmp_path, "stages", "k", build)
    assert capsys.readouterr().err == ""


def test_all_files_are_on_the_disk_before_an_entry_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    sync, replace = os.fsync, pathlib.Path.replace

    def fsync(descriptor: int) -> None:
        events.append(f"sync {pathlib.Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        sync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        events.append(f"rename {path.name} {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(pathlib.Path, "replace", rename)
    get_or_build(tmp_path, "stages", "k", build)
    at = events.index("rename stages-k k")
    assert {"sync data.txt", "sync entry.json", "sync stages-k"} <= set(events[:at])
    assert events[at + 1 :] == ["sync stages"]


def test_what_a_run_needs_and_what_is_being_built_is_not_deleted(tmp_path: Path) -> None:
    get_or_build(tmp_path, "stages", "k", build)
    get_or_build(tmp_path, "stages", "other", build)
    with lease(tmp_path, [("stages", "k")]):
        assert remove_entry(tmp_path, "stages", "k") == "a run needs it"
        assert get_or_build(tmp_path, "stages", "other", build).reused  # joins the lease
        assert remove_entry(tmp_path, "stages", "other") == "a run needs it"

        def prune(directory: Path) -> dict[str, Json]:
            assert remove_entry(tmp_path, "stages", "new") == "a process is building it"
            assert remove_unfinished(tmp_path, "stages-new") == "a process is building it"
            return build(directory)

        get_or_build(tmp_path, "stages", "new", prune)
    assert [remove_entry(tmp_path, "stages", key) for key in ("k", "other", "new")] == [None] * 3
    assert list(entries(tmp_path)) == []
    assert list((tmp_path / "running").iterdir()) == []


def test_the_lease_of_a_process_that_was_killed_counts_for_nothing(tmp_path: Path) -> None:
    get_or_build(tmp_path, "stages", "k", build)
    (tmp_path / "running").mkdir()
    for ending, text in {"json": '["stages/k"]', "status": ""}.items():
        (tmp_path / "running" / f"host-1-a.{ending}").write_text(text)
    killed = new_owner().model_copy(update={"started": 1.0})  # since when its number is another process's
    write_sealed(tmp_path / "running" / "host-1-a.lock", killed)
    assert remove_entry(tmp_path, "stages", "k") is None
    assert list((tmp_path / "running").iterdir()) == []
