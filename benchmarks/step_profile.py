"""Where the time of a training step goes: torch.profiler's operations, put into a few groups."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeAlias, cast
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch.autograd.profiler_util import FunctionEvent

    from benchmarks.contenders import Tick, Timed

Event: TypeAlias = "FunctionEvent"
BACKWARD = "autograd::engine::evaluate_function: "
ATTENTION = ("bmm", "softmax", "scaled_dot", "flash")
NORMS = ("norm", "gelu", "erf", "tanh")
CASTS = ("aten::to", "aten::_to_copy", "aten::copy_", "aten::contiguous", "aten::clone", "ToCopy", "Clone")
GROUPS = (
    "data",
    "embedding",
    "linear, forward",
    "attention",
    "norms, activations",
    "casts, copies",
    "linear, gradients of inputs",
    "linear, gradients of weights",
    "clipping",
    "optimiser",
    "compiled, fused",
    "other operations",
    "outside operations",
)


class Profile(Frozen):
    """Milliseconds a pair, by group; groups without any are left out."""

    milliseconds: dict[str, float]


def groups_of(profiles: Iterable[Profile]) -> list[str]:
    """Return the groups that any of some profiles has, in the order of a step."""
    there = {group for profile in profiles for group in profile.milliseconds}
    return [group for group in GROUPS if group in there]


class _Window:
    """Profiles from the step that reaches a share of all steps to the last one."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.profiler = profile(activities=[ProfilerActivity.CPU], record_shapes=True, acc_events=True)
        self.began: float | None = None
        self.from_share = 0.0
        self.seconds = 0.0

    def __call__(self, done: float) -> None:
        if self.began is None and done >= self.start - 1e-9:
            self.profiler.start()
            self.began, self.from_share = time.perf_counter(), done
        elif self.began is not None and done >= 1 - 1e-9 and not self.seconds:
            self.seconds = time.perf_counter() - self.began
            self.profiler.stop()


def profile_steps(run: Callable[[Tick], Timed], pairs: int, start: float, dims: set[int]) -> Profile:
    """Profile a training loop.

    Args:
        run: The loop; takes what is called after every step.
        pairs: That it sees in all.
        start: Share of the steps that are not profiled, before those that are.
        dims: Widths of the model's matrices; they distinguish gradients of inputs from those of weights.
    """
    window = _Window(start)
    clip = torch.nn.utils.clip_grad_norm_

    def marked(*args: object, **kwargs: object) -> torch.Tensor:
        with record_function("clip"):
            return clip(*args, **kwargs)  # type: ignore[arg-type]

    with patch("torch.nn.utils.clip_grad_norm_", marked):
        run(window)
    assert window.seconds, "the loop ended without reporting its last step"
    microseconds = dict.fromkeys(GROUPS, 0.0)
    for event in window.profiler.events() or ():  # type: ignore[no-untyped-call]
        microseconds[group_of(event, dims)] += event.self_cpu_time_total
    outside = 1e6 * window.seconds - sum(microseconds.values())
    microseconds["outside operations"] += max(0.0, outside)
    seen = pairs * (1 - window.from_share)
    return Profile(milliseconds={name: value / 1000 / seen for name, value in microseconds.items() if value > 0})


def group_of(event: Event, dims: set[int]) -> str:
    """Return the group of an operation, from its name, its shapes and what it was called by."""
    chain = list(_upwards(event))
    names = [one.name for one in chain]
    if any(name.startswith("Optimizer.") for name in names):
        return "optimiser"
    if "clip" in names:
        return "clipping"
    if any("DataLoader" in name for name in names):
        return "data"
    node = next((name.removeprefix(BACKWARD) for name in names if name.startswith(BACKWARD)), None)
    words = [name for name in names if not name.startswith(BACKWARD)]
    if node is not None:
        return _backward_group(node, chain, dims)
    if any("mpiled" in name or "cpp_fused" in name for name in words[1:]) and not _is_product(event.name):
        return "compiled, fused"
    return _forward_group(words)


def _upwards(event: Event) -> Iterator[Event]:
    one: Event | None = event
    while one is not None:
        yield one
        one = one.cpu_parent


def _is_product(name: str) -> bool:
    return name in {"aten::mm", "aten::addmm", "aten::linear", "aten::bmm"} or "linear_pointwise" in name


def _forward_group(names: list[str]) -> str:
    """Return the group of a forward operation; its callers decide where it says nothing itself."""
    for name in names:
        if any(word in name for word in ATTENTION):
            return "attention"
        if any(word in name for word in NORMS):
            return "norms, activations"
        if "embedding" in name:
            return "embedding"
        if name in {"aten::mm", "aten::addmm", "aten::linear"} or "linear" in name:
            return "linear, forward"
        if name in CASTS:
            return "casts, copies"
    return "other operations"


def _backward_group(node: str, chain: list[Event], dims: set[int]) -> str:
    lower = node.lower()
    if any(word in lower for word in ATTENTION):
        return "attention"
    if any(word in lower for word in NORMS):
        return "norms, activations"
    if "embedding" in lower:
        return "embedding"
    product = next((one for one in chain if one.name in {"aten::mm", "aten::addmm"} or "linear" in one.name), None)
    group = "other operations"
    if product is not None:
        group = _gradient(product, dims)
    elif "accumulategrad" in lower or any(one.name == "aten::sum" for one in chain):
        group = "linear, gradients of weights"  # biases, and sums over looped layers
    elif "compiled" in lower:
        group = "compiled, fused"
    elif any(word in node for word in ("ToCopy", "Clone")) or chain[0].name in CASTS:
        group = "casts, copies"
    return group


def _gradient(product: Event, dims: set[int]) -> str:
    """Distinguish g W, with a width of the model as inner dimension, from g' x, with the tokens as inner dimension."""
    shapes = [shape for shape in cast("list[list[int]]", product.input_shapes or []) if len(shape) == 2]
    inner = shapes[-1][0] if len(shapes) >= 2 else 0
    return "linear, gradients of inputs" if inner in dims else "linear, gradients of weights"
