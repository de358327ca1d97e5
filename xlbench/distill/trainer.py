"""transformers' Trainer with this project's batches, loss and evaluation.

The optimiser, mixed precision, checkpoints and resuming are transformers'. Added here is what it does not know: batches
of pairs of similar length, targets computed beforehand, losses described as data, and evaluation on dev pairs.
The base class is ``transformers.Trainer`` and not sentence-transformers' subclass of it, because what that one adds
(text columns, collators that tokenise, losses that own the model) is what is replaced here.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate.data_loader import prepare_data_loader
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments

from xlbench.distill.checkpoints import refuse_damaged
from xlbench.distill.health import Evaluation, bitext_accuracy, check_health, mean_cosine
from xlbench.distill.objectives import PairVectors, checked_loss
from xlbench.distill.reporting import TermMeans
from xlbench.distill.student import Student
from xlbench.encoders.encode import dimension

if TYPE_CHECKING:
    import numpy as np

    from xlbench.distill.batches import Batch, Collator, LengthBuckets
    from xlbench.distill.capture import LiveTerms
    from xlbench.distill.plan import Stage
    from xlbench.distill.ranks import Ranks

DEV_BATCH = 64  # dev pairs encoded together


class _PairIndices(Dataset[int]):
    """The indices of the pairs, which the collator turns into tensors."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


class StageTrainer(Trainer):
    """transformers' Trainer with batches of pairs, a stage's objectives as the loss, and evaluation on dev pairs.

    Args:
        student: The encoder under training.
        arguments: Settings of transformers' Trainer.
        stage: The stage, for its objectives and its name in errors.
        batches: The batches of training pairs.
        collator: Turns training pairs into tensors.
        dev: Turns dev pairs into tensors.
        dev_languages: Language of each dev pair as a number, int [dev pairs].
        live: The stage's terms on the states of every token.
        ranks: The processes that train together; None for one.

    Attributes:
        initial: The evaluation before training; must be set before :meth:`train` is called.
    """

    def __init__(
        self,
        *,
        student: Student,
        arguments: TrainingArguments,
        stage: Stage,
        batches: LengthBuckets,
        collator: Collator,
        dev: Collator,
        dev_languages: np.ndarray,
        live: LiveTerms,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(
            model=student,
            args=arguments,
            train_dataset=_PairIndices(len(collator.pairs)),
            eval_dataset=_PairIndices(len(dev.pairs)),
        )
        self.stage = stage
        self.batches = batches
        self.collator = collator
        self.dev = dev
        self.dev_languages = dev_languages
        self.live = live
        self.ranks = ranks
        self.ranks_count = ranks.launch.processes if ranks else 1
        self.initial: Evaluation | None = None
        self.means: TermMeans | None = None
        if arguments.report_to:
            assert stage.training is not None
            self.means = TermMeans(
                [*stage.training.terms, *stage.training.live_terms], arguments.per_device_train_batch_size
            )
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader[int]:
        """Return the batches; accelerate moves them to the device, and skips those already seen on resuming.

        Of several processes each goes through all batches, and its collator takes its share of every one.
        """
        loader = DataLoader(
            _PairIndices(len(self.collator.pairs)), batch_sampler=self.batches, collate_fn=self.collator
        )
        if self.ranks is not None:
            shared: DataLoader[int] = prepare_data_loader(
                loader, self.args.device, num_processes=1, process_index=0, put_on_device=True, dispatch_batches=False
            )
            return shared
        prepared: DataLoader[int] = self.accelerator.prepare(loader)
        return prepared

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the sum of the stage's objectives over a batch, a scalar.

        Raises:
            FailedTrainingError: The loss is not finite.
        """
        batch = cast("Batch", inputs)  # the Trainer's signature says dict
        if self.ranks is None:
            vectors = model(batch["parts"], batch["places"]).vectors.float()
            live = self.live.losses(batch["parts"], batch["tokens"])
        else:
            # The whole batch's vectors and terms on every process, with gradients for its own sentences.
            own, live = model(batch["parts"], batch["places"], partial(self.live.losses, total=batch["tokens"]))
            vectors = self.ranks.gather(own.float(), batch["sizes"])[batch["order"]]
            live = [self.ranks.sum(value) + (value - value.detach()) for value in live]
        values = self.term_losses(_pair_vectors(vectors, batch), _target_vectors(batch), live)
        loss = values.sum()
        if self.means is not None:
            self.means.add(values)
        if not torch.isfinite(loss):
            failed = Evaluation(step=self.state.global_step, loss=math.nan, accuracy=0, mean_cosine=0)
            check_health(self.stage.name, failed, failed, 0)  # always raises, as the loss is no number
        return loss if self.ranks is None else self.ranks.spread(loss)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Tell trackers, of training also the mean of each term and the pairs a second."""
        super().log({**logs, **(self.means.take() if self.means is not None and "loss" in logs else {})}, start_time)

    def term_losses(self, student: PairVectors, targets: list[PairVectors], live: list[torch.Tensor]) -> torch.Tensor:
        """Return the stage's terms, float [terms], those on vectors first.

        Args:
            student: The student's vectors of a batch.
            targets: The vectors of each target for the same batch, in the collator's order.
            live: Values of the terms on the states of every token.
        """
        training = self.stage.training
        assert training is not None
        vectors_of = dict(zip(self.collator.targets, targets, strict=True))
        return torch.stack([*(checked_loss(term, term.loss(student, vectors_of)) for term in training.terms), *live])

    @torch.inference_mode()
    def evaluate_dev(self) -> tuple[Evaluation, float | None]:
        """Evaluate the student on the dev pairs.

        Returns:
            The evaluation, and the mean cosine between the vectors of different sentences in the first target; None
            for a stage without targets.
        """
        model = self.model
        assert isinstance(model, Student)
        model.eval()
        count, places = len(self.dev.pairs), range(0, len(self.dev.pairs), DEV_BATCH)
        first = next(iter(self.dev.targets.values()), None)
        english, other = torch.zeros(2, count, dimension(model.model, model.level))
        wanted = torch.zeros(count, first.dimension if first else 0)
        losses = torch.zeros(len(places), dtype=torch.float64)
        # Each process reads some batches and leaves the rest zero, so that the sum over processes has them all.
        for number in range(self.ranks.launch.rank if self.ranks else 0, len(places), self.ranks_count):
            indices = range(places[number], min(places[number] + DEV_BATCH, count))
            batch = cast("Batch", self._prepare_inputs(dict(self.dev(indices))))
            with self.compute_loss_context_manager():
                vectors = model(batch["parts"], batch["places"]).vectors
            live = [value.cpu() for value in self.live.losses(batch["parts"], batch["tokens"])]
            student = _pair_vectors(vectors.float().cpu(), batch)
            batch["targets"] = [target.cpu() for target in batch["targets"]]
            targets = _target_vectors(batch)
            losses[number] = float(self.term_losses(student, targets, live).sum()) * len(indices)
            rows = slice(indices.start, indices.stop)
            english[rows], other[rows] = student.english, student.other
            if targets:
                wanted[rows] = targets[0].english
        model.train()
        if self.ranks is not None:
            english, other, wanted, losses = map(self.ranks.sum, (english, other, wanted, losses))
        evaluation = Evaluation(
            step=self.state.global_step,
            loss=sum(losses.tolist()) / count,
            accuracy=bitext_accuracy(english, other, self.dev_languages),
            mean_cosine=mean_cosine(english),
        )
        return evaluation, mean_cosine(wanted) if first else None

    def evaluate(self, *_args: object, **_kwargs: object) -> dict[str, float]:
        """Evaluate on the dev pairs and log the result; the Trainer calls this at every evaluation step.

        Raises:
            FailedTrainingError: The student diverged or collapsed.
        """
        evaluation, target_mean_cosine = self.evaluate_dev()
        assert self.initial is not None
        # A stage without targets has no target vectors to compare with: the student's own before training stand in.
        check_health(
            self.stage.name,
            evaluation,
            self.initial,
            self.initial.mean_cosine if target_mean_cosine is None else target_mean_cosine,
        )
        metrics = {f"eval_{name}": value for name, value in evaluation.model_dump(exclude={"step"}).items()}
        metrics["eval_selection_score"] = evaluation.selection_score
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _load_best_model(self) -> None:
        """Load the weights of the best checkpoint, if they are those that were saved.

        Raises:
            XlbenchError: They have changed on the disk since.
        """
        refuse_damaged(Path(str(self.state.best_model_checkpoint)))
        super()._load_best_model()

    def evaluations(self) -> list[Evaluation]:
        """Return all evaluations so far, the one before training first, those before a resumed checkpoint included."""
        assert self.initial is not None
        logged = [row for row in self.state.log_history if "eval_selection_score" in row]
        return [
            self.initial,
            *(
                Evaluation(
                    step=row["step"],
                    loss=row["eval_loss"],
                    accuracy=row["eval_accuracy"],
                    mean_cosine=row["eval_mean_cosine"],
                )
                for row in logged
            ),
        ]


def _pair_vectors(vectors: torch.Tensor, batch: Batch) -> PairVectors:
    """Split the vectors of a batch, float [m + n (+ k), dimension], into English sides, other sides and bank."""
    english, sentences = batch["english_count"], len(batch["order"])
    bank = vectors[sentences:] if len(vectors) > sentences else None
    return PairVectors(vectors[:english], vectors[english:sentences], bank)


def _target_vectors(batch: Batch) -> list[PairVectors]:
    return [_pair_vectors(target, batch) for target in batch["targets"]]
