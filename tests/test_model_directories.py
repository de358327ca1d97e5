"""Model directories that are not whole: each is refused by name, through every way to an encoder."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_runs import PLUGIN, make_place, settings_at, toy_request, toy_run

import xlbench
from xlbench import XlbenchError
from xlbench.cli import main
from xlbench.encoders.directories import directory_fingerprint, load_directory
from xlbench.encoders.encode import encode
from xlbench.encoders.modules import transformer_of
from xlbench.encoders.verify import check_vectors
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Tensors = dict[str, torch.Tensor]
    Change = Callable[[Path], None]

WORDS = "embeddings.word_embeddings.weight"
TEXTS = ["cat sees dog", "old house near green tree under night", ""]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy BERT of two layers and 40 tokens, width 16, 130 positions."""
    return save_toy_encoder(tmp_path_factory.mktemp("whole") / "toy", layers=2)


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "encoder")


def tensors(change: Callable[[Tensors], Tensors], file: str = "model.safetensors") -> Change:
    """Rewrite the weights of a directory."""

    def apply(path: Path) -> None:
        save_file(change(load_file(path / file)), path / file, {"format": "pt"})

    return apply


def settings(file: str, **values: object) -> Change:
    """Change settings in a JSON file of a directory."""

    def apply(path: Path) -> None:
        found = json.loads((path / file).read_text("utf-8")) if (path / file).is_file() else {}
        (path / file).write_text(json.dumps({**found, **values}), "utf-8")

    return apply


def text(file: str, content: str) -> Change:
    def apply(path: Path) -> None:
        (path / file).write_text(content, "utf-8")

    return apply


def cut(file: str) -> Change:
    def apply(path: Path) -> None:
        content = (path / file).read_bytes()
        (path / file).write_bytes(content[: len(content) // 2])

    return apply


def removed(*files: str) -> Change:
    def apply(path: Path) -> None:
        for file in files:
            (path / file).unlink()

    return apply


def sharded(path: Path, *, lost: bool) -> None:
    """Write the weights in two shards, and perhaps lose the second one."""
    content = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    names = sorted(content)
    shards = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for shard, own in shards.items():
        save_file({name: content[name] for name in own}, path / shard, {"format": "pt"})
    placed = {name: shard for shard, own in shards.items() for name in own}
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}), "utf-8")
    if lost:
        (path / "model-00002-of-00002.safetensors").unlink()


def dense(path: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Put a Dense module of 16 x 8 at the end, its weights changed."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    model = SentenceTransformer(str(path), device="cpu")
    model.append(Dense(16, 8))
    shutil.rmtree(path)
    model.save_pretrained(str(path), create_model_card=False)
    tensors(change, "3_Dense/model.safetensors")(path)


def without(part: str) -> Callable[[Tensors], Tensors]:
    return lambda found: {name: tensor for name, tensor in found.items() if part not in name}


def with_key(name: str) -> Callable[[Tensors], Tensors]:
    return lambda found: {**found, name: torch.zeros(2)}


def cast(name: str, dtype: torch.dtype) -> Callable[[Tensors], Tensors]:
    return lambda found: {**found, name: (found[name] * 50).to(dtype)}


def fewer_rows(path: Path) -> None:
    """Leave the embedding table 30 rows for the tokenizer's 40 tokens."""
    settings("config.json", vocab_size=30)(path)
    tensors(lambda it: {**it, WORDS: it[WORDS][:30].clone()})(path)


def elsewhere(path: Path, shard: str) -> None:
    """Have the index name a shard that lies beside the directory."""
    sharded(path, lost=False)
    (path / "model-00002-of-00002.safetensors").rename(path.parent / "outside.safetensors")
    index = path / "model.safetensors.index.json"
    named = shard.format(parent=path.parent)
    index.write_text(index.read_text("utf-8").replace("model-00002-of-00002.safetensors", named), "utf-8")
    (path / "linked").symlink_to(path.parent)  # the fingerprint goes into no linked folder


def pooling_in(folder: str) -> Change:
    """Have modules.json name another folder of the second module, which is there."""

    def apply(path: Path) -> None:
        shutil.copytree(path / "1_Pooling", path.parent / "pooling")
        (path / "linked").symlink_to(path.parent / "pooling")
        modules = json.loads((path / "modules.json").read_text("utf-8"))
        modules[1]["path"] = folder.format(parent=path.parent)
        (path / "modules.json").write_text(json.dumps(modules), "utf-8")

    return apply


def twice_in_shards(path: Path) -> None:
    """Give both shards the word embeddings."""
    content = load_file(path / "model.safetensors")[WORDS]
    sharded(path, lost=False)
    tensors(lambda it: {**it, WORDS: content.clone()}, "model-00001-of-00002.safetensors")(path)
    tensors(lambda it: {**it, WORDS: content + 1}, "model-00002-of-00002.safetensors")(path)


def splitting(path: Path, expression: str) -> None:
    """Have the tokenizer split sentences by an expression; one that takes too long ends in a panic of its Rust code."""
    split = {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}
    settings("tokenizer.json", pre_tokenizer=split)(path)


NORM = "embeddings.LayerNorm.weight"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 470641600\n"
REFUSED: dict[str, tuple[Change, str]] = {
    "no second layer": (tensors(without("layer.1.")), r"lack 'encoder\.layer\.1\.[\w.]*' and 15 more"),
    "one tensor less": (tensors(without("0.output.dense.bias")), r"lack 'encoder\.layer\.0\.output\.dense\.bias'"),
    "compiled": (tensors(lambda it: {f"_orig_mod.{name}": it[name] for name in it}), "compiled model"),
    "another prefix": (tensors(lambda it: {f"module.{name}": it[name] for name in it}), r"hold 'module\.embeddings"),
    "more layers in config.json": (settings("config.json", num_hidden_layers=3), r"lack 'encoder\.layer\.2\."),
    "fewer layers in config.json": (settings("config.json", num_hidden_layers=1), r"hold 'encoder\.layer\.1\."),
    "unknown tensor": (tensors(with_key("foo.bar")), r"hold 'foo\.bar', for which config\.json has no place"),
    "other vocabulary": (settings("config.json", vocab_size=50), r"shape \[40, 16\], but config\.json wants \[50, "),
    "other width": (settings("config.json", hidden_size=32), r"of shape \[16\], but config\.json wants \[32\]"),
    "bytes as weights": (tensors(cast(WORDS, torch.int8)), f"'{WORDS}' as I8"),
    "words as width": (settings("config.json", hidden_size="many"), "'hidden_size' expected int"),
    "cut off weights": (cut("model.safetensors"), r"model\.safetensors' cannot be read"),
    "pointer for weights": (text("model.safetensors", LFS), r"'model\.safetensors' in .* is a pointer of Git LFS"),
    "pointer for tokenizer": (text("tokenizer.json", LFS), r"'tokenizer\.json' in .* is a pointer of Git LFS"),
    "cut off settings": (cut("config.json"), r"config\.json' cannot be read"),
    "settings that are none": (text("modules.json", "{}"), "is no list of modules"),
    "lost shard": (lambda path: sharded(path, lost=True), r"names 'model-00002-of-00002\.safetensors', which is not"),
    "no tokenizer": (removed("tokenizer.json", "tokenizer_config.json"), "holds no tokenizer"),
    "no vocabulary": (removed("tokenizer.json"), "holds no tokenizer|cannot be loaded"),
    "other tokenizer": (fewer_rows, r"gives '.' the id 30 \(and 9 more\), but the embedding table has 30 rows"),
    "no token left": (settings("tokenizer_config.json", model_max_length=2), r"reads 2 tokens .*, 2 of them special"),
    "words as length": (settings("tokenizer_config.json", model_max_length="many"), "model_max_length is 'many'"),
    "wider pooling": (settings("1_Pooling/config.json", embedding_dimension=32), "declares vectors of 32 numbers"),
    "unknown pooling": (settings("1_Pooling/config.json", pooling_mode="median"), "Invalid pooling mode: 'median'"),
    "not finite": (tensors(lambda it: {**it, WORDS: it[WORDS] * torch.nan}), "not finite"),
    "half a Dense": (lambda path: dense(path, without("bias")), r'Missing key\(s\) in state_dict: "linear\.bias"'),
    "smaller Dense": (
        lambda path: dense(path, lambda it: {**it, "linear.weight": it["linear.weight"][:, :4].clone()}),
        r"size mismatch for linear\.weight",
    ),
    "shard above": (lambda path: elsewhere(path, "../outside.safetensors"), r"names '\.\./outside.*does not lie in"),
    "shard by its path": (lambda path: elsewhere(path, "{parent}/outside.safetensors"), "does not lie in that"),
    "shard behind a link": (lambda path: elsewhere(path, "linked/outside.safetensors"), "'linked/outside.* not lie in"),
    "module above": (pooling_in("../pooling"), r"names the folder '\.\./pooling', which does not lie in"),
    "module by its path": (pooling_in("{parent}/pooling"), "which does not lie in that directory"),
    "module behind a link": (pooling_in("linked"), "names the folder 'linked', which does not lie in"),
    "another tokenizer's files": (
        settings("sentence_bert_config.json", tokenizer_args={"vocab_file": "/etc/passwd"}),
        "sets vocab_file, which has other files read",
    ),
    "other weights": (
        settings("config.json", transformers_weights="b.safetensors"),
        r"'b\.safetensors' \(transformers",
    ),
    "an adapter": (text("adapter_config.json", "{}"), "is that of an adapter"),
    "old and new name": (
        tensors(lambda it: {**it, "embeddings.LayerNorm.gamma": it[NORM] + 1}),
        r"hold 'embeddings\.LayerNorm\.gamma' and 'embeddings\.LayerNorm\.weight', which are the same tensor",
    ),
    "with and without prefix": (
        tensors(lambda it: {**it, f"bert.{WORDS}": it[WORDS] + 1}),
        rf"hold 'bert\.{WORDS}' and '{WORDS}', which are the same",
    ),
    "in two shards": (twice_in_shards, rf"'{WORDS} \(model-00001-of-00002\.safetensors\)' and '{WORDS} \(model-00002"),
    "brackets without end": (text("config.json", "[" * 100_000), r"config\.json' cannot be read: maximum recursion"),
    "no column": (settings("config_sentence_transformers.json", truncate_dim=0), "truncate_dim is 0, which is no"),
    "yes as width": (settings("config_sentence_transformers.json", truncate_dim=True), "truncate_dim is True, which"),
    # Built as config.json says, the first takes 0.2 s for 100 layers, and the others hundreds of gigabytes.
    "ten million layers": (settings("config.json", num_hidden_layers=10**7), "hold 39 tensors, but its .* over 512"),
    "a billion tokens": (
        settings("config.json", vocab_size=10**9),
        r"far more, in tensors of shape \[1000000000,",
    ),
    "two million tokens": (settings("config.json", vocab_size=2 * 10**6), r"in tensors of shape \[2000000, 16\]"),
    "a billion wide": (settings("config.json", intermediate_size=10**9), r"far more, in tensors of shape \[1000000000"),
    "a wide Dense": (
        lambda path: (dense(path, lambda it: it), settings("3_Dense/config.json", in_features=10**8)(path))[1],
        r"far more, in tensors of shape \[8, 100000000\]",
    ),
    "a billion repeats": (
        settings("config.json", model_type="xlbench-bert", repeats=10**9),
        "repeats is 1000000000, which is no number of times",
    ),
    "a tokenizer that panics": (
        lambda path: splitting(path, r"((\w+\s?)+)+$"),
        r"cannot encode: PanicException: Onig: Regex search error",
    ),
    "bytes in a Dense": (lambda path: dense(path, cast("linear.weight", torch.int8)), r"'linear\.weight' as I8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_whole_is_refused_in_two_lines(copy: Path, case: str) -> None:
    change, message = REFUSED[case]
    change(copy)
    with pytest.raises(XlbenchError, match=message) as caught:
        xlbench.load(copy)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert str(copy) in lines[0]


ACCEPTED: dict[str, Change] = {
    # Of another task's model: the same encoder under a prefix, and a head that no sentence vector needs.
    "a head": tensors(lambda it: {f"bert.{name}": it[name] for name in it} | {"cls.predictions.bias": torch.zeros(2)}),
    "no pooler": tensors(without("pooler")),
    "a buffer of old": tensors(lambda it: it | {"embeddings.position_ids": torch.arange(130)}),
    "shards": lambda path: sharded(path, lost=False),
    "more positions than there are": settings("tokenizer_config.json", model_max_length=9999),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_decides_no_vector_changes_none(whole: Path, copy: Path, case: str) -> None:
    ACCEPTED[case](copy)
    np.testing.assert_array_equal(xlbench.load(copy).encode(TEXTS), xlbench.load(whole).encode(TEXTS))


def test_half_floats_are_their_values_in_float32(copy: Path) -> None:
    tensors(lambda it: {name: tensor.half() for name, tensor in it.items()})(copy)
    found = transformer_of(xlbench.load(copy)).state_dict()[WORDS]
    assert found.dtype == torch.float32
    assert torch.equal(found, load_file(copy / "model.safetensors")[WORDS].float())


def test_a_pooler_that_is_absent_is_always_the_same(copy: Path) -> None:
    tensors(without("pooler"))(copy)
    # Nothing reads it, but it is saved with every encoder made from this one, whose bytes must not differ.
    assert not transformer_of(xlbench.load(copy)).state_dict()["pooler.dense.weight"].any()


def test_a_pooler_that_is_read_must_be_there(copy: Path) -> None:
    tensors(without("pooler"))(copy)
    way = {"text": {"method": "forward", "method_output_name": "pooler_output"}}
    settings("sentence_bert_config.json", modality_config=way, module_output_name="sentence_embedding")(copy)
    (copy / "modules.json").write_text(json.dumps(json.loads((copy / "modules.json").read_text("utf-8"))[:1]), "utf-8")
    with pytest.raises(XlbenchError, match=r"lack 'pooler\.dense\.bias', whose output is the sentence's vector"):
        xlbench.load(copy)


@pytest.mark.parametrize(("architecture", "positions"), [("bert", 130), ("xlm-roberta", 128)])
def test_sentences_are_cut_where_the_positions_end(
    tmp_path: Path, architecture: Literal["bert", "xlm-roberta"], positions: int
) -> None:
    # XLM-R's 130 rows begin with that of padding, id 1, and one before it that no token gets.
    path = save_toy_encoder(tmp_path / "toy", layers=1, architecture=architecture)
    settings("tokenizer_config.json", model_max_length=514)(path)
    model = xlbench.load(path)
    assert model.max_seq_length == positions
    assert np.isfinite(encode(model, ["cat " * 200])).all()


def test_positions_are_counted_from_the_padding_that_the_tokenizer_gives(tmp_path: Path) -> None:
    # The toy's padding token has the id 1.
    path = save_toy_encoder(tmp_path / "toy", layers=1, architecture="xlm-roberta")
    settings("config.json", pad_token_id=0)(path)
    with pytest.raises(XlbenchError, match=r"says is 0 \(pad_token_id\), and its tokenizer says is 1\.") as caught:
        xlbench.load(path)
    assert len(str(caught.value).splitlines()) == 2


def test_the_hub_caches_links_into_its_blobs_are_files_of_the_directory(whole: Path, copy: Path) -> None:
    sharded(copy, lost=False)
    (copy.parent / "blobs").mkdir()
    for number, file in enumerate(sorted(it for it in copy.rglob("*") if it.is_file())):
        blob = file.rename(copy.parent / "blobs" / str(number))
        file.symlink_to(blob)
    np.testing.assert_array_equal(xlbench.load(copy).encode(TEXTS), xlbench.load(whole).encode(TEXTS))
    before = directory_fingerprint(copy, settings_at(copy.parent / "home"))
    shard = (copy / "model-00002-of-00002.safetensors").resolve()
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert directory_fingerprint(copy, settings_at(copy.parent / "home")) != before


class Wrong(torch.nn.Module):
    """Changes vectors in a way that two sentences, or the first calls, do not show."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls, self.config_keys = calls, ()

    def forward(self, features: Tensors) -> Tensors:
        self.calls -= 1
        vectors = features["sentence_embedding"]
        if self.calls < 0:
            vectors = vectors + torch.randn_like(vectors)
        elif len(vectors) > 2:
            vectors = vectors - (vectors.mean(dim=0) if self.calls > 100 else 0)
        return {**features, "sentence_embedding": vectors}


@pytest.mark.parametrize(("calls", "said"), [(1000, "which sentences stand beside it"), (4, "each time")])
def test_vectors_that_larger_batches_or_later_calls_change_are_refused(whole: Path, calls: int, said: str) -> None:
    model = xlbench.load(whole)
    model.append(Wrong(calls))
    with pytest.raises(XlbenchError, match=said):
        check_vectors(model, "wrong")


def test_padding_before_the_tokens_does_not_shift_absolute_positions(whole: Path, copy: Path) -> None:
    settings("tokenizer_config.json", padding_side="left")(copy)
    model = xlbench.load(copy)
    # A vector depends neither on its batch nor on the side: each is the one that the sentence has alone.
    np.testing.assert_allclose(encode(model, TEXTS), xlbench.load(whole).encode(TEXTS), atol=1e-6)
    np.testing.assert_allclose(model.encode(TEXTS), xlbench.load(whole).encode(TEXTS), atol=1e-6)


def test_only_what_was_once_trained_or_padded_otherwise_has_another_key(whole: Path, copy: Path) -> None:
    place = settings_at(copy.parent / "home")
    before = directory_fingerprint(whole, place)
    assert directory_fingerprint(copy, place) == before
    (copy / "README.md").write_text("Not read.", "utf-8")
    assert directory_fingerprint(copy, place) == before
    settings("config_sentence_transformers.json", default_prompt_name="query", prompts={"query": ""})(copy)
    declared = directory_fingerprint(copy, place)  # files differ; an empty prompt is none
    settings("config_sentence_transformers.json", prompts={"query": "query: "})(copy)
    assert len({before, declared, directory_fingerprint(copy, place)}) == 3


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for runs, with an assistant whose second layer is not there."""
    place = make_place(tmp_path_factory.mktemp("broken"))
    tensors(without("layer.1."))(place / "assistant")
    return place


def test_every_way_to_an_encoder_leads_through_the_same_checks(broken: Path, tmp_path: Path) -> None:
    bad, place = broken / "assistant", settings_at(tmp_path)
    good = save_toy_encoder(tmp_path / "good")
    with pytest.raises(XlbenchError) as loaded:
        xlbench.load(bad)
    expected = str(loaded.value)
    assert "lack 'encoder.layer.1." in expected
    with pytest.raises(XlbenchError) as other:
        load_directory(bad, place)
    assert str(other.value) == expected
    for given in ({}, {"assistant": str(good), "teacher": (str(bad),)}):
        with pytest.raises(XlbenchError) as ran:
            toy_run(toy_request(broken, method="single-stage", **given), place)
        assert str(ran.value) == expected
    assert not list(tmp_path.glob("stages/*"))


def test_the_command_line_says_the_same(
    broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(tmp_path), "--plugin", str(PLUGIN), "--quiet", "score", str(broken / "assistant")]
    monkeypatch.setattr(sys, "argv", ["xlbench", *words, "--suite", "toy"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("xlbench: The weights in")
    assert not list(tmp_path.glob("records/*"))
