"""Gradient training of one stage: data, targets and arguments for the trainer, checkpoints, and the best result."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from transformers import PreTrainedModel, TrainerCallback

from xlbench.distill.arguments import training_arguments
from xlbench.distill.batches import (
    WHOLE,
    Collator,
    LengthBuckets,
    Share,
    pair_lengths,
    pairs_to_train_on,
    sentences_read,
)
from xlbench.distill.capture import live_terms
from xlbench.distill.checkpoints import Checkpoint, beside, last_usable_checkpoint, mark_complete, step_of
from xlbench.distill.ranks import Call, together
from xlbench.distill.reporting import tracker_variables
from xlbench.distill.student import Student
from xlbench.distill.trainer import StageTrainer
from xlbench.encoders.directories import quiet_transformers
from xlbench.encoders.encode import encode, pad
from xlbench.encoders.linear import training_kernels
from xlbench.encoders.modules import quick_attention
from xlbench.encoders.runtime import choose_device, half_dtype
from xlbench.encoders.unknown import METADATA, SAMPLE, unknown_shares
from xlbench.errors import XlbenchError
from xlbench.progress import Advance, note, progress
from xlbench.students.load import save_student
from xlbench.students.surgery import table_owner
from xlbench.students.token_embeddings import embedding_table, padding_id, restore_table, shrink_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sentence_transformers import SentenceTransformer
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from xlbench.corpora.tokens import TokenTable
    from xlbench.distill.context import StageContext
    from xlbench.distill.health import Evaluation
    from xlbench.distill.objectives import Target
    from xlbench.distill.plan import Stage, Training
    from xlbench.distill.ranks import Ranks
    from xlbench.distill.targets import TargetTable
    from xlbench.students.token_embeddings import TableOwner

TRIED = 4  # dev pairs whose vectors are compared before training
ROUNDING = 1e-2  # of their length: how far they may be apart; the same sums in another order differ by a millionth
PART_TOKENS = 2048  # padded tokens per forward pass on a CPU; of 512 to 4096 the fastest, by a few per cent


def train_stage(
    model: SentenceTransformer, stage: Stage, context: StageContext, scratch: Path, call: Call | None = None
) -> list[dict[str, float]]:
    """Train an encoder as its stage says, resuming from what an earlier run left in ``scratch``.

    Afterwards the encoder has the weights of the checkpoint with the best selection score on the dev pairs, which may
    be those before training.

    Args:
        model: Changed in place; on the CPU in the end.
        stage: A stage with training.
        context: The corpus, settings, and the encoders that the stage reads.
        scratch: An existing directory for checkpoints, which belongs to this stage alone.
        call: How the first of several processes called this one to train with it; None in the first.

    Returns:
        The evaluations on the dev pairs as dicts with ``step``, ``loss``, ``accuracy`` and ``mean_cosine``; the first
        one is from before training.

    Raises:
        FailedTrainingError: Training diverged or collapsed.
        XlbenchError: A live encoder splits sentences into other tokens than the student; or the student's vectors in
            training would not be those that it is scored with.
    """
    training = stage.training
    assert training is not None
    corpus = context.corpus
    ranks = together()
    start = scratch.with_name("start")
    if ranks is not None and call is None:
        ranks.refuse_small(stage.name, training.batch_size)
        shutil.rmtree(start, ignore_errors=True)
        save_student(model, start)
    tokens = context.tokens(model, training.max_tokens)
    if call is None and (shares := unknown_shares(model, _by_language(context))):
        context.annotate(METADATA, dict(shares))
    pairs = pairs_to_train_on(corpus, training)
    batches = LengthBuckets(pair_lengths(pairs, tokens), training.batch_size, training.steps, training.seed)
    targets = _load_targets(training, context, pairs, batches)

    owner = table_owner(model)
    trial = _Trial.of(model, context, training) if call is None else None
    static = isinstance(owner, StaticEmbedding)
    padding = padding_id(owner)
    # All ids up to the padding token's stay, because XLM-R finds the position of a token by comparing ids with it.
    used = np.union1d(tokens.used(), np.arange(padding + 1))
    position_of = np.zeros(embedding_table(owner).num_embeddings, dtype=np.int64)
    position_of[used] = np.arange(len(used))
    full_table = shrink_table(owner, used)

    device = choose_device(context.settings)
    arguments = training_arguments(stage, training, context, scratch, static=static)
    # Other devices are faster with one large forward pass, and a compiled graph has a fixed number of parts.
    part_tokens = PART_TOKENS if device == "cpu" and not static and not arguments.torch_compile else None
    share = Share(ranks.launch.rank, ranks.launch.processes) if ranks else WHOLE

    def collator(pairs: np.ndarray, english_share: float, share: Share) -> Collator:
        return Collator(pairs, tokens, position_of, padding, targets, part_tokens, english_share, share)

    by_length = np.argsort(pair_lengths(corpus.dev_pairs, tokens), kind="stable")  # so that little is padded
    student = Student(model, training)
    if trial is not None:
        trial.compare(student, tokens, position_of, padding, stage.name)
    initial_weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    with (
        live_terms(stage, model, context, tokens, used, device) as live,
        tracker_variables(context.settings, context.group, stage.name),
    ):
        found = call.found() if call is not None else _checkpoint_for_all(stage, context, start, scratch)
        trainer = StageTrainer(
            student=student,
            arguments=arguments,
            stage=stage,
            batches=batches,
            collator=collator(pairs, training.english_share, share),
            dev=collator(corpus.dev_pairs[by_length], 1.0, WHOLE),
            dev_languages=corpus.dev_languages[by_length],
            live=live,
            ranks=ranks,
        )
        _train_or_resume(trainer, owner, context, found)
    evaluations = trainer.evaluations()
    best = trainer.state.best_metric
    if best is not None and evaluations[0].selection_score <= best:
        model.load_state_dict(initial_weights)
    restore_table(owner, full_table, used)
    model.to("cpu").eval()
    return [evaluation.model_dump() for evaluation in evaluations]


def _checkpoint_for_all(stage: Stage, context: StageContext, start: Path, scratch: Path) -> Checkpoint | None:
    """Return the checkpoint to go on from, if there is one; of several processes the others are called to train."""
    title, quiet = _title(stage, context), context.settings.quiet
    found = last_usable_checkpoint(scratch, lambda text: note(f"{title}: {text}", quiet=quiet))
    if (ranks := together()) is not None:  # all that the training reads is in the store now
        ranks.call(Call.of(stage.name, context.keys[stage.name], start, scratch, found))
    return found


def _title(stage: Stage, context: StageContext) -> str:
    return f"stage {stage.name} ({context.place})" if context.place else f"stage {stage.name}"


@dataclass(frozen=True)
class _Trial:
    """A few sentences and what the encoder makes of them where it is scored; training must begin from the same.

    Attributes:
        ids: Sentence ids, the shortest and longest of some dev pairs among them.
        vectors: float32 [sentences, dimension].
    """

    ids: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, model: SentenceTransformer, context: StageContext, training: Training) -> _Trial:
        ids = np.unique(np.asarray(context.corpus.dev_pairs[:TRIED]))
        texts = [context.corpus.sentences[int(row)] for row in ids]
        return cls(ids, encode(model, texts, level=training.level, max_tokens=training.max_tokens))

    @torch.no_grad()
    def compare(self, student: Student, tokens: TokenTable, position_of: np.ndarray, padding: int, stage: str) -> None:
        """Refuse a student whose vectors in training are not those that it is scored and used with.

        Raises:
            XlbenchError: They differ by more than rounding.
        """
        training = student.training
        student.eval()
        device = student.model.device
        ids, mask = pad([position_of[tokens.row(int(row))] for row in self.ids], padding)
        vectors = student.encode(ids.to(device), mask.to(device)).float().cpu().numpy()
        student.train(training)
        apart = np.linalg.norm(vectors - self.vectors) / max(1e-12, float(np.linalg.norm(self.vectors)))
        if vectors.shape != self.vectors.shape or not apart < ROUNDING:
            raise XlbenchError(
                f"Stage '{stage}' would train other vectors than those that the encoder is scored with: a module of it"
                " reads more than token ids and mask.",
                "Choose an assistant of a transformer, pooling and what follows from the pooled vector alone.",
            )


def _by_language(context: StageContext) -> dict[str, list[str]]:
    """Return some training sentences of each language, of the English sides too."""
    corpus = context.corpus
    found = {"en": context.english_sample(SAMPLE)}
    for number, language in enumerate(corpus.facts.languages):
        rows = np.flatnonzero(corpus.languages == number)
        rows = rows[:: max(1, len(rows) // SAMPLE)]
        found[language] = [corpus.sentences[int(corpus.pairs[row, 1])] for row in rows]
    return found


def _load_targets(
    training: Training, context: StageContext, pairs: np.ndarray, batches: LengthBuckets
) -> Mapping[Target, TargetTable]:
    """Return the vectors of every target of the stage's objectives, those of own sides for the sentences it reads."""
    wanted = [target for term in training.terms for target in term.targets()]
    own = any(target.side == "own" for target in wanted)
    read = sentences_read(pairs, batches, training.english_share) if own else None
    sentences = None if read is None else np.union1d(read, context.corpus.dev_pairs)
    return {target: context.targets(target, training.max_tokens, sentences) for target in wanted}


def _train_or_resume(trainer: StageTrainer, owner: TableOwner, context: StageContext, found: Checkpoint | None) -> None:
    """Train from a checkpoint, or from the start if there is none."""
    ranks, title, quiet = trainer.ranks, _title(trainer.stage, context), context.settings.quiet
    checkpoint = found.path if found else None
    trainer.initial = found.initial if found else trainer.evaluate_dev()[0]
    trainer.add_callback(_MarkCheckpoints(trainer.initial, trainer.ranks))
    size = trainer.args.per_device_train_batch_size
    pairs, done = trainer.args.max_steps * size, step_of(checkpoint) * size if checkpoint else 0
    with progress(title, pairs, quiet=quiet, done=done, unit="pairs", step=size) as advance:
        advance(0, _said(trainer.initial.loss, trainer.initial.accuracy))
        trainer.add_callback(_ShowProgress(advance))
        with quiet_transformers(), ExitStack() as kernels:
            if isinstance(owner, PreTrainedModel):
                kernels.enter_context(quick_attention(owner, trainer.args.device))
                if not trainer.args.torch_compile:
                    kernels.enter_context(training_kernels(owner, half_dtype(context.precision) or torch.float32))
            if ranks is not None:
                torch.manual_seed(trainer.args.seed + ranks.launch.rank)  # dropout is not to repeat in every process
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            if ranks is not None:
                ranks.barrier()  # the first process deletes the checkpoints when it is done


class _MarkCheckpoints(TrainerCallback):
    """Marks every checkpoint as complete once it has been written, by every process what is its own.

    Of a training that goes on it says where the best checkpoint so far lies now.
    """

    def __init__(self, initial: Evaluation, ranks: Ranks | None) -> None:
        self.initial = initial
        self.ranks = ranks

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.best_model_checkpoint is not None:  # of a training that was begun in another directory
            state.best_model_checkpoint = str(beside(Path(str(args.output_dir)) / "any", state.best_model_checkpoint))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if self.ranks is not None:
            self.ranks.barrier()
        if state.is_world_process_zero:
            mark_complete(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}", self.initial)


class _ShowProgress(TrainerCallback):
    """Advances the progress bar at every step, and shows the last evaluation beside it."""

    def __init__(self, advance: Advance) -> None:
        self.advance = advance
        self.note = ""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.advance(args.per_device_train_batch_size, self.note)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        last = state.log_history[-1]
        self.note = _said(last["eval_loss"], last["eval_accuracy"])
        self.advance(0, self.note)


def _said(loss: float, accuracy: float) -> str:
    return f"dev loss {loss:.4f}, bitext {100 * accuracy:.1f} %"
