"""The linear kernels for training: values and gradients are those of nn.Linear, and they are removed afterwards."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from xlbench.encoders import packing
from xlbench.encoders.linear import training_kernels

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(not packing.is_available(), reason="this torch has no oneDNN kernels")


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 8, bias=False))


def gradients(model: nn.Module, dtype: torch.dtype) -> list[torch.Tensor]:
    values = torch.linspace(-1, 1, 3 * 5 * 16).view(3, 5, 16).requires_grad_()
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        result = model(values)
    assert result.dtype is dtype
    result.float().square().sum().backward()
    assert values.grad is not None
    found = [result.detach().float(), values.grad, *(p.grad for p in model.parameters() if p.grad is not None)]
    assert {tensor.dtype for tensor in found} == {torch.float32}
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_values_and_gradients_are_those_of_autocast(model: nn.Module, dtype: torch.dtype, tolerance: float) -> None:
    # bfloat16 rounds to 8 bits, by at most 2^-9 = 0.002 of a value; sums of a few such errors stay below ten of them.
    expected = gradients(model, dtype)
    with training_kernels(model, dtype):
        found = gradients(model, dtype)
    assert len(found) == len(expected) == 5  # result, values, two weights, one bias
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= tolerance * other.norm()


def test_a_changed_weight_is_cast_again(model: nn.Sequential) -> None:
    values = torch.ones(2, 16)
    last = model[2]
    assert isinstance(last, nn.Linear)

    def scale() -> None:
        with torch.no_grad():
            last.weight.mul_(3)

    def replace() -> None:
        last.weight.data = last.weight.data * 3

    changes: list[Callable[[], None]] = [scale, replace]
    with training_kernels(model, torch.bfloat16), torch.no_grad():
        for change in changes:
            before = model(values)
            change()
            torch.testing.assert_close(model(values), 3 * before, rtol=0.02, atol=1e-3)


def test_frozen_weights_get_no_gradient(model: nn.Sequential) -> None:
    model[0].requires_grad_(False)
    with training_kernels(model, torch.bfloat16):
        assert len(gradients(model, torch.bfloat16)) == 3  # result, values, the second weight
    assert model[0].weight.grad is None


def test_layers_are_restored_after_an_interruption(model: nn.Sequential) -> None:
    with pytest.raises(KeyboardInterrupt), training_kernels(model, torch.bfloat16):
        raise KeyboardInterrupt
    assert [name for module in model.modules() for name in vars(module) if name == "forward"] == []


@pytest.mark.parametrize("fused", [False, True])
def test_losses_are_those_of_autocast(model: nn.Sequential, fused: bool) -> None:
    # A fused optimiser does not raise a tensor's version: a cast that depends on the version alone would stay old.
    values = torch.linspace(-1, 1, 6 * 16).view(6, 16)

    def train(use_kernels: bool) -> list[float]:
        student = copy.deepcopy(model)
        optimiser = torch.optim.AdamW(student.parameters(), lr=0.02, fused=fused)
        losses = []
        with training_kernels(student, torch.bfloat16) if use_kernels else nullcontext():
            for _ in range(12):
                with torch.autocast("cpu", torch.bfloat16):
                    loss = (student(values).float() - 1).square().mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(float(loss.detach()))
                with torch.inference_mode():  # as an evaluation on dev pairs does
                    student(values)
        return losses

    expected = train(use_kernels=False)
    found = train(use_kernels=True)
    assert expected[-1] < expected[0] / 2
    assert found == pytest.approx(expected, rel=0.05)
