"""The student under training, and transformers' Trainer with this project's batches, loss and evaluation.

The optimiser, mixed precision, checkpoints and resuming are transformers'. Added here is what it does not know: batches
of pairs of similar length, targets computed beforehand, losses described as data, and evaluation on dev pairs.
The base class is ``transformers.Trainer`` and not sentence-transformers' subclass of it, because what that one adds
(text columns, collators that tokenise, losses that own the model) is what is replaced here.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments

from xlbench.distill.checkpoints import refuse_damaged
from xlbench.distill.health import Evaluation, bitext_accuracy, check_health, mean_cosine
from xlbench.distill.objectives import PairVectors, checked_loss
from xlbench.distill.reporting import TermMeans
from xlbench.encoders.modules import embedding_output, mean_pool
from xlbench.encoders.pipeline import pipeline_of
from xlbench.students.surgery import stock_encoder

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

    from xlbench.distill.batches import Batch, Collator, LengthBuckets, Part
    from xlbench.distill.capture import LiveTerms
    from xlbench.distill.plan import Stage, Training

DEV_BATCH = 64  # dev pairs encoded together


class Student(nn.Module):
    """The encoder under training, whose output is the vectors that the stage's objectives compare.

    Args:
        model: The encoder; its parameters are frozen or made trainable as ``training`` says.
        training: Settings of the stage's training.
    """

    def __init__(self, model: SentenceTransformer, training: Training) -> None:
        super().__init__()
        self.model = model
        self.level = training.level
        self.pipeline = pipeline_of(model)
        self.pipeline.require_tokens("trained")
        _freeze(model, training)

    def forward(self, parts: list[Part], places: torch.Tensor) -> torch.Tensor:
        """Return the vectors of a batch's sentences, float [m + n, dimension], in the order that ``places`` gives.

        Args:
            parts: The sentences of n pairs, m of them with both sides, see :class:`~xlbench.distill.batches.Batch`.
            places: Position of each sentence among the rows of all parts, int64 [m + n].
        """
        return torch.cat([self.encode(**part) for part in parts])[places]

    def encode(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return one vector per sentence, float [sentences, dimension].

        At the level ``embeddings`` it is the mean of the embedding layer's output, and no encoder layer runs.

        Args:
            input_ids: Token ids, int64 [sentences, tokens].
            attention_mask: 1 for real tokens and 0 for padding, int64 [sentences, tokens].
        """
        if self.level == "embeddings":
            hidden = embedding_output(stock_encoder(self.model), input_ids, attention_mask)
            return mean_pool(hidden, attention_mask)
        vectors: torch.Tensor = self.model(self.pipeline.features(input_ids, attention_mask))["sentence_embedding"]
        return self.pipeline.cut(vectors)


def _freeze(model: SentenceTransformer, training: Training) -> None:
    """Make only those parameters trainable that ``training`` names, and switch dropout off unless it is wanted."""
    transformer = stock_encoder(model)
    for parameter in model.parameters():
        parameter.requires_grad_(training.trainable != "embeddings")
    if transformer.pooler is not None:  # mean pooling never reads it
        transformer.pooler.requires_grad_(False)
    if training.trainable == "embeddings":
        transformer.embeddings.requires_grad_(True)
    if training.trainable == "all-but-token-embeddings":
        transformer.get_submodule("embeddings.word_embeddings").requires_grad_(False)
    if not training.dropout:
        for part in model.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0


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
        self.initial: Evaluation | None = None
        self.means: TermMeans | None = None
        if arguments.report_to:
            assert stage.training is not None
            self.means = TermMeans(
                [*stage.training.terms, *stage.training.live_terms], arguments.per_device_train_batch_size
            )
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader[int]:
        """Return the batches; accelerate moves them to the device, and skips those already seen on resuming."""
        loader = DataLoader(
            _PairIndices(len(self.collator.pairs)), batch_sampler=self.batches, collate_fn=self.collator
        )
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
        vectors = model(batch["parts"], batch["places"]).float()
        live = self.live.losses(batch["parts"])
        values = self.term_losses(_pair_vectors(vectors, batch), _target_vectors(batch), live)
        loss = values.sum()
        if self.means is not None:
            self.means.add(values)
        if not torch.isfinite(loss):
            failed = Evaluation(step=self.state.global_step, loss=math.nan, accuracy=0, mean_cosine=0)
            check_health(self.stage.name, failed, failed, 0)  # always raises, as the loss is no number
        return loss

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
        assert model is not None
        model.eval()
        student, targets, live = [], [], []
        count = len(self.dev.pairs)
        for start in range(0, count, DEV_BATCH):
            indices = range(start, min(start + DEV_BATCH, count))
            batch = cast("Batch", self._prepare_inputs(dict(self.dev(indices))))
            with self.compute_loss_context_manager():
                vectors = model(batch["parts"], batch["places"])
            live.append([value.cpu() for value in self.live.losses(batch["parts"])])
            student.append(_pair_vectors(vectors.float().cpu(), batch))
            batch["targets"] = [target.cpu() for target in batch["targets"]]
            targets.append(_target_vectors(batch))
        model.train()
        batches = zip(student, targets, live, strict=True)
        losses = [float(self.term_losses(*batch).sum()) * len(batch[0].english) for batch in batches]
        english = torch.cat([half.english for half in student])
        other = torch.cat([half.other for half in student])
        evaluation = Evaluation(
            step=self.state.global_step,
            loss=sum(losses) / count,
            accuracy=bitext_accuracy(english, other, self.dev_languages),
            mean_cosine=mean_cosine(english),
        )
        first = [vectors[0].english for vectors in targets if vectors]
        return evaluation, mean_cosine(torch.cat(first)) if first else None

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
    english, sentences = batch["english_count"], len(batch["places"])
    bank = vectors[sentences:] if len(vectors) > sentences else None
    return PairVectors(vectors[:english], vectors[english:sentences], bank)


def _target_vectors(batch: Batch) -> list[PairVectors]:
    return [_pair_vectors(target, batch) for target in batch["targets"]]
