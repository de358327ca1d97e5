"""Reading the layers of encoders by forward hooks, and running live encoders beside a student.

The terms that compare the layers are in :mod:`xlbench.distill.live`.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from xlbench.distill.live import Layer, LayerStates
from xlbench.distill.objectives import checked_loss
from xlbench.encoders.encode import encoding_mode
from xlbench.encoders.runtime import computing_in
from xlbench.errors import XlbenchError
from xlbench.students.surgery import stock_encoder
from xlbench.students.token_embeddings import padding_id

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

CHUNK = 1 << 22  # token ids compared at once, which bounds the memory of copies


class Capture:
    """Stores what chosen layers compute whenever an encoder runs, until :meth:`take` is called.

    A looped layer is one module that runs several times, so layers are told apart by counting the layers that have run.

    Args:
        encoder: The encoder, to which hooks are added.
        numbers: The layers to store, from 1 at the bottom or from -1 at the top, of those that run.
    """

    def __init__(self, encoder: BertModel | XLMRobertaModel, numbers: Iterable[int]) -> None:
        executed = list(encoder.encoder.layer)
        self._wanted = {number: number if number > 0 else len(executed) + 1 + number for number in numbers}
        self._heads = int(encoder.config.num_attention_heads)
        self._runs: list[dict[int, LayerStates]] = []
        self._count = 0
        self._parts: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = [encoder.encoder.register_forward_pre_hook(self._start_run)]
        for layer in dict.fromkeys(executed):
            for name in ("query", "key", "value"):
                linear = layer.get_submodule(f"attention.self.{name}")
                self._handles.append(linear.register_forward_hook(partial(self._store_part, name)))
            self._handles.append(layer.register_forward_hook(self._store_layer))

    def take(self) -> list[dict[int, LayerStates]]:
        """Return the stored layers of every run since the last call, by their numbers, and clear them."""
        runs, self._runs = self._runs, []
        return runs

    def remove(self) -> None:
        """Remove the hooks from the encoder."""
        for handle in self._handles:
            handle.remove()

    def _start_run(self, module: nn.Module, inputs: object) -> None:
        self._count = 0
        self._runs.append({})

    def _store_part(self, name: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        self._parts[name] = output

    def _store_layer(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self._count += 1
        states = LayerStates(**self._parts, hidden=output, heads=self._heads)
        self._runs[-1] |= {number: states for number, position in self._wanted.items() if position == self._count}


@dataclass(frozen=True)
class LiveEncoder:
    """An encoder that runs beside the student.

    Attributes:
        model: The encoder, prepared for fast encoding.
        capture: Stores its layers.
        ids: The encoder's token id for each row of the student's shrunken embedding table, int64 [U].
        precision: Number type that it computes in.
    """

    model: SentenceTransformer
    capture: Capture
    ids: Tensor
    precision: Precision

    def run(self, part: Part) -> dict[int, LayerStates]:
        """Return its layers for a part of a batch, whose token ids are the student's, without gradients."""
        with torch.no_grad(), computing_in(self.precision, self.model.device):
            stock_encoder(self.model)(input_ids=self.ids[part["input_ids"]], attention_mask=part["attention_mask"])
        (states,) = self.capture.take()
        return states


@dataclass(frozen=True)
class LiveTerms:
    """A stage's terms on the states of every token, with the encoders that they need.

    Attributes:
        terms: The terms; empty for most stages.
        student: Stores the student's layers; None without terms.
        encoders: The live encoders by name.
    """

    terms: tuple[LiveObjective, ...] = ()
    student: Capture | None = None
    encoders: Mapping[str, LiveEncoder] = field(default_factory=dict)

    def losses(self, parts: list[Part], total: int) -> list[Tensor]:
        """Return what some parts of a batch add to each term, a scalar: all parts of it add up to the term's value.

        The student must have run on these parts just before.

        Args:
            parts: The parts.
            total: Real tokens of the whole batch.
        """
        if self.student is None:
            return []
        tokens = torch.stack([part["attention_mask"].sum() for part in parts])
        values = [self._part_losses(*both) for both in zip(parts, self.student.take(), strict=True)]
        return list((torch.stack(values) * (tokens / total).unsqueeze(1)).sum(0))

    def _part_losses(self, part: Part, student: dict[int, LayerStates]) -> Tensor:
        """Return the terms over one part, float [terms]."""
        states = {Layer(number=number): layer for number, layer in student.items()}
        for name, encoder in self.encoders.items():
            states |= {Layer(encoder=name, number=number): layer for number, layer in encoder.run(part).items()}
        mask = part["attention_mask"]
        with torch.autocast(mask.device.type, enabled=False):  # half precision is too coarse for exponentials
            return torch.stack([checked_loss(term, term.loss(states, mask)) for term in self.terms])


@contextmanager
def live_terms(
    stage: Stage, model: SentenceTransformer, context: StageContext, tokens: TokenTable, used: np.ndarray, device: str
) -> Iterator[LiveTerms]:
    """Load a stage's live encoders; on leaving, remove the hooks that were added to the student.

    Args:
        stage: The stage, which has training.
        model: The student, with a shrunken embedding table.
        context: Loads the encoders.
        tokens: The corpus in the student's token ids.
        used: The student's token id for each row of its shrunken table, int [U].
        device: Device that the student is trained on.

    Raises:
        XlbenchError: An encoder splits the corpus's sentences into other tokens than the student.
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
                    f"Stage '{stage.name}': '{name}' splits sentences into other tokens than the student.",
                    "Choose an encoder with the student's tokenizer: the objective compares token by token.",
                )
            # The padding token has the same id in a shrunken table, see shrink_table.
            ids[padding_id(stock_encoder(model))] = padding_id(stock_encoder(encoder))
            held.enter_context(encoding_mode(encoder, context.precision))
            capture = Capture(stock_encoder(encoder), [layer.number for layer in layers if layer.encoder == name])
            encoders[name] = LiveEncoder(encoder, capture, torch.from_numpy(ids).to(device), context.precision)
        yield LiveTerms(terms, student, encoders)


def matching_ids(own: TokenTable, other: TokenTable, used: np.ndarray) -> np.ndarray | None:
    """Return the id in another tokenizer of each token id in ``used``, int64 [U].

    The ids of a token differ where the vocabulary of one of the tokenizers was trimmed.

    Args:
        own: A corpus as token ids of one tokenizer.
        other: The same corpus as token ids of the other tokenizer.
        used: Distinct ids of the first tokenizer: all that the corpus has, and perhaps more, which get the id 0.

    Returns:
        The ids; None if the tokenizers split a sentence differently, or one id matches two ids of the other tokenizer.
    """
    if not np.array_equal(own.offsets, other.offsets):
        return None
    ids = np.zeros(int(used.max()) + 1, dtype=np.int64)
    chunks = [slice(start, start + CHUNK) for start in range(0, len(own.ids), CHUNK)]
    for chunk in chunks:
        ids[own.ids[chunk]] = other.ids[chunk]
    consistent = all(np.array_equal(ids[own.ids[chunk]], other.ids[chunk]) for chunk in chunks)
    return ids[used] if consistent else None
