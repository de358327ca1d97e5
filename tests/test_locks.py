"""Locks on a disk that machines share: one holder, none of them dead, and no result of one that lost its lock."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from xlbench import XlbenchError
from xlbench.store import get_or_build, lease, write_sealed
from xlbench.store import heartbeat as heartbeat_module
from xlbench.store import lock as module
from xlbench.store.heartbeat import Heartbeat, heartbeat
from xlbench.store.lease import claim, running
from xlbench.store.lock import FORGOTTEN, LEASE, UNWRITTEN, Lock, look
from xlbench.store.owner import HOST_VARIABLE, Owner, machine, new_owner
from xlbench.store.remove import remove_entry, remove_unfinished, unfinished

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

    from xlbench.fingerprint import Json

ELSEWHERE = {"machine": "another", "host": "other", "token": "theirs"}
KILLED = {"started": 1.0, "token": "theirs"}  # the number is another process's since then


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.lock"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have passed for who waits."""
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


def write(path: Path, age: float = 0.0, **changes: object) -> None:
    """Write the lock of another owner, touched so many seconds ago."""
    write_sealed(path, new_owner().model_copy(update=changes))
    touched(path, age)


def touched(path: Path, age: float) -> None:
    at = time.time() - age
    os.utime(path, (at, at))


def owner(path: Path) -> Owner:
    found = look(path)
    assert found is not None
    assert found.owner is not None
    return found.owner


def test_a_lock_says_who_holds_it_and_leaves_nothing(path: Path) -> None:
    lock, other = Lock(path), Lock(path)
    assert lock.acquire(timeout=0)
    assert not other.acquire(timeout=0)
    assert (owner(path).pid, owner(path).machine) == (os.getpid(), machine())
    assert (lock.is_held(), other.is_held(), lock.unproven) == (True, False, False)
    other.release()
    assert lock.is_held()
    lock.release()
    assert list(path.parent.iterdir()) == []
    with other:
        assert other.is_held()


def test_the_lock_of_a_process_that_has_ended_is_taken_at_once(path: Path) -> None:
    """Also where its number is another process's, and where nobody has asked how it ended."""

    def take() -> bool:
        lock = Lock(path)
        taken = lock.acquire(timeout=0)
        assert not lock.unproven
        lock.release()
        assert [it.name for it in path.parent.iterdir()] == ([] if taken else ["x.lock"])
        return taken

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        write(path, pid=child.pid, started=None)
        assert not take()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        assert take()
    for changes in ({"pid": child.pid}, KILLED):
        write(path, **changes)
        assert take()


def test_the_lock_of_a_process_that_runs_here_is_never_taken(path: Path, clock: list[float]) -> None:
    write(path, 1e6)
    lock = Lock(path)
    for _ in range(3):
        assert not lock.acquire(timeout=0)
        clock[0] += 1e6


@pytest.mark.parametrize("variable", ["another", ""])
def test_hosts_of_one_name_are_told_apart(path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    here = machine()
    monkeypatch.setenv(HOST_VARIABLE, variable)
    assert (machine() == here) is (variable == "")
    monkeypatch.setattr("xlbench.store.owner._boot", lambda: "another boot")
    assert machine() != here
    monkeypatch.undo()
    monkeypatch.setattr("xlbench.store.owner._namespace", {"pid": 1, "time": 0}.get)
    assert machine() != here


HOLDS = """
import pathlib, sys
from xlbench.store.lock import Lock
Lock(pathlib.Path(sys.argv[1])).acquire()
print("held", flush=True)
input()
"""


def test_a_holder_in_another_container_is_not_judged_by_its_number(path: Path) -> None:
    """With the same host name and boot; its number is that of the first process here."""
    apart = ["unshare", "--fork", "--pid", "--mount-proc"]
    if shutil.which(apart[0]) is None or subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no process namespace can be made here")
    command = [*apart, sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        assert owner(path).pid < os.getpid()
        assert owner(path).machine != machine()
        assert not Lock(path).acquire(timeout=0)
        child.communicate(b"\n")


def test_an_owner_on_another_machine_is_gone_after_a_minute_without_a_sign(path: Path, clock: list[float]) -> None:
    assert LEASE >= 3 * heartbeat_module.BEAT
    write(path, **ELSEWHERE)
    lock = Lock(path)
    assert not lock.acquire(timeout=0)
    clock[0] += LEASE - 1
    assert not lock.acquire(timeout=0)
    touched(path, 5)  # a sign
    clock[0] += LEASE - 1
    assert not lock.acquire(timeout=0)  # it was seen now
    clock[0] += LEASE - 1
    assert not lock.acquire(timeout=0)
    clock[0] += 1
    assert lock.acquire(timeout=0)
    assert lock.unproven
    assert [it.name for it in path.parent.iterdir()] == ["x.lock"]


def test_a_lock_that_was_not_touched_for_long_is_taken_at_once(path: Path) -> None:
    write(path, FORGOTTEN - 60, **ELSEWHERE)
    assert not Lock(path).acquire(timeout=0)
    touched(path, FORGOTTEN + 1)
    assert Lock(path).acquire(timeout=0)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b'{"pid": 1}'])
def test_a_damaged_lock_is_taken_over(path: Path, clock: list[float], content: bytes) -> None:
    path.write_bytes(content)
    lock = Lock(path)
    assert not lock.acquire(timeout=0)  # its owner is written just now
    clock[0] += UNWRITTEN
    assert lock.acquire(timeout=0)
    assert lock.unproven


def test_what_is_no_file_is_no_lock(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    with pytest.raises(XlbenchError, match=r"x\.lock' is no file, and so no lock\.\nDelete it"):
        Lock(path).acquire()
    path.rmdir()
    (tmp_path / "outside").write_text("precious")
    path.symlink_to(tmp_path / "outside")
    assert Lock(path).acquire()
    assert not path.is_symlink()
    assert (tmp_path / "outside").read_text() == "precious"


DIES = """
import os, pathlib, sys
from xlbench.store.lock import Lock
pathlib.Path.replace = lambda *_: os._exit(9)
Lock(pathlib.Path(sys.argv[1])).acquire()
"""


@pytest.mark.parametrize("deep", [False, True])
def test_who_dies_while_it_takes_a_lock_over_blocks_nobody(path: Path, deep: bool) -> None:
    write(path, **KILLED)
    if deep:  # another one died at the same place before
        write(path.with_name("x.lock.next"), **KILLED)
    done = subprocess.run([sys.executable, "-c", DIES, str(path)], check=False)
    assert done.returncode == 9
    assert len(list(path.parent.iterdir())) == (3 if deep else 2)
    lock = Lock(path)
    assert lock.acquire(timeout=0)
    assert owner(path).pid == os.getpid()
    lock.release()
    assert list(path.parent.iterdir()) == []


def test_a_lock_that_gave_a_sign_while_it_was_judged_is_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, FORGOTTEN + 1, **ELSEWHERE)
    create = module._create

    def late(at: Path, who: Owner) -> bool:
        if at.name.endswith(".next"):
            touched(path, 0)
        return create(at, who)

    monkeypatch.setattr(module, "_create", late)
    assert not Lock(path).acquire(timeout=0)
    assert owner(path).token == "theirs"
    assert [it.name for it in path.parent.iterdir()] == ["x.lock"]


ROUNDS = 24


def _take(home: Path, barrier: Barrier) -> None:
    def build(directory: Path) -> dict[str, Json]:
        with (home / "built").open("a") as stream:
            stream.write(f"{directory.name}\n")
        (directory / "data").write_text("x")
        return {}

    os.environ[HOST_VARIABLE] = f"host{os.getpid() % 2}"
    for count in range(ROUNDS):
        barrier.wait(60)
        get_or_build(home, "stages", f"k{count}", build, quiet=True)


def test_of_several_that_take_a_lock_over_one_builds(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    locks = tmp_path / "locks"
    locks.mkdir()
    for count in range(ROUNDS):
        stale = locks / f"stages-k{count}.lock"
        write(stale, FORGOTTEN + 1, **ELSEWHERE)
        if count % 3 == 1:  # somebody died when it took it over
            write(stale.with_name(f"{stale.name}.next"), FORGOTTEN + 1, **ELSEWHERE)
        if count % 3 == 2:
            stale.write_bytes(b"")
            touched(stale, FORGOTTEN + 1)
    takers = [context.Process(target=_take, args=(tmp_path, barrier)) for _ in range(4)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(120)
        assert taker.exitcode == 0
    built = [name.partition("~")[0] for name in (tmp_path / "built").read_text().split()]
    assert sorted(built) == sorted(f"stages-k{count}" for count in range(ROUNDS))
    assert list(locks.iterdir()) == []
    assert list((tmp_path / "partial").iterdir()) == []


@pytest.mark.parametrize("writes_on", ["into its directory", "where its directory was", "nothing more"])
def test_who_lost_its_lock_publishes_nothing_and_takes_what_the_other_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], writes_on: str
) -> None:
    places = []

    def theirs(directory: Path) -> dict[str, Json]:
        places.append(directory)
        assert (directory / "half").read_text() == "mine"  # it goes on from what was there
        assert not places[0].exists()  # and who was suspended cannot write to it
        (directory / "data").write_text("theirs")
        return {}

    def mine(directory: Path) -> dict[str, Json]:
        assert not places  # it is built once
        places.append(directory)
        with (directory / "half").open("w") as open_still:
            open_still.write("mine")
            open_still.flush()
            touched(tmp_path / "locks" / "stages-k.lock", FORGOTTEN + 1)  # this process stood still
            with monkeypatch.context() as patch:
                patch.setenv(HOST_VARIABLE, "another")
                assert not get_or_build(tmp_path, "stages", "k", theirs).reused
            open_still.write(" and more")
        if writes_on == "where its directory was":
            directory.mkdir()
            (directory / "attempt.json").write_text("{}")
        if writes_on != "nothing more":
            (directory / "data").write_text("mine")
        return {}

    entry = get_or_build(tmp_path, "stages", "k", mine)
    assert entry.reused
    assert (entry.path / "data").read_text() == "theirs"
    assert (entry.path / "half").read_text() == "mine"
    assert places[1].name.startswith("stages-k~")
    assert list((tmp_path / "partial").iterdir()) == list((tmp_path / "locks").iterdir()) == []
    said = "stages k is left to another process: this process stood still for more than 60 seconds"
    assert said in capsys.readouterr().err


def test_an_interrupted_copy_is_resumed_and_pruned_like_any_other(tmp_path: Path) -> None:
    def interrupt(directory: Path) -> dict[str, Json]:
        (directory / "half").write_text("half")
        raise KeyboardInterrupt

    (tmp_path / "locks").mkdir()
    for key in ("k", "q"):
        write(tmp_path / "locks" / f"stages-{key}.lock", FORGOTTEN + 1, **ELSEWHERE)
        with pytest.raises(KeyboardInterrupt):
            get_or_build(tmp_path, "stages", key, interrupt)

    def resume(directory: Path) -> dict[str, Json]:
        assert (directory / "half").read_text() == "half"
        (name,) = (it.path.name for it in unfinished(tmp_path) if it.path.name.startswith("stages-k~"))
        assert remove_unfinished(tmp_path, name) == "a process is building it"
        return {}

    get_or_build(tmp_path, "stages", "k", resume)
    (left,) = unfinished(tmp_path)
    assert remove_unfinished(tmp_path, left.path.name) is None
    assert list((tmp_path / "partial").iterdir()) == []


def _stop(home: Path, says: multiprocessing.Queue[bool]) -> None:
    def build(directory: Path) -> dict[str, Json]:
        os.kill(os.getpid(), signal.SIGSTOP)
        (directory / "data").write_text("mine")
        return {}

    os.environ[HOST_VARIABLE] = "suspended"
    says.put(get_or_build(home, "stages", "k", build, quiet=True).reused)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no signal that suspends a process")
def test_a_process_that_was_suspended_takes_what_another_machine_made(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    says: multiprocessing.Queue[bool] = context.Queue()
    holder = context.Process(target=_stop, args=(tmp_path, says))
    holder.start()
    assert holder.pid is not None
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
    touched(tmp_path / "locks" / "stages-k.lock", FORGOTTEN + 1)

    def theirs(directory: Path) -> dict[str, Json]:
        (directory / "data").write_text("theirs")
        return {}

    entry = get_or_build(tmp_path, "stages", "k", theirs)
    os.kill(holder.pid, signal.SIGCONT)
    assert says.get(timeout=60) is True
    holder.join(60)
    assert (entry.path / "data").read_text() == "theirs"
    assert list((tmp_path / "partial").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forked processes")
def test_a_forked_process_holds_nothing_of_its_parent(path: Path, tmp_path: Path) -> None:
    with Lock(path) as lock, lease(tmp_path, [("stages", "k")]):
        leased = [it.read_bytes() for it in sorted((tmp_path / "running").iterdir())]
        child = os.fork()
        if child == 0:
            try:
                claim(tmp_path, "stages", "other")
                heartbeat.beat()
                held = lock.is_held()
                lock.release()
                os._exit(1 if held or heartbeat._beating or Lock(path).acquire(timeout=0) else 0)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert lock.is_held()
        assert [it.read_bytes() for it in sorted((tmp_path / "running").iterdir())] == leased


def test_a_held_lock_is_touched_and_nobody_elses(path: Path) -> None:
    with Lock(path) as lock:
        touched(path, 1000)
        heartbeat.beat()
        assert time.time() - path.stat().st_mtime < 500
        heartbeat.beat()
        write(path, 1000, **ELSEWHERE)
        heartbeat.beat()
        assert time.time() - path.stat().st_mtime > 500
        assert not lock.is_held()
    assert owner(path).token == "theirs"  # which is not given back


def test_the_thread_that_touches_ends_when_nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    assert heartbeat_module.BEAT >= 10
    beats: list[float] = []
    monkeypatch.setattr(heartbeat_module, "sleep", beats.append)

    class Once:
        def touch(self) -> None:
            heart.discard(self)
            raise OSError("the disk is away")

    heart = Heartbeat()
    for _ in range(2):
        heart.add(Once())
        thread = heart._thread
        if thread is not None:
            thread.join(60)
    assert heart._thread is None
    assert beats == 4 * [heartbeat_module.BEAT]


def test_a_lease_that_was_lost_is_made_again(tmp_path: Path) -> None:
    get_or_build(tmp_path, "stages", "k", lambda _: {})
    with lease(tmp_path, [("stages", "k")]) as stem:
        for it in (tmp_path / "running").iterdir():
            it.unlink()
        claim(tmp_path, "stages", "k")
        assert running(tmp_path) == [stem]
        assert remove_entry(tmp_path, "stages", "k") == "a run needs it"


def test_the_lease_of_another_machine_holds_until_it_is_forgotten(tmp_path: Path) -> None:
    get_or_build(tmp_path, "stages", "k", lambda _: {})
    (tmp_path / "running").mkdir()
    lock = tmp_path / "running" / "host-1-a.lock"
    (tmp_path / "running" / "host-1-a.json").write_text('["stages/k"]')
    write(lock, **ELSEWHERE)
    assert remove_entry(tmp_path, "stages", "k") == "a run needs it"
    touched(lock, FORGOTTEN + 1)
    assert remove_entry(tmp_path, "stages", "k") is None
    assert list((tmp_path / "running").iterdir()) == []
