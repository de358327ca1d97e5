"""Scores of a public encoder agree with those that MTEB publishes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from toy_scoring import toy_settings

from xlbench import XlbenchError
from xlbench.encoders.starter import starter_encoders
from xlbench.experiment import Suite, TaskRef
from xlbench.scoring.harness import score

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.data, pytest.mark.starter]

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def test_sts17_of_all_minilm(tmp_path: Path, data_root: Path) -> None:
    reference = data_root.parent / "reference" / "published_mteb.json"
    if not reference.is_file():
        pytest.skip(f"no published scores at {reference}")
    published = json.loads(reference.read_text("utf-8"))["models"][MODEL]["STS17"]["scores"]
    settings = toy_settings(tmp_path, data_root)
    try:
        encoder = next(encoder for encoder in starter_encoders() if encoder.name == "all-minilm-l6-v2")
        model = encoder.load(settings)
    except XlbenchError as error:
        pytest.skip(f"no starter encoders: {error}")
    published.pop("ko-ko")  # not one of the languages of the paper, and ten times as many pairs
    ref = TaskRef(task="STS17", family="sts", subsets=tuple(published))
    suite = Suite(name="sts17", summary="", tasks=(ref,))
    result = score(model, suite, settings, precision="float32", title="STS17")
    scores = {name: subset.main for name, subset in result.scores.tasks["STS17"].subsets.items()}
    assert len(scores) == 10
    assert scores == {name: pytest.approx(value, abs=0.05) for name, value in published.items()}
