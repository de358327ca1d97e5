"""Students whose weights are stored in 16 or 8 bits: what is quantised, how it is saved, and what is loaded."""

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
from xlbench.exports.directory import student_directory
from xlbench.students.load import load_student, save_student
from xlbench.students.quantised import (
    QuantisedEmbedding,
    QuantisedLinear,
    QuantisedMatrix,
    dequantise_linear_maps,
    quantise_matrices,
)
from xlbench.students.surgery import stock_encoder, transformer_shape

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.records.record import Record

TEXTS = ["cat sees dog", "alt haus nahe grün baum", "bread"]  # words of the corpus


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an assistant and a corpus, and the store that these tests share."""
    return make_place(tmp_path_factory.mktemp("bits"))


def run(place: Path, **changes: object) -> list[Record]:
    """Return the records of a run; without changes, of the toy student in 32 bits."""
    return toy_run(toy_request(place, **changes), settings_at(place / "home"))[0].records


def directory_of(place: Path, record: Record) -> Path:
    return student_directory(record, settings_at(place / "home"))


def tensors_of(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


def test_each_row_is_quantised_with_its_own_scale() -> None:
    matrix = QuantisedMatrix(3, 3)
    matrix.quantise(torch.tensor([[1.27, -0.64, 0.0], [0.0, 0.0, 0.0], [-127e-9, 1e-9, 0.0]]))
    # The first row: 1.27 / 127 = 0.01, in float16 s = 0.01000213623046875; 1.27 / s = 126.97 and -0.64 / s = -63.99.
    assert matrix.steps.tolist() == [[127, -64, 0], [0, 0, 0], [0, 0, 0]]
    # The scale would be 0 for a row of zeros, and for the third row, as 1e-9 is below 6e-8, the least float16.
    assert matrix.scale.tolist() == [[0.01000213623046875], [1.0], [1.0]]
    np.testing.assert_allclose(matrix.weight[0], [1.2702713, -0.6401367, 0.0], rtol=1e-6)
    # Quantising a second time changes nothing.
    again = QuantisedMatrix(3, 3)
    again.quantise(matrix.weight)
    assert torch.equal(again.steps, matrix.steps)
    assert torch.equal(again.scale, matrix.scale)


def test_no_weight_moves_by_more_than_half_a_step() -> None:
    weights = torch.randn(50, 30, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 4, 50).unsqueeze(1)
    matrix = QuantisedMatrix(50, 30)
    matrix.quantise(weights)
    # Half a step; and since the scale is rounded to float16, an error of at most 2^-11, times 127 steps.
    bound = weights.abs().amax(1, keepdim=True) / 127 * (0.5 + 127 * 2**-11)
    assert ((matrix.weight - weights).abs() <= bound).all()


def test_tables_stay_quantised_and_linear_maps_become_float_again() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 4)
            self.linear = nn.Linear(4, 3)
            self.unbiased = nn.Linear(4, 3, bias=False)

    encoder = Encoder()
    ids, bias = torch.tensor([[0, 4], [2, 2]]), encoder.linear.bias.detach().clone()
    before = encoder.linear(encoder.table(ids))
    quantise_matrices(encoder)
    assert [type(part) for part in encoder.children()] == [QuantisedEmbedding, QuantisedLinear, QuantisedLinear]
    dequantise_linear_maps(encoder)
    assert [type(part) for part in encoder.children()] == [QuantisedEmbedding, nn.Linear, nn.Linear]
    table = cast("QuantisedEmbedding", encoder.table)
    assert table.num_embeddings == 5
    assert torch.equal(table(ids), table.weight[ids])
    assert torch.equal(encoder.linear.bias, bias)
    assert encoder.unbiased.bias is None
    assert encoder.linear(table(ids)).dtype == torch.float32
    torch.testing.assert_close(encoder.linear(table(ids)), before, atol=0.05, rtol=0)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_quantised_student_is_the_same_student_rounded(bits: int, place: Path) -> None:
    float32, quantised = run(place)[-1], run(place, bits=bits)[-1]
    assert quantised.name == f"toy-half-{bits}bit"
    assert [stage.name for stage in quantised.stages] == [*(stage.name for stage in float32.stages), "quantised"]
    assert all(stage.reused for stage in quantised.stages[:-1])
    # Parameters are counted, not bytes; the scales are no parameters.
    assert quantised.footprint.parameters == float32.footprint.parameters == quantised.stages[-1].shape.parameters
    assert quantised.stages[-1].shape.bits == bits
    assert float32.stages[-1].shape.bits == 32
    model = load_student(directory_of(place, quantised))
    tolerance = {8: 0.02, 16: 0.002}[bits]
    expected = load_student(directory_of(place, float32)).encode(TEXTS)
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=tolerance)
    # The loaded weights equal the stored ones exactly.
    tensors = tensors_of(directory_of(place, quantised))
    state = stock_encoder(model).state_dict()
    name = "encoder.layer.0.intermediate.dense"
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    if bits == 8:
        assert torch.equal(state[f"{name}.weight"], tensors[f"{name}.steps"] * tensors[f"{name}.scale"].float())
        assert torch.equal(
            state["embeddings.word_embeddings.table.steps"], tensors["embeddings.word_embeddings.table.steps"]
        )
    else:
        assert torch.equal(state[f"{name}.weight"], tensors[f"{name}.weight"].float())


def test_the_bytes_of_8_and_of_16_bits(place: Path) -> None:
    float32 = tensors_of(directory_of(place, run(place)[-1]))
    bits16 = tensors_of(directory_of(place, run(place, bits=16)[-1]))
    bits8 = tensors_of(directory_of(place, run(place, bits=8)[-1]))
    floats = {name: tensor for name, tensor in float32.items() if tensor.is_floating_point()}
    # Integer tensors, which say which token has which row, are stored as they are.
    integers = sum(tensor.nbytes for name, tensor in float32.items() if name not in floats)
    expected = sum(2 * tensor.numel() for tensor in floats.values())
    assert sum(tensor.nbytes for tensor in bits16.values()) == expected + integers
    # A matrix takes one byte for each number and two for the scale of each row; other floats take four bytes.
    expected = sum(
        tensor.numel() + 2 * len(tensor) if tensor.ndim == 2 else 4 * tensor.numel() for tensor in floats.values()
    )
    assert sum(tensor.nbytes for tensor in bits8.values()) == expected + integers


def test_an_8_bit_student_can_be_loaded_and_saved_again_unchanged(place: Path, tmp_path: Path) -> None:
    directory = directory_of(place, run(place, bits=8)[-1])
    model = SentenceTransformer(str(directory), device="cpu", local_files_only=True)
    before = model.encode(TEXTS)
    model.save_pretrained(str(tmp_path / "again"), create_model_card=False)
    # Saving does not change the model in memory either.
    np.testing.assert_array_equal(model.encode(TEXTS), before)
    again = SentenceTransformer(str(tmp_path / "again"), device="cpu", local_files_only=True)
    np.testing.assert_array_equal(again.encode(TEXTS), before)
    first, second = tensors_of(directory), tensors_of(tmp_path / "again")
    assert {name: tensor.dtype for name, tensor in second.items()} == {
        name: tensor.dtype for name, tensor in first.items()
    }


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_8_bit_student_computes_in_any_float_type(dtype: torch.dtype, place: Path) -> None:
    directory = str(directory_of(place, run(place, bits=8)[-1]))
    before = SentenceTransformer(directory, device="cpu", local_files_only=True).encode(TEXTS)
    loaded = SentenceTransformer(directory, device="cpu", local_files_only=True, model_kwargs={"dtype": dtype})
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    converted = SentenceTransformer(directory, device="cpu", local_files_only=True).to(dtype)
    for model in (loaded, converted):
        vectors = model.encode(TEXTS, convert_to_tensor=True).float().numpy()
        np.testing.assert_allclose(vectors, before, atol=0.03)


def test_a_stock_encoder_stays_stock_in_16_bits(place: Path) -> None:
    record = run(place, method="vocab-trim", bits=16)[-1]
    path = directory_of(place, record)
    config = json.loads((path / "config.json").read_text("utf-8"))
    assert (config["model_type"], config["dtype"], config["bits"]) == ("bert", "float32", 16)
    assert {tensor.dtype for tensor in tensors_of(path).values()} == {torch.float16}
    assert transformer_shape(stock_encoder(load_student(path))).bits == 16


def test_the_bits_of_a_run_take_precedence_over_those_of_the_student_spec(place: Path) -> None:
    spec = StudentSpec.model_validate({**STUDENT, "name": "small", "bits": 16})
    assert run(place, student=spec)[-1].name == "small"
    assert run(place, student=spec, bits=8)[-1].name == "small-8bit"
    assert run(place, student=spec, bits=32)[-1].stages[-1].name == "contrastive"


def test_bits_change_nothing_for_a_method_that_makes_no_student(place: Path) -> None:
    assert {record.role for record in run(place, method="reference", bits=8)} == {
        record.role for record in run(place, method="reference")
    }


def test_encoders_that_cannot_be_quantised_are_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(XlbenchError, match="Only BERT and XLM-R students can be stored in 8 bits"):
        run(place, method="static", bits=8)
    bits8 = directory_of(place, run(place, bits=8)[-1])
    with pytest.raises(XlbenchError, match="An encoder that is stored in 8 bits cannot be"):
        run(place, assistant=str(bits8), student={"name": "x", "layers": 1})
    model = load_student(place / "assistant")
    with torch.no_grad():
        stock_encoder(model).embeddings.word_embeddings.weight[:, 0] = 1e7
    save_student(model, tmp_path / "large")
    for bits, message in (
        (16, r"'0.model.embeddings.word_embeddings.weight' are too large"),
        (8, "A weight is too large"),
    ):
        with pytest.raises(XlbenchError, match=message):
            run(place, method="vocab-trim", assistant=str(tmp_path / "large"), bits=bits)
