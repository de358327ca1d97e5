"""Students whose weights are stored in 16 or 8 bits: what is rounded, what is saved, what is loaded again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from torch import nn
from toy_runs import STUDENT, make_place, settings_at, toy_request, toy_run

from xlbench import XlbenchError
from xlbench.experiment import StudentSpec
from xlbench.export.directory import student_directory
from xlbench.students.int8 import Int8Embedding, Int8Linear, Int8Matrix, pack_int8, unpack_maps
from xlbench.students.load import load_student, save_student
from xlbench.students.surgery import shape_of, stock_encoder

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.records.record import Record

TEXTS = ["cat sees dog", "alt haus nahe grün baum", "bread"]  # words of the corpus


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an assistant, a corpus and a store that tests share."""
    return make_place(tmp_path_factory.mktemp("bits"))


def go(place: Path, **changes: object) -> list[Record]:
    """Return the records of a run."""
    return toy_run(toy_request(place, **changes), settings_at(place / "home"))[0].records


def directory_of(place: Path, record: Record) -> Path:
    return student_directory(record, settings_at(place / "home"))


def tensors_of(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


def test_a_row_is_rounded_to_steps_of_its_own() -> None:
    matrix = Int8Matrix(3, 3)
    matrix.take(torch.tensor([[1.27, -0.64, 0.0], [0.0, 0.0, 0.0], [-127e-9, 1e-9, 0.0]]))
    # 1.27 / 127 = 0.01, as float16 0.01000213623046875; 1.27 / that is 126.97, -0.64 / that -63.99.
    assert matrix.steps.tolist() == [[127, -64, 0], [0, 0, 0], [0, 0, 0]]
    # A row of zeros has no step, and one of 1e-9 is less than float16's least number, 6e-8: both are zeros.
    assert matrix.scale.tolist() == [[0.01000213623046875], [1.0], [1.0]]
    np.testing.assert_allclose(matrix.weight[0], [1.2702713, -0.6401367, 0.0], rtol=1e-6)
    # And what was rounded is not rounded again.
    again = Int8Matrix(3, 3)
    again.take(matrix.weight)
    assert torch.equal(again.steps, matrix.steps)
    assert torch.equal(again.scale, matrix.scale)


def test_no_weight_moves_by_more_than_half_a_step() -> None:
    weights = torch.randn(50, 30, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 4, 50).unsqueeze(1)
    matrix = Int8Matrix(50, 30)
    matrix.take(weights)
    # Half a step, and what the rounded step (2^-11 of itself at the most) makes of 127 of them.
    bound = weights.abs().amax(1, keepdim=True) / 127 * (0.5 + 127 * 2**-11)
    assert ((matrix.weight - weights).abs() <= bound).all()


def test_tables_stay_packed_and_maps_do_not() -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 4)
            self.map = nn.Linear(4, 3)
            self.bare = nn.Linear(4, 3, bias=False)

    parts = Parts()
    ids, bias = torch.tensor([[0, 4], [2, 2]]), parts.map.bias.detach().clone()
    before = parts.map(parts.table(ids))
    pack_int8(parts)
    assert [type(part) for part in parts.children()] == [Int8Embedding, Int8Linear, Int8Linear]
    unpack_maps(parts)
    assert [type(part) for part in parts.children()] == [Int8Embedding, nn.Linear, nn.Linear]
    table = cast("Int8Embedding", parts.table)
    assert table.num_embeddings == 5
    assert torch.equal(table(ids), table.weight[ids])
    assert torch.equal(parts.map.bias, bias)
    assert parts.bare.bias is None
    assert parts.map(table(ids)).dtype == torch.float32
    torch.testing.assert_close(parts.map(table(ids)), before, atol=0.05, rtol=0)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_student_of_fewer_bits_is_the_same_student_rounded(bits: int, place: Path) -> None:
    whole, small = go(place)[-1], go(place, bits=bits)[-1]
    assert small.name == f"toy-half-{bits}bit"
    assert [stage.name for stage in small.stages] == [*(stage.name for stage in whole.stages), "quantised"]
    assert all(stage.reused for stage in small.stages[:-1])
    # Parameters are counted, not bytes: a scale is none.
    assert small.footprint.parameters == whole.footprint.parameters == small.stages[-1].shape.parameters
    assert small.stages[-1].shape.bits == bits
    assert whole.stages[-1].shape.bits == 32
    model = load_student(directory_of(place, small))
    rough = {8: 0.02, 16: 0.002}[bits]
    np.testing.assert_allclose(model.encode(TEXTS), load_student(directory_of(place, whole)).encode(TEXTS), atol=rough)
    # What is loaded is what is stored, not nearly: every weight is a step or a float16.
    tensors = tensors_of(directory_of(place, small))
    state = stock_encoder(model).state_dict()
    name = "encoder.layer.0.intermediate.dense"
    if bits == 8:
        assert {part.dtype for part in model.parameters()} == {torch.float32}
        assert torch.equal(state[f"{name}.weight"], tensors[f"{name}.steps"] * tensors[f"{name}.scale"].float())
        assert torch.equal(
            state["embeddings.word_embeddings.table.steps"], tensors["embeddings.word_embeddings.table.steps"]
        )
    else:
        assert {part.dtype for part in model.parameters()} == {torch.float32}
        assert torch.equal(state[f"{name}.weight"], tensors[f"{name}.weight"].float())


def test_the_bytes_of_8_and_of_16_bits(place: Path) -> None:
    whole = tensors_of(directory_of(place, go(place)[-1]))
    halves = tensors_of(directory_of(place, go(place, bits=16)[-1]))
    eighths = tensors_of(directory_of(place, go(place, bits=8)[-1]))
    floats = {name: it for name, it in whole.items() if it.is_floating_point()}
    numbers = sum(it.nbytes for name, it in whole.items() if name not in floats)  # which token has which row
    assert sum(it.nbytes for it in halves.values()) == sum(2 * it.numel() for it in floats.values()) + numbers
    # A byte for each number of a matrix, two for each of its rows, and four for everything else.
    expected = sum(it.numel() + 2 * len(it) if it.ndim == 2 else 4 * it.numel() for it in floats.values())
    assert sum(it.nbytes for it in eighths.values()) == expected + numbers


def test_a_student_of_8_bits_is_saved_again_as_it_was(place: Path, tmp_path: Path) -> None:
    source = directory_of(place, go(place, bits=8)[-1])
    model = SentenceTransformer(str(source), device="cpu", local_files_only=True)
    before = model.encode(TEXTS)
    model.save_pretrained(str(tmp_path / "again"), create_model_card=False)
    # Saving leaves the model as it was, too.
    np.testing.assert_array_equal(model.encode(TEXTS), before)
    again = SentenceTransformer(str(tmp_path / "again"), device="cpu", local_files_only=True)
    np.testing.assert_array_equal(again.encode(TEXTS), before)
    first, second = tensors_of(source), tensors_of(tmp_path / "again")
    assert {name for name, it in second.items() if it.dtype == torch.int8} == {
        name for name, it in first.items() if it.dtype == torch.int8
    }


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_student_of_8_bits_computes_in_any_type(dtype: torch.dtype, place: Path) -> None:
    source = str(directory_of(place, go(place, bits=8)[-1]))
    before = SentenceTransformer(source, device="cpu", local_files_only=True).encode(TEXTS)
    asked = SentenceTransformer(source, device="cpu", local_files_only=True, model_kwargs={"dtype": dtype})
    assert {part.dtype for part in asked.parameters()} == {dtype}
    later = SentenceTransformer(source, device="cpu", local_files_only=True).to(dtype)
    for model in (asked, later):
        vectors = model.encode(TEXTS, convert_to_tensor=True).float().numpy()
        np.testing.assert_allclose(vectors, before, atol=0.03)


def test_what_was_stock_stays_stock_in_16_bits(place: Path) -> None:
    record = go(place, method="vocab-trim", bits=16)[-1]
    path = directory_of(place, record)
    config = json.loads((path / "config.json").read_text("utf-8"))
    assert (config["model_type"], config["dtype"], config["bits"]) == ("bert", "float32", 16)
    assert {it.dtype for it in tensors_of(path).values()} == {torch.float16}
    assert shape_of(stock_encoder(load_student(path))).bits == 16


def test_a_spec_may_say_its_bits_and_those_of_a_run_go_first(place: Path) -> None:
    spec = StudentSpec.model_validate({**STUDENT, "name": "small", "bits": 16})
    assert go(place, student=spec)[-1].name == "small"
    assert go(place, student=spec, bits=8)[-1].name == "small-8bit"
    assert go(place, student=spec, bits=32)[-1].stages[-1].name == "contrastive"


def test_methods_that_make_no_student_have_no_bits(place: Path) -> None:
    assert {record.role for record in go(place, method="reference", bits=8)} == {
        record.role for record in go(place, method="reference")
    }


def test_what_cannot_be_stored_in_fewer_bits_is_told(place: Path, tmp_path: Path) -> None:
    with pytest.raises(XlbenchError, match="Only BERT and XLM-R students can be stored in 8 bits"):
        go(place, method="static", bits=8)
    eighth = directory_of(place, go(place, bits=8)[-1])
    with pytest.raises(XlbenchError, match="An encoder that is stored in 8 bits cannot be"):
        go(place, assistant=str(eighth), student={"name": "x", "layers": 1})
    model = load_student(place / "assistant")
    with torch.no_grad():
        stock_encoder(model).embeddings.word_embeddings.weight[:, 0] = 1e7
    save_student(model, tmp_path / "large")
    for bits, message in (
        (16, r"'0.model.embeddings.word_embeddings.weight' are too large"),
        (8, "A weight is too large"),
    ):
        with pytest.raises(XlbenchError, match=message):
            go(place, method="vocab-trim", assistant=str(tmp_path / "large"), bits=bits)
