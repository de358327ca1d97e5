"""Where and how encoders run on this machine: device, threads, precision."""

from __future__ import annotations

import ctypes
import platform
from typing import TYPE_CHECKING, NamedTuple

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from xlbench.experiment import Precision
    from xlbench.settings import Settings


class PrecisionChoice(NamedTuple):
    """A precision and, for ``xlbench doctor``, why it was chosen."""

    precision: Precision
    reason: str


def choose_device(settings: Settings) -> str:
    """Return the torch device to run on: what the settings say, else CUDA, else Apple's MPS, else the CPU.

    Raises:
        XlbenchError: The settings name a device that is not there.
    """
    import torch

    if settings.device is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=settings.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        cause = str(error).strip().splitlines()[0]
        raise XlbenchError(
            f"The device '{settings.device}' cannot be used: {cause}",
            "Give --device cpu, cuda or mps, or leave it out.",
        ) from error
    return settings.device


def choose_precision(device: str) -> Precision:
    """Return 'bfloat16' where the device computes in it natively, else 'float32'."""
    return explain_precision(device).precision


def explain_precision(device: str) -> PrecisionChoice:
    """Return the precision for a device, with the reason."""
    import torch

    kind = device.partition(":")[0]
    if kind == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return PrecisionChoice("bfloat16", "this GPU computes in bfloat16")
        return PrecisionChoice("float32", "this GPU does not compute in bfloat16")
    if kind != "cpu":
        return PrecisionChoice("float32", f"bfloat16 is untested on '{kind}'")
    if native := sorted(_native_bfloat16()):
        return PrecisionChoice("bfloat16", f"this CPU computes in bfloat16 ({', '.join(native)})")
    return PrecisionChoice("float32", "this CPU has no bfloat16 instructions; emulating them is slower than float32")


def _native_bfloat16() -> set[str]:
    """Return the CPU's bfloat16 instruction sets: matrix products with them are about four times as fast."""
    import torch

    probes = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
    try:
        found = torch.cpu.get_capabilities()
    except AttributeError:  # older torch answers one by one only, under names that are not public
        found = {name: getattr(torch.cpu, probe, bool)() for name, probe in probes.items()}
    return {name for name in probes if found.get(name)}


def apply_threads(settings: Settings) -> None:
    """Set torch's number of threads, if the settings give one."""
    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)


def keep_memory() -> bool:
    """Have the C library keep freed memory for the next allocation instead of giving it back to the system.

    A training step frees and takes hundreds of megabytes; by default glibc maps each large tensor anew, and the
    system hands every page of it out zeroed, one fault at a time. Measured on two cores, a step is 1.2 to 1.4
    times as fast. See mallopt(3): M_MMAP_MAX 0 takes all memory from the heap, M_TRIM_THRESHOLD leaves it there.

    Returns:
        Whether it could be set: only glibc has these switches.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    m_trim_threshold, m_mmap_max, most = -1, -4, 2**31 - 1
    return bool(libc.mallopt(m_mmap_max, 0)) and bool(libc.mallopt(m_trim_threshold, most))
