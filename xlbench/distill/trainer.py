"""Gradient training of one stage, on transformers' Trainer: its optimiser, precision, checkpoints and resume.

Ours is what it has no notion of: pairs in length buckets, targets computed beforehand, objectives as data, and
the choice of the checkpoint on dev pairs. ``transformers.Trainer`` and not sentence-transformers' subclass of it,
whose additions (columns of text, tokenising collators, losses that own the model) are just what is replaced here.
"""

from __future__ import annotations

import math
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from xlbench.distill.batches import Batch, Collator, LengthBuckets, Part, pair_lengths, sentences_read
from xlbench.distill.capture import LiveTerms, live_terms
from xlbench.distill.health import Evaluation, bitext_accuracy, check_health, mean_cosine
from xlbench.distill.objectives import PairVectors
from xlbench.encoders.directories import quiet_transformers
from xlbench.encoders.linear import training_kernels
from xlbench.encoders.modules import embedding_output, mean_pool, quick_attention
from xlbench.encoders.runtime import COMPILER, choose_device, explain_compile, half_dtype
from xlbench.progress import Advance, progress
from xlbench.store import write_atomically
from xlbench.students.surgery import stock_encoder
from xlbench.students.vocabulary import embedding_table, restore_table, shrink_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, TrainerControl, TrainerState

    from xlbench.distill.context import StageContext
    from xlbench.distill.objectives import Target
    from xlbench.distill.plan import Stage, Training
    from xlbench.distill.targets import TargetTable

COMPLETE = "complete"  # a checkpoint without this file was being written when the process died
BEFORE = "before.json"  # the look before training, which a resumed run can no longer take
DEV_BATCH = 64
PART_TOKENS = 2048  # on a CPU: of 512 to 4096 the fastest, by a few per cent


class Student(nn.Module):
    """The encoder under training, giving the vectors that the stage is about."""

    def __init__(self, model: SentenceTransformer, training: Training) -> None:
        super().__init__()
        self.model = model
        self.level = training.level
        _freeze(model, training)

    def forward(self, parts: list[Part], places: torch.Tensor) -> torch.Tensor:
        """Return float [m + n, dimension] for the sentences of a batch of n pairs, m of them with both sides."""
        return torch.cat([self.encode(**part) for part in parts])[places]

    def encode(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return float [sentences, dimension] for token ids and mask, int [sentences, tokens]."""
        if self.level == "embeddings":
            hidden = embedding_output(stock_encoder(self.model), input_ids, attention_mask)
            return mean_pool(hidden, attention_mask)
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        vectors: torch.Tensor = self.model(features)["sentence_embedding"]
        return vectors


def _freeze(model: SentenceTransformer, training: Training) -> None:
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


class _PairNumbers(Dataset[int]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> int:
        return number


class StageTrainer(Trainer):
    """transformers' Trainer with our batches, loss and look at the dev pairs."""

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
            train_dataset=_PairNumbers(len(collator.pairs)),
            eval_dataset=_PairNumbers(len(dev.pairs)),
        )
        self.stage = stage
        self.batches = batches
        self.collator = collator
        self.dev = dev
        self.dev_languages = dev_languages
        self.live = live
        self.before: Evaluation | None = None
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader[int]:
        """Return batches of similar length; accelerate moves them to the device and skips them on resume."""
        loader = DataLoader(
            _PairNumbers(len(self.collator.pairs)), batch_sampler=self.batches, collate_fn=self.collator
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
        """Return the sum of the stage's objectives over a batch."""
        batch = cast("Batch", inputs)  # the Trainer knows of dictionaries only
        vectors = model(batch["parts"], batch["places"]).float()
        live = self.live.losses(batch["parts"])
        loss = self.total_loss(_student(vectors, batch), _targets(batch), live)
        if not torch.isfinite(loss):
            evaluation = Evaluation(step=self.state.global_step, loss=math.nan, accuracy=0, mean_cosine=0)
            check_health(self.stage.name, evaluation, evaluation, 0)
        return loss

    def total_loss(self, student: PairVectors, wanted: list[PairVectors], live: list[torch.Tensor]) -> torch.Tensor:
        """Return the sum of the stage's terms: those on vectors, and the values of those on the states of tokens."""
        training = self.stage.training
        assert training is not None
        targets = dict(zip(self.collator.targets, wanted, strict=True))
        return torch.stack([*(term.loss(student, targets) for term in training.terms), *live]).sum()

    @torch.inference_mode()
    def evaluate_dev(self) -> tuple[Evaluation, float | None]:
        """Encode the dev pairs and return how it goes, and the spread of the first target's vectors, if any."""
        model = self.model
        assert model is not None
        model.eval()
        got, wanted, live = [], [], []
        count = len(self.dev.pairs)
        for start in range(0, count, DEV_BATCH):
            batch = cast("Batch", self._prepare_inputs(dict(self.dev(range(start, min(start + DEV_BATCH, count))))))
            with self.compute_loss_context_manager():
                vectors = model(batch["parts"], batch["places"])
            live.append([value.cpu() for value in self.live.losses(batch["parts"])])
            got.append(_student(vectors.float().cpu(), batch))
            batch["targets"] = [target.cpu() for target in batch["targets"]]
            wanted.append(_targets(batch))
        model.train()
        batches = zip(got, wanted, live, strict=True)
        losses = [float(self.total_loss(*batch)) * len(batch[0].english) for batch in batches]
        english = torch.cat([half.english for half in got])
        other = torch.cat([half.other for half in got])
        evaluation = Evaluation(
            step=self.state.global_step,
            loss=sum(losses) / count,
            accuracy=bitext_accuracy(english, other, self.dev_languages),
            mean_cosine=mean_cosine(english),
        )
        first = [targets[0].english for targets in wanted if targets]
        return evaluation, mean_cosine(torch.cat(first)) if first else None

    def evaluate(self, *_args: object, **_kwargs: object) -> dict[str, float]:
        """Evaluation at the dev pairs; called by the Trainer at every evaluation step."""
        evaluation, target_mean_cosine = self.evaluate_dev()
        assert self.before is not None
        # With relations alone there are no vectors to compare with but those that it began with.
        check_health(
            self.stage.name,
            evaluation,
            self.before,
            self.before.mean_cosine if target_mean_cosine is None else target_mean_cosine,
        )
        metrics = {f"eval_{name}": value for name, value in evaluation.model_dump(exclude={"step"}).items()}
        metrics["eval_selection_score"] = evaluation.selection_score
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def _student(vectors: torch.Tensor, batch: Batch) -> PairVectors:
    return PairVectors(vectors[: batch["english"]], vectors[batch["english"] :])


def _targets(batch: Batch) -> list[PairVectors]:
    read, own = batch["english"], len(batch["places"])
    return [PairVectors(it[:read], it[read:own], it[own:] if len(it) > own else None) for it in batch["targets"]]


class _Watch(TrainerCallback):
    """Moves the bar, and marks a checkpoint once it is whole."""

    def __init__(self, advance: Advance) -> None:
        self.advance = advance
        self.note = ""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.advance(1, self.note)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / COMPLETE).touch()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        last = state.log_history[-1]
        self.note = f"dev loss {last['eval_loss']:.4f}, bitext {100 * last['eval_accuracy']:.1f} %"
        self.advance(0, self.note)


def train(model: SentenceTransformer, stage: Stage, context: StageContext, scratch: Path) -> list[dict[str, float]]:
    """Train ``model`` in place as the stage says; resume from what an earlier run left in ``scratch``.

    The checkpoint with the best selection score on the dev pairs is kept, which may be the start.

    Returns:
        What each look at the dev pairs found, the first before training.

    Raises:
        XlbenchError: Training diverged or collapsed, or a live encoder cuts sentences into other tokens.
    """
    training = stage.training
    assert training is not None
    corpus = context.corpus
    tokens = context.tokens(model, training.max_tokens)
    lengths = pair_lengths(corpus.pairs, tokens)
    batches = LengthBuckets(lengths, training.batch_size, training.steps, training.seed)
    wanted = [target for term in training.terms for target in term.targets()]
    read = None
    if any(target.side == "own" for target in wanted):
        read = np.union1d(sentences_read(corpus.pairs, batches, training.english_share), corpus.dev_pairs)
    targets: Mapping[Target, TargetTable] = {
        target: context.targets(target, training.max_tokens, read) for target in wanted
    }
    transformer = stock_encoder(model)
    padding = int(transformer.config.pad_token_id or 0)
    rows = embedding_table(transformer).num_embeddings
    # Up to the padding token all rows stay, since XLM-R tells positions by comparing ids with it.
    used = np.union1d(tokens.used(), np.arange(padding + 1))
    position_of = np.zeros(rows, dtype=np.int64)
    position_of[used] = np.arange(len(used))
    full = shrink_table(transformer, used)

    device = choose_device(context.settings)
    arguments = _arguments(training, context, scratch)
    # An accelerator wants large products, and a compiled graph is of a fixed number of parts.
    part_tokens = PART_TOKENS if device == "cpu" and not arguments.torch_compile else None

    def collator(pairs: np.ndarray, english_share: float) -> Collator:
        return Collator(pairs, tokens, position_of, padding, targets, part_tokens, english_share)

    dev_order = np.argsort(pair_lengths(corpus.dev_pairs, tokens), kind="stable")  # little padding in a look
    student = Student(model, training)
    start = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    with live_terms(stage, model, context, tokens, used, device) as live:
        trainer = StageTrainer(
            student=student,
            arguments=arguments,
            stage=stage,
            batches=batches,
            collator=collator(corpus.pairs, training.english_share),
            dev=collator(corpus.dev_pairs[dev_order], 1.0),
            dev_languages=corpus.dev_languages[dev_order],
            live=live,
        )
        _carry_out(trainer, transformer, context, scratch)
    assert trainer.before is not None
    best = trainer.state.best_metric
    if best is not None and trainer.before.selection_score <= best:
        model.load_state_dict(start)
    restore_table(transformer, full, used)
    model.to("cpu").eval()
    history = [
        {
            "step": row["step"],
            "loss": row["eval_loss"],
            "accuracy": row["eval_accuracy"],
            "mean_cosine": row["eval_mean_cosine"],
        }
        for row in trainer.state.log_history
        if "eval_selection_score" in row
    ]
    return [trainer.before.model_dump(), *history]


def _carry_out(trainer: StageTrainer, transformer: PreTrainedModel, context: StageContext, scratch: Path) -> None:
    """Train, from the last checkpoint if there is one."""
    resume = _last_complete(scratch)
    if resume is None:
        trainer.before, _ = trainer.evaluate_dev()
        write_atomically(scratch / BEFORE, trainer.before.model_dump_json())
    else:
        trainer.before = Evaluation.model_validate_json((scratch / BEFORE).read_text("utf-8"))
    done = int(resume.name.rpartition("-")[2]) if resume else 0
    name, steps = trainer.stage.name, trainer.args.max_steps
    with progress(f"stage {name}", steps, quiet=context.settings.quiet, done=done) as advance:
        trainer.add_callback(_Watch(advance))
        dtype = half_dtype(context.precision) or torch.float32
        products = nullcontext() if trainer.args.torch_compile else training_kernels(transformer, dtype)
        with quiet_transformers(), quick_attention(transformer, trainer.args.device), products:
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)


def _last_complete(scratch: Path) -> Path | None:
    """Return the newest checkpoint that was written whole; a half-written one is passed over."""
    if not (scratch / BEFORE).is_file():
        return None
    whole = [path.parent for path in scratch.glob(f"checkpoint-*/{COMPLETE}")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _compiled(training: Training, context: StageContext) -> bool:
    if training.live_terms:  # their hooks keep what layers compute, which is no part of a graph
        return False
    return explain_compile(choose_device(context.settings), context.precision, context.settings).value


def _arguments(training: Training, context: StageContext, scratch: Path) -> TrainingArguments:
    device = choose_device(context.settings)
    every = max(1, math.ceil(training.steps / training.evaluations))
    compiled = _compiled(training, context)
    if compiled:  # Accelerate's only door: lengths differ from batch to batch, and one graph should serve them all
        os.environ.setdefault("ACCELERATE_DYNAMO_USE_DYNAMIC", "true")
    with quiet_transformers():  # it remarks on older hardware
        arguments = TrainingArguments(
            output_dir=str(scratch),
            max_steps=training.steps,
            per_device_train_batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            warmup_steps=round(training.warmup * training.steps),
            lr_scheduler_type="linear",
            max_grad_norm=training.clip,
            optim="adamw_torch_fused",
            bf16=context.precision == "bfloat16",
            fp16=context.precision == "float16",  # with scaled gradients
            torch_compile=compiled,
            torch_compile_backend=COMPILER if compiled else None,  # a name alone would turn it on
            use_cpu=device == "cpu",
            seed=training.seed,
            eval_strategy="steps",
            eval_steps=every,
            save_strategy="steps",
            save_steps=every,
            save_total_limit=2,
            load_best_model_at_end=True,
            metric_for_best_model="eval_selection_score",
            greater_is_better=False,
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=device != "cpu",
        )
    # Of several GPUs one: DataParallel, which the Trainer would take, cuts through a batch's parts.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments
