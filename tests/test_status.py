"""``xlbench status``: what runs, how far it is and since when, from another terminal; nothing of killed runs."""

from __future__ import annotations

import json
import os
import re
import socket
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from toy_runs import settings_at

import xlbench
from xlbench import progress as module
from xlbench.cli.app import app
from xlbench.progress import progress
from xlbench.runs import status as status_module
from xlbench.runs.status import Doing, read_status, runs
from xlbench.store import write_sealed
from xlbench.store.owner import new_owner

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have passed; every report is written."""
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    monkeypatch.setattr(status_module, "EVERY", 0.0)
    return now


def printed(home: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["--home", str(home), "status", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_run_says_stage_steps_loss_and_time_left_also_when_it_is_quiet(tmp_path: Path, clock: list[float]) -> None:
    with (
        runs("multistage/toy, seed 0", settings_at(tmp_path)),
        progress("stage recurrent", 320, quiet=True, unit="pairs", done=32, step=16) as advance,
    ):
        clock[0] += 6
        advance(48, "dev loss 0.2360")
        (status,) = read_status(tmp_path)
        assert (status.what, status.host, status.pid) == ("multistage/toy, seed 0", socket.gethostname(), os.getpid())
        # 48 pairs in 6 seconds: 240 more take 30. Steps of 16 pairs, two of them made by an earlier run.
        assert status.doing == Doing(
            title="stage recurrent", done=80, total=320, unit="pairs", step=5, steps=20, note="dev loss 0.2360",
            seconds_left=30,
        )  # fmt: skip
        text = printed(tmp_path)
        assert re.match(rf"multistage/toy, seed 0: runs since .* on {socket.gethostname()}, pid {os.getpid()}\n", text)
        assert "stage recurrent, 25 % of 320 pairs, step 5 of 20, dev loss 0.2360, 30 s left\n" in text
        assert json.loads(printed(tmp_path, "--json"))[0]["doing"]["steps"] == 20
        assert xlbench.status(home=tmp_path) == [status]
    assert printed(tmp_path) == f"nothing runs with the store in {tmp_path}\n"
    assert list((tmp_path / "running").iterdir()) == []


def test_inner_work_is_shown_and_then_the_outer_again(tmp_path: Path) -> None:
    def title() -> str | None:
        (status,) = read_status(tmp_path)
        return status.doing.title if status.doing else None

    with runs("toy", settings_at(tmp_path)):
        assert title() is None
        assert "loading, checking or saving" in printed(tmp_path)
        with progress("outer", None, quiet=True):
            with progress("inner", None, quiet=True):
                assert title() == "inner"
            assert title() == "outer"
        assert title() is None


def test_a_run_that_was_killed_is_no_run(tmp_path: Path) -> None:
    with runs("toy", settings_at(tmp_path)):
        for path in list((tmp_path / "running").glob("*-*")):
            (tmp_path / "running" / f"killed-1-a{path.suffix}").write_bytes(path.read_bytes())
        write_sealed(tmp_path / "running" / "killed-1-a.lock", new_owner().model_copy(update={"started": 1.0}))
        assert len(read_status(tmp_path)) == 1
        assert not list((tmp_path / "running").glob("killed*"))
    assert read_status(tmp_path / "nowhere") == []
    assert not (tmp_path / "nowhere").exists()
