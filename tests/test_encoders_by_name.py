"""Encoders by name: found, identified by their content, checked for safety and loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from fixtures_encoders import toy_encoder

from xlbench.encoders import directories
from xlbench.encoders.directories import directory_fingerprint
from xlbench.encoders.find import RegisteredEncoder, find_encoder, load_encoder
from xlbench.errors import XlbenchError
from xlbench.plugins.guard import guarded
from xlbench.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "toy"
    toy_encoder(path)
    return path


@pytest.fixture
def toy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "toy"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", offline=True, device="cpu", quiet=True)


def registered_encoder(saved: Path, name: str = "all-toy") -> RegisteredEncoder:
    def load(settings: Settings):  # noqa: ANN202
        from xlbench.encoders.directories import load_directory

        return load_directory(saved, settings)

    return RegisteredEncoder(name=name, summary="", fingerprint=lambda _: "abc", load=load)


def test_a_registered_name_takes_precedence_over_a_directory(
    saved: Path, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = {"toy": registered_encoder(saved, "toy")}
    shutil.copytree(saved, tmp_path / "toy")
    monkeypatch.chdir(tmp_path)
    ref = find_encoder("toy", registered, settings)
    assert (ref.origin, ref.fingerprint) == ("registered", "abc")
    assert find_encoder("./toy", registered, settings).origin == "local"
    model = load_encoder(ref, registered, settings)
    assert model.encode(["a b"]).shape == (1, 16)
    changed = {"toy": replace(registered["toy"], fingerprint=lambda _: "abd")}
    with pytest.raises(XlbenchError, match="has changed: its fingerprint was abc and is abd"):
        load_encoder(ref, changed, settings)


def test_a_fingerprint_covers_the_files_of_the_model_and_no_others(
    toy: Path, tmp_path: Path, settings: Settings
) -> None:
    first = directory_fingerprint(toy, settings)
    assert directory_fingerprint(Path(shutil.copytree(toy, tmp_path / "elsewhere")), settings) == first
    # Files that loading never reads do not change it.
    (toy / "README.md").write_text("other")
    (toy / "entry.json").write_text("{}")
    (toy / "training_args.bin").write_bytes(b"x")
    (toy / "onnx").mkdir()
    (toy / "onnx" / "config.json").write_text("{}")
    (toy / ".cache").mkdir()
    (toy / ".cache" / "notes.json").write_text("{}")
    assert directory_fingerprint(toy, settings) == first
    # A byte of the settings, a new file and a byte of the weights do.
    config = toy / "1_Pooling" / "config.json"
    config.write_text(config.read_text() + " ")
    second = directory_fingerprint(toy, settings)
    (toy / "vocab.txt").write_text("a")
    third = directory_fingerprint(toy, settings)
    weights = toy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert len({first, second, third, directory_fingerprint(toy, settings)}) == 4


def test_loads_a_directory_in_float32_for_evaluation(toy: Path, settings: Settings) -> None:
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(toy), device="cpu").encode(["a b c"])
    ref = find_encoder(str(toy), {}, settings)
    model = load_encoder(ref, {}, settings)
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    np.testing.assert_allclose(model.encode(["a b c"]), expected, atol=1e-6)
    (toy / "vocab.txt").write_text("a")
    with pytest.raises(XlbenchError, match="has changed"):
        load_encoder(ref, {}, settings)
    shutil.rmtree(toy)
    with pytest.raises(XlbenchError, match="is no longer there"):
        load_encoder(ref, {}, settings)


def test_a_hub_name_is_found_under_the_data_root(toy: Path, tmp_path: Path, settings: Settings) -> None:
    copy = tmp_path / "data" / "models" / "acme" / "mini"
    shutil.copytree(toy, copy)
    rooted = settings.model_copy(update={"data_root": tmp_path / "data"})
    ref = find_encoder("acme/mini", {}, rooted)
    assert ref.origin == "data-root"
    assert ref.fingerprint == directory_fingerprint(toy, settings)
    assert load_encoder(ref, {}, rooted).encode(["a"]).shape == (1, 16)
    with pytest.raises(XlbenchError, match="is no longer there"):
        load_encoder(ref, {}, settings)


@pytest.mark.parametrize(
    "name",
    [
        "nothing-like-it",
        "a/b/c",
        "./absent",
        "../absent",
        "-a/b",
        "a--b/c",
        "",
        "/absent/dir",
        "~nobody-here/x",
    ],
)
def test_unknown_names_are_refused(saved: Path, settings: Settings, name: str) -> None:
    with pytest.raises(XlbenchError, match="Unknown encoder") as raised:
        find_encoder(name, {"all-toy": registered_encoder(saved)}, settings)
    assert "or a hub model as org/name" in raised.value.remedy
    assert str(raised.value).count("\n") == 1


def test_nearest_names_come_from_plugins_and_the_data_root(
    saved: Path, toy: Path, tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "data" / "models" / "acme" / "mini").mkdir(parents=True)
    rooted = settings.model_copy(update={"data_root": tmp_path / "data"})
    with pytest.raises(XlbenchError, match="Did you mean all-toy"):
        find_encoder("all-toi", {"all-toy": registered_encoder(saved)}, rooted)
    with pytest.raises(XlbenchError, match="Did you mean acme/mini"):
        find_encoder("acmemini", {"all-toy": registered_encoder(saved)}, rooted)
    with pytest.raises(XlbenchError, match="is a file, not a model directory"):
        find_encoder(str(toy / "config.json"), {}, settings)


def test_offline_says_how_to_download_a_model(settings: Settings) -> None:
    with pytest.raises(XlbenchError, match="not on this machine, and xlbench is offline") as raised:
        find_encoder("acme/absent", {}, settings)
    assert "hf download acme/absent --local-dir DATA_ROOT/models/acme/absent" in raised.value.remedy


def test_refuses_pickles_and_directories_without_a_model(toy: Path, tmp_path: Path, settings: Settings) -> None:
    weights = toy / "model.safetensors"
    (toy / "pytorch_model.bin").write_bytes(b"never opened")
    find_encoder(str(toy), {}, settings)  # there are safetensors: the pickle is not read
    weights.rename(tmp_path / "kept")
    with pytest.raises(XlbenchError, match=r"pytorch_model\.bin' is a pickle") as raised:
        find_encoder(str(toy), {}, settings)
    assert "convert it once" in raised.value.remedy
    (toy / "pytorch_model.bin").unlink()
    with pytest.raises(XlbenchError, match="holds no weights"):
        find_encoder(str(toy), {}, settings)
    (tmp_path / "kept").rename(weights)
    (toy / "2_Dense").mkdir()
    (toy / "2_Dense" / "pytorch_model.bin").write_bytes(b"never opened")
    with pytest.raises(XlbenchError, match=r"2_Dense.*is a pickle"):
        find_encoder(str(toy), {}, settings)
    with pytest.raises(XlbenchError, match=r"neither modules\.json nor config\.json"):
        find_encoder(str(tmp_path), {}, settings)


@pytest.mark.parametrize("way", ["module", "auto_map"])
def test_never_runs_code_of_a_model_directory(toy: Path, tmp_path: Path, settings: Settings, way: str) -> None:
    marker = tmp_path / "ran"
    (toy / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Evil: pass\n")
    if way == "module":
        modules = json.loads((toy / "modules.json").read_text())
        modules[1]["type"] = "evil.Evil"
        (toy / "modules.json").write_text(json.dumps(modules))
    else:
        config = json.loads((toy / "config.json").read_text())
        config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}}
        (toy / "config.json").write_text(json.dumps(config))
    with pytest.raises(XlbenchError, match="cannot be loaded") as raised:
        load_encoder(find_encoder(str(toy), {}, settings), {}, settings)
    assert "runs no code from them" in raised.value.remedy
    assert not marker.exists()


def test_large_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    monkeypatch.setattr(directories, "SMALL", 0)
    # SHA-256 of 'abc': FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert directories.remembered_digest(file, tmp_path / "home") == expected
    with monkeypatch.context() as patch:
        patch.setattr(directories, "file_digest", lambda _: pytest.fail("hashed again"))
        assert directories.remembered_digest(file, tmp_path / "home") == expected
    # A changed file of the same size is hashed again.
    file.write_bytes(b"abd")
    assert directories.remembered_digest(file, tmp_path / "home") != expected
    # A damaged entry of the store is ignored.
    for remembered in (tmp_path / "home" / "digests").iterdir():
        remembered.write_text("")
    file.write_bytes(b"abc")
    assert directories.remembered_digest(file, tmp_path / "home") == expected


def test_finding_imports_no_torch(toy: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from xlbench.settings import Settings\n"
        "from xlbench.encoders.find import find_encoder\n"
        "from xlbench.encoders.starter import starter_encoders\n"
        f"find_encoder({str(toy)!r}, {{}}, Settings(home=Path({str(tmp_path)!r}))); starter_encoders()\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers', 'numpy'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def raising(_: object) -> object:
    raise TypeError("no such file")


class Odd(torch.nn.Module):
    """Declares vectors of two numbers and gives what it is told to."""

    def __init__(self, give: Callable[[int], object]) -> None:
        super().__init__()
        self.give = give

    def preprocess(self, texts: list[str], **_options: object) -> dict[str, object]:
        return {"texts": len(texts)}

    def forward(self, features: dict[str, object]) -> dict[str, object]:
        return {"sentence_embedding": self.give(int(str(features["texts"])))}

    def get_embedding_dimension(self) -> int:
        return 2


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (raising, "Plugin 'theirs': load of encoder 'mine' raised TypeError: no such file"),
        (lambda _: None, "Plugin 'theirs': load of encoder 'mine' returned None, which is no SentenceTransformer"),
        (lambda _: torch.nn.Linear(2, 2), "Plugin 'theirs': load of encoder 'mine' returned 'Linear'"),
        (raising, "'mine' cannot encode: TypeError: no such file"),
        (lambda n: torch.ones(n, 3), r"declares vectors of 2 numbers, and gives an array of shape \[5, 3\] for 5"),
        (lambda n: torch.ones(n, 2, dtype=torch.int64), "gives vectors of int64"),
        (lambda n: torch.full((n, 2), torch.nan), "'mine' gives vectors that are not finite"),
        (lambda n: torch.rand(n, 2), "the same sentence two vectors, .* apart each time"),
        (lambda n: torch.full((n, 2), float(n)), "depends on which sentences stand beside it"),
        (lambda n: None, "'mine' cannot encode"),
    ],
)
def test_an_encoder_of_a_plugin_that_gives_no_vectors_is_named(
    settings: Settings, found: Callable[[int], object], message: str
) -> None:
    from sentence_transformers import SentenceTransformer

    def load(_: Settings) -> SentenceTransformer:
        if "load" in message:
            return found(0)  # type: ignore[return-value]
        return SentenceTransformer(modules=[Odd(found)], device="cpu")

    registered = {"mine": guarded(RegisteredEncoder("mine", "", lambda _: "abc", load), "theirs")}
    with pytest.raises(XlbenchError, match=message):
        load_encoder(find_encoder("mine", registered, settings), registered, settings)


def test_a_fingerprint_of_a_plugin_must_be_a_string(settings: Settings) -> None:
    for give, message in ((raising, "raised TypeError"), (lambda _: None, "returned None")):
        registered = {"mine": guarded(RegisteredEncoder("mine", "", give, raising), "theirs")}  # type: ignore[arg-type]
        with pytest.raises(XlbenchError, match=f"Plugin 'theirs': fingerprint of encoder 'mine' {message}"):
            find_encoder("mine", registered, settings)
