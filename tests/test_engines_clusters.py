"""Ray and Slurm as engines: order, a lost node, a time limit, failures, an interrupt; with tasks that only count."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from threading import Thread
from typing import TYPE_CHECKING

import fake_slurm
import psutil
import pytest
from ray.cluster_utils import Cluster

from xlbench import XlbenchError
from xlbench.engines import on_slurm
from xlbench.engines.engine import LOST, Resources, Task, drive
from xlbench.engines.on_ray import RayOptions, run_on_ray
from xlbench.engines.on_slurm import SlurmOptions, executor_of, run_on_slurm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 60.0  # seconds for anything that a task does
COUNTER = """
import os, sys, time
from pathlib import Path

# Counts up to `steps` in a file, from where an earlier process was; then ends with `status`.
place, name, steps, status = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with (place / f"{name}.starts").open("a") as starts:
    print(os.getpid(), *sys.argv[5:], file=starts, flush=True)
count = place / f"{name}.count"
for step in range(int(count.read_text()) if count.exists() else 0, steps):
    time.sleep(0.05)
    temporary = place / f".{name}"
    temporary.write_text(str(step + 1))
    temporary.replace(count)
with (place / "order").open("a") as order:
    print(name, file=order)
sys.exit(status)
"""


class Counting:
    """Tasks that count, and what was told of them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.script = place / "counter.py"
        self.script.write_text(textwrap.dedent(COUNTER), "utf-8")
        self.told: dict[str, int] = {}

    def task(self, name: str, *after: str, steps: int = 2, status: int = 0, **resources: float) -> Task:
        command = (sys.executable, str(self.script), str(self.place), name, str(steps), str(status))
        asked = Resources.model_validate({"cpus": 1, "hours": 1, **resources})
        ids = tuple(f"stages/{it}" for it in after)
        return Task(name, "stages", name, ids, asked, command, self.place / f"{name}.log")

    def tell(self, task: Task, status: int) -> None:
        assert task.name not in self.told
        self.told[task.name] = status

    def starts(self, name: str) -> list[list[str]]:
        """Process, and the arguments that the engine added, of each start."""
        path = self.place / f"{name}.starts"
        return [line.split() for line in path.read_text().splitlines()] if path.is_file() else []

    def order(self) -> list[str]:
        return (self.place / "order").read_text().split()

    def during(self, name: str, step: int, act: Callable[[psutil.Process], None]) -> Thread:
        """Do something to the process of a task once it has counted so far."""

        def watch() -> None:
            count = self.place / f"{name}.count"
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and not (count.is_file() and int(count.read_text()) >= step):
                time.sleep(0.02)
            act(psutil.Process(int(self.starts(name)[-1][0])))

        thread = Thread(target=watch)
        thread.start()
        return thread


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    return Counting(tmp_path)


def test_a_loop_starts_what_can_run_and_stops_what_runs_when_interrupted(counting: Counting) -> None:
    tasks = [counting.task("a"), counting.task("b", "a"), counting.task("c"), counting.task("d", "b", "c")]
    started: list[str] = []
    ends = iter([{"stages/a": 0}, {"stages/c": 3}, {"stages/b": 0}])
    drive(tasks, lambda task: started.append(task.name), lambda: next(ends), lambda: None, counting.tell)
    assert started == ["a", "c", "b"]  # d needs c, which failed
    assert counting.told == {"a": 0, "c": 3, "b": 0}
    started.clear()
    waits = iter([{"stages/a": 0}])
    stopped: list[bool] = []
    with pytest.raises(StopIteration):  # as an interrupt would, anywhere
        drive(
            [counting.task("a"), counting.task("c")],
            lambda task: started.append(task.name),
            lambda: next(waits),
            lambda: stopped.append(True),
            lambda *_: None,
            most=1,
        )
    assert started == ["a", "c"]
    assert stopped == [True]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that runs no task, and two nodes that run one at a time."""
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        found.add_node(num_cpus=1)
    yield found
    found.shutdown()


def test_on_ray_a_task_of_a_lost_node_goes_on_elsewhere(counting: Counting, cluster: Cluster) -> None:
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in cluster.list_all_nodes()}
    lost = []

    def lose(process: psutil.Process) -> None:
        """Kill the task, its worker and the raylet above it, as a machine that loses its power does."""
        raylet = next(it for it in process.parents() if it.pid in raylets)
        lost.append(raylets[raylet.pid])
        for it in [raylet, *raylet.children(recursive=True)]:
            it.kill()

    thread = counting.during("a", 10, lose)
    tasks = [
        counting.task("a", steps=60),
        counting.task("b", "a"),
        counting.task("c", status=3),
        counting.task("d", "c"),
    ]
    before = signal.getsignal(signal.SIGTERM)
    run_on_ray(tasks, RayOptions(address=cluster.address), counting.tell)
    assert signal.getsignal(signal.SIGTERM) is before  # Ray's own would end this process with a dump of its stack
    thread.join()
    cluster.remove_node(lost[0])
    assert counting.told == {"a": 0, "b": 0, "c": 3}
    assert len(counting.starts("a")) == 2
    assert [len(counting.starts(name)) for name in "bcd"] == [1, 1, 0]  # what diverged is not tried again
    assert counting.order() == ["c", "a", "b"]
    assert counting.starts("b")[0][1::2] == ["--parent", "--threads"]
    assert counting.starts("b")[0][-1] == "1"


def test_on_ray_a_task_that_no_node_can_hold_is_refused(counting: Counting, cluster: Cluster) -> None:
    with pytest.raises(XlbenchError, match="No node of the Ray cluster has 64 CPUs, 0 GPUs, as 'a' asks for"):
        run_on_ray([counting.task("a", cpus=64)], RayOptions(address=cluster.address), counting.tell)
    assert counting.starts("a") == []


def test_a_ray_cluster_that_is_not_there_is_refused(counting: Counting) -> None:
    with pytest.raises(XlbenchError, match="The Ray cluster 'nowhere:1' cannot be used"):
        run_on_ray([counting.task("a")], RayOptions(address="nowhere:1"), counting.tell)


def submitter(process: psutil.Process) -> psutil.Process:
    """submitit's own process above a task's."""
    return next(it for it in process.parents() if "submitit.core._submit" in it.cmdline())


def test_on_submitit_a_job_at_its_time_limit_is_queued_again_and_goes_on(counting: Counting) -> None:
    # What submitit's local executor sends at the time limit, and Slurm with --signal.
    thread = counting.during("a", 10, lambda process: submitter(process).send_signal(signal.SIGUSR2))
    tasks = [
        counting.task("a", steps=40),
        counting.task("b", "a"),
        counting.task("c", status=3),
        counting.task("d", "c"),
    ]
    run_on_slurm(tasks, SlurmOptions(executor="local", local_tasks=2, signal_seconds=1), counting.tell)
    thread.join()
    assert counting.told == {"a": 0, "b": 0, "c": 3}
    assert [len(counting.starts(name)) for name in "abcd"] == [2, 1, 1, 0]
    assert counting.order() == ["c", "a", "b"]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a Slurm of this machine keeps its jobs."""
    place = tmp_path / "slurm"
    (place / "bin").mkdir(parents=True)
    fake_slurm.install(place / "bin")
    monkeypatch.setenv("FAKE_SLURM", str(place))
    monkeypatch.setenv("PATH", str(place / "bin"), prepend=os.pathsep)
    monkeypatch.setattr(on_slurm, "LATE", 1.0)
    return place


def test_on_slurm_jobs_come_after_those_that_they_need_and_are_queued_again(counting: Counting, slurm: Path) -> None:
    thread = counting.during("a", 10, lambda process: submitter(process).send_signal(signal.SIGUSR2))
    tasks = [
        counting.task("a", steps=40),
        counting.task("b", "a"),
        counting.task("c", status=2),
        counting.task("d", "c"),
        counting.task("e", "d"),
        counting.task("f", "b"),
    ]
    run_on_slurm(tasks, SlurmOptions(), counting.tell)
    thread.join()
    assert counting.told == {"a": 0, "b": 0, "c": 2, "f": 0}
    assert [len(counting.starts(name)) for name in "abcdef"] == [2, 1, 1, 0, 0, 1]
    dependencies = {
        path.stem: path.read_text().partition("--dependency=")[2].split("\n")[0] for path in slurm.glob("*.sh")
    }
    assert dependencies == {"1": "", "2": "afterok:1", "3": "", "4": "afterok:3", "5": "afterok:4", "6": "afterok:2"}


def test_an_interrupt_cancels_the_jobs(counting: Counting, slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on_slurm(
            [counting.task("c"), counting.task("a", steps=10_000), counting.task("b", "a")], SlurmOptions(), interrupt
        )
    states = {path.stem: path.read_text() for path in slurm.glob("[0-9].state")}
    assert {states["2"], states["3"]} == {"CANCELLED"}
    deadline = time.monotonic() + PATIENCE
    while starts := [int(it[0]) for it in counting.starts("a") if psutil.pid_exists(int(it[0]))]:
        assert time.monotonic() < deadline, starts
        time.sleep(0.05)


def test_a_killed_job_is_lost(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = counting.during("a", 2, lambda process: submitter(process).kill())
    run_on_slurm(
        [counting.task("a", steps=10_000), counting.task("b", "a")], SlurmOptions(executor="local"), counting.tell
    )
    thread.join()
    assert counting.told == {"a": LOST}


def test_the_log_of_a_job_that_is_not_queued_again_says_why(counting: Counting) -> None:
    # submitit takes a job for one that reached its limit ten minutes before: of six minutes, at once.
    thread = counting.during("a", 10, lambda process: submitter(process).send_signal(signal.SIGUSR2))
    options = SlurmOptions(executor="local", requeues=0, signal_seconds=1)
    run_on_slurm([counting.task("a", steps=10_000, hours=0.1)], options, counting.tell)
    thread.join()
    assert counting.told == {"a": LOST}
    assert len(counting.starts("a")) == 1
    assert "-e hours=..., -e requeues=..." in (counting.place / "a.log").read_text("utf-8")


def test_what_sbatch_is_given(counting: Counting, slurm: Path) -> None:
    options = SlurmOptions(
        partition="gpu",
        account="lab",
        setup=("module load cuda",),
        sbatch={"reservation": "week", "exclusive": True, "spread_job": False, "dependency": "singleton"},
        requeues=5,
    )
    task = counting.task("stage", cpus=8, gpus=1, memory_gb=1.5, hours=2.5)
    executor = executor_of(task, options, ["7", "9"])
    text = executor._make_submission_file_text(executor._submitit_command_str, "u")
    folder = counting.place / "jobs"
    lines = [line for line in text.splitlines() if line and not line.startswith(("# ", "srun", "#!"))]
    assert lines == [
        "#SBATCH --account=lab",
        "#SBATCH --comment=stage",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --dependency=afterok:7:9,singleton",
        "#SBATCH --exclusive",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --job-name=xlbench-stage",
        "#SBATCH --kill-on-invalid-dep=yes",
        "#SBATCH --mem=1536M",
        "#SBATCH --nodes=1",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={folder}/%j_0_log.out",
        "#SBATCH --partition=gpu",
        "#SBATCH --requeue",
        "#SBATCH --reservation=week",
        "#SBATCH --signal=USR2@120",
        "#SBATCH --time=150",
        "#SBATCH --wckey=submitit",
        "module load cuda",
        "export SUBMITIT_EXECUTOR=slurm",
    ]


def test_no_slurm_is_an_error(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(XlbenchError, match=r"^There is no sbatch and no srun here"):
        run_on_slurm([counting.task("a")], SlurmOptions(), counting.tell)
