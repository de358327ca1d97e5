"""One repetition of each training loop over the same pairs: seconds between steps, set-up left out."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NamedTuple, Protocol
from unittest.mock import patch

import torch
from torch.nn import functional as F

from benchmarks.material import MAX_TOKENS
from xlbench.distill.training import train_stage
from xlbench.encoders.directories import quiet_transformers
from xlbench.scoring.quiet import quiet_datasets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentence_transformers import SentenceTransformer
    from torch import Tensor
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from benchmarks.material import Material
    from xlbench.progress import Advance


class Tick(Protocol):
    """Called after every step with the share of all steps that is done."""

    def __call__(self, done: float) -> None:
        """Receive the share."""
        ...


class Timed(NamedTuple):
    """One repetition: its pairs, their seconds, and the seconds of the evaluation and the rest after the last step."""

    pairs: float
    seconds: float
    evaluation: float = 0.0
    rest: float = 0.0

    @property
    def rate(self) -> float:
        """Pairs per second."""
        return self.pairs / self.seconds


class Times:
    """The end times of all steps."""

    def __init__(self, device: str, tick: Tick | None = None) -> None:
        self.device = device
        self.moments: list[tuple[float, float]] = []
        self.tick = tick

    def __call__(self, done: float) -> None:
        """Record the end of a step."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        self.moments.append((done, time.perf_counter()))
        if self.tick is not None:
            self.tick(done)

    def since(self, share: float, pairs: int) -> Timed:
        """Return the time between the first step that reached ``share`` and the last one."""
        done, began = next(moment for moment in self.moments if moment[0] >= share - 1e-9)
        return Timed(pairs * (self.moments[-1][0] - done), self.moments[-1][1] - began)


def train_xlbench(
    material: Material,
    pairs: int,
    *,
    seed: int = 0,
    passes: int = 2,
    model: SentenceTransformer | None = None,
    tick: Tick | None = None,
) -> Timed:
    """Run :func:`xlbench.distill.training.train_stage`; time the last of ``passes`` passes over the pairs.

    The passes before it warm up: whatever is compiled or allocated on first use is set-up. With batches of similar
    length single steps differ, so nothing less than a whole pass is compared.
    """
    stage = material.stage(passes * pairs, seed)
    assert stage.training is not None
    whole = stage.training.steps * stage.training.batch_size  # pairs, which progress counts
    times = Times(material.device, tick)
    evaluations: list[float] = []

    @contextmanager
    def watched(
        title: str, total: float | None, *, quiet: bool = False, done: float = 0, unit: str = "", step: float = 0
    ) -> Iterator[Advance]:
        so_far = 0.0

        def advance(amount: float = 1, note: str = "") -> None:
            nonlocal so_far
            if total == whole and amount:
                so_far += amount
                times(so_far / whole)
            elif total == whole:  # an evaluation is noted on the bar without moving it
                evaluations.append(time.perf_counter())

        yield advance

    scratch = _scratch(material)
    with patch("xlbench.distill.training.progress", watched):
        train_stage(model or material.student(), stage, material.context(pairs), scratch)
    ended = time.perf_counter()
    shutil.rmtree(scratch, ignore_errors=True)
    last = times.moments[-1][1]
    evaluated = evaluations[-1] if evaluations and evaluations[-1] > last else last
    found = times.since(1 - 1 / passes, passes * pairs) if passes > 1 else times.since(0.0, pairs)
    return found._replace(evaluation=evaluated - last, rest=ended - evaluated)


def train_plain(material: Material, pairs: int, *, recompute: bool, tick: Tick | None = None) -> Timed:
    """Train as the paper's release does; time the steps after the first one.

    float32; random batches, each side padded to its longest sentence; the teacher run on the English side of every
    batch (or not: vectors computed beforehand); AdamW over the whole embedding table; torch's own attention.
    """
    from transformers import get_linear_schedule_with_warmup

    device = material.device
    english, other = material.texts(material.corpus.pairs[:pairs])
    student, teacher = material.student().train(), material.assistant()
    targets = None if recompute else teacher.encode(english, convert_to_tensor=True, show_progress_bar=False)
    optimiser = torch.optim.AdamW(student.parameters(), lr=3e-4, weight_decay=0.01)
    order = torch.randperm(pairs, generator=torch.Generator().manual_seed(0))
    batches = [order[start : start + material.batch_size] for start in range(0, pairs, material.batch_size)]
    schedule = get_linear_schedule_with_warmup(optimiser, len(batches) // 10, len(batches))  # type: ignore[no-untyped-call]
    times = Times(device, tick)

    def vectors(texts: list[str]) -> Tensor:
        features = student.tokenizer(
            texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(device)
        found: Tensor = student(dict(features))["sentence_embedding"]
        return found

    for number, batch in enumerate(batches):
        chosen = batch.tolist()
        first, second = [english[place] for place in chosen], [other[place] for place in chosen]
        if targets is None:
            target = teacher.encode(
                first, batch_size=len(first), convert_to_tensor=True, show_progress_bar=False
            ).clone()
        else:
            target = targets[batch.to(device)].clone()
        loss = F.mse_loss(vectors(first), target) + F.mse_loss(vectors(second), target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        times((number + 1) / len(batches))
    return times.since(1 / len(batches), pairs)


def train_recipe(material: Material, pairs: int, *, seed: int = 0, model: SentenceTransformer | None = None) -> Timed:
    """Run sentence-transformers' recipe for multilingual models; time the steps after the first one.

    As its documentation has it (Training > Multilingual Models): SentenceTransformerTrainer, MSELoss, the teacher's
    English vectors as a ``label`` column, 64 pairs in a batch, bf16. It has no batches by length: the arguments that
    transformers has for it do not reach the batch sampler of sentence-transformers.
    """
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MSELoss
    from transformers import PrinterCallback, TrainerCallback

    english, other = material.texts(material.corpus.pairs[:pairs])
    student = model or material.student()
    labels = material.assistant().encode(english, show_progress_bar=False)
    data = Dataset.from_dict({"english": english, "non_english": other, "label": list(labels)})
    times = Times(material.device)
    steps = -(-pairs // material.batch_size)

    class Watch(TrainerCallback):
        def on_step_end(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
        ) -> None:
            times(state.global_step / steps)

    scratch = _scratch(material)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=1,
        per_device_train_batch_size=material.batch_size,
        learning_rate=3e-4,
        weight_decay=0.01,
        warmup_steps=round(0.1 * steps),
        bf16=material.precision == "bfloat16",
        use_cpu=material.device == "cpu",
        seed=seed,
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=material.device != "cpu",
    )
    with quiet_transformers(), quiet_datasets():
        trainer = SentenceTransformerTrainer(
            model=student, args=arguments, train_dataset=data, loss=MSELoss(student), callbacks=[Watch()]
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    shutil.rmtree(scratch, ignore_errors=True)
    return times.since(1 / steps, pairs)


def _scratch(material: Material) -> Path:
    return Path(mkdtemp(prefix="training-", dir=material.work))
