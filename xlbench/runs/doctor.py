"""``xlbench doctor``: what works on this machine, what xlbench chose and why, and how to fix what does not work."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal, NamedTuple

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from xlbench.experiment import Precision
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings

LIBRARIES = ("transformers", "accelerate", "sentence-transformers", "mteb", "datasets", "numpy")
NEEDED = 5e9  # bytes on the store's disk


class Finding(NamedTuple):
    """One line of the report: the topic, whether it works (None: neither good nor bad), what was found, the remedy."""

    topic: str
    good: bool | None
    text: str
    remedy: str = ""


def examine(registry: Registry, settings: Settings, precision: Precision | Literal["auto"] = "auto") -> list[Finding]:
    """Check everything that a run needs.

    Args:
        registry: What plugins registered.
        settings: What the user chose, e.g. a device; the rest depends on the machine.
        precision: The precision that the user asked for.
    """
    findings = _libraries()
    if findings[0].good:
        findings += _runtime(settings, precision)
    findings += [_encoder(name, registry, settings) for name in sorted(registry.encoders)]
    findings += [_data_root(settings), _hub(settings), _disk(settings)]
    broken = [Finding("plugin", False, f"{it.name}: {it.cause}", "See `xlbench plugins`.") for it in registry.broken]
    return findings + broken


def _libraries() -> list[Finding]:
    found = {name: _version(name) for name in ("torch", *LIBRARIES)}
    torch = found.pop("torch")
    there = ", ".join(f"{name} {it}" for name, it in found.items() if it)
    return [
        Finding("torch", True, torch) if torch else _missing("torch"),
        Finding("libraries", True, there),
        *(_missing(name) for name, it in found.items() if not it),
    ]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _missing(name: str) -> Finding:
    return Finding(name, False, "not installed", f"Run `pip install {name}`.")


def _complaint(topic: str, error: XlbenchError) -> Finding:
    return Finding(topic, False, error.problem, error.remedy)


def _runtime(settings: Settings, wanted: Precision | Literal["auto"]) -> list[Finding]:
    from xlbench.encoders import runtime

    try:
        device = runtime.explain_device(settings)
    except XlbenchError as error:
        return [_complaint("device", error)]
    kind = device.value
    attention, packing = runtime.explain_attention(kind), runtime.explain_packing(kind)
    return [
        _device(device),
        _threads(settings),
        *_computing(kind, settings, wanted),
        Finding("attention", True, f"{attention.value}: {attention.reason}"),
        Finding("kernels", True, f"{'packed' if packing.value else 'plain'}: {packing.reason}"),
        _memory(),
    ]


def _device(device: tuple[str, str]) -> Finding:
    import torch

    kind, reason = device
    if kind == "cpu" and torch.version.cuda is None and shutil.which("nvidia-smi"):
        return Finding(
            "device",
            None,
            f"cpu: {reason}; there is an NVIDIA driver, and this torch is built without CUDA",
            "To use the GPU, install the torch that https://pytorch.org/get-started/locally names.",
        )
    return Finding("device", True, f"{kind}: {reason}")


def _threads(settings: Settings) -> Finding:
    from xlbench.encoders.runtime import explain_threads
    from xlbench.scoring.machine import usable_cores

    threads, reason = explain_threads(settings)
    cores = usable_cores()
    text = f"{threads} on {cores} core{'s' if cores > 1 else ''}: {reason}"
    if threads > cores:
        return Finding("threads", None, text, f"More threads than cores are slow: give --threads {cores}.")
    return Finding("threads", True, text)


def _computing(device: str, settings: Settings, wanted: Precision | Literal["auto"]) -> list[Finding]:
    from xlbench.encoders.runtime import explain_compile, explain_precision

    try:
        precision = explain_precision(device, wanted)
    except XlbenchError as error:
        return [_complaint("precision", error)]
    findings = [Finding("precision", True, f"{precision.value}: {precision.reason}")]
    try:
        compiled = explain_compile(device, precision.value, settings)
    except XlbenchError as error:
        return [*findings, _complaint("compile", error)]
    return [*findings, Finding("compile", True, f"{'on' if compiled.value else 'off'}: {compiled.reason}")]


def _memory() -> Finding:
    from xlbench.encoders.runtime import keep_memory

    if keep_memory():
        return Finding("memory", True, "kept: memory that a training step frees is reused by the next one")
    return Finding(
        "memory", None, "returned to the system after each step: only glibc has a switch to keep it for the next one"
    )


def _encoder(name: str, registry: Registry, settings: Settings) -> Finding:
    encoder = registry.encoders[name]
    try:
        encoder.fingerprint(settings)
    except XlbenchError as error:
        return Finding("encoder", None if encoder.optional else False, f"{name}: {error.problem}", error.remedy)
    return Finding("encoder", True, f"{name}: {encoder.summary}")


def _data_root(settings: Settings) -> Finding:
    if settings.data_root is None:
        return Finding(
            "data root", None, "none: models and data come from the hub (for local copies: --data-root DIRECTORY)"
        )
    found = sorted(str(path.relative_to(settings.data_root)) for path in settings.data_root.glob("datasets/*/*"))
    if not found:
        remedy = "Put hub datasets into datasets/ORG/NAME there, as `hf download --local-dir` does."
        return Finding("data root", False, f"{settings.data_root}: no datasets/ in it", remedy)
    return Finding("data root", True, f"{settings.data_root}: {', '.join(found)}")


def _hub(settings: Settings) -> Finding:
    if settings.offline:
        return Finding("hub", None, "not used: offline mode is on")
    from urllib.request import Request, urlopen

    from huggingface_hub import constants

    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=3).close()  # noqa: S310 - the hub's own address
    except (OSError, ValueError) as error:
        return Finding(
            "hub",
            None,
            f"{constants.ENDPOINT} cannot be reached ({type(error).__name__}); starter kit and data root still work",
            "Give --offline, so that commands do not wait for it.",
        )
    return Finding("hub", True, constants.ENDPOINT)


def _disk(settings: Settings) -> Finding:
    place = settings.home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / 1e9:.0f} GB free for the store in {settings.home}"
    if free < NEEDED:
        remedy = "A run takes 2 to 20 GB: make room (`xlbench store prune`) or choose another place with --home."
        return Finding("disk", False, text, remedy)
    return Finding("disk", True, text)
