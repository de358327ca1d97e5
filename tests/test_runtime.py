"""How encoders run: chosen to suit the machine, overridden by options, shown by the doctor."""

from __future__ import annotations

import json
import os
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast, get_args

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import TrainingArguments
from transformers.training_args import ParallelMode

from xlbench.cli.app import app
from xlbench.cli.doctor_command import report
from xlbench.cli.options import PRECISIONS
from xlbench.distill import arguments as stage_arguments
from xlbench.distill.plan import Stage, Training
from xlbench.encoders import runtime
from xlbench.encoders.modules import quick_attention
from xlbench.errors import XlbenchError
from xlbench.experiment import Precision
from xlbench.runs.doctor import Finding, examine
from xlbench.runs.session import prepare_process
from xlbench.settings import Settings
from xlbench.testing import bench

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.distill.context import StageContext


def settings_for(**given: object) -> Settings:
    return Settings.model_validate({"home": "unused", **given})


def pretend_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], *, bfloat16: bool) -> None:
    """Make torch report a GPU, on which nothing may compute."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Pretended GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bfloat16)


def pretend_tools(monkeypatch: pytest.MonkeyPatch, *, triton: bool = True, compiler: bool = True) -> None:
    monkeypatch.setattr(runtime, "find_spec", lambda name: SimpleNamespace() if triton else None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if compiler else None)


def test_unavailable_devices_are_refused() -> None:
    assert runtime.choose_device(settings_for(device="cpu")) == "cpu"
    for name in ("nonsense", "meta", "cpu:0"):  # torch would take the last two
        with pytest.raises(XlbenchError, match=f"The device '{name}' cannot be used"):
            runtime.choose_device(settings_for(device=name))
    with pytest.raises(XlbenchError, match="CUDA_VISIBLE_DEVICES=1"):
        runtime.choose_device(settings_for(device="cuda:1"))


def test_a_gpu_is_preferred_unless_the_settings_name_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpu(monkeypatch, (8, 0), bfloat16=True)
    assert runtime.explain_device(settings_for()) == ("cuda", "Pretended GPU")
    assert runtime.choose_device(settings_for(device="cpu")) == "cpu"


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bfloat16"),
        ({"avx512_bf16": False, "avx512_f": True}, "float32"),
        ({}, "float32"),
    ],
)
def test_precision_follows_the_instruction_set(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert runtime.choose_precision("cpu") == precision
    assert runtime.choose_precision("mps") == "float32"
    assert runtime.explain_precision("cpu", "float32") == ("float32", "as given")


@pytest.mark.parametrize(
    ("capability", "bfloat16", "precision", "compiled"),
    [
        ((9, 0), True, "bfloat16", True),
        ((7, 5), False, "float16", True),  # Turing: a T4
        ((6, 1), False, "float32", False),  # Pascal: float16 at a 64th of the speed
    ],
)
def test_precision_and_compiling_suit_the_gpu(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], bfloat16: bool, precision: Precision, compiled: bool
) -> None:
    pretend_gpu(monkeypatch, capability, bfloat16=bfloat16)
    pretend_tools(monkeypatch)
    assert runtime.choose_precision("cuda") == precision
    assert runtime.explain_compile("cuda", precision, settings_for()).value is compiled
    assert runtime.explain_compile("cuda", precision, settings_for(compile_training=False)) == (False, "as given")
    assert runtime.explain_attention("cuda").value == "sdpa"
    assert not runtime.explain_packing("cuda").value


def test_float16_is_for_gpus_only() -> None:
    for device in ("cpu", "mps"):
        with pytest.raises(XlbenchError, match="--precision bfloat16 or float32"):
            runtime.choose_precision(device, "float16")


def test_compiling_is_off_or_refused_where_it_is_impossible(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpu(monkeypatch, (8, 0), bfloat16=True)
    wanted = settings_for(compile_training=True)
    for tools, remedy in (({"triton": False}, "pip install triton"), ({"compiler": False}, "Install gcc")):
        pretend_tools(monkeypatch, **tools)
        assert not runtime.explain_compile("cuda", "bfloat16", settings_for()).value
        with pytest.raises(XlbenchError, match=remedy):
            runtime.explain_compile("cuda", "bfloat16", wanted)
    pretend_tools(monkeypatch)
    # Accelerate would allow TF32, which is less exact than float32.
    assert not runtime.explain_compile("cuda", "float32", settings_for()).value
    with pytest.raises(XlbenchError, match="less exact"):
        runtime.explain_compile("cuda", "float32", wanted)
    assert runtime.explain_compile("cuda", "bfloat16", wanted) == (True, "as given")


def test_a_cpu_compiles_only_on_request_and_with_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_tools(monkeypatch)
    assert not runtime.explain_compile("cpu", "bfloat16", settings_for()).value
    assert runtime.explain_compile("cpu", "bfloat16", settings_for(compile_training=True)).value
    pretend_tools(monkeypatch, compiler=False)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(XlbenchError, match=r"Install g\+\+"):
        prepare_process(settings_for(device="cpu", compile_training=True))  # before any work


@pytest.mark.parametrize(
    ("precision", "flags"), [("float32", (False, False)), ("bfloat16", (True, False)), ("float16", (False, True))]
)
def test_training_uses_the_named_precision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, precision: str, flags: tuple[bool, bool]
) -> None:
    made: list[dict[str, object]] = []

    def arguments(**given: object) -> SimpleNamespace:
        made.append(given)
        return SimpleNamespace()

    pretend_gpu(monkeypatch, (8, 0), bfloat16=True)
    pretend_tools(monkeypatch)
    monkeypatch.setattr(stage_arguments, "OneDevice", arguments)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    context = cast("StageContext", SimpleNamespace(precision=precision, settings=settings_for(), group="x"))
    training = Training.model_construct(objectives=(), pairs=32, batch_size=8, learning_rate=1e-3, seed=0)
    stage = Stage("student", "assistant", training=training)
    stage_arguments.training_arguments(stage, training, context, tmp_path)
    (given,) = made
    assert (given["bf16"], given["fp16"]) == flags
    assert given["torch_compile"] is any(flags)
    assert given["torch_compile_backend"] == ("inductor" if any(flags) else None)


def test_one_process_trains_on_one_of_several_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 4))
    arguments = stage_arguments.OneDevice(output_dir=str(tmp_path), use_cpu=True, per_device_train_batch_size=8)
    assert (arguments.n_gpu, arguments.train_batch_size) == (1, 8)
    assert arguments.parallel_mode == ParallelMode.NOT_PARALLEL  # and not NOT_DISTRIBUTED, which is DataParallel


def test_attention_is_restored() -> None:
    from transformers import BertConfig, BertModel

    encoder = BertModel(
        BertConfig(vocab_size=9, hidden_size=4, num_attention_heads=1, intermediate_size=4, num_hidden_layers=1)
    )
    for kind, attention in (("cpu", "eager"), ("cuda", "sdpa")):
        with quick_attention(encoder, torch.device(kind)):
            assert encoder.config._attn_implementation == attention
        assert encoder.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("precision", get_args(Precision))
def test_matrices_are_multiplied_in_the_named_precision(precision: Precision) -> None:
    with runtime.computing_in(precision, torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == getattr(torch, precision)


def test_threads_are_set_and_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        runtime.apply_threads(settings_for(threads=before + 1))
        assert torch.get_num_threads() == before + 1
        runtime.apply_threads(settings_for())
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert runtime.explain_threads(settings_for(threads=7)) == (7, "as given")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert runtime.explain_threads(settings_for()) == (before, "set by OMP_NUM_THREADS")


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> bench.Bench:
    return bench.make_bench(tmp_path_factory.mktemp("toys"))


def test_only_the_precision_is_part_of_an_experiment(toys: bench.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, _ = toys.experiment("single-stage", {})
    with monkeypatch.context() as patch:
        settings = toys.settings(toys.place / "home")
        other = settings.model_copy(update={"compile_training": True, "threads": 2, "device": None})
        patch.setattr(bench.Bench, "settings", lambda self, home: other)
        assert toys.experiment("single-stage", {})[0] == usual
    assert toys.experiment("single-stage", {"precision": "bfloat16"})[0] != usual
    keys = {precision: tuple(bench_keys(toys, precision).values()) for precision in ("float32", "bfloat16")}
    assert not set(keys["float32"]) & set(keys["bfloat16"])


def bench_keys(toys: bench.Bench, precision: str) -> dict[str, str]:
    """Return the keys of the stages alone."""
    from xlbench.distill.engine import encoder_keys

    experiment, _ = toys.experiment("single-stage", {"precision": precision})
    plan = toys.plan(experiment)
    keys = encoder_keys(plan, experiment)
    return {stage.name: keys[stage.name] for stage in plan.stages}


def test_compiled_training_gives_what_plain_training_gives(
    toys: bench.Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The backend aot_eager traces the same graph and gradients as inductor, without a minute of compiling kernels.
    monkeypatch.setattr(stage_arguments, "COMPILER", "aot_eager")
    monkeypatch.delenv("ACCELERATE_DYNAMO_USE_DYNAMIC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    small: dict[str, object] = {"student": {"layers": 1, "repeats": 1}, "assistant_pairs": 0}
    made: list[dict[str, object]] = []
    compile_it = torch.compile

    def recorded_compile(model: torch.nn.Module, **given: object) -> object:
        made.append(given)
        return compile_it(model, backend="aot_eager", dynamic=True)

    monkeypatch.setattr(torch, "compile", recorded_compile)
    plain = toys.run("single-stage", tmp_path / "plain", small)
    assert not made
    usual = bench.Bench.settings
    monkeypatch.setattr(
        bench.Bench, "settings", lambda self, home: usual(self, home).model_copy(update={"compile_training": True})
    )
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = toys.run("single-stage", tmp_path / "compiled", small)
    torch._dynamo.reset()
    trained = [stage for stage in compiled.plan.stages if stage.training]
    assert made == [{"backend": "aot_eager", "dynamic": True}] * len(trained)
    # Each stage has one graph, whatever the length of its batches; evaluations on dev pairs run the plain model.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == len(trained)
    assert plain.distilled.keys == compiled.distilled.keys
    for key, vectors in plain.vectors.items():
        # Batches run whole instead of in parts, so that float32 sums are in another order.
        np.testing.assert_allclose(compiled.vectors[key], vectors, rtol=0, atol=1e-5)
    untrained = np.abs(plain.vectors[compiled.distilled.keys[trained[0].name]]).max()
    assert untrained > 0.1  # the vectors are much larger than the tolerance


def test_the_command_line_offers_every_precision() -> None:
    assert ("auto", *get_args(Precision)) == PRECISIONS


def call(*words: str) -> list[dict[str, object]]:
    given = CliRunner().invoke(app, [*words, "doctor", "--json"])
    assert given.exit_code == 0, given.output
    findings: list[dict[str, object]] = json.loads(given.stdout)
    return findings


def texts(*words: str) -> dict[str, str]:
    return {str(finding["topic"]): str(finding["text"]) for finding in call("--offline", "--device", "cpu", *words)}


def test_the_doctor_shows_choices_and_reasons() -> None:
    chosen = texts()
    assert chosen["device"] == "cpu: as given"
    assert chosen["compile"].startswith("off: on a CPU")
    assert chosen["attention"].startswith("eager: ")
    assert chosen["kernels"].split(":")[0] in {"packed", "plain"}
    assert chosen["memory"].split(":")[0] in {"kept", "returned to the system after each step"}
    assert chosen["threads"].startswith(f"{torch.get_num_threads()} on ")
    assert texts("--no-compile")["compile"] == "off: as given"
    assert texts("--threads", "1")["threads"].startswith("1 on ")


def test_the_doctor_takes_the_options_of_other_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    for spelling in ("--precision", "--dtype"):
        given = CliRunner().invoke(app, ["--offline", "--device", "cpu", "doctor", spelling, "float16", "--json"])
        (finding,) = [it for it in json.loads(given.stdout) if it["topic"] == "precision"]
        assert finding["good"] is False
        assert "bfloat16" in finding["remedy"]
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    (finding,) = [it for it in call("--offline", "--device", "cpu", "--compile") if it["topic"] == "compile"]
    assert finding["good"] is False
    assert "g++" in str(finding["remedy"])


def test_the_doctor_names_a_gpu_that_torch_cannot_use_and_too_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from xlbench.plugins.registry import load_registry

    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    findings = {it.topic: it for it in examine(load_registry(()), settings_for(offline=True, threads=4096))}
    assert findings["device"].good is None
    assert "pytorch.org" in findings["device"].remedy
    assert "--threads" in findings["threads"].remedy


def test_a_report_is_aligned_with_remedies_underneath() -> None:
    findings = [
        Finding("device", True, "cpu: as given"),
        Finding("hub", None, "not used: offline mode is on"),
        Finding("encoder", False, "x: is not here", "Run `pip install x`."),
    ]
    assert report(findings, 80) == [
        "ok  device   cpu: as given",
        "--  hub      not used: offline mode is on",
        "NO  encoder  x: is not here",
        "             Run `pip install x`.",
        "",
        "To fix: encoder.",
    ]
    assert report(findings[:2], 80)[-1] == "Ready: `xlbench run` works here."
    assert max(map(len, report([Finding("device", True, "word " * 40)], 80))) <= 80
