"""Encoders that cannot be learnt from, and training that goes on for long."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from safetensors.torch import load_file, save_file
from trials import results

from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from trials import Child, Place

pytestmark = pytest.mark.faults
PAGE_BYTES = 4096
SLACK = 30e6  # bytes of memory that a run may grow by, of any size


def not_a_number(weights: dict[str, torch.Tensor]) -> None:
    weights["embeddings.word_embeddings.weight"][5] = float("nan")


def constant(weights: dict[str, torch.Tensor]) -> None:
    for weight in weights.values():
        weight.zero_()


def exploding(weights: dict[str, torch.Tensor]) -> None:
    for name, weight in weights.items():
        if "LayerNorm" not in name:
            weight.mul_(1e30)


@pytest.mark.parametrize("spoil", [not_a_number, constant, exploding])
def test_an_encoder_that_gives_no_usable_vectors_is_refused(
    place: Place, spoil: Callable[[dict[str, torch.Tensor]], None], report: Callable[[str, object, str], None]
) -> None:
    directory = place.directory()
    encoder = save_toy_encoder(directory / "encoder")
    (file,) = encoder.rglob("model.safetensors")
    weights = load_file(file)
    spoil(weights)
    save_file(weights, file, {"format": "pt"})
    words = [*place.words(directory / "home"), "--assistant", str(encoder), "--json"]
    run = place.start(directory, words).wait()
    assert run.refusal, (run.code, run.said)
    assert not results(directory / "home").keys() & {"records"}
    assert not list((directory / "home").glob("records/*/record.json")), run.said
    report(f"An encoder whose vectors are {spoil.__name__.replace('_', ' ')}", 1, "refused in two lines; no record")


def resident(run: Child) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{run.pid}/statm").read_text().split()[1]) * PAGE_BYTES


def test_memory_stays_flat(short_place: Place, long: bool, report: Callable[[str, object, str], None]) -> None:
    if not Path("/proc/self/statm").is_file():
        pytest.skip("no /proc here to read the memory of a process from")
    steps = 20_000 if long else 120  # of the one stage of the short form
    directory = short_place.directory()
    words = short_place.words(
        directory / "home",
        "--student-pairs",
        str(4 * steps),
        "-o",
        "batch_size=4",
        "-o",
        "learning_rate=1e-6",
        quiet=False,
    )
    run = short_place.start(directory, words)
    run.until("stage student: running")
    seen = []
    while run.running():
        seen.append(resident(run))
        if "stage student: made" in run.said:
            break
        time.sleep(0.02)
    assert run.wait().code == 0, run.said
    quarter = len(seen) // 4
    before, after = max(seen[quarter : 2 * quarter]), max(seen[3 * quarter :])
    assert after - before < SLACK, (before, after)
    grown = max(0.0, (after - before) / 1e6)
    report(f"{steps:,} steps of training", 1, f"{after / 1e6:,.0f} MB at the end, {grown:.0f} MB more than at a half")
