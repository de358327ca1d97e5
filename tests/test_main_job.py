"""The main job on the real starter encoders, with a budget of seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from sentence_transformers import SentenceTransformer

from xlbench.plugins.registry import load_registry
from xlbench.runs.request import Request
from xlbench.runs.results import run_request
from xlbench.settings import Settings

pytestmark = pytest.mark.starter


def test_multistage_halves_the_real_assistant(tmp_path: Path) -> None:
    registry = load_registry((Path(__file__).parent / "toy_plugin.py",))
    settings = Settings(home=tmp_path, quiet=True, device="cpu", speed_rounds=0)
    # A tenth of so few pairs is one step for stage 3, and one step at the peak of its rate learns nothing.
    wanted = Request(suite="toy", budget="smoke", precision="float32", options={"recurrent_share": 0.4})
    rows = run_request(wanted, registry, settings).records
    names = [
        "multilingual-e5-small, mean-centred",
        "multilingual-e5-small",
        "multilingual-e5-small, aligned (stage 1)",
        "minilm-half",
    ]
    assert [row.name for row in rows] == names
    sizes = [row.footprint.parameters for row in rows]
    assert sizes == [117_653_760, 117_653_760, 117_653_760, 43_046_336]
    assert (rows[-1].footprint.stored_layers, rows[-1].footprint.executed_layers) == (6, 12)
    # Translations of the starter task are found by the real assistant, whatever a few steps did to it.
    assert all(row.scores.families["bitext"] > 90 for row in rows[:3])
    # Six steps are no training, but a warm start: far from the 0.9 % of guessing among 112 sentences.
    assert rows[-1].scores.families["bitext"] > 20
    assert not rows[-1].scores.collapsed
    # Little as it is, every stage that trains ends nearer to its targets than it began.
    evaluations = {
        stage.name: [it["loss"] for it in stage.evaluations] for stage in rows[-1].stages if stage.evaluations
    }
    assert list(evaluations) == ["alignment", "recurrent", "contrastive"]
    assert all(losses[-1] < losses[0] for losses in evaluations.values())

    path = tmp_path / "stages" / rows[-1].stages[-1].key / "model"
    student = SentenceTransformer(str(path), device="cpu")
    vectors = student.encode(["A cat sleeps.", "Eine Katze schläft.", "The bank raised its rates."])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    with safe_open(path / "model.safetensors", "pt") as file:
        stored = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    assert stored == 43_046_336 + 250_037  # where each token's correction is, which is no parameter
