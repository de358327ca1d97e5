"""Stages that train nothing: the methods beyond the paper, and a plugin's own edits, from plan to artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from toy_runs import make_place, settings_at, toy_request, toy_run

from xlbench import XlbenchError
from xlbench.api import Plan, PullToTarget, Stage, Target, TokenVectors, Training, TrimVocabulary
from xlbench.distill.check import check_plan
from xlbench.exports.directory import save_student_copy, student_directory
from xlbench.students.load import load_student, save_student
from xlbench.students.shape import MINILM
from xlbench.students.surgery import stock_encoder

if TYPE_CHECKING:
    from xlbench.records.record import Record

HERE = Path(__file__).parent
EDITS = HERE / "toy_edits.py"
TEXTS = ["cat sees dog", "alt haus nahe grün baum", "bread"]  # words of the corpus


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an assistant, a corpus and a store that tests share."""
    return make_place(tmp_path_factory.mktemp("beyond"))


def run_method(
    place: Path, method: str, options: dict[str, object] | None = None, home: str = "home", plugin: Path = EDITS
) -> tuple[Record, list[str]]:
    """Return the student's record, and what was reported."""
    request = toy_request(place, method=method, options=options or {})
    results, notes = toy_run(request, settings_at(place / home), plugin)
    return results.records[-1], notes


def model_of(place: Path, record: Record, home: str = "home") -> SentenceTransformer:
    return load_student(student_directory(record, settings_at(place / home)))


def table_of(model: SentenceTransformer) -> np.ndarray:
    table: np.ndarray = stock_encoder(model).embeddings.word_embeddings.weight.detach().numpy()
    return table


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("svd-bottleneck", {}),
        ("svd-bottleneck", {"full_depth": False}),
        ("vocab-trim", {}),
        ("vocab-trim", {"bottleneck": True, "keep_characters": False}),
        ("static", {}),
        ("static", {"trim": True, "width": 5}),
        ("average", {}),
        ("narrow", {}),
    ],
)
def test_declared_sizes_are_counted_sizes(place: Path, method: str, options: dict[str, object]) -> None:
    record, _ = run_method(place, method, options)
    shape = record.stages[-1].shape
    assert shape is not None
    assert shape.parameters == record.footprint.parameters
    assert shape.width == record.footprint.dimension
    assert record.footprint.weight_bytes is not None
    # The rest is safetensors' header.
    assert 0 < record.footprint.weight_bytes - 4 * record.footprint.parameters < 20_000
    assert [stage.pairs for stage in record.stages] == [0] * len(record.stages)


def test_the_factors_are_those_of_the_truncated_svd(place: Path) -> None:
    record, _ = run_method(place, "svd-bottleneck", {"weighting": "uniform"})
    table = table_of(load_student(place / "assistant"))
    left, sizes, right = np.linalg.svd(table.astype(np.float64))
    best = left[:, :8] * sizes[:8] @ right[:8]
    np.testing.assert_allclose(table_of(model_of(place, record)), best, atol=1e-5)
    # All four layers stay; 40 x 8 and 8 x 16 in place of 40 x 16.
    assert (record.footprint.stored_layers, record.footprint.executed_layers) == (4, 4)
    whole = sum(parameter.numel() for parameter in load_student(place / "assistant").parameters())
    assert record.footprint.parameters == whole - 40 * 16 + 40 * 8 + 8 * 16
    looped, _ = run_method(place, "svd-bottleneck", {"full_depth": False})
    assert (looped.footprint.stored_layers, looped.footprint.executed_layers) == (2, 4)


def test_a_student_without_a_bottleneck_has_nothing_to_factorise(place: Path) -> None:
    request = toy_request(place, method="svd-bottleneck", student={"name": "full", "layers": 2})
    with pytest.raises(XlbenchError, match="'full' has no bottleneck"):
        toy_run(request, settings_at(place / "home"))


def test_trimming_changes_no_vector_of_the_corpus_and_records_the_languages_kept(place: Path) -> None:
    record, _ = run_method(place, "vocab-trim", {"keep_characters": False})
    texts = [
        cell for line in (place / "corpus" / "en-de.tsv").read_text("utf-8").splitlines() for cell in line.split("\t")
    ]
    assistant, student = load_student(place / "assistant"), model_of(place, record)
    np.testing.assert_allclose(student.encode(texts), assistant.encode(texts), atol=1e-6)
    # Of 40: four special tokens, the characters of the corpus, and since that is small those of the frequent words of
    # English and German, "don't", "u.s" and "für" among them; the list of words spells ß as ss.
    kept = set("".join(texts).lower()) | set("abcdefghijklmnopqrstuvwxyzäöü'.")
    assert 4 + len(kept) < 40
    assert table_of(student).shape == (4 + len(kept), 16)
    metadata = record.stages[-1].metadata
    assert metadata.keys() == {"languages", "trimmed"}
    assert metadata["languages"] == ["en", "de"]
    # Another encoder than the assistant on what it lacks.
    missing = next(mark for mark in ",?!" if mark not in kept)
    assert np.abs(student.encode(missing) - assistant.encode(missing)).max() > 1e-3


def test_full_size_keeps_every_parameter_of_the_aligned_assistant(place: Path) -> None:
    whole, _ = run_method(place, "full-size")
    assert [stage.name for stage in whole.stages] == ["teacher-centred", "alignment", "aligned"]
    assert whole.encoder_key == whole.stages[-1].key
    assistant = load_student(place / "assistant")
    assert whole.footprint.parameters == sum(weight.numel() for weight in assistant.parameters())
    trimmed, _ = run_method(place, "full-size", {"trim": True})
    assert trimmed.stages[-1].metadata["languages"] == ["en", "de"]
    assert all(stage.reused for stage in trimmed.stages[:-1])


def test_a_static_student_has_no_layer(place: Path) -> None:
    record, _ = run_method(place, "static")
    size = record.footprint
    # 40 tokens, B = 8.
    assert size.parameters == size.embedding_parameters == 40 * 8
    assert size.encoder_parameters == size.executed_parameters == size.stored_layers == size.executed_layers == 0
    assert record.stages[-1].metadata == {}
    trimmed, _ = run_method(place, "static", {"trim": True})
    assert trimmed.stages[-1].metadata["languages"] == ["en", "de"]


def test_saved_students_load_without_xlbench(place: Path, tmp_path: Path) -> None:
    for method in ("vocab-trim", "static"):
        record, _ = run_method(place, method)
        path = tmp_path / method
        save_student_copy(record, path, settings_at(place / "home"), lambda _: "")
        assert {file.suffix for file in path.rglob("*") if file.is_file()} == {".safetensors", ".json", ".md"}
        # Nothing in it that only xlbench knows: modules and, of the trimmed one, architecture are stock.
        modules = json.loads((path / "modules.json").read_text("utf-8"))
        assert all(module["type"].startswith("sentence_transformers.") for module in modules)
        if method == "vocab-trim":
            assert json.loads((path / "config.json").read_text("utf-8"))["model_type"] == "bert"
        saved = SentenceTransformer(str(path), device="cpu", local_files_only=True)
        np.testing.assert_allclose(saved.encode(TEXTS), model_of(place, record).encode(TEXTS), atol=1e-6)


def test_a_static_artifact_may_be_a_teacher_and_students_keep_its_languages(place: Path, tmp_path: Path) -> None:
    record, _ = run_method(place, "static", {"width": 16})
    save_student_copy(record, tmp_path / "static", settings_at(place / "home"), lambda _: "")
    options = {"batch_size": 16, "trim": True}
    request = toy_request(
        place,
        method="single-stage",
        teacher=(str(tmp_path / "static"),),
        student_pairs=32,
        options={**options, "centre": False},
    )
    rows = toy_run(request, settings_at(place / "home"))[0].records
    assert [row.role for row in rows] == ["teacher", "assistant", "student"]
    assert rows[-1].stages[-1].metadata["languages"] == ["en", "de"]
    facts = json.loads((student_directory(rows[-1], settings_at(place / "home")) / "xlbench.json").read_text("utf-8"))
    assert facts["metadata"]["languages"] == ["en", "de"]
    centred = request.model_copy(update={"options": options})
    with pytest.raises(XlbenchError, match="'teacher-centred': Only BERT and XLM-R encoders can be centred"):
        toy_run(centred, settings_at(place / "home"))


def test_a_plugins_own_edit_averages_checkpoints(place: Path) -> None:
    record, _ = run_method(place, "average")
    home = place / "home" / "stages"
    first, second = (load_student(home / stage.key / "model").state_dict() for stage in record.stages[:2])
    got = model_of(place, record).state_dict()
    for name, tensor in got.items():
        np.testing.assert_allclose(tensor, (first[name] + second[name]) / 2, atol=1e-7)
    assert record.stages[-1].metadata == {"checkpoints": 2}


def test_edits_are_cached_resumed_and_run_again_when_their_code_changes(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "mine.py"
    source = (HERE / "toy_edits.py").read_text("utf-8")
    plugin.write_text(source, "utf-8")
    from xlbench.distill import engine
    from xlbench.students import load

    real = load.save_student

    def killed(model: SentenceTransformer, path: Path) -> None:
        real(model, path)
        if path.parent.name.startswith("stages-") and len(list((place / "own" / "stages").glob("*"))) == 2:
            (path / "left.safetensors").write_bytes(b"half")
            raise KeyboardInterrupt

    monkeypatch.setattr(load, "save_student", killed)
    with pytest.raises(KeyboardInterrupt):
        run_method(place, "average", home="own", plugin=plugin)
    monkeypatch.undo()
    record, notes = run_method(place, "average", home="own", plugin=plugin)
    made = [note.split()[1] for note in notes if "made in" in note]
    assert made == ["average:"]
    assert not (place / "own" / "stages" / record.encoder_key / engine.MODEL / "left.safetensors").exists()
    _, notes = run_method(place, "average", home="own", plugin=plugin)
    assert any("from the store" in note for note in notes)
    assert not any("made in" in note for note in notes)
    changed = tmp_path / "other" / "mine.py"
    changed.parent.mkdir()
    changed.write_text(source.replace("/ 2 for", "* 0.5 for"), "utf-8")
    from xlbench.fingerprint import _syntax_digest

    _syntax_digest.cache_clear()  # a new process has an empty one
    _, notes = run_method(place, "average", home="own", plugin=changed)
    assert [note.split()[1] for note in notes if "made in" in note] == ["average:"]


def test_an_edit_that_gives_another_shape_than_it_declares_is_an_error(place: Path) -> None:
    record, _ = run_method(place, "narrow")
    assert record.footprint.dimension == 4
    with pytest.raises(
        XlbenchError,
        match=r"'narrow': Narrow left an encoder of another shape .*: dimension 5 instead of 4, head 80 .* 64",
    ):
        run_method(place, "narrow", {"width": 5})


def test_pickled_weights_are_never_stored(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_student(place / "assistant")
    monkeypatch.setattr(type(model[1]), "save", lambda module, path, **more: Path(path, "weights.bin").write_bytes(b""))
    with pytest.raises(XlbenchError, match=r"'weights.bin', a pickle"):
        save_student(model, tmp_path / "saved")


def test_plans_of_edits_alone_are_valid_and_static_encoders_are_trained_at_full_width() -> None:
    shapes, widths = {"assistant": MINILM}, {"assistant": 384}
    trimmed = Stage("trimmed", "assistant", (TrimVocabulary(),))
    static = Stage("static", "trimmed", (TokenVectors(width=128),))
    declared = check_plan(Plan((trimmed, static), "static", teacher="assistant"), shapes, widths)
    assert declared["trimmed"].parameters == MINILM.parameters  # the most it can be
    assert declared["static"].admits(declared["static"].model_copy(update={"vocabulary": 60_000, "trimmed": False}))
    assert not declared["static"].admits(declared["static"].model_copy(update={"vocabulary": 250_038}))
    assert not declared["static"].admits(declared["static"].model_copy(update={"hidden": 129}))
    own = PullToTarget(target=Target(encoder="assistant", side="own"))
    training = Training(objectives=(own,), pairs=64, seed=0)
    taught = Stage("taught", "static", (), training)
    with pytest.raises(XlbenchError, match="'taught' pulls vectors of width 128 to 'assistant', whose width is 384"):
        check_plan(Plan((trimmed, static, taught), "taught", teacher="assistant"), shapes, widths)
    whole = Stage("static", "trimmed", (TokenVectors(),))
    assert (
        check_plan(Plan((trimmed, whole, taught), "taught", teacher="assistant"), shapes, widths)["taught"].width == 384
    )
