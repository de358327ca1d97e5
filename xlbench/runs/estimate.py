"""How much the tasks of a run compute and move, counted from shapes and lengths of sentences: nothing is run.

The shape of every encoder is known before it is made, of a trimmed vocabulary an upper bound. Sentences are counted in
tokens of the assistant, also where another encoder reads them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlbench.distill.check import check_plan
from xlbench.distill.edits import CENTRE_SAMPLE, Centre
from xlbench.distill.engine import input_encoders
from xlbench.distill.flops import encoding_work, training_work
from xlbench.distill.static import TokenVectors
from xlbench.exports.sentences import OF_A_LANGUAGE
from xlbench.runs.rates import Amounts
from xlbench.scoring.speed import SINGLES
from xlbench.students.shape import TRANSFORMERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from numpy.typing import NDArray

    from xlbench.distill.objectives import Level
    from xlbench.distill.plan import Edit, Stage, Training
    from xlbench.experiment import EncoderRef
    from xlbench.runs.graph import Graph
    from xlbench.runs.job import Job
    from xlbench.students.shape import Shape

    Lengths = NDArray[np.int64]

ITEM_BYTES = 16  # of a record's items, for each sentence of the suite
TOKEN = 3  # tokens of a sentence of one, with its special tokens


class CorpusLengths(NamedTuple):
    """A prepared corpus in numbers.

    Attributes:
        lengths: Tokens of each sentence, int64 [sentences].
        pairs: Ids of both sides of each training pair, int [n, 2].
        dev_pairs: Of each dev pair, int [m, 2].
        used: Distinct tokens of all sentences: the rows of an embedding table that are trained.
    """

    lengths: Lengths
    pairs: NDArray[np.integer]
    dev_pairs: NDArray[np.integer]
    used: int


class SuiteLengths(NamedTuple):
    """A suite in numbers.

    Attributes:
        sample: Tokens of some of its distinct sentences, int64 [n].
        sentences: How many distinct sentences it has.
        speed: Tokens of the sentences on which speed is measured, int64 [m].
        rounds: In which speed is measured; 0: it is not.
    """

    sample: Lengths
    sentences: int
    speed: Lengths
    rounds: int


@dataclass(frozen=True)
class Known:
    """What is known before anything is made.

    Attributes:
        shapes: Of the encoders that are there from the start, by their fingerprints.
        suite: What all encoders are scored on.
        corpus: What stages read; None where there are none.
        tokenizer_bytes: Saved beside the weights of every stage.
    """

    shapes: Mapping[str, Shape]
    suite: SuiteLengths
    corpus: CorpusLengths | None = None
    tokenizer_bytes: int = 0


class Estimate(NamedTuple):
    """What a task takes.

    Attributes:
        amounts: What it computes and moves.
        disk: Bytes that it leaves in the store.
        scratch: Bytes of its checkpoints while it runs.
    """

    amounts: Amounts
    disk: float = 0.0
    scratch: float = 0.0


class TargetNeed(NamedTuple):
    """Target vectors that a stage reads; what is equal is computed once.

    Attributes:
        encoder: Fingerprint of the encoder.
        side: Of which sentences: all English ones, or those that the stage reads.
        level: Of the vectors.
        max_tokens: Longest sentence.
        batches: Of own sides, what decides which sentences are read: pairs in a batch, batches, seed, English share.
    """

    encoder: str
    side: str
    level: Level
    max_tokens: int
    batches: tuple[float, ...] = ()


def estimate(
    graph: Graph,
    jobs: Sequence[Job],
    known: Known,
    *,
    encoders: Sequence[EncoderRef] = (),
    made: Set[TargetNeed] = frozenset(),
) -> dict[str, Estimate]:
    """Return what the tasks of a graph take, by their ids.

    Targets are counted with the first stage that reads them.

    Args:
        graph: The tasks.
        jobs: Those that the graph was made from.
        known: Shapes and lengths.
        encoders: Those that are scored as they are.
        made: Targets that the store has.

    Raises:
        XlbenchError: A plan is not valid.
    """
    there = set(made)
    job_of = [next(job for job in jobs if job.request == request) for request in graph.requests]
    shapes_of = cache(lambda number: job_shapes(job_of[number], known))
    found: dict[str, Estimate] = {}
    for task, unit in graph.units.items():
        job = job_of[unit.request]
        if unit.does == "encoder":  # nothing is cut, and the plan beside it need not fit its assistant
            key = next(it.fingerprint for it in encoders if it.name == unit.part)
            assistant = known.shapes[job.experiment.assistant.fingerprint]
            found[task] = _scoring(known.shapes[key], assistant, known, stored=False)
            continue
        shapes = shapes_of(unit.request)
        if unit.does == "stage":
            stage = job.plan.stage(unit.part)
            assert stage is not None
            found[task] = _stage(stage, job, shapes, known, there)
        elif unit.does == "row":
            row = next(row for row in job.rows if task.endswith(f"/{row.key}"))
            stored = job.plan.stage(row.encoder) is not None
            found[task] = _scoring(shapes[row.encoder], shapes["assistant"], known, stored=stored)
        else:
            found[task] = _export(job, shapes, known)
    return found


def job_shapes(job: Job, known: Known) -> dict[str, Shape]:
    """Return the shape of every encoder of a job's plan, by its name there.

    Raises:
        XlbenchError: The plan is not valid.
    """
    shapes = {name: known.shapes[key] for name, key in input_encoders(job.experiment).items()}
    return check_plan(job.plan, shapes, {name: shape.width for name, shape in shapes.items()})


def target_needs(stage: Stage, job: Job) -> dict[TargetNeed, str]:
    """Return the targets that a stage reads, each once, with the name of the encoder that gives them."""
    training = stage.training
    needs: dict[TargetNeed, str] = {}
    if training is None:
        return needs
    read = (training.batch_size, training.steps, training.seed, training.english_share)
    blended = {blend.name: blend.inputs() for blend in job.plan.blends}  # combined of what each encoder gives
    for target in (it for term in training.terms for it in term.targets()):
        batches = read if target.side == "own" else ()
        for encoder in blended.get(target.encoder, (target.encoder,)):
            need = TargetNeed(job.keys[encoder], target.side, target.level, training.max_tokens, batches)
            needs.setdefault(need, encoder)
    return needs


def forward_operations(shape: Shape, lengths: Lengths, level: Level = "sentence") -> float:
    """Return the operations of encoding sentences of these lengths.

    Of an encoder that is no BERT or XLM-R only the number of its parameters is known: two operations for each and every
    token (Kaplan et al., 2020), those of the embedding table left out. A static one takes none.
    """
    if shape.architecture in TRANSFORMERS:
        return encoding_work(_at(shape, level), lengths).forward
    return 2.0 * max(0, shape.parameters - shape.vocabulary * shape.hidden) * float(lengths.sum())


def step_operations(shape: Shape, training: Training, corpus: CorpusLengths) -> float:
    """Return the operations of all steps of a training."""
    lengths = np.minimum(corpus.lengths, training.max_tokens)
    passes = training.steps * training.batch_size / len(corpus.pairs)
    english, other = (
        training_work(_at(shape, training.level), lengths[corpus.pairs[:, side]], training.trainable).total
        for side in (0, 1)
    )
    return passes * (training.english_share * english + other)


def trained_parameters(shape: Shape, training: Training, used: int) -> int:
    """Return how many parameters a step changes, where the embedding table has ``used`` rows."""
    small = with_rows(shape, used)
    if training.trainable == "embeddings":
        return small.embedding_parameters
    if training.trainable == "all":
        return small.embedding_parameters + small.encoder_parameters + small.head
    return (small.positions + small.types + 2) * small.hidden + small.encoder_parameters + small.head


def with_rows(shape: Shape, used: int) -> Shape:
    """Return the shape with at most ``used`` tokens, as training has it."""
    rows = min(shape.vocabulary, used)
    return shape.model_copy(update={"vocabulary": rows, "frequent": min(shape.frequent, rows)})


def weight_bytes(shape: Shape) -> float:
    """Return the bytes of its saved weights."""
    return shape.parameters * shape.bits / 8


def _at(shape: Shape, level: Level) -> Shape:
    return shape if level == "sentence" else shape.model_copy(update={"layers": 0})


def _stage(stage: Stage, job: Job, shapes: Mapping[str, Shape], known: Known, there: set[TargetNeed]) -> Estimate:
    """Return what a stage takes, and add the targets that it computes to those that are there."""
    corpus = known.corpus
    assert corpus is not None
    start, shape = shapes[stage.start], shapes[stage.name]
    disk = weight_bytes(shape) + known.tokenizer_bytes
    amounts = Amounts(moved=disk) + _reading(stage.start, job, shapes)
    for edit in stage.edits:
        amounts += _edit(edit, start, corpus)
    if start.bottleneck is None and shape.bottleneck is not None:
        # The moments of the table's rows, and the rows' coordinates.
        amounts += Amounts(fitted=2.0 * start.vocabulary * start.hidden * (start.hidden + shape.bottleneck))
    if stage.training is None:
        return Estimate(amounts, disk)
    amounts += _training(stage.training, shape, job, shapes, corpus)
    for need, encoder in target_needs(stage, job).items():
        if need not in there:
            there.add(need)
            ids = _target_ids(need, corpus)
            lengths = np.minimum(corpus.lengths[ids], need.max_tokens)
            given = shapes[encoder]
            size = 2.0 * len(ids) * (given.width if need.level == "sentence" else given.hidden)  # float16
            encoded = forward_operations(given, lengths, need.level)
            amounts += Amounts(encoded=encoded, moved=size) + _reading(encoder, job, shapes)
            disk += size
    # The weights and two moments of each, in two checkpoints.
    return Estimate(amounts, disk, 6 * 4.0 * with_rows(shape, corpus.used).parameters)


def _training(
    training: Training, shape: Shape, job: Job, shapes: Mapping[str, Shape], corpus: CorpusLengths
) -> Amounts:
    lengths = np.minimum(corpus.lengths, training.max_tokens)
    every = max(1, math.ceil(training.steps / training.evaluations))
    times = math.ceil(training.steps / every)
    dev = lengths[corpus.dev_pairs.reshape(-1)]
    evaluated = (times + 1) * forward_operations(_at(shape, training.level), dev)
    amounts = Amounts(
        trained=step_operations(shape, training, corpus),
        updated=float(training.steps * trained_parameters(shape, training, corpus.used)),
        checkpointed=float(times * with_rows(shape, corpus.used).parameters),
    )
    # Encoders that run beside the student read what it reads.
    live = {layer.encoder for term in training.live_terms for layer in term.layers() if layer.encoder}
    for encoder in live:
        passes = training.steps * training.batch_size / len(corpus.pairs)
        sides = [forward_operations(shapes[encoder], lengths[corpus.pairs[:, side]]) for side in (0, 1)]
        evaluated += passes * (training.english_share * sides[0] + sides[1])
        evaluated += (times + 1) * forward_operations(shapes[encoder], dev)
        amounts += _reading(encoder, job, shapes)
    return amounts + Amounts(evaluated=evaluated)


def _reading(encoder: str, job: Job, shapes: Mapping[str, Shape]) -> Amounts:
    """Return what loading an encoder takes; those of stages are verified."""
    moved = weight_bytes(shapes[encoder]) if job.plan.stage(encoder) is not None else 0.0
    return Amounts(loaded=1, moved=moved)


def _edit(edit: Edit, shape: Shape, corpus: CorpusLengths) -> Amounts:
    """Return what an edit encodes."""
    if isinstance(edit, Centre):
        english = np.unique(corpus.pairs[:, 0])
        spaced = np.linspace(0, len(english) - 1, min(CENTRE_SAMPLE, len(english))).astype(int)
        return Amounts(encoded=forward_operations(shape, corpus.lengths[english[spaced]]))
    if isinstance(edit, TokenVectors) and edit.depth == "encoder":
        return Amounts(encoded=forward_operations(shape, np.full(shape.vocabulary, TOKEN)))
    return Amounts()


def _target_ids(need: TargetNeed, corpus: CorpusLengths) -> NDArray[np.integer]:
    """Return the ids of the sentences whose vectors are computed."""
    if need.side == "english":
        return np.union1d(corpus.pairs[:, 0], corpus.dev_pairs[:, 0])
    from xlbench.distill.batches import LengthBuckets, sentences_read

    size, steps, seed, english_share = need.batches
    longer = np.minimum(corpus.lengths, need.max_tokens)[corpus.pairs].max(axis=1)
    batches = LengthBuckets(longer, int(size), int(steps), int(seed))
    return np.union1d(sentences_read(np.asarray(corpus.pairs), batches, english_share), corpus.dev_pairs)


def _scoring(shape: Shape, assistant: Shape, known: Known, *, stored: bool) -> Estimate:
    suite = known.suite
    share = suite.sentences / max(1, len(suite.sample))
    encoded = share * forward_operations(shape, suite.sample)
    moved, loaded, singles = weight_bytes(shape) if stored else 0.0, 1, 0.0
    if suite.rounds:  # the encoder and the assistant take turns, once to warm up
        both = forward_operations(shape, suite.speed) + forward_operations(assistant, suite.speed)
        encoded += (suite.rounds + 1) * both
        alone = min(SINGLES, len(suite.speed))
        singles = float(suite.rounds * alone * (shape.executed_layers + assistant.executed_layers))
        loaded += 1
    amounts = Amounts(encoded=encoded, moved=moved, loaded=loaded, singles=singles, scored=suite.sentences)
    return Estimate(amounts, float(ITEM_BYTES * suite.sentences))


def _export(job: Job, shapes: Mapping[str, Shape], known: Known) -> Estimate:
    """Return what an export takes: as long as torch for the same sentences, and the comparison with the student."""
    shape = shapes[job.plan.result]
    scoring = _scoring(shape, shapes["assistant"], known, stored=True)
    compared = OF_A_LANGUAGE * (1 + len(job.experiment.data.languages))
    mean = known.suite.sample.mean() if len(known.suite.sample) else 0.0
    encoded = 2 * forward_operations(shape, np.full(compared, round(mean)))
    return Estimate(scoring.amounts + Amounts(encoded=encoded, loaded=1, moved=weight_bytes(shape)), scoring.disk)
