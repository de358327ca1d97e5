"""How encoders run on this machine: device, threads, precision, attention, kernels, compiling and memory.

Each is chosen to suit the machine, can be overridden, and is shown with the reason by ``xlbench doctor``. Only the
precision changes what an experiment means, so that only the precision is part of an experiment.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from xlbench.errors import XlbenchError, first_line

if TYPE_CHECKING:
    import torch

    from xlbench.experiment import Precision
    from xlbench.settings import Settings

Attention: TypeAlias = Literal["eager", "sdpa"]
T = TypeVar("T")

DEVICES = ("cpu", "cuda", "mps")
COMPILER = "inductor"  # torch.compile's backend
TENSOR_CORES = (
    7,
    0,
)  # compute capability of Volta: the first GPUs with fast float16, and the oldest that Triton compiles for


class Choice(NamedTuple, Generic[T]):
    """A choice and the reason for it, which ``xlbench doctor`` shows."""

    value: T
    reason: str


def choose_device(settings: Settings) -> str:
    """Return the torch device to run on, 'cpu', 'cuda' or 'mps': that of the settings, else the fastest available.

    Raises:
        XlbenchError: The settings name a device that is not available.
    """
    return explain_device(settings).value


def explain_device(settings: Settings) -> Choice[str]:
    """Return the device, with the reason.

    Raises:
        XlbenchError: The settings name a device that is not available.
    """
    import torch

    device = settings.device
    if device is None:
        if torch.cuda.is_available():
            return Choice("cuda", torch.cuda.get_device_name("cuda"))
        if torch.backends.mps.is_available():
            return Choice("mps", "Apple GPU")
        return Choice("cpu", "torch finds no GPU that it can use")
    kind, _, number = device.partition(":")
    if kind == "cuda" and number:  # transformers' Trainer always uses the first GPU that it sees
        raise XlbenchError(
            f"The device '{device}' cannot be used: xlbench always uses the first visible GPU.",
            f"Set CUDA_VISIBLE_DEVICES={number} and give --device cuda.",
        )
    try:
        if device not in DEVICES:
            raise RuntimeError("no such device")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise XlbenchError(
            f"The device '{device}' cannot be used: {first_line(error)}",
            "Give --device cpu, cuda or mps, or leave it out.",
        ) from error
    return Choice(device, "as given")


def choose_precision(device: str, wanted: Precision | Literal["auto"] = "auto") -> Precision:
    """Return the precision to compute in: ``wanted``, or with 'auto' the one that suits the device.

    Raises:
        XlbenchError: float16 is wanted on another device than CUDA.
    """
    return explain_precision(device, wanted).value


def explain_precision(device: str, wanted: Precision | Literal["auto"] = "auto") -> Choice[Precision]:
    """Return the precision for a device, with the reason.

    Raises:
        XlbenchError: float16 is wanted on another device than CUDA.
    """
    if wanted == "float16" and device != "cuda":
        raise XlbenchError(
            f"float16 does not train on '{device}': only on CUDA are its gradients kept from vanishing.",
            "Give --precision bfloat16 or float32, or leave it out.",
        )
    if wanted != "auto":
        return Choice(wanted, "as given")
    if device == "cuda":
        return _precision_of_gpu()
    if device != "cpu":
        return Choice("float32", f"bfloat16 is untested on '{device}'")
    if native := sorted(_native_bfloat16()):
        return Choice("bfloat16", f"this CPU computes in it ({', '.join(native)})")
    return Choice("float32", "this CPU has no bfloat16 instructions; emulating them is slower")


def _precision_of_gpu() -> Choice[Precision]:
    import torch

    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Choice("bfloat16", "this GPU computes in it")
    if torch.cuda.get_device_capability() >= TENSOR_CORES:
        return Choice("float16", "this GPU computes in it, not in bfloat16; gradients are scaled meanwhile")
    return Choice("float32", "this GPU is not fast in bfloat16 or float16")


def _native_bfloat16() -> set[str]:
    """Return the CPU's bfloat16 instruction sets, which make matrix multiplication about four times as fast."""
    import torch

    probes = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
    try:
        found = torch.cpu.get_capabilities()
    except AttributeError:  # older versions of torch have private functions for each set
        found = {name: getattr(torch.cpu, probe, bool)() for name, probe in probes.items()}
    return {name for name in probes if found.get(name)}


def half_dtype(precision: Precision) -> torch.dtype | None:
    """Return the 16-bit dtype of a precision; None for float32."""
    import torch

    return {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


def computing_in(precision: Precision, device: torch.device) -> torch.autocast:
    """Return a context in which torch computes in a precision, except where autocast keeps float32 for accuracy."""
    import torch

    half = half_dtype(precision)
    return torch.autocast(device.type, half or torch.bfloat16, enabled=half is not None)


def explain_attention(device: str) -> Choice[Attention]:
    """Return which attention of transformers is used, with the reason."""
    if device == "cpu":
        return Choice("eager", "plain; torch's fused attention takes 1.4 to 1.7 times as long for sentences on a CPU")
    return Choice("sdpa", "torch's fused attention, in the kernel that fits this GPU")


def explain_packing(device: str) -> Choice[bool]:
    """Return whether encoding uses packed linear kernels, with the reason."""
    from xlbench.encoders.packing import is_available

    if device != "cpu":
        return Choice(False, "packed kernels are for CPUs")
    if is_available():
        return Choice(True, "oneDNN reads weights packed in advance: 1.15 times as fast")
    return Choice(False, "this torch lacks oneDNN's operators")


def explain_compile(device: str, precision: Precision, settings: Settings) -> Choice[bool]:
    """Return whether training is compiled, with the reason.

    Raises:
        XlbenchError: The settings ask for it and it is not possible.
    """
    if settings.compile_training is False:
        return Choice(False, "as given")
    obstacle = _compile_obstacle(device, precision)
    if settings.compile_training and obstacle:
        raise XlbenchError(f"Training cannot be compiled: {obstacle[0]}.", obstacle[1])
    if settings.compile_training:
        return Choice(True, "as given")
    if device == "cpu":  # measured on two cores with batches of changing lengths
        return Choice(False, "on a CPU 90 to 120 s of compiling buy 1.02 times the speed")
    if device != "cuda":
        return Choice(False, f"untested on '{device}'")
    return Choice(False, obstacle[0]) if obstacle else Choice(True, "Triton makes kernels for this GPU")


def _compile_obstacle(device: str, precision: Precision) -> tuple[str, str] | None:
    """Return why training cannot be compiled, and the remedy; None if it can."""
    without = "or leave --compile out"
    if device == "cuda":
        import torch

        if precision == "float32":
            # Accelerate would allow TF32, which is less exact than float32.
            return "on CUDA it would make float32 less exact", f"Give --precision bfloat16, {without}."
        if torch.cuda.get_device_capability() < TENSOR_CORES:
            return "Triton makes no kernels for a GPU this old", "Leave --compile out."
        if find_spec("triton") is None:
            return "there is no Triton here", f"Run `pip install triton`, {without}."
        if not _has_compiler("CC", "gcc", "clang", "cc"):
            return "Triton finds no C compiler", f"Install gcc or name a compiler in CC, {without}."
    if device == "cpu" and not _has_compiler("CXX", "g++", "clang++", "cl"):
        return "there is no C++ compiler here", f"Install g++ or name a compiler in CXX, {without}."
    return None


def _has_compiler(variable: str, *names: str) -> bool:
    chosen = os.environ.get(variable)
    return any(shutil.which(name) for name in ([chosen] if chosen else names))


def explain_threads(settings: Settings) -> Choice[int]:
    """Return how many threads torch computes with, with the reason."""
    import torch

    if settings.threads is not None:
        return Choice(settings.threads, "as given")
    variable = next((name for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if os.environ.get(name)), None)
    return Choice(torch.get_num_threads(), f"set by {variable}" if variable else "torch's default")


def apply_threads(settings: Settings) -> None:
    """Set torch's number of threads if the settings give one."""
    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)


def keep_memory() -> bool:
    """Make the C library keep freed memory for the next allocation instead of returning it to the system.

    A training step frees and allocates hundreds of megabytes. By default glibc maps each large tensor separately, and
    the system zeroes every page of it on first access. Without that, a step is 1.2 to 1.4 times as fast, measured on
    two cores. See mallopt(3): M_MMAP_MAX 0 takes all memory from the heap, and M_TRIM_THRESHOLD leaves it there.

    Returns:
        Whether it could be set; only glibc has these options.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    m_trim_threshold, m_mmap_max, most = -1, -4, 2**31 - 1
    return bool(libc.mallopt(m_mmap_max, 0)) and bool(libc.mallopt(m_trim_threshold, most))
