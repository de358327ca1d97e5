"""Saving a student: whole or not at all, and a second time where the first one left it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from toy_runs import PLUGIN, STUDENT, make_place

import xlbench
from xlbench import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xlbench import Results


def run(place: Path, **changes: object) -> Results:
    arguments: dict[str, object] = {
        "student": STUDENT, "assistant": str(place / "assistant"), "corpus": f"tsv:{place / 'corpus'}", "suite": "toy",
        "budget": "toy", "precision": "float32", "method": "single-stage", "options": {"batch_size": 32},
        "speed": False, "home": place / "home", "plugin": PLUGIN, "device": "cpu", "quiet": True,
    }  # fmt: skip
    return xlbench.run(**{**arguments, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("saving"))


@pytest.fixture(scope="module")
def ran(place: Path) -> Results:
    return run(place)


def remove(path: Path) -> None:
    path.unlink()


def times(directory: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in directory.rglob("*")}


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "edit", "same"),
    [
        ("README.md", change, True),  # its author's
        ("README.md", remove, True),
        ("model.safetensors", change, False),
        ("config.json", change, False),
        ("modeling_xlbench.py", change, False),
        ("tokenizer.json", remove, False),
        ("another.txt", Path.touch, False),
        ("link.txt", lambda path: path.symlink_to("tokenizer.json"), False),
    ],
)
def test_a_directory_that_holds_the_very_student_is_accepted_and_no_other(
    place: Path,
    ran: Results,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    edit: Callable[[Path], None],
    *,
    same: bool,
) -> None:
    saved = tmp_path / "saved"
    run(place, save=saved)
    edit(saved / name)
    before = times(saved)
    said = f"'{saved}' holds this student already, every file but its card compared"
    told = replace(ran.student, settings=ran.settings.model_copy(update={"quiet": False}))
    if same:
        assert run(place, save=saved).student.path == ran.student.path
        assert told.save(saved) == saved
        assert capsys.readouterr().err == f"xlbench: {said}\n"
    else:
        for save in (lambda: run(place, save=saved), lambda: told.save(saved)):
            with pytest.raises(XlbenchError, match=r"saved' is there already"):
                save()
    assert times(saved) == before


def test_another_student_there_is_refused_before_the_training(place: Path, ran: Results, tmp_path: Path) -> None:
    saved = ran.student.save(tmp_path / "saved")
    notes: list[str] = []
    with pytest.raises(XlbenchError, match="is there already"):
        run(place, seeds=7, save=saved, say=notes.append)
    assert notes == []


def test_a_copy_that_is_killed_leaves_a_temporary_name_at_most(
    ran: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        os._exit(9)

    if (child := os.fork()) == 0:
        try:
            monkeypatch.setattr("xlbench.exports.directory.write_card", killed)  # all files but the last are there
            ran.student.save(tmp_path / "saved")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert [path.name for path in tmp_path.iterdir()] == [f".saved.{child}"]
    ran.student.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "README.md").is_file()
