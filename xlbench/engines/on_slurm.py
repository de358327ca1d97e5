"""The engine ``slurm``: each task is a job, submitted by submitit with the jobs that it comes after.

All jobs are submitted at once, so Slurm has the whole graph and its queue counts from now on. A job that reaches its
time limit, or is preempted, ends its command, asks to be queued again, and goes on from the last checkpoint. submitit
pickles what it submits: here that is the words of a command.
"""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.engines.command import end_command, start_command
from xlbench.engines.engine import DONE, LOST, EngineOptions, Task, drive
from xlbench.errors import XlbenchError, first_line

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

    from submitit import Job
    from submitit.core.core import PicklingExecutor
    from submitit.core.utils import DelayedSubmission

    from xlbench.engines.engine import Tell

POLL = 1.0  # seconds between two looks at the jobs; submitit asks sacct less often
LATE = 30.0  # seconds in which a file of another node may become visible here
STATUS = ".exit"  # ending of the file with a task's exit status, beside its log
TOLD_TO_END = (
    "slurm: told to end, at the time limit of its job or for another one; it is queued again, unless it reached the"
    " limit as often as it may (-e hours=..., -e requeues=...)\n"
)


class SlurmOptions(EngineOptions):
    """Options of Slurm."""

    cpus: int | None = Field(default=4, ge=1, le=4096, description="Cores of a task, and its threads.")
    executor: Literal["slurm", "local"] = Field(
        default="slurm", description="local: submitit's executor that runs jobs on this machine, to try a set-up."
    )
    partition: str | None = Field(default=None, min_length=1, description="As sbatch takes it.")
    account: str | None = Field(default=None, min_length=1, description="As sbatch takes it.")
    qos: str | None = Field(default=None, min_length=1, description="As sbatch takes it.")
    constraint: str | None = Field(default=None, min_length=1, description="As sbatch takes it.")
    sbatch: dict[str, bool | str | int] = Field(
        default={},
        description="Any other options of sbatch, by their long names; true for one without a value. A dependency is"
        " added to a task's own.",
    )
    setup: tuple[str, ...] = Field(default=(), description="Lines of shell that a job runs first.")
    requeues: int = Field(default=20, ge=0, le=1000, description="Times that a job may reach its time limit and go on.")
    signal_seconds: int = Field(
        default=120, ge=1, le=3600, description="How long before its time limit a job is told to end."
    )
    local_tasks: int = Field(default=1, ge=1, le=1024, description="Tasks at a time of the executor local.")


class Command:
    """A task's command as submitit calls it; queued again, it begins anew, and finds its checkpoints in the store.

    Args:
        command: Of the task.
        threads: Of torch in it.
        log: Of the task; beside it lies its exit status.
    """

    def __init__(self, command: tuple[str, ...], threads: int | None, log: str) -> None:
        self.command = command
        self.threads = threads
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Run the command; a status other than 0 is an error, so that the jobs after this one are not begun."""
        self.process = start_command(self.command, self.threads)
        try:
            status = self.process.wait()
        except BaseException:
            end_command(self.process)
            raise
        status_file(Path(self.log)).write_text(str(status), "utf-8")
        if status != DONE:
            raise RuntimeError(f"the task ended with exit status {status}: see {self.log}")

    def checkpoint(self) -> DelayedSubmission:
        """End the command, and return what is queued again; submitit calls this before a job is ended."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            end_command(self.process)
        with Path(self.log).open("a", encoding="utf-8") as log:  # the error about a lost task names its log
            log.write(TOLD_TO_END)
        return DelayedSubmission(Command(self.command, self.threads, self.log))


def status_file(log: Path) -> Path:
    """Return the file with the exit status of the task that has a log."""
    return log.with_suffix(STATUS)


def run_on_slurm(tasks: Sequence[Task], options: SlurmOptions, tell: Tell) -> None:
    """Submit tasks to Slurm, each after the jobs of those that it needs, and wait for them.

    Raises:
        XlbenchError: This is no node of a Slurm cluster, or sbatch refuses a job.
    """
    jobs: dict[str, Job[None]] = {}
    by_id = {task.id: task for task in tasks}
    over_since: dict[str, float] = {}
    patience = LATE if options.executor == "slurm" else 2 * POLL

    def start(task: Task) -> None:
        after = [jobs[name].job_id for name in task.after if name in jobs]
        jobs[task.id] = submit(task, options, after)

    def ended() -> Mapping[str, int]:
        time.sleep(POLL)
        found = {}
        for name in [name for name, job in jobs.items() if job.done()]:
            status = _status(by_id[name].log)
            over = time.monotonic() - over_since.setdefault(name, time.monotonic())
            if status is not None or over > patience:  # its file may not be visible yet
                found[name] = LOST if status is None else status
        for name in found:
            del jobs[name]
        return found

    def stop() -> None:
        for job in jobs.values():
            job.cancel(check=False)

    if options.executor == "local":
        drive(tasks, start, ended, stop, tell, most=options.local_tasks)
        return
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise XlbenchError(
            "There is no sbatch and no srun here, so no job can be submitted to Slurm.",
            "Run this on a login node, or try it on this machine: -e executor=local.",
        )
    failed: set[str] = set()
    try:
        for task in tasks:
            start(task)
        while jobs:
            for name, status in ended().items():
                # A job after one that failed is cancelled by Slurm itself, and was never begun.
                if status != DONE:
                    failed.add(name)
                if status != LOST or not failed.intersection(by_id[name].after):
                    tell(by_id[name], status)
    except BaseException:
        stop()
        raise


def _status(log: Path) -> int | None:
    try:
        return int(status_file(log).read_text("utf-8"))
    except (OSError, ValueError):  # not written, or not to its end
        return None


def submit(task: Task, options: SlurmOptions, after: Sequence[str]) -> Job[None]:
    """Submit one task.

    Args:
        task: The task.
        options: Of the engine.
        after: Numbers of the jobs that must have ended well before.

    Raises:
        XlbenchError: sbatch refuses it.
    """
    executor = executor_of(task, options, after)
    try:
        return executor.submit(Command(task.command, task.resources.cpus, str(task.log)))
    except Exception as error:
        raise XlbenchError(
            f"Slurm refuses the job of '{task.name}': {first_line(error)}",
            "Change the options of --engine-config FILE.toml; `xlbench show engine slurm` lists them.",
        ) from error


def executor_of(task: Task, options: SlurmOptions, after: Sequence[str]) -> PicklingExecutor:
    """Return submitit's executor for one task, with the parameters of its job."""
    from submitit import LocalExecutor, SlurmExecutor

    asked = task.resources
    folder = task.log.parent / "jobs"
    minutes = max(1, math.ceil(asked.hours * 60))
    if options.executor == "local":
        local = LocalExecutor(folder, max_num_timeout=options.requeues)
        local.update_parameters(
            timeout_min=asked.hours * 60,
            signal_delay_s=options.signal_seconds,
            gpus_per_node=asked.gpus,
            setup=list(options.setup),
        )
        return local
    others = {name.replace("_", "-"): value for name, value in options.sbatch.items() if value is not False}
    theirs = str(others.pop("dependency", ""))
    dependency = ",".join(it for it in (f"afterok:{':'.join(after)}" if after else "", theirs) if it)
    named = {name: getattr(options, name) for name in ("partition", "account", "qos", "constraint")}
    executor = SlurmExecutor(folder, max_num_timeout=options.requeues)
    executor.update_parameters(
        job_name=f"xlbench-{task.key[:8]}",
        comment=task.name,
        time=minutes,
        cpus_per_task=asked.cpus,
        gpus_per_node=asked.gpus or None,
        mem=f"{math.ceil(asked.memory_gb * 1024)}M" if asked.memory_gb else None,
        setup=list(options.setup) or None,
        signal_delay_s=options.signal_seconds,
        stderr_to_stdout=True,
        dependency=dependency or None,
        # A job after one that failed would wait for ever.
        additional_parameters={"requeue": True, "kill-on-invalid-dep": "yes", **others},
        **{name: value for name, value in named.items() if value is not None},
    )
    return executor
