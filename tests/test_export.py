"""Exports: formats, sizes, what is refused, and use without xlbench."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sentence_transformers import SentenceTransformer
from toy_runs import PLUGIN

import xlbench
from xlbench import XlbenchError
from xlbench.cli.app import app
from xlbench.encoders.encode import encode
from xlbench.encoders.modules import transformer_of
from xlbench.exports import onnx_int8, sentences, stock, tolerance
from xlbench.exports.formats import FORMATS
from xlbench.students.load import load_student, save_student
from xlbench.students.low_rank import factorise_linear_maps
from xlbench.students.surgery import build_student, cut_bottleneck, keep_layers, quantise
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xlbench.students.architecture import StudentModel

TEXTS = ["cat sees dog", "old house near green tree", "bread", "ein kleines haus"]
Architecture = Literal["bert", "xlm-roberta"]


@pytest.fixture(autouse=True)
def _few_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure exports on few sentences, for speed."""
    monkeypatch.setattr(sentences, "OF_A_LANGUAGE", 4)


def low_rank(student: StudentModel) -> None:
    moments = {
        name: torch.eye(part.in_features, dtype=torch.float64)
        for name, part in student.encoder.layer.named_modules()
        if isinstance(part, torch.nn.Linear)
    }
    factorise_linear_maps(student.encoder.layer, 0.5, moments)
    student.config.rank_share = 0.5


def bottleneck(student: StudentModel) -> None:
    cut_bottleneck(student, 6, np.ones(student.config.vocab_size), frequent=np.array([4, 11]))


PARTS: dict[str, Callable[[StudentModel], None]] = {
    "bottleneck": bottleneck,
    "looped": lambda student: keep_layers(student, 2, 2, "spaced", "adjacent"),
    "low-rank": low_rank,
}


EVERY_KIND = pytest.mark.parametrize(
    ("parts", "bits", "architecture"),
    [
        ((), 32, "bert"),
        (("bottleneck", "looped"), 32, "xlm-roberta"),
        (("bottleneck", "looped"), 16, "bert"),
        (("bottleneck", "looped"), 8, "bert"),
        (("low-rank",), 8, "xlm-roberta"),
        (("bottleneck", "low-rank"), 32, "bert"),
    ],
)


def toy_student(
    directory: Path, *parts: str, architecture: Architecture = "bert", bits: Literal[8, 16, 32] = 32, rows: int = 0
) -> Path:
    """Save a toy student with some parts, and return its directory."""
    model = load_student(save_toy_encoder(directory / "toy", architecture=architecture, rows=rows or None))
    student = build_student(model)
    for part in parts:
        PARTS[part](student)
    if bits != 32:
        quantise(model, bits)
    path = directory / "student"
    save_student(model, path)
    return path


def weights_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.suffix in {".safetensors", ".onnx"})


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_a_student_without_a_students_parts_is_saved_as_the_stock_encoder_that_it_is(
    tmp_path: Path, architecture: Architecture
) -> None:
    model = load_student(save_toy_encoder(tmp_path / "toy", architecture=architecture))
    keep_layers(build_student(model), 2, 1, "spaced")
    save_student(model, tmp_path / "student")
    config = json.loads((tmp_path / "student" / "config.json").read_text("utf-8"))
    assert config["model_type"] == architecture
    assert config["num_hidden_layers"] == 2
    assert not {"bottleneck", "frequent", "rank_share", "repeats", "loop_order", "bits"} & set(config)
    loaded = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    assert type(transformer_of(loaded)).__module__.startswith("transformers.")
    np.testing.assert_array_equal(loaded.encode(TEXTS), model.encode(TEXTS))


@pytest.mark.parametrize("bits", [16, 32])
def test_everybody_may_read_what_is_saved(tmp_path: Path, bits: Literal[16, 32]) -> None:
    path = toy_student(tmp_path, "bottleneck", bits=bits)
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.rglob("*") if file.is_file()}
    assert len(set(modes.values())) == 1, modes


@EVERY_KIND
def test_stock_gives_the_same_vectors_in_any_library(
    tmp_path: Path, parts: tuple[str, ...], bits: Literal[8, 16, 32], architecture: Architecture
) -> None:
    path = toy_student(tmp_path, *parts, architecture=architecture, bits=bits)
    made = xlbench.export(path, "stock", tmp_path / "out", home=tmp_path / "home", quiet=True)
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    # Looped twice, or all of the toy's four layers: four in any case.
    assert (config["model_type"], config["num_hidden_layers"]) == (architecture, 4)
    loaded = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    np.testing.assert_allclose(loaded.encode(TEXTS), load_student(path).encode(TEXTS), atol=1e-6)
    assert (made.weight_bytes, made.source_bytes) == (weights_of(tmp_path / "out"), weights_of(path))
    assert f"{made.source_bytes / 1e6:.1f} MB" in (tmp_path / "out" / "README.md").read_text("utf-8")


@EVERY_KIND
def test_onnx_gives_the_same_vectors_and_is_no_larger_than_what_is_stored(
    tmp_path: Path, parts: tuple[str, ...], bits: Literal[8, 16, 32], architecture: Architecture
) -> None:
    pytest.importorskip("onnxruntime")
    path = toy_student(tmp_path, *parts, architecture=architecture, bits=bits, rows=4000)
    made = xlbench.export(path, "onnx", tmp_path / "out", home=tmp_path / "home", quiet=True)
    for loaded in (encoder_in(tmp_path / "out", tmp_path), xlbench.load(tmp_path / "out")):
        np.testing.assert_allclose(encode(loaded, TEXTS), load_student(path).encode(TEXTS), atol=2e-6)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "README.md", "examples.json", "model.onnx", "tokenizer.json",
    ]  # fmt: skip
    # Nodes, names and scales of a few small layers; one copy of the layers, or of the table, would be more.
    assert made.weight_bytes < weights_of(path) + 26_000


def test_a_second_round_of_the_layers_adds_no_weights(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    sizes = {}
    for repeats in (1, 2, 3):
        model = load_student(save_toy_encoder(tmp_path / f"toy{repeats}", hidden=64))
        keep_layers(build_student(model), 2, repeats, "spaced")
        save_student(model, tmp_path / f"s{repeats}")
        for to in ("onnx", "onnx-int8", "openvino-int8"):
            out = tmp_path / f"{to}{repeats}"
            sizes[to, repeats] = xlbench.export(
                tmp_path / f"s{repeats}", to, out, quiet=True, home=tmp_path
            ).weight_bytes
    # Two layers of H = 64 have 67,000 parameters; their nodes take a few kilobytes, the same for each round.
    for to in ("onnx", "onnx-int8"):
        assert 0 < sizes[to, 2] - sizes[to, 1] < 9000
        assert sizes[to, 3] - sizes[to, 2] == pytest.approx(sizes[to, 2] - sizes[to, 1], rel=0.1)
    # OpenVINO keeps its nodes in a file apart, so what differs is which rows of scales two maps share.
    assert sizes["openvino-int8", 3] == pytest.approx(sizes["openvino-int8", 1], rel=0.1)


def encoder_in(directory: Path, home: Path) -> SentenceTransformer:
    from xlbench.encoders.find import find_encoder, load_encoder
    from xlbench.settings import Settings

    settings = Settings(home=home, quiet=True, device="cpu")
    return load_encoder(find_encoder(str(directory), {}, settings), {}, settings)


# As where only numpy, onnxruntime and tokenizers are installed.
BLOCKED = """
import sys
from importlib.machinery import PathFinder

absent = {
    "torch", "xlbench", "transformers", "sentence_transformers", "onnx", "safetensors", "scipy", "sklearn", "nncf"
}

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in absent else super().find_spec(fullname, path, target)

sys.meta_path = [Finder if it is PathFinder else it for it in sys.meta_path]
"""


@pytest.mark.parametrize("to", ["onnx", "onnx-int8", "openvino-int8"])
def test_the_script_of_the_readme_gives_the_stored_vectors_without_torch_and_xlbench(tmp_path: Path, to: str) -> None:
    pytest.importorskip("onnxruntime")
    path = toy_student(tmp_path, "bottleneck", "looped")
    out = tmp_path / "out"
    xlbench.export(path, to, out, home=tmp_path / "home", quiet=True)
    (script,) = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text("utf-8"), re.DOTALL)
    lines = [line for line in script.splitlines() if line]
    assert len(lines) == 10
    examples = json.loads((out / "examples.json").read_text("utf-8"))
    given = re.sub(
        r"encode_batch\(\[.*?\]\)", "encode_batch(__import__('json').load(open('examples.json'))['sentences'])", script
    )
    assert given != script
    code = f"{BLOCKED}\n{given}\nimport json\nprint(json.dumps(vectors.tolist()))\nassert not absent & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=out, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    vectors = np.array(json.loads(ran.stdout.splitlines()[-1]))
    np.testing.assert_allclose(vectors, examples["vectors"], atol=examples["tolerance"])
    # Not only of itself: also those of the encoder that was exported.
    expected = load_student(path).encode(examples["sentences"])
    assert (1 - (vectors * expected).sum(axis=1)).max() < (1e-6 if to == "onnx" else 0.01)


@pytest.mark.parametrize("to", ["onnx", "onnx-int8", "openvino-int8"])
def test_a_vector_does_not_depend_on_the_rest_of_the_batch(tmp_path: Path, to: str) -> None:
    pytest.importorskip("onnxruntime")
    xlbench.export(toy_student(tmp_path, "bottleneck", "looped"), to, tmp_path / "out", home=tmp_path, quiet=True)
    loaded = encoder_in(tmp_path / "out", tmp_path)
    alone = np.concatenate([loaded.encode([text], show_progress_bar=False) for text in TEXTS])
    together = loaded.encode([*TEXTS, "a " * 60], show_progress_bar=False)[: len(TEXTS)]
    # Far below the 0.01 of a scale that all tokens of a batch share.
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_nothing_but_xlbench_speaks_while_integers_are_chosen(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("openvino")
    made = xlbench.export(toy_student(tmp_path), "openvino-int8", tmp_path / "out", home=tmp_path, quiet=True)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert sorted(file.name for file in made.directory.iterdir()) == [
        "README.md", "examples.json", "openvino_model.bin", "openvino_model.xml", "tokenizer.json",
    ]  # fmt: skip


@pytest.mark.parametrize("to", ["onnx", "openvino-int8"])
def test_an_export_encodes_sentences_of_similar_length_together(tmp_path: Path, to: str) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(to, "openvino"))
    path = toy_student(tmp_path, "bottleneck")
    xlbench.export(path, to, tmp_path / "out", home=tmp_path, quiet=True)
    loaded = encoder_in(tmp_path / "out", tmp_path)
    first, padded = loaded[0], []
    run = first.session

    def counted(features: dict[str, np.ndarray]) -> np.ndarray:
        padded.append(features["input_ids"].size)
        return run(features)

    first.session = counted
    texts = ["cat " * (1 if number % 2 else 60) for number in range(64)]
    encode(loaded, texts)
    short, long = (len(loaded.tokenizer(text, truncation=True, max_length=128)["input_ids"]) for text in texts[1::-1])
    # Nothing is padded; in the order given all 64 would be as long as the longest.
    assert (short, long) == (6, 128)
    assert sum(padded) == 32 * short + 32 * long


@pytest.mark.parametrize("damage", ["graph of another", "tokenizer that cuts", "examples of another", "no examples"])
def test_an_export_that_does_not_give_the_vectors_of_its_examples_is_refused(tmp_path: Path, damage: str) -> None:
    pytest.importorskip("onnxruntime")
    for seed in (0, 1):
        path = save_toy_encoder(tmp_path / f"toy{seed}", seed=seed)
        xlbench.export(path, "onnx", tmp_path / f"out{seed}", home=tmp_path / "home", quiet=True)
    out, other = tmp_path / "out0", tmp_path / "out1"
    loaded = encoder_in(out, tmp_path / "home")  # as it was written
    if damage == "graph of another":
        shutil.copy(other / "model.onnx", out)
    elif damage == "tokenizer that cuts":
        settings = json.loads((out / "tokenizer.json").read_text("utf-8"))
        settings["truncation"]["max_length"] = 3
        (out / "tokenizer.json").write_text(json.dumps(settings), "utf-8")
    elif damage == "examples of another":
        (out / "examples.json").write_text("[]", "utf-8")
    else:
        (out / "examples.json").unlink()
        np.testing.assert_array_equal(encode(encoder_in(out, tmp_path / "home"), TEXTS), encode(loaded, TEXTS))
        return
    said = (
        "holds no examples as"
        if damage == "examples of another"
        else "does not give the vectors of its 'examples.json'"
    )
    with pytest.raises(XlbenchError, match=said):
        encoder_in(out, tmp_path / "home")


def test_static_students_are_exported_too(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = load_student(save_toy_encoder(tmp_path / "toy")).tokenizer
    table = np.random.default_rng(0).normal(size=(len(tokenizer), 8)).astype(np.float32)
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, table)], device="cpu")
    save_student(model, tmp_path / "static")
    for to in FORMATS:
        xlbench.export(tmp_path / "static", to, tmp_path / to, home=tmp_path / "home", quiet=True)
        loaded = encoder_in(tmp_path / to, tmp_path)
        atol = 0.02 if to.endswith("int8") else 1e-6
        np.testing.assert_allclose(encode(loaded, TEXTS), model.encode(TEXTS), atol=atol)


def test_an_export_that_loses_too_much_is_refused_unless_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    path = toy_student(tmp_path, "bottleneck")
    monkeypatch.setattr(onnx_int8, "STEPS", 1)  # -1, 0 and 1: activations of less than two bits
    monkeypatch.setattr(tolerance, "MOST", 1e9)  # and no map may stay in floats
    with pytest.raises(XlbenchError, match=r"^Exported to 'onnx-int8', the encoder gives other vectors: 1 - cosine"):
        xlbench.export(path, "onnx-int8", tmp_path / "out", home=tmp_path / "home", quiet=True)
    assert not list(tmp_path.glob("*out*"))
    made = xlbench.export(path, "onnx-int8", tmp_path / "out", force=True, home=tmp_path / "home", quiet=True)
    assert made.losses[made.worst] > onnx_int8.LOSS


def test_maps_that_cannot_bear_integers_stay_in_floats(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = load_student(save_toy_encoder(tmp_path / "toy"))
    inner = build_student(model)
    with torch.no_grad():  # one input far above the others, which integers of one scale then round to zero
        inner.encoder.layer[1].attention.output.LayerNorm.bias[3] = 3000.0
        inner.encoder.layer[1].intermediate.dense.weight[:, 3] = 0.0
    save_student(model, tmp_path / "student")
    made = xlbench.export(tmp_path / "student", "onnx-int8", tmp_path / "out", home=tmp_path, quiet=True)
    assert made.losses[made.worst] < onnx_int8.LOSS
    stored = {it.name: it.data_type for it in onnx.load(tmp_path / "out" / "model.onnx").graph.initializer}
    floats = {
        name
        for name, kind in stored.items()
        if kind == onnx.TensorProto.FLOAT and re.search(r"(query|key|value|dense)$", name)
    }
    assert floats == {"encoder.layer.1.intermediate.dense"}


def test_what_exists_is_refused_before_any_work_and_nothing_is_left_of_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(XlbenchError, match=r"there' is there already"):
        xlbench.export("no such run", "stock", tmp_path / "there", home=tmp_path / "home")

    def fail(*_: object) -> None:
        raise RuntimeError("half-way")

    path = toy_student(tmp_path)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(stock, "write", fail)
    with pytest.raises(RuntimeError):
        xlbench.export(path, "stock", tmp_path / "out", home=tmp_path / "home", quiet=True)
    assert [it for it in sorted(tmp_path.iterdir()) if it.name != "home"] == before


@pytest.mark.parametrize(
    ("run", "to", "said"),
    [
        ("student", "onxn", "Unknown format 'onxn'.\nDid you mean onnx"),
        ("nowhere", "stock", "No run in the store"),
        ("empty", "stock", "is not a model directory"),
    ],
)
def test_errors_name_the_thing_and_the_remedy(tmp_path: Path, run: str, to: str, said: str) -> None:
    toy_student(tmp_path)
    (tmp_path / "empty").mkdir()
    named = str(tmp_path / run) if (tmp_path / run).is_dir() else run
    words = ["-q", "--home", str(tmp_path / "home"), "export", named, "--to", to, str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, XlbenchError)
    assert said in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_missing_extra_is_answered_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xlbench.encoders import graph_runtimes

    monkeypatch.setattr(graph_runtimes, "find_spec", lambda package: None if package == "onnx" else object())
    with pytest.raises(XlbenchError, match=r"onnx must be installed\.\nRun `pip install 'xlbench\[onnx\]'`\.$"):
        xlbench.export(toy_student(tmp_path), "onnx", tmp_path / "out", home=tmp_path / "home")


def test_an_exported_directory_is_scored_like_any_encoder(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path, home = toy_student(tmp_path, "bottleneck", "looped"), tmp_path / "home"
    scores = {}
    for to in FORMATS:
        xlbench.export(path, to, tmp_path / to, home=home, quiet=True)
        scores[to] = xlbench.score(
            tmp_path / to, suite="toy", plugin=PLUGIN, home=home, quiet=True, precision="float32"
        ).records[0]
    given = xlbench.score(path, suite="toy", plugin=PLUGIN, home=home, quiet=True, precision="float32").records[0]
    for to in ("stock", "onnx"):
        assert scores[to].scores.families == pytest.approx(given.scores.families, abs=1e-3)
    sizes = {to: record.footprint for to, record in scores.items()}
    # Of the stored two layers, each run twice; the exports have no pooler (16 x 16 + 16), and one row of the two of the
    # table of types.
    assert sizes["onnx"].parameters == given.footprint.parameters - 16 * 16 - 16 - 16
    assert (sizes["onnx-int8"].stored_layers, sizes["onnx-int8"].executed_layers) == (2, 4)
    assert sizes["onnx"].weight_bytes == (tmp_path / "onnx" / "model.onnx").stat().st_size


@pytest.mark.parametrize(("to", "runtime"), [("onnx-int8", "onnxruntime"), ("openvino-int8", "openvino")])
def test_its_speed_is_measured_in_turns_with_another_encoder_and_the_runtime_is_named(
    tmp_path: Path, to: str, runtime: str
) -> None:
    pytest.importorskip(runtime)
    path, home = toy_student(tmp_path, "bottleneck"), tmp_path / "home"
    xlbench.export(path, to, tmp_path / "out", home=home, quiet=True)
    (record,) = xlbench.score(tmp_path / "out", suite="toy", plugin=PLUGIN, against=path, home=home, quiet=True).records
    assert record.speed is not None
    assert record.speed.runtime == runtime
    assert runtime in record.speed.machine.versions
    assert record.scores.precision == "float32"
    with pytest.raises(XlbenchError, match="computes in its own types, not in bfloat16"):
        xlbench.score(tmp_path / "out", precision="bfloat16", home=home)


def test_weights_beside_the_graph_count_and_identify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    from xlbench.encoders.directories import directory_fingerprint
    from xlbench.exports import graph
    from xlbench.settings import Settings

    monkeypatch.setattr(graph, "LARGEST_FILE", 10_000)  # as if the toy were larger than protobuf allows
    path, out, home = toy_student(tmp_path), tmp_path / "out", tmp_path / "home"
    made = xlbench.export(path, "onnx", out, home=home, quiet=True)
    sizes = [(out / name).stat().st_size for name in ("model.onnx", "model.onnx_data")]
    assert made.weight_bytes == sum(sizes)
    assert min(sizes) > 1000
    np.testing.assert_allclose(encode(encoder_in(out, home), TEXTS), load_student(path).encode(TEXTS), atol=2e-6)
    before = directory_fingerprint(out, Settings(home=home))
    with (out / "model.onnx_data").open("r+b") as file:
        file.seek(4096)
        file.write(b"\1\2\3")
    assert directory_fingerprint(out, Settings(home=home)) != before


def test_no_sentence_of_a_test_set_takes_part_in_what_an_export_chooses(tmp_path: Path) -> None:
    from xlbench.corpora.overlap import text_key
    from xlbench.plugins.registry import load_registry
    from xlbench.settings import Settings

    registered, settings = load_registry().corpora, Settings(home=tmp_path)
    before = sentences.sample_sentences(None, registered, settings, print)
    tested = {text_key(before["en"][0]), text_key(before["de"][1])}
    after = sentences.sample_sentences(None, registered, settings, print, lambda: tested)
    # The translations of the first English sentence go with it, and the English side of the second German one.
    assert after["de"] == before["de"][2:] + after["de"][2:]
    assert before["en"][0] not in after["en"]
    assert all(before[language][0] not in of for language, of in after.items())
    assert {language: len(of) for language, of in after.items()} == dict.fromkeys(before, 4)


@pytest.mark.starter
def test_the_starter_assistant_keeps_its_languages_in_integers(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from xlbench.encoders.find import find_encoder, load_encoder
    from xlbench.exports.export import export_encoder
    from xlbench.exports.sentences import sample_sentences
    from xlbench.plugins.registry import load_registry
    from xlbench.settings import Settings

    settings, registry = Settings(home=tmp_path / "home", quiet=True, device="cpu"), load_registry()
    found = find_encoder("multilingual-e5-small", registry.encoders, settings)
    made = export_encoder(
        lambda: load_encoder(found, registry.encoders, settings),
        "onnx-int8",
        tmp_path / "out",
        lambda: sample_sentences(None, registry.corpora, settings, print),
        settings,
        lambda *_: "a card",
    )
    # 117.5 million weights in a byte each, half a megabyte of scales for 250,037 tokens, biases, norms and positions.
    assert 117.5e6 < made.weight_bytes < 121e6
    # 64 sentences of each language gave 0.0010 to 0.0013.
    assert sorted(made.losses) == ["ar", "de", "en", "es", "fr", "it", "nl", "tr"]
    assert made.losses[made.worst] < 0.002
