"""Description of the machine: part of every record, since speed depends on it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import Field

from xlbench.encoders.runtime import choose_device
from xlbench.fingerprint import Frozen
from xlbench.settings import Settings

PACKAGES = ("torch", "transformers", "sentence-transformers", "mteb", "numpy", "onnxruntime", "openvino")


class Machine(Frozen):
    """Hardware and versions."""

    cpu: str = Field(description="Model name.")
    cores: int = Field(ge=1, description="Logical cores that this process may use.")
    threads: int = Field(ge=1, description="Threads that torch uses within an operation.")
    memory_gib: float = Field(ge=0, description="Total memory of the machine, GiB.")
    device: str = Field(description="Device that encoders run on: 'cpu', or the accelerator and its name.")
    os: str
    python: str
    versions: dict[str, str] = Field(
        description="Of the packages that affect scores and speed; missing ones are left out."
    )


def describe_machine(settings: Settings | None = None) -> Machine:
    """Describe this machine.

    Args:
        settings: Choose the device; None takes the default one.

    Raises:
        XlbenchError: The settings name a device that is not available.
    """
    import psutil
    import torch

    device = choose_device(settings or Settings(home=Path()))
    if device.startswith("cuda"):
        device = f"{device} ({torch.cuda.get_device_name(device)})"
    return Machine(
        cpu=cpu_name(),
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        device=device,
        os=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        versions=_versions(),
    )


def usable_cores() -> int:
    """Return how many logical cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # Linux only; in containers often fewer than all
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """Return the model name of the CPU, or its architecture if the system does not give a name."""
    if platform.system() == "Linux":
        try:
            lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        except OSError:
            lines = []
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
        except (OSError, subprocess.CalledProcessError):
            pass
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
