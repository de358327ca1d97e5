"""An encoder made twice as wide, in XLM-R's shape: the same vectors, and students are cut from it by its hub name."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import TYPE_CHECKING

from hub_server import serve
from toy_runs import make_place, settings_at, toy_request, toy_run

from xlbench.encoders.modules import transformer_of
from xlbench.students.load import load_student
from xlbench.students.shape import XLMR
from xlbench.students.surgery import encoder_shape

if TYPE_CHECKING:
    import pytest

NAME = "sentence-transformers/paraphrase-xlm-r-multilingual-v1"
BENCHMARK = run_path(str(Path(__file__).parents[1] / "benchmarks" / "widened.py"))  # no part of the package
widened, largest_difference = BENCHMARK["widened"], BENCHMARK["largest_difference"]
TEXTS = ("a cat", "the cat sat on the mat and then it left", "x")


def test_a_widened_encoder_has_the_same_vectors_and_is_an_xlm_r(tmp_path: Path) -> None:
    model = load_student(make_place(tmp_path) / "assistant")
    wide = widened(model, tmp_path / "wide")
    assert largest_difference(model, wide, TEXTS) < 1e-6
    again = load_student(tmp_path / "wide")
    assert largest_difference(model, again, TEXTS) < 1e-6
    narrow, shape = encoder_shape(model), encoder_shape(again)
    assert shape.architecture == "xlm-roberta"
    assert (shape.hidden, shape.intermediate) == (2 * narrow.hidden, 2 * narrow.intermediate)
    # XLM-R's position of the first token is 2, of a table with two rows more; it has one segment.
    assert (shape.positions, shape.types) == (narrow.positions + 2, 1)
    config = transformer_of(again).config
    assert (config.pad_token_id, config.num_attention_heads) == (1, 2)


def test_e5_small_twice_as_wide_has_the_size_of_xlm_r() -> None:
    # 250,002 tokens, 514 positions, 768 and 3,072 wide: what xlbench's own table of sizes has for XLM-R base.
    assert (XLMR.vocabulary, XLMR.positions, XLMR.hidden, XLMR.intermediate) == (250_002, 512 + 2, 2 * 384, 2 * 1536)


def test_students_are_cut_from_it_by_its_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make_place(tmp_path)
    widened(load_student(place / "assistant"), tmp_path / "hub" / "models" / NAME)
    student = {"name": "xlmr-half", "bottleneck": 16, "layers": 2, "repeats": 2}
    with serve(tmp_path / "hub") as hub:
        hub.point_client_here(monkeypatch, tmp_path / "cache")
        results, _ = toy_run(toy_request(place, assistant=NAME, student=student), settings_at(tmp_path / "home"))
    record = results.student.record
    assert record.experiment is not None
    assert (record.experiment.assistant.name, record.experiment.assistant.origin) == (NAME, "hub")
    assert record.footprint.dimension == 32
