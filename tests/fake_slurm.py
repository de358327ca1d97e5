"""A Slurm of one machine, as far as submitit uses it: sbatch, srun, sacct, scancel and scontrol by the name called."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

PLACE = Path(os.environ.get("FAKE_SLURM", "."))
NAMES = ("sbatch", "srun", "sacct", "scancel", "scontrol")


def install(directory: Path) -> None:
    """Write the commands into a directory, which belongs at the head of PATH."""
    for name in NAMES:
        path = directory / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" {name} "$@"\n', "utf-8")
        path.chmod(0o755)


def state_of(job: str) -> str:
    path = PLACE / f"{job}.state"
    return path.read_text() if path.is_file() else "PENDING"


def set_state(job: str, state: str) -> None:
    temporary = PLACE / f".{job}.state"
    temporary.write_text(state)
    temporary.replace(PLACE / f"{job}.state")


def sbatch(script: str) -> None:
    job = str(1 + len(list(PLACE.glob("*.sh"))))
    (PLACE / f"{job}.sh").write_text(Path(script).read_text())
    with Path(os.devnull).open("w") as nowhere:
        subprocess.Popen([sys.executable, __file__, "run", job], stdout=nowhere, stderr=nowhere, start_new_session=True)
    print(f"Submitted batch job {job}")  # noqa: T201


def run(job: str) -> None:
    """Run a job as soon as it may run."""
    text = (PLACE / f"{job}.sh").read_text()
    found = re.search(r"--dependency=afterok:([\d:]+)", text)
    needs = found[1].split(":") if found else []
    while not all(state_of(it) == "COMPLETED" for it in needs):
        if any(state_of(it) in {"FAILED", "CANCELLED"} for it in needs) and "kill-on-invalid-dep=yes" in text:
            set_state(job, "CANCELLED")
        if state_of(job) == "CANCELLED":
            return
        time.sleep(0.05)
    requeue = PLACE / f"{job}.requeue"
    while True:
        set_state(job, "RUNNING")
        environment = {**os.environ, "SLURM_JOB_ID": job, "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1"}
        child = subprocess.Popen(["bash", str(PLACE / f"{job}.sh")], env=environment, start_new_session=True)
        (PLACE / f"{job}.pid").write_text(str(child.pid))
        status = child.wait()
        if not requeue.exists():
            break
        requeue.unlink()
    if state_of(job) != "CANCELLED":
        set_state(job, "FAILED" if status else "COMPLETED")


def srun(*words: str) -> None:
    left = list(words)
    while left[0].startswith("--"):
        left = left[1:] if left[0] == "--unbuffered" else left[2:]
    os.execvp(left[0], left)


def sacct(*words: str) -> None:
    print("JobID|State|NodeList")  # noqa: T201
    for flag, job in pairwise(words):
        if flag == "-j":
            print(f"{job}|{state_of(job)}|here")  # noqa: T201


def scancel(job: str) -> None:
    set_state(job, "CANCELLED")
    pid = PLACE / f"{job}.pid"
    if pid.is_file():
        os.killpg(int(pid.read_text()), 15)


def scontrol(_: str, job: str) -> None:
    (PLACE / f"{job}.requeue").touch()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
