"""Trials: a toy run as a user types it, in a child that is made to fail, and what it leaves."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOY_PLUGIN = Path(__file__).parents[1] / "toy_plugin.py"
SERVER = Path(__file__).with_name("server.py")
PATIENCE = 300  # seconds for anything that a child does


class Server:
    """Forks children; see :mod:`server`."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, request: dict[str, object]) -> int | None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: int | None = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


@dataclass
class Child:
    """A command that runs, or ran."""

    server: Server
    pid: int
    out: Path
    err: Path
    code: int | None = None

    def running(self) -> bool:
        if self.code is None:
            self.code = self.server.ask({"wait": self.pid, "block": False})
        return self.code is None

    def wait(self) -> Child:
        if self.code is None:
            self.code = self.server.ask({"wait": self.pid, "block": True})
        return self

    def send(self, number: int) -> None:
        if self.running():
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()

    def until(self, text: str) -> None:
        """Wait until it has said something."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.said and self.running():
            assert time.monotonic() < deadline, f"{text!r} was not said: {self.said}"
            time.sleep(0.01)

    @property
    def said(self) -> str:
        return self.err.read_text() if self.err.is_file() else ""

    @property
    def refusal(self) -> str:
        """The last two lines, where it ended with two lines and exit code 2 and no traceback; else nothing."""
        lines = [line for line in self.said.splitlines() if line]
        well = self.code == 2 and "Traceback" not in self.said and len(lines) >= 2 and lines[-2].startswith("xlbench: ")
        return "\n".join(lines[-2:]) if well else ""


@dataclass
class Place:
    """A directory with toy encoders and a corpus, and a directory for each trial."""

    server: Server
    toys: Path
    trials: Path
    method: str
    count: int = 0
    whole: dict[str, str] = field(default_factory=dict)
    student: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    home: Path = Path()

    def directory(self) -> Path:
        self.count += 1
        path = self.trials / f"{self.count:04}"
        path.mkdir(parents=True)
        return path

    def words(self, home: Path, *more: str, method: str = "", quiet: bool = True) -> list[str]:
        """A run on toys, which takes a second or two."""
        return [
            *(["--quiet"] if quiet else []), "--home", str(home), "--device", "cpu", "--threads", "1",
            "--plugin", str(TOY_PLUGIN), "run", "--method", method or self.method,
            "--assistant", str(self.toys / "assistant"), "--corpus", f"tsv:{self.toys / 'corpus'}",
            "--suite", "toy", "--budget", "toy", "--student", "B=8,K=2,R=2",
            "--precision", "float32", "--no-speed", "-o", "batch_size=16", *more,
        ]  # fmt: skip

    def start(self, directory: Path, words: list[str], name: str = "run", **how: Any) -> Child:  # noqa: ANN401
        out, err = directory / f"{name}.out", directory / f"{name}.err"
        err.unlink(missing_ok=True)
        request = {"words": words, "cwd": str(directory), "stdout": str(out), "stderr": str(err), **how}
        pid = self.server.ask(request)
        assert pid is not None
        return Child(self.server, pid, out, err)


# What differs between equal runs.
TIMES = {"provenance", "seconds", "peak_memory", "speed", "reused", "encode_seconds"}


def timeless(value: object) -> object:
    """A record without what says when and how fast it was made."""
    if isinstance(value, dict):
        return {key: timeless(it) for key, it in value.items() if key not in TIMES}
    return [timeless(it) for it in value] if isinstance(value, list) else value


def results(home: Path) -> dict[str, str]:
    """Digest of all weights, targets, items and records of a store, by path; times left out."""
    found = {}
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        if not path.is_file() or name.split("/")[0] not in {"stages", "records", "targets", "tokens", "corpora"}:
            continue
        if path.suffix in {".safetensors", ".npy", ".parquet", ".arrow"} or name.startswith("tokens/"):
            content = path.read_bytes() if path.name != "entry.json" else b""
        elif path.name == "record.json":
            content = json.dumps(timeless(json.loads(path.read_text("utf-8"))), sort_keys=True).encode()
        else:
            content = b""  # it is there
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def tree(directory: Path) -> dict[str, str]:
    """Digest of every file below a directory."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
