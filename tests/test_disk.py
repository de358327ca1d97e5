"""What a disk refuses is told in two lines: what, where, how much is needed and free, and what to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from xlbench import XlbenchError
from xlbench.api import Target
from xlbench.disk import answered, disk_errors

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.distill.context import StageContext

FULL = "The disk is full: writing targets to "


def told(error: Exception, where: Path) -> str:
    with pytest.raises(XlbenchError) as caught, disk_errors("targets", where, needed=2_500_000, store=True):
        raise error
    assert str(caught.value).count("\n") == 1
    assert str(caught.value).endswith("; the same command resumes.")
    return str(caught.value)


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "The disk quota is used up: writing targets to "),
        (OSError(errno.EFBIG, "File too large"), "A file is too large for this process or disk: writing targets to "),
        (OSError(errno.EIO, "Input/output error"), "The disk failed: reading or writing targets to "),
        # As safetensors, torch, numpy and pyarrow word it; where they give no reason, a small write tells that there
        # is space for little, so it is space for much that lacked.
        (Exception("Error while serializing: I/O error: No space left on device (os error 28)"), FULL),
        (Exception("I/O error: File too large (os error 27)"), "A file is too large for this process or disk: "),
        (RuntimeError("[enforce fail at inline_container.cc:668] . PytorchStreamWriter failed writing file"), FULL),
        (RuntimeError("basic_ios::clear: iostream error"), FULL),
        (OSError("131072 requested and 0 written"), FULL),
        (OSError("Error writing bytes to file. Detail: [errno 28] No space left on device"), FULL),
    ],
)
def test_what_the_disk_refuses_is_said(tmp_path: Path, error: Exception, begins: str) -> None:
    text = told(error, tmp_path)
    assert text.startswith(begins)
    assert f"to '{tmp_path}'" in text or "gave" in text
    if begins == FULL:
        # 2,500,000 bytes; what is free depends on the machine.
        assert re.search(r"\(2\.5 MB needed, [\d,]+\.\d [kM]B free\)\.\nFree some space \(`xlbench store", text)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, code: int) -> None:
    file = tmp_path / "vectors.npy"
    text = told(OSError(code, "denied", str(file)), tmp_path)
    assert text.startswith(f"'{file}' cannot be written: {os.strerror(code)}.\nSet XLBENCH_HOME to a directory")


def test_a_wrapped_error_is_found(tmp_path: Path) -> None:
    error = RuntimeError("generating the dataset failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert told(error, tmp_path).startswith(FULL)


def test_a_full_disk_elsewhere_is_not_the_stores(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "file"
    text = told(OSError(errno.ENOSPC, "No space left on device", str(cache)), tmp_path / "home")
    assert text.startswith(f"The disk is full: writing '{cache}' failed (")
    assert "needed" not in text


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "x"), ConnectionError("no route")])
def test_other_errors_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, disk_errors("targets", tmp_path):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "x"), "The disk is full: writing the output failed.\nFree some space or choose another"),
        (
            OSError(errno.EACCES, "x", "/a"),
            "'/a' cannot be written: Permission denied.\nChange its permissions or name",
        ),
        (OSError(errno.ENAMETOOLONG, "long", "/a"), "'/a' cannot be used: long.\nGive a shorter name."),
        (OSError(errno.ELOOP, "links"), "The output cannot be used: links.\nCheck the path and what lies there."),
    ],
)
def test_the_doors_answer_whatever_the_system_refuses(error: OSError, text: str) -> None:
    with pytest.raises(XlbenchError) as caught, answered("the output"):
        raise error
    assert str(caught.value).startswith(text)
    assert "resumes" not in str(caught.value)
    with pytest.raises(BrokenPipeError), answered("the output"):
        raise BrokenPipeError


def test_targets_ask_for_their_space_first(context: StageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def full(descriptor: int, offset: int, size: int) -> None:
        asked.append(size)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(XlbenchError, match="writing the targets of toy to ") as caught:
        context.targets(Target(encoder="toy", side="own"))
    # 16 numbers of two bytes a sentence; numpy's header is 128 bytes.
    needed = 32 * len(context.corpus.sentences)
    assert asked == [128 + needed]
    assert f"({needed / 1e3:.1f} kB needed, " in str(caught.value)
    assert shutil.disk_usage(context.settings.home).free > needed
