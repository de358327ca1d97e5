"""Running live encoders beside a student, and reading the layers of both by forward hooks."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from xlbench.distill.live import Layer, LayerStates
from xlbench.encoders.encode import encoding_mode
from xlbench.encoders.runtime import computing_in
from xlbench.errors import XlbenchError
from xlbench.students.surgery import stock_encoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle
    from transformers import BertModel, XLMRobertaModel

    from xlbench.corpora.tokens import TokenTable
    from xlbench.distill.batches import Part
    from xlbench.distill.context import StageContext
    from xlbench.distill.live import LiveObjective
    from xlbench.distill.plan import Stage
    from xlbench.experiment import Precision

CHUNK = 1 << 22  # token ids compared at once


class Capture:
    """Keeps what chosen layers compute whenever an encoder runs, until it is taken.

    Layers that are looped are the same modules several times over; which run of one it is shows in the count.
    """

    def __init__(self, encoder: BertModel | XLMRobertaModel, numbers: Iterable[int]) -> None:
        executed = list(encoder.encoder.layer)
        self._wanted = {number: number if number > 0 else len(executed) + 1 + number for number in numbers}
        self._heads = int(encoder.config.num_attention_heads)
        self._runs: list[dict[int, LayerStates]] = []
        self._count = 0
        self._parts: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = [encoder.encoder.register_forward_pre_hook(self._begin)]
        for layer in dict.fromkeys(executed):
            for name in ("query", "key", "value"):
                linear = layer.get_submodule(f"attention.self.{name}")
                self._handles.append(linear.register_forward_hook(partial(self._keep, name)))
            self._handles.append(layer.register_forward_hook(self._end))

    def take(self) -> list[dict[int, LayerStates]]:
        """Return the layers of every run since the last call, by the numbers that were asked for, and forget them."""
        runs, self._runs = self._runs, []
        return runs

    def remove(self) -> None:
        """Leave the encoder as it was."""
        for handle in self._handles:
            handle.remove()

    def _begin(self, module: nn.Module, given: object) -> None:
        self._count = 0
        self._runs.append({})

    def _keep(self, name: str, module: nn.Module, given: object, made: Tensor) -> None:
        self._parts[name] = made

    def _end(self, module: nn.Module, given: object, made: Tensor) -> None:
        self._count += 1
        states = LayerStates(**self._parts, hidden=made, heads=self._heads)
        self._runs[-1] |= {number: states for number, place in self._wanted.items() if place == self._count}


@dataclass(frozen=True)
class LiveEncoder:
    """An encoder that runs beside the student.

    Attributes:
        model: In the state in which it encodes fastest.
        capture: Of its layers.
        ids: Its token id for each row of the student's shrunken word table, int64 [U].
        precision: What it computes in.
    """

    model: SentenceTransformer
    capture: Capture
    ids: Tensor
    precision: Precision

    def run(self, part: Part) -> dict[int, LayerStates]:
        """Return its layers for a part of a batch of the student's, without gradients."""
        with torch.no_grad(), computing_in(self.precision, self.model.device):
            stock_encoder(self.model)(input_ids=self.ids[part["input_ids"]], attention_mask=part["attention_mask"])
        (states,) = self.capture.take()
        return states


@dataclass(frozen=True)
class LiveTerms:
    """A stage's terms on the states of every token; without any, nothing runs and nothing is captured.

    Attributes:
        terms: The terms.
        student: Captures the student's layers; None without terms.
        encoders: By name.
    """

    terms: tuple[LiveObjective, ...] = ()
    student: Capture | None = None
    encoders: Mapping[str, LiveEncoder] = field(default_factory=dict)

    def losses(self, parts: list[Part]) -> list[Tensor]:
        """Return the value of each term over a batch, through whose parts the student has just run."""
        if self.student is None:
            return []
        tokens = torch.stack([part["attention_mask"].sum() for part in parts])
        values = [self._of_part(*both) for both in zip(parts, self.student.take(), strict=True)]
        return list((torch.stack(values) * (tokens / tokens.sum()).unsqueeze(1)).sum(0))

    def _of_part(self, part: Part, own: dict[int, LayerStates]) -> Tensor:
        states = {Layer(number=number): layer for number, layer in own.items()}
        for name, encoder in self.encoders.items():
            states |= {Layer(encoder=name, number=number): layer for number, layer in encoder.run(part).items()}
        mask = part["attention_mask"]
        with torch.autocast(mask.device.type, enabled=False):  # products of a few columns, then exponentials
            return torch.stack([term.loss(states, mask) for term in self.terms])


@contextmanager
def live_terms(
    stage: Stage, model: SentenceTransformer, context: StageContext, tokens: TokenTable, used: np.ndarray, device: str
) -> Iterator[LiveTerms]:
    """Load a stage's live encoders and hold them, and the student's hooks, until the stage has been trained.

    Args:
        stage: The stage.
        model: The student, its word table shrunken.
        context: Loads encoders.
        tokens: The corpus in the student's token ids.
        used: The student's token id for each row of its word table, int [U].
        device: Where the student is trained.

    Raises:
        XlbenchError: A encoder cuts the corpus's sentences into other tokens than the student.
    """
    training = stage.training
    assert training is not None
    terms = training.live_terms
    if not terms:
        yield LiveTerms()
        return
    layers = [layer for term in terms for layer in term.layers()]
    with ExitStack() as held:
        student = Capture(stock_encoder(model), [layer.number for layer in layers if layer.encoder is None])
        held.callback(student.remove)
        encoders: dict[str, LiveEncoder] = {}
        for name in dict.fromkeys(layer.encoder for layer in layers if layer.encoder is not None):
            encoder = context.load(name).to(device)
            ids = matching_ids(tokens, context.tokens(encoder, training.max_tokens), used)
            if ids is None:
                raise XlbenchError(
                    f"Stage '{stage.name}': '{name}' cuts sentences into other tokens than the student.",
                    "Token by token a student is compared with encoders of its own tokenizer only.",
                )
            ids[_padding(model)] = _padding(encoder)
            held.enter_context(encoding_mode(encoder, context.precision))
            capture = Capture(stock_encoder(encoder), [layer.number for layer in layers if layer.encoder == name])
            encoders[name] = LiveEncoder(encoder, capture, torch.from_numpy(ids).to(device), context.precision)
        yield LiveTerms(terms, student, encoders)


def _padding(model: SentenceTransformer) -> int:
    return int(stock_encoder(model).config.pad_token_id or 0)  # also its row in a shrunken table


def matching_ids(own: TokenTable, theirs: TokenTable, used: np.ndarray) -> np.ndarray | None:
    """Return which of another tokenizer's ids stands for each of our ``used`` ids, int64 [U].

    Ids differ where a vocabulary was trimmed. One that no sentence has gets 0.

    Args:
        own: A corpus in our token ids.
        theirs: The same corpus in another tokenizer's.
        used: Our ids, distinct; all that the corpus has, and perhaps more.

    Returns:
        None if a sentence is cut otherwise, or one of our ids stands for two of theirs.
    """
    if not np.array_equal(own.offsets, theirs.offsets):
        return None
    ids = np.zeros(int(used.max()) + 1, dtype=np.int64)
    starts = range(0, len(own.ids), CHUNK)
    for start in starts:
        ids[own.ids[start : start + CHUNK]] = theirs.ids[start : start + CHUNK]
    alike = all(
        np.array_equal(ids[own.ids[start : start + CHUNK]], theirs.ids[start : start + CHUNK]) for start in starts
    )
    return ids[used] if alike else None
