"""Trackers are told of training: runs by stage, terms, dev scores and speed; and what is learnt stays the same."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from toy_runs import make_place, settings_at, toy_request, toy_run

import xlbench
from xlbench import XlbenchError

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tensorboardX")


def scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars of an event file, by name: step and value. A record is its length, a checksum, data, a checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    (path,) = directory.glob("events.*")
    data, start = path.read_bytes(), 0
    while start < len(data):
        (size,) = struct.unpack_from("<Q", data, start)
        event = Event.FromString(data[start + 12 : start + 12 + size])
        start += 16 + size
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_each_stage_is_a_run_of_one_group_and_learns_what_it_learns_untold(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    request = toy_request(place, method="multistage", options={"batch_size": 16})
    told = settings_at(tmp_path / "told").model_copy(update={"report_to": ("tensorboard",)})
    results, _ = toy_run(request, told)
    untold, _ = toy_run(request, settings_at(tmp_path / "untold"))
    for one, other in zip(results.records, untold.records, strict=True):
        assert one.scores.tasks == other.scores.tasks
    assert not (tmp_path / "untold" / "logs").exists()

    group = tmp_path / "told" / "logs" / "multistage" / "toy-half, seed 0"
    assert sorted(path.name for path in group.iterdir()) == ["alignment", "contrastive", "recurrent"]
    stages = {stage.name: stage for stage in results.records[-1].stages}
    for path in group.iterdir():
        curves = scalars(path)
        # Dev scores are those of the record, whose first evaluation is from before the training.
        dev = [(int(it["step"]), it["loss"]) for it in stages[path.name].evaluations[1:]]
        assert curves["eval/loss"] == [(step, pytest.approx(loss, rel=1e-5)) for step, loss in dev]
        terms = [name for name in curves if name.startswith("train/loss_")]
        assert terms
        # The loss is the sum of its terms, at each step that is told.
        for number, (step, loss) in enumerate(curves["train/loss"]):
            told_terms = [curves[name][number] for name in terms]
            assert {at for at, _ in told_terms} == {step}
            assert sum(value for _, value in told_terms) == pytest.approx(loss, abs=2e-4)
        assert all(rate > 0 for _, rate in curves["train/pairs_per_second"])


def test_unknown_trackers_and_missing_packages_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(XlbenchError, match=r"Unknown tracker 'tensorbord'.\nDid you mean tensorboard"):
        xlbench.run(report_to="tensorbord", home=tmp_path)
    monkeypatch.setattr("xlbench.arguments.find_spec", lambda name: None)
    with pytest.raises(XlbenchError, match=r"To report to wandb, wandb must be installed.\npip install wandb"):
        xlbench.run(report_to=["wandb"], home=tmp_path)
    assert not list(tmp_path.iterdir())
