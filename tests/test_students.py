"""Building a student from BERT and XLM-R: bottleneck, looped layers, saving, loading, training on the used rows."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from xlbench import XlbenchError
from xlbench.encoders.modules import transformer_of
from xlbench.students.load import load_student, save_student
from xlbench.students.surgery import (
    as_student,
    choose_layers,
    cut_bottleneck,
    keep_layers,
    shift_output,
    transformer_shape,
)
from xlbench.students.token_embeddings import embedding_table, restore_table, shrink_table
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

TEXTS = ["cat sees dog", "old house near green tree", "bread"]
BOTH_ARCHITECTURES = pytest.mark.parametrize("architecture", ["bert", "xlm-roberta"])


def load_toy(tmp_path: Path, architecture: Literal["bert", "xlm-roberta"] = "bert") -> SentenceTransformer:
    return load_student(save_toy_encoder(tmp_path / "toy", architecture=architecture))


@BOTH_ARCHITECTURES
def test_turning_an_encoder_into_a_student_changes_nothing(
    tmp_path: Path, architecture: Literal["bert", "xlm-roberta"]
) -> None:
    model = load_toy(tmp_path, architecture)
    before = model.encode(TEXTS)
    model[0].model = as_student(transformer_of(model))
    np.testing.assert_array_equal(model.encode(TEXTS), before)


@BOTH_ARCHITECTURES
@pytest.mark.parametrize("order", ["cycle", "adjacent"])
def test_a_saved_student_loads_with_plain_sentence_transformers(
    tmp_path: Path, architecture: Literal["bert", "xlm-roberta"], order: Literal["cycle", "adjacent"]
) -> None:
    model = load_toy(tmp_path, architecture)
    student = as_student(transformer_of(model))
    cut_bottleneck(student, 6, np.ones(student.config.vocab_size), frequent=np.array([4, 11]))
    keep_layers(student, 2, 3, "spaced", order)
    model[0].model = student
    save_student(model, tmp_path / "student")
    loaded = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    np.testing.assert_array_equal(loaded.encode(TEXTS), model.encode(TEXTS))
    shape = transformer_shape(transformer_of(loaded))
    assert (shape.bottleneck, shape.frequent, shape.layers, shape.repeats) == (6, 2, 2, 3)
    assert shape.parameters == sum(parameter.numel() for parameter in loaded.parameters())


def test_a_student_is_saved_as_safetensors_and_each_layer_once(tmp_path: Path) -> None:
    from safetensors import safe_open

    model = load_toy(tmp_path)
    student = as_student(transformer_of(model))
    keep_layers(student, 2, 2, "first")
    model[0].model = student
    save_student(model, tmp_path / "student")
    pickles = [path.name for path in (tmp_path / "student").rglob("*") if path.suffix in {".bin", ".pt", ".pkl"}]
    assert pickles == []
    with safe_open(tmp_path / "student" / "model.safetensors", "pt") as file:
        layers = {name.split(".")[2] for name in file.keys() if name.startswith("encoder.layer")}  # noqa: SIM118
    assert layers == {"0", "1"}


def test_a_fresh_process_loads_a_student_after_registering(tmp_path: Path) -> None:
    model = load_toy(tmp_path)
    model[0].model = as_student(transformer_of(model))
    save_student(model, tmp_path / "student")
    code = (
        "import sys, xlbench; xlbench.register();"
        "from sentence_transformers import SentenceTransformer;"
        "print(SentenceTransformer(sys.argv[1], device='cpu').encode(['cat']).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "student")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(1, 16)"


@pytest.mark.parametrize(("order", "runs"), [("cycle", [0, 1, 0, 1, 0, 1]), ("adjacent", [0, 0, 0, 1, 1, 1])])
def test_looped_layers_run_in_the_chosen_order(
    tmp_path: Path, order: Literal["cycle", "adjacent"], runs: list[int]
) -> None:
    student = as_student(transformer_of(load_toy(tmp_path)))
    stored = student.encoder.layer[0], student.encoder.layer[3]
    keep_layers(student, 2, 3, "spaced", order)
    executed = [stored[number] for number in runs]
    assert list(student.encoder.layer) == executed
    # The encoder gives the same as its layers called one after another, six in all.
    hidden = torch.randn(1, 5, 16)
    expected = hidden
    for layer in executed:
        expected = layer(expected)
    assert torch.equal(student.encoder(hidden).last_hidden_state, expected)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("spaced", [0, 2, 4, 7, 9, 11]), ("first", [0, 1, 2, 3, 4, 5]), ("last", [6, 7, 8, 9, 10, 11])],
)
def test_layers_are_chosen_from_the_whole_depth_or_one_end(
    choice: Literal["spaced", "first", "last"], expected: list[int]
) -> None:
    # Six evenly spaced numbers from 0 to 11 are 0, 2.2, 4.4, 6.6, 8.8, 11; they are rounded.
    assert choose_layers(12, 6, choice) == expected


def test_pca_keeps_the_best_rank_b_table(tmp_path: Path) -> None:
    student = as_student(transformer_of(load_toy(tmp_path)))
    table = student.embeddings.word_embeddings.weight.detach().double()
    cut_bottleneck(student, 5, np.ones(len(table)))
    # The best rank-5 approximation is the truncated singular value decomposition (Eckart & Young).
    u, s, v = torch.linalg.svd(table, full_matrices=False)
    best = (u[:, :5] * s[:5]) @ v[:5]
    assert torch.allclose(student.embeddings.word_embeddings.weight.detach().double(), best, atol=1e-5)


def test_frequency_weights_keep_the_embeddings_of_frequent_tokens(tmp_path: Path) -> None:
    student = as_student(transformer_of(load_toy(tmp_path)))
    table = student.embeddings.word_embeddings.weight.detach().clone()
    weights = np.full(len(table), 1e-9)
    weights[[7, 9]] = 1.0
    cut_bottleneck(student, 2, weights)
    # Two columns represent two tokens exactly, at the cost of all the others.
    assert torch.allclose(student.embeddings.word_embeddings.weight[[7, 9]], table[[7, 9]], atol=1e-4)


def test_shifting_the_output_shifts_every_sentence_embedding(tmp_path: Path) -> None:
    model = load_toy(tmp_path)
    unnormalised = SentenceTransformer(modules=[model[0], model[1]], device="cpu")
    before = unnormalised.encode(TEXTS)
    shift = np.linspace(-1, 1, 16).astype(np.float32)
    shift_output(transformer_of(model), shift)
    np.testing.assert_allclose(unnormalised.encode(TEXTS), before + shift, atol=1e-5)


def test_the_output_of_looped_layers_cannot_be_shifted(tmp_path: Path) -> None:
    student = as_student(transformer_of(load_toy(tmp_path)))
    keep_layers(student, 2, 2, "first")
    with pytest.raises(XlbenchError, match="cannot be shifted"):
        shift_output(student, np.zeros(16))


def test_frequent_tokens_keep_their_rows_and_the_factors_fit_the_other_tokens(tmp_path: Path) -> None:
    student = as_student(transformer_of(load_toy(tmp_path)))
    table = student.embeddings.word_embeddings.weight.detach().clone()
    weights = np.full(len(table), 1e-9)
    weights[[7, 9]] = 1.0
    weights[[4, 11, 12]] = 0.0
    cut_bottleneck(student, 2, weights, frequent=np.array([11, 4, 12]))
    cut = student.embeddings.word_embeddings.weight
    assert torch.allclose(cut[[4, 7, 9, 11, 12]], table[[4, 7, 9, 11, 12]], atol=1e-4)
    assert not torch.allclose(cut[5], table[5], atol=1e-2)
    assert torch.allclose(student.embeddings.word_embeddings(torch.tensor([[4, 5]])), cut[[4, 5]][None])
    # A table of 40 x 2, a map of 2 x 16, three corrections of 16 and the row of zeros for all other tokens.
    embeddings = student.embeddings.word_embeddings
    assert sum(parameter.numel() for parameter in embeddings.parameters()) == 40 * 2 + 2 * 16 + 4 * 16
    assert transformer_shape(student).embedding_parameters == sum(p.numel() for p in student.embeddings.parameters())


@BOTH_ARCHITECTURES
@pytest.mark.parametrize(("width", "frequent"), [(None, []), (6, []), (6, [4, 30, 9]), (6, [30])])
def test_a_shrunken_table_gives_the_same_vectors_and_grows_back(
    tmp_path: Path, architecture: Literal["bert", "xlm-roberta"], width: int | None, frequent: list[int]
) -> None:
    model = load_toy(tmp_path, architecture)
    student = as_student(transformer_of(model))
    if width is not None:
        cut_bottleneck(student, width, np.ones(student.config.vocab_size), frequent=np.array(frequent, np.int64))
    ids = torch.tensor([[0, 4, 9, 11, 2], [0, 9, 2, 1, 1]])
    mask = (ids != 1).long()
    before = student(input_ids=ids, attention_mask=mask).last_hidden_state
    used = np.array([0, 1, 2, 4, 9, 11])
    positions = torch.from_numpy(np.searchsorted(used, ids.numpy()))
    original = student.embeddings.word_embeddings.weight.detach().clone()
    full = shrink_table(student, used)
    after = student(input_ids=positions, attention_mask=mask).last_hidden_state
    real = mask.bool()
    assert torch.equal(after[real], before[real])
    embeddings = student.embeddings.word_embeddings
    with torch.no_grad():
        embedding_table(student).weight[3] += 1  # token 4
        if 9 in frequent:
            embeddings.correction.weight[embeddings.place[4]] += 1  # token 9
    restore_table(student, full, used)
    changed = (student.embeddings.word_embeddings.weight != original).any(dim=1)
    assert changed.nonzero().flatten().tolist() == ([4, 9] if 9 in frequent else [4])


@pytest.mark.parametrize("shown", [True, False])
def test_saving_and_loading_leave_the_progress_bars_of_transformers_as_they_were(tmp_path: Path, shown: bool) -> None:
    from transformers.utils import logging

    model = load_student(save_toy_encoder(tmp_path / "toy"))
    before = logging.is_progress_bar_enabled()
    try:
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
        save_student(model, tmp_path / "student")
        load_student(tmp_path / "student")
        assert logging.is_progress_bar_enabled() is shown
    finally:
        (logging.enable_progress_bar if before else logging.disable_progress_bar)()


def test_a_damaged_model_is_told_in_two_lines(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("nonsense")
    with pytest.raises(XlbenchError) as raised:
        load_student(tmp_path)
    assert raised.value.problem == f"'{tmp_path}' holds no weights: there is no .safetensors file."
    assert raised.value.remedy == "Was its download interrupted? Fetch it again."


def test_a_student_is_saved_the_same_whatever_its_tokenizer_did_last(tmp_path: Path) -> None:
    model = load_toy(tmp_path)
    save_student(model, tmp_path / "unused")
    model.tokenizer(["a b c"], truncation=True, max_length=8, padding="max_length")
    save_student(model, tmp_path / "used")
    unused, used = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("unused", "used"))
    assert unused == used
