"""What a board's plan is counted from: shapes of its encoders, lengths of its sentences, and this machine's rates."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xlbench.distill.engine import input_encoders
from xlbench.encoders.find import load_encoder
from xlbench.runs.estimate import CorpusLengths, Known, SuiteLengths
from xlbench.runs.session import Session, check_ready, prepare_process, speed_sample
from xlbench.scoring.tasks import evaluation_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sentence_transformers import SentenceTransformer

    from xlbench.boards.run import Found
    from xlbench.plugins.registry import Registry
    from xlbench.runs.estimate import Lengths
    from xlbench.runs.job import Job
    from xlbench.runs.probe import Pairs, Probed
    from xlbench.runs.rates import Rates
    from xlbench.settings import Settings
    from xlbench.students.shape import Shape

SAMPLE = 4096  # sentences of a suite whose tokens are counted
WORD_TOKENS = 1.5  # tokens of a word, where an encoder's tokens cannot be counted


@dataclass(frozen=True)
class Gathered:
    """What is known of a board, and what this machine is measured with.

    Attributes:
        known: Shapes and lengths.
        probed: The assistant and sentences of the suite.
        pairs: The corpus; None where nothing is trained.
        settings: Paths and switches.
    """

    known: Known
    probed: Probed
    pairs: Pairs | None
    settings: Settings

    def measure(self) -> Rates:
        """Measure this machine; the assistant can be used once.

        Raises:
            XlbenchError: The assistant cannot be trained, or the disk is full.
        """
        from xlbench.runs.probe import measure_rates

        return measure_rates(self.probed, self.pairs, self.settings)


def gather(
    found: Found, registry: Registry, settings: Settings, say: Callable[[str], None], *, trains: bool
) -> Gathered:
    """Load every encoder that a board names once, count tokens, and prepare the corpus if stages are trained.

    Args:
        found: The board.
        registry: What plugins provide.
        settings: Paths and switches.
        say: Told what became of the corpora's pairs.
        trains: Whether there are stages.

    Raises:
        XlbenchError: An encoder cannot be loaded, data is missing, or the store cannot be written.
    """
    from xlbench.runs.probe import Probed

    experiment = found.beside.experiment
    check_ready(experiment.kept_out, settings)
    prepare_process(settings)
    shapes, assistant, loaded = _load(found, registry, settings)
    texts = list(dict.fromkeys(evaluation_texts((experiment.suite,), settings)))
    sample, sentences = texts[:: max(1, len(texts) // SAMPLE)], speed_sample(experiment.suite, settings)
    suite = SuiteLengths(
        _count(assistant, sample), len(texts), _count(assistant, sentences), len(sentences) and settings.speed_rounds
    )
    pairs, corpus = None, None
    if trains:
        pairs = _pairs(found.beside, assistant, registry, settings, say)
        corpus = pairs.lengths
    shape = shapes[experiment.assistant.fingerprint]
    return Gathered(
        known=Known(shapes, suite, corpus, _tokenizer_bytes(assistant)),
        probed=Probed(assistant, shape, sentences, suite.speed, experiment.precision, experiment.suite, loaded),
        pairs=pairs,
        settings=settings,
    )


def _load(found: Found, registry: Registry, settings: Settings) -> tuple[dict[str, Shape], SentenceTransformer, float]:
    """Return the shapes of all input encoders by their fingerprints, the assistant, and the seconds of loading it."""
    from xlbench.students.surgery import encoder_shape

    assistant = found.beside.experiment.assistant
    wanted = {it.encoder.fingerprint: it.encoder for it in found.encoders}
    for job in (found.beside, *(job for run in found.runs for job in run.jobs)):
        session = Session(job.experiment, job.corpora, registry, settings)
        wanted |= {key: session.reference(name) for name, key in input_encoders(job.experiment).items()}
    wanted.pop(assistant.fingerprint)
    shapes = {key: encoder_shape(load_encoder(it, registry.encoders, settings)) for key, it in wanted.items()}
    began = time.perf_counter()
    model = load_encoder(assistant, registry.encoders, settings)
    seconds = time.perf_counter() - began
    return {**shapes, assistant.fingerprint: encoder_shape(model)}, model, seconds


def _pairs(
    job: Job, assistant: SentenceTransformer, registry: Registry, settings: Settings, say: Callable[[str], None]
) -> Pairs:
    """Return the corpus and its tokens, which the store keeps."""
    from xlbench.distill.context import StageContext
    from xlbench.runs.probe import Pairs

    experiment = job.experiment
    session = Session(experiment, job.corpora, registry, settings, say)
    corpus = session.corpus()
    tokens = StageContext(corpus, settings, experiment.precision, job.keys, session.load_input).tokens(assistant)
    lengths = CorpusLengths(tokens.lengths(), corpus.pairs, corpus.dev_pairs, len(tokens.used()))
    return Pairs(corpus, tokens, lengths)


def _count(model: SentenceTransformer, texts: Sequence[str]) -> Lengths:
    """Return the tokens of each sentence, int64 [sentences]."""
    from xlbench.encoders.pipeline import pipeline_of

    pipeline = pipeline_of(model)
    if pipeline.obstacle:
        return np.array([round(WORD_TOKENS * len(text.split())) for text in texts], np.int64)
    limit = pipeline.limit(None)
    rows = model.tokenizer(pipeline.texts(texts), truncation=limit is not None, max_length=limit)["input_ids"]
    return np.array([len(row) for row in rows], np.int64)


def _tokenizer_bytes(model: SentenceTransformer) -> int:
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    return len(backend.to_str().encode()) if backend is not None else 0
