"""Stages trained by several processes: the same batches, gradients, decisions and entries as one process has.

Two processes exchange tensors by gloo on the CPU, as they would by NCCL between GPUs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch
from toy_runs import PLUGIN, make_place

from xlbench import XlbenchError
from xlbench.distill.batches import Collator, LengthBuckets, Share
from xlbench.distill.live import MatchHidden, MatchRelations
from xlbench.distill.objectives import MatchNeighbours, MatchSimilarities, PullToTarget, Target
from xlbench.distill.plan import Stage, Training
from xlbench.testing.children import in_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import TrainerControl, TrainerState, TrainingArguments

    from xlbench.distill.context import StageContext


# --- whose pairs are whose


class Rows:
    """Stands in for a TokenTable: sentence i has the token 5 + i, once or more often."""

    def row(self, sentence: int) -> np.ndarray:
        return np.full(2 + sentence % 7, 5 + sentence)


def sentences_of(batch: object) -> list[int]:
    parts = batch["parts"]  # type: ignore[index]
    assert all(len(set(row[row > 1].tolist())) == 1 for part in parts for row in part["input_ids"])
    return [int(row[0]) - 5 for part in parts for row in part["input_ids"]]


@pytest.mark.parametrize(("processes", "english_share"), [(2, 1.0), (3, 1.0), (4, 0.4), (7, 0.2)])
def test_processes_share_every_batch_and_leave_nothing_out(processes: int, english_share: float) -> None:
    pairs = np.arange(126).reshape(63, 2)
    lengths = np.array([2 + max(one % 7, two % 7) for one, two in pairs])
    batches = LengthBuckets(lengths, 7, 9, seed=3)  # an epoch
    collate = partial(Collator, pairs, Rows(), np.arange(200), 1, {}, 24, english_share)
    whole, shares = collate(), [collate(Share(rank, processes)) for rank in range(processes)]
    epoch: list[int] = []
    for indices in batches:
        expected = whole(indices)
        found = [share(indices) for share in shares]
        read = [sentences_of(batch) for batch in found]
        everything = list(chain(*read))
        assert sorted(everything) == sorted(sentences_of(expected))
        assert len(set(everything)) == len(everything)  # no sentence, and so no pair, twice
        assert all(read)
        epoch += [sentence for sentence in everything if sentence % 2]  # the other sides, which are all read
        tokens = sum(len(Rows().row(it)) for it in everything)
        for batch in found:
            assert batch["sizes"] == [len(own) for own in read]
            assert batch["tokens"] == expected["tokens"] == tokens
        # What the processes' rows are, one process after the other, is brought into the batch's order.
        rows = np.concatenate([np.array(own)[batch["places"].numpy()] for batch, own in zip(found, read, strict=True)])
        in_order = np.array(sentences_of(expected))[expected["places"].numpy()]
        assert rows[found[0]["order"].numpy()].tolist() == in_order.tolist()
    assert sorted(epoch) == pairs[:, 1].tolist()


# --- gradients


class Learnt(NamedTuple):
    """What a process saw of a stage's training."""

    gradients: list[dict[str, torch.Tensor]]
    evaluations: list[dict[str, float]]


ENGLISH, OWN = Target(encoder="toy", side="english"), Target(encoder="toy", side="own")
BANK = Target(encoder="toy", side="english", bank=5)
STAGES = {
    "vectors": {
        "objectives": (
            PullToTarget(target=ENGLISH),
            MatchSimilarities(mix=((ENGLISH, 1.0),), weight=3.0, sides="all"),
            MatchNeighbours(target=BANK, weight=0.5),
        ),
        "english_share": 0.5,
    },
    # Only the queries, keys and values of the second layer are learnt from: what is above gets no gradient.
    "states": {
        "objectives": (
            MatchRelations(encoder="toy", student_layer=2, heads=2),
            MatchHidden(encoder="toy", pairs=((1, 1),)),
        )
    },
    "both": {"objectives": (PullToTarget(target=OWN), MatchHidden(encoder="toy"))},
    "embeddings": {
        "objectives": (PullToTarget(target=OWN.model_copy(update={"level": "embeddings"})),),
        "level": "embeddings",
    },
}


def learn(place: Path, name: str) -> Learnt:
    """Train two steps of seven pairs, as the only process, as the first of several, or as one that it calls."""
    from xlbench.distill import training as stage_training
    from xlbench.distill.ranks import joined
    from xlbench.students.load import load_student

    torch.set_num_threads(1)
    context = context_at(place)
    gradients: list[dict[str, torch.Tensor]] = []

    def keep(
        self: object, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: object
    ) -> None:
        model = given["model"]
        assert isinstance(model, torch.nn.Module)
        gradients.append({it: p.grad.clone() for it, p in model.named_parameters() if p.grad is not None})

    stage_training._ShowProgress.on_pre_optimizer_step = keep  # type: ignore[method-assign]
    settings = {"pairs": 14, "batch_size": 7, "seed": 1, "evaluations": 2, "learning_rate": 1e-3, **STAGES[name]}
    stage = Stage("cut", "toy", (), Training.model_validate(settings))
    scratch = place / f"{name}-{os.environ.get('WORLD_SIZE', '1')}" / "training"
    scratch.mkdir(parents=True, exist_ok=True)
    with joined(context.settings) as ranks:
        if ranks is not None and ranks.launch.rank:
            call = ranks.wait()
            model = load_student(Path(call.start))
            evaluations = stage_training.train_stage(model, stage, context, Path(call.scratch), call)
        else:
            model = load_student(place / "toy")
            evaluations = stage_training.train_stage(model, stage, context, scratch)
    assert ranks is None or len(list(scratch.parent.glob("start*"))) == 1
    named = [{it.removeprefix("module."): value for it, value in each.items()} for each in gradients]
    return Learnt(named, evaluations)


def context_at(place: Path) -> StageContext:
    from toy_corpora import data_of

    from xlbench.corpora.corpus import open_corpus
    from xlbench.corpora.prepare import prepare
    from xlbench.distill.context import StageContext
    from xlbench.plugins.registry import load_registry
    from xlbench.settings import Settings
    from xlbench.students.load import load_student

    settings = Settings(home=place / "home", quiet=True, device="cpu")
    corpus = open_corpus(f"tsv:{place / 'corpus'}", load_registry().corpora, settings)
    prepared = prepare(data_of(corpus, dev_pairs=80), [corpus], set, settings)  # two batches of an evaluation

    def load(_: str) -> object:  # other vectors and states than the student's
        model = load_student(place / "toy")
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.1)
        return model

    return StageContext(prepared, settings, "float32", {"toy": "k", "cut": "c"}, load)  # type: ignore[arg-type]


def launch(work: Callable[[], object], processes: int) -> list[object]:
    """Run something in several processes at once, as torchrun does; None for one that was killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ThreadPoolExecutor(processes) as pool:
        running = [pool.submit(in_child, as_rank, work, rank, processes, port) for rank in range(processes)]
        return [each.result() for each in running]


def as_rank(work: Callable[[], object], rank: int, processes: int, port: int) -> object:
    sys.path.insert(0, str(Path(__file__).parent))
    if processes > 1:
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_WORLD_SIZE=str(processes),
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1",
        )  # fmt: skip
    return work()


def learn_all(place: Path) -> dict[str, Learnt]:
    return {name: learn(place, name) for name in STAGES}


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    from xlbench.testing.toys import save_toy_encoder, write_toy_corpus

    save_toy_encoder(tmp_path / "toy")
    write_toy_corpus(tmp_path / "corpus", 200)
    (alone,) = launch(partial(learn_all, tmp_path), 1)
    first, second = launch(partial(learn_all, tmp_path), 2)
    assert isinstance(alone, dict)
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    for name in STAGES:
        one = alone[name]
        assert len(one.gradients) == 2
        for two in (first[name], second[name]):
            for expected, found in zip(one.gradients, two.gradients, strict=True):
                assert expected.keys() == found.keys()
                for weight, gradient in expected.items():
                    torch.testing.assert_close(found[weight], gradient, rtol=1e-5, atol=1e-5, msg=f"{name} {weight}")
                assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-3
            for before, after in zip(one.evaluations, two.evaluations, strict=True):
                assert after == pytest.approx(before, rel=1e-5), name
        assert first[name].evaluations == second[name].evaluations  # to the last digit: they decide alike
    unused = {name for name in alone["vectors"].gradients[0] if name not in alone["states"].gradients[0]}
    assert any("layer.3" in name for name in unused)


# --- the command line


class Ended(NamedTuple):
    """How a process ended; None where it was killed."""

    code: int | None
    said: str


def command(place: Path, words: list[str], die: tuple[int, int], fault: bool, options: list[str]) -> int:
    """Run ``xlbench run``, its output to files; the process of a rank kills itself after so many optimiser steps."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from xlbench.cli import main

    rank, steps = int(os.environ.get("RANK", "0")), 0
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(place / f"{name}-{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1
        if (rank, steps) == die and fault:
            raise XlbenchError("The disk of one.", "Change it.")
        if (rank, steps) == die:
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_post_hook(count)
    run = ["run", "--method", "single-stage", "--student", "B=8,K=2,R=2", "--assistant", str(place / "assistant")]
    run += ["--corpus", f"tsv:{place / 'corpus'}", "--suite", "toy", "--budget", "toy", "--precision", "float32"]
    try:
        main(["--device", "cpu", "--plugin", str(PLUGIN), *words, *run, "--no-speed", "-o", "evaluations=5", *options])
    except SystemExit as ended:
        return int(ended.code or 0)


def xlbench(
    place: Path, home: str, processes: int, *, batch: int = 32, die: tuple[int, int] = (0, 0), fault: bool = False
) -> list[Ended]:
    """Return how each process ended, and what it wrote to standard error."""
    words = ["--home", str(place / home)]
    codes = launch(partial(command, place, words, die, fault, ["-o", f"batch_size={batch}"]), processes)
    return [Ended(code, (place / f"err-{rank}").read_text()) for rank, code in enumerate(codes)]  # type: ignore[arg-type]


def stages_in(home: Path) -> dict[str, dict[str, object]]:
    manifests = [json.loads(path.read_text()) for path in home.glob("stages/*/entry.json")]
    return {manifest["facts"]["stage"]: manifest for manifest in manifests}


def test_processes_that_die_end_the_others_and_any_number_goes_on(tmp_path: Path) -> None:
    """Takes about 20 s: five runs, one after the other."""
    place = make_place(tmp_path)
    assert [each.code for each in xlbench(place, "alone", 1)] == [0]
    assert [each.code for each in xlbench(place, "home", 1, die=(0, 5))] == [None]
    # Two go on from the checkpoint of one; the second dies, which ends the first, and not in a traceback.
    first, second = xlbench(place, "home", 2, die=(1, 3))
    assert second == Ended(None, "")
    assert first.code == 2
    message = "xlbench: One of the 2 processes that train together has ended."
    assert [line for line in first.said.splitlines() if line.startswith(message[:14])] == [message]
    assert "Traceback" not in first.said
    assert not stages_in(place / "home").keys() & {"student"}
    # The rest is trained by two again, from their own checkpoint.
    first, second = xlbench(place, "home", 2)
    assert (first.code, second) == (0, Ended(0, ""))
    assert (place / "out-0").read_text().count("| Encoder") == 1
    assert (place / "out-1").read_text() == ""
    alone, shared = stages_in(place / "alone"), stages_in(place / "home")
    assert alone.keys() == shared.keys()
    for name in alone:
        assert alone[name]["key"] == shared[name]["key"]  # which does not depend on the number of processes
    (trained,) = [name for name in alone if alone[name]["facts"]["evaluations"]]  # type: ignore[index]
    one, two = alone[trained]["facts"], shared[trained]["facts"]
    assert (one["processes"], two["processes"]) == (1, 2)  # type: ignore[index]
    pairs = zip(one["evaluations"], two["evaluations"], strict=True)  # type: ignore[index]
    assert all(after == pytest.approx(before, rel=1e-4) for before, after in pairs)
    assert len(one["evaluations"]) == 6  # type: ignore[index]
    assert not list((place / "home" / "partial").iterdir())


def test_an_error_is_told_once_and_ends_all(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    first, second = xlbench(place, "home", 2, batch=1)  # which both find
    assert (first.code, second.code) == (2, 2)
    assert (first.said + second.said).count("xlbench: ") == 1
    assert (first.said + second.said).startswith("xlbench: Option of method single-stage: 'batch_size' cannot be '1'")
    first, second = xlbench(place, "home", 2, die=(1, 3), fault=True)  # which only the second finds, in training
    assert second == Ended(2, "xlbench: The disk of one.\nChange it.\n")
    assert (first.code, [line for line in first.said.splitlines() if line.startswith("xlbench:")]) == (2, [])
    assert "Traceback" not in first.said


def test_only_training_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from xlbench.cli.app import app
    from xlbench.distill import ranks

    variables = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "::1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ranks, "meet", lambda: None)
    with pytest.raises(XlbenchError, match="Several processes were started for `xlbench list`"):
        CliRunner().invoke(app, ["list"], catch_exceptions=False)
    monkeypatch.setenv("WORLD_SIZE", "1")  # as `torchrun --nproc-per-node 1` says
    assert "multistage" in CliRunner().invoke(app, ["list"], catch_exceptions=False).output
