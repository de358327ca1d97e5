"""How fast this machine is: a few seconds of encoding and training with a board's own assistant and sentences.

Training steps are those of a stage, by its trainer, on a few pairs of the corpus; everything that it writes is deleted.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from xlbench.distill.context import StageContext
from xlbench.distill.flops import training_work
from xlbench.distill.objectives import PullToTarget
from xlbench.distill.plan import Stage, Training
from xlbench.distill.stages import english_target
from xlbench.encoders.encode import encode, encoding_mode
from xlbench.progress import progress, watched
from xlbench.runs.estimate import forward_operations, trained_parameters, with_rows
from xlbench.runs.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.corpora.tokens import TokenTable
    from xlbench.experiment import Precision, Suite
    from xlbench.progress import Work
    from xlbench.runs.estimate import CorpusLengths, Lengths
    from xlbench.settings import Settings
    from xlbench.students.shape import Shape

TITLE = "measuring this machine"
BATCH, STEPS, DEV = 64, 3, 32  # pairs in a step, steps of which the first is not counted, dev pairs
SINGLES = 5  # sentences encoded one by one
PARAMETERS = 4_000_000  # that an optimiser changes
BYTES = 32 << 20  # written and read
ROWS, COLUMNS = 20_000, 384  # of a table in float64
SUBSETS = 2  # of each task that are scored
LETTERS, WIDTH = "abcdefghijklmnopqrstuvwxyz ", 64  # tokens and width of an encoder that takes hardly any time


class Probed(NamedTuple):
    """What a probe works with.

    Attributes:
        model: The assistant, which the probe changes.
        shape: Its shape.
        texts: Sentences of typical lengths.
        lengths: Tokens of each, int64 [sentences].
        precision: What it computes in.
        suite: What encoders are scored on.
        loaded: Seconds that loading it took.
    """

    model: SentenceTransformer
    shape: Shape
    texts: Sequence[str]
    lengths: Lengths
    precision: Precision
    suite: Suite
    loaded: float


class Pairs(NamedTuple):
    """What a probe trains on: some pairs of a corpus, and the tokens of all of it."""

    corpus: PreparedCorpus
    tokens: TokenTable
    lengths: CorpusLengths


def measure_rates(probed: Probed, pairs: Pairs | None, settings: Settings) -> Rates:
    """Measure this machine.

    Args:
        probed: What is encoded and trained.
        pairs: What is trained on; None: no training is planned.
        settings: Device, threads and the store, on whose disk is written.

    Raises:
        XlbenchError: The encoder cannot be trained, the disk is full.
    """
    from xlbench.encoders.runtime import choose_device

    probed.model.to(choose_device(settings))
    settings.home.mkdir(parents=True, exist_ok=True)
    with (
        progress(TITLE, 5, quiet=settings.quiet, unit="parts") as advance,
        TemporaryDirectory(prefix="probe-", dir=settings.home) as scratch,
    ):
        found = {"loaded": probed.loaded, **_encoding(probed)}
        advance()
        found["scored"] = _scoring(probed.suite, settings.model_copy(update={"quiet": True}))
        advance()
        found["moved"] = _moving(Path(scratch))
        found["fitted"] = _fitting()
        advance()
        found["updated"] = _updating(choose_device(settings))
        advance()
        if pairs is not None:
            quiet = settings.model_copy(
                update={"home": Path(scratch), "quiet": True, "report_to": (), "compile_training": False}
            )
            found |= _training(probed, pairs, quiet, found["updated"])
        advance()
    return Rates(**found)


def _encoding(probed: Probed) -> dict[str, float]:
    """Return seconds an operation of encoding, and seconds a layer of one sentence alone."""
    texts, precision, model = list(probed.texts), probed.precision, probed.model
    with encoding_mode(model, precision):
        encode(model, texts, precision=precision)  # the kernels of every shape are made at its first use
        began = time.perf_counter()
        encode(model, texts, precision=precision)
        seconds = time.perf_counter() - began
        alone = median(_seconds(model, text, precision) for text in texts[:: max(1, len(texts) // SINGLES)][:SINGLES])
    operations = forward_operations(probed.shape, probed.lengths)
    return {"encoded": seconds / max(1.0, operations), "singles": alone / max(1, probed.shape.executed_layers)}


def _seconds(model: SentenceTransformer, text: str, precision: Precision) -> float:
    began = time.perf_counter()
    encode(model, [text], precision=precision)
    return time.perf_counter() - began


def _scoring(suite: Suite, settings: Settings) -> float:
    """Return seconds a sentence of what MTEB does with vectors: of some subsets, encoded by letters."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    from xlbench.scoring.harness import score
    from xlbench.students.static import static_encoder

    letters = {letter: number for number, letter in enumerate(LETTERS)}
    tokenizer = Tokenizer(models.WordLevel(letters, unk_token=" "))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    table = np.random.default_rng(0).normal(size=(len(letters), WIDTH)).astype(np.float32)
    tasks = tuple(task.model_copy(update={"subsets": task.subsets[:SUBSETS]}) for task in suite.tasks)
    few, encoder = suite.model_copy(update={"tasks": tasks}), static_encoder(tokenizer, table)
    began = time.perf_counter()
    scored = score(encoder, few, settings, precision="float32", title=TITLE)
    return (time.perf_counter() - began) / scored.scores.sentences


def _moving(directory: Path) -> float:
    """Return seconds a byte of writing and of computing its checksum."""
    content = os.urandom(1 << 20)
    digest = hashlib.sha256()
    began = time.perf_counter()
    with (directory / "bytes").open("wb") as stream:
        for _ in range(BYTES // len(content)):
            stream.write(content)
            digest.update(content)
        stream.flush()
        os.fsync(stream.fileno())
    return (time.perf_counter() - began) / BYTES


def _fitting() -> float:
    """Return seconds an operation in float64, as an embedding table is cut."""
    table = torch.ones((ROWS, COLUMNS), dtype=torch.float64)
    _ = table.T @ table
    began = time.perf_counter()
    _ = table.T @ table
    return (time.perf_counter() - began) / (2 * ROWS * COLUMNS**2)


def _updating(device: str) -> float:
    """Return seconds a parameter of clipping its gradient and of a step of AdamW."""
    weight = torch.nn.Parameter(torch.zeros(PARAMETERS, device=device))
    weight.grad = torch.ones_like(weight)
    optimiser = torch.optim.AdamW([weight], fused=True)
    optimiser.step()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        torch.nn.utils.clip_grad_norm_([weight], 1.0)
        optimiser.step()
        _ = float(weight.detach()[0])  # waits for the device
        times.append(time.perf_counter() - began)
    return median(times) / PARAMETERS


@dataclass(frozen=True)
class _Context(StageContext):
    """A context with few pairs and the tokens of the whole corpus, whose rows of the table are trained."""

    whole: TokenTable = field(kw_only=True)

    def tokens(self, model: SentenceTransformer, max_tokens: int = 128, *, prompted: bool = True) -> TokenTable:
        """Return the whole corpus's tokens."""
        return self.whole


def _training(probed: Probed, pairs: Pairs, settings: Settings, updated: float) -> dict[str, float]:
    """Return seconds an operation of steps and of evaluations, and seconds a parameter of a checkpoint."""
    from xlbench.distill.batches import LengthBuckets, pair_lengths
    from xlbench.distill.training import train_stage

    corpus = _some(pairs.corpus)
    stage = Stage(
        "probe",
        "assistant",
        (),
        Training(
            objectives=(PullToTarget(target=english_target("assistant")),),
            pairs=STEPS * BATCH,
            seed=0,
            batch_size=BATCH,
            learning_rate=1e-6,
            evaluations=1,
        ),
    )
    training = stage.training
    assert training is not None
    context = _Context(
        corpus, settings, probed.precision, {"assistant": "probe"}, lambda _: probed.model, whole=pairs.tokens
    )
    scratch = settings.home / "training"
    scratch.mkdir()
    times = _Times(float(training.steps * BATCH))
    with watched(times):
        train_stage(probed.model, stage, context, scratch)
    ended = time.perf_counter()
    # The first step allocates and compiles.
    batches = list(LengthBuckets(pair_lengths(corpus.pairs, pairs.tokens), BATCH, training.steps, training.seed))[1:]
    lengths = np.minimum(pairs.lengths.lengths, training.max_tokens)
    operations = sum(training_work(probed.shape, lengths[corpus.pairs[batch].reshape(-1)]).total for batch in batches)
    steps = times.moments[-1] - times.moments[0]
    parameters = trained_parameters(probed.shape, training, pairs.lengths.used)
    own = max(0.1 * steps, steps - len(batches) * updated * parameters)
    dev = forward_operations(probed.shape, lengths[corpus.dev_pairs.reshape(-1)])
    return {
        "trained": own / operations,
        "evaluated": (times.evaluated - times.moments[-1]) / dev,
        "checkpointed": (ended - times.evaluated) / with_rows(probed.shape, pairs.lengths.used).parameters,
    }


def _some(corpus: PreparedCorpus) -> PreparedCorpus:
    """Return a corpus with a few of its pairs, which are in an order that mixes languages."""
    count, step = STEPS * BATCH, max(1, len(corpus.dev_pairs) // DEV)
    return replace(
        corpus,
        digest=f"{corpus.digest}-probe",
        pairs=corpus.pairs[:count],
        languages=corpus.languages[:count],
        dev_pairs=corpus.dev_pairs[::step],
        dev_languages=corpus.dev_languages[::step],
    )


class _Times:
    """Watches a training: the end of each step, and of the evaluation after the last one."""

    def __init__(self, pairs: float) -> None:
        self.pairs = pairs
        self.done = 0.0
        self.moments: list[float] = []
        self.evaluated = 0.0

    def __call__(self, work: Work | None) -> None:
        """Look at the clock; work that has no steps is not that of training."""
        if work is None or not work.step:
            return
        if work.done > self.done:
            self.done = work.done
            self.moments.append(time.perf_counter())
        elif self.done >= self.pairs and not self.evaluated:
            self.evaluated = time.perf_counter()
