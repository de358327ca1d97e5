"""Targets: computed once, exact, for no more sentences than a stage reads, and resumed after an interruption."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from xlbench.api import Centre, Target
from xlbench.distill.batches import LengthBuckets, pair_lengths
from xlbench.distill.context import StageContext
from xlbench.distill.objectives import PullToTarget
from xlbench.distill.plan import Stage, Training
from xlbench.distill.training import train_stage
from xlbench.encoders.pipeline import with_modules
from xlbench.errors import XlbenchError
from xlbench.store import entries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

OWN = Target(encoder="toy", side="own")


def test_targets_are_computed_once_and_give_the_encoders_own_vectors(context: StageContext) -> None:
    table = context.targets(OWN)
    ids = np.array([5, 0, 9])
    expected = context.load("toy").encode([context.corpus.sentences[int(index)] for index in ids])
    # The vectors are stored as float16, which has 11 bits of mantissa, and their values are below one.
    np.testing.assert_allclose(table.take(ids).numpy(), expected, atol=2**-11)

    def fail(_: str) -> object:
        pytest.fail("computed again")

    again = StageContext(context.corpus, context.settings, "float32", {"toy": "k"}, fail)  # type: ignore[arg-type]
    assert again.targets(OWN).dimension == 16


def test_english_targets_are_computed_for_english_sentences_only(context: StageContext) -> None:
    table = context.targets(Target(encoder="toy", side="english"))
    english = set(context.corpus.english_ids()) | set(np.asarray(context.corpus.dev_pairs[:, 0]))
    assert len(table.vectors) == len(english)
    assert (table.row_of >= 0).sum() == len(english)


def test_interrupted_targets_resume_at_the_last_chunk(context: StageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    from xlbench.distill import targets
    from xlbench.encoders import encode as encoding

    monkeypatch.setattr(targets, "CHUNK", 50)
    real, done = encoding.encode, []

    def interrupted(model: object, texts: list[str], **settings: object) -> np.ndarray:
        if len(texts) > 1:
            done.append(len(texts))
            if len(done) == 3:
                raise KeyboardInterrupt
        return real(model, texts, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(encoding, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        context.targets(OWN)
    table = context.targets(OWN)
    total = len(context.corpus.sentences)
    assert sum(done) == total + 50  # the interrupted chunk of 50 was started twice
    ids = np.arange(total)
    texts = [context.corpus.sentences[int(index)] for index in ids]
    np.testing.assert_allclose(table.take(ids).numpy(), context.load("toy").encode(texts), atol=2**-11)


@pytest.mark.parametrize(
    ("damage", "lost"),
    [("rows-done", 100), ("chunk 0", 100), ("chunk 1", 50), ("header", 100), ("missing", 100), ("longer", 100)],
)
def test_what_an_interrupted_run_left_damaged_is_computed_again(
    context: StageContext, monkeypatch: pytest.MonkeyPatch, damage: str, lost: int
) -> None:
    from xlbench.distill import targets
    from xlbench.encoders import encode as encoding

    monkeypatch.setattr(targets, "CHUNK", 50)
    real, done = encoding.encode, []

    def interrupted(model: object, texts: list[str], **settings: object) -> np.ndarray:
        if len(texts) > 1:
            done.append(len(texts))
            if len(done) == 3:
                raise KeyboardInterrupt
        return real(model, texts, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(encoding, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        context.targets(OWN)
    (partial,) = (context.settings.home / "partial").glob("targets-*")
    state, vectors = partial / "scratch" / "rows-done", partial / "vectors.npy"
    content = bytearray(vectors.read_bytes())
    # 128 bytes of header, then 50 rows of 16 numbers of 2 bytes in each chunk.
    place = {"header": 20, "chunk 0": 128 + 7, "chunk 1": 128 + 50 * 16 * 2 + 7}.get(damage)
    if place is not None:
        content[place] ^= 1
        vectors.write_bytes(content)
    elif damage == "missing":
        vectors.unlink()
    else:  # no JSON; or more rows than were computed, which would be zeros
        text = state.read_text("utf-8")
        state.write_text("100" if damage == "rows-done" else text.replace('"chunks": [', '"chunks": ["0",'), "utf-8")
    table = context.targets(OWN)
    total = len(context.corpus.sentences)
    assert sum(done) == total + 50 + lost  # the interrupted chunk was started twice, and what was lost again
    texts = [context.corpus.sentences[index] for index in range(total)]
    np.testing.assert_allclose(table.take(np.arange(total)).numpy(), context.load("toy").encode(texts), atol=2**-11)


def test_own_targets_are_computed_for_the_sentences_that_a_stage_reads(context: StageContext, tmp_path: Path) -> None:
    training = Training(
        objectives=(PullToTarget(target=OWN),), pairs=24, seed=3, batch_size=8, english_share=0.25, evaluations=1
    )
    train_stage(context.load("toy"), Stage("little", "toy", (), training), context, tmp_path)
    corpus = context.corpus
    lengths = pair_lengths(corpus.pairs, context.tokens(context.load("toy")))
    batches = list(LengthBuckets(lengths, 8, 3, seed=3))
    # Of 8 pairs sorted by length, the English sides of the shortest and of the longest are read.
    read = {int(corpus.pairs[pair, 1]) for batch in batches for pair in batch}
    read |= {int(corpus.pairs[batch[place], 0]) for batch in batches for place in (0, 7)}
    read |= {int(sentence) for sentence in np.ravel(corpus.dev_pairs)}
    (manifest,) = [it for it in entries(context.settings.home) if it.kind == "targets"]
    assert manifest.facts["sentences"] == len(read) < len(corpus.sentences)
    assert context.targets_used == [manifest.key]

    table = context.targets(OWN, 128, np.array(sorted(read)))
    assert context.targets_used == [manifest.key, manifest.key]
    ids = np.array(sorted(read))[::5]
    expected = context.load("toy").encode([corpus.sentences[int(index)] for index in ids])
    np.testing.assert_allclose(table.take(ids).numpy(), expected, atol=2**-11)
    unread = np.array(sorted(set(range(len(corpus.sentences))) - read))
    with pytest.raises(XlbenchError, match=f"hold no vector of sentence {unread[0]}"):
        table.take(unread)


def changed(context: StageContext, change: Callable[[torch.Tensor], torch.Tensor]) -> StageContext:
    """The context with an encoder whose vectors are changed, called as the user called it."""

    class Change(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return features | {"sentence_embedding": change(features["sentence_embedding"])}

    def load(_: str) -> SentenceTransformer:
        return with_modules(context.load("toy"), [*context.load("toy"), Change()])

    return replace(context, keys={"teacher": "k"}, names={"teacher": "my/teacher"}, load=load)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda vectors: vectors * torch.nan, r"The teacher 'my/teacher' gives vectors that are not finite \(NaN"),
        (lambda vectors: vectors / 0, "not finite"),
        (lambda vectors: vectors * 1e6, "beyond 65504"),
        (torch.ones_like, "The teacher 'my/teacher' gives every sentence the same vector"),
        (torch.zeros_like, "gives every sentence a vector of zeros"),
    ],
)
def test_useless_targets_name_the_teacher_and_are_not_kept(
    context: StageContext, change: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    teacher = changed(context, change)
    for _ in range(2):  # the second time, too: nothing was kept of the first
        with pytest.raises(XlbenchError, match=message):
            teacher.targets(Target(encoder="teacher", side="english"))
    assert [it for it in entries(context.settings.home) if it.kind == "targets"] == []


def test_a_teacher_without_use_cannot_be_centred(context: StageContext) -> None:
    for change, message in ((lambda it: it * torch.nan, "not finite"), (torch.ones_like, "the same vector")):
        teacher = replace(changed(context, change), start="teacher 'my/teacher'")
        with pytest.raises(XlbenchError, match=f"The teacher 'my/teacher' .*{message}"):
            Centre().apply(teacher.load("teacher"), teacher)
