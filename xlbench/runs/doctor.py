"""What works on this machine, and what was chosen and why."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from xlbench.plugins import Registry
    from xlbench.settings import Settings

LIBRARIES = ("torch", "transformers", "sentence-transformers", "mteb", "datasets", "numpy")


class Finding(NamedTuple):
    """One line: what was looked at, whether it is well (None: neither), and what was found."""

    topic: str
    good: bool | None
    text: str


def examine(registry: Registry, settings: Settings) -> list[Finding]:
    """Look at everything that a run needs."""
    findings = [_library(name) for name in LIBRARIES]
    findings += _runtime(settings)
    findings += [_encoder(name, registry, settings) for name in sorted(registry.encoders)]
    findings.append(_data_root(settings))
    findings.append(_hub(settings))
    findings.append(_disk(settings))
    findings += [Finding(f"plugin {it.name}", False, it.cause) for it in registry.broken]
    return findings


def _library(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, f"not installed: pip install {name}")


def _runtime(settings: Settings) -> list[Finding]:
    from xlbench.encoders.runtime import choose_device, explain_precision

    try:
        device = choose_device(settings)
    except XlbenchError as error:
        return [Finding("device", False, str(error))]
    import torch

    precision, reason = explain_precision(device)
    return [
        Finding("device", True, device),
        Finding("precision", True, f"{precision}: {reason}"),
        Finding("threads", True, f"{settings.threads or torch.get_num_threads()}"),
    ]


def _encoder(name: str, registry: Registry, settings: Settings) -> Finding:
    try:
        registry.encoders[name].fingerprint(settings)
    except XlbenchError as error:
        return Finding(f"encoder {name}", False, " ".join(str(error).split()))
    return Finding(f"encoder {name}", True, registry.encoders[name].summary)


def _data_root(settings: Settings) -> Finding:
    if settings.data_root is None:
        return Finding("data root", None, "none: names mean the hub's (give --data-root or XLBENCH_DATA)")
    found = sorted(str(path.relative_to(settings.data_root)) for path in settings.data_root.glob("datasets/*/*"))
    return Finding("data root", bool(found), f"{settings.data_root}: {', '.join(found) or 'no datasets/'}")


def _hub(settings: Settings) -> Finding:
    if settings.offline:
        return Finding("hub", None, "offline by setting")
    from urllib.request import Request, urlopen

    from huggingface_hub import constants

    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=3).close()  # noqa: S310 - the hub's own address
    except (OSError, ValueError) as error:
        return Finding(
            "hub",
            None,
            f"{constants.ENDPOINT} cannot be reached ({type(error).__name__}); starter kit and data root work",
        )
    return Finding("hub", True, constants.ENDPOINT)


def _disk(settings: Settings) -> Finding:
    place = settings.home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    return Finding("disk", free > 5, f"{free:.0f} GB free for the store in {settings.home} (a run takes 2 to 20)")
