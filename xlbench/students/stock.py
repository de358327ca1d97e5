"""Students as plain BERT or XLM-R: bottleneck and low-rank maps multiplied out, loops unrolled, integers as floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

from xlbench.students.architecture import BottleneckEmbedding, StudentBertModel, StudentXLMRobertaModel
from xlbench.students.low_rank import LowRankLinear
from xlbench.students.quantised import QuantisedMatrix

if TYPE_CHECKING:
    import torch
    from torch import nn

    from xlbench.students.architecture import StudentModel

STUDENT_SETTINGS = ("bottleneck", "frequent", "rank_share", "repeats", "loop_order", "bits")


def has_parts(student: StudentModel) -> bool:
    """Return whether a student has parts that BERT and XLM-R lack: it is then no stock encoder."""
    config = student.config
    return (
        config.bottleneck is not None
        or config.rank_share < 1
        or config.repeats > 1
        or config.bits == 8
        or any(isinstance(part, BottleneckEmbedding | LowRankLinear | QuantisedMatrix) for part in student.modules())
    )


def stock_copy(model: BertModel | XLMRobertaModel) -> BertModel | XLMRobertaModel:
    """Return a stock encoder that gives the same vectors, within the rounding of float32; a stock one itself.

    It shares with the student the tensors that both have. Looped layers are there once for each time that they run.
    """
    if not isinstance(model, StudentBertModel | StudentXLMRobertaModel):
        return model
    layers = list(model.encoder.layer)
    settings = {name: value for name, value in model.config.to_dict().items() if name not in STUDENT_SETTINGS}
    settings = {**settings, "num_hidden_layers": len(layers)}
    settings.pop("model_type")
    # A stock encoder has this setting too: it says how its weights are saved. Products would not be exact in 16 bits.
    if model.config.bits == 16 and not has_parts(model):
        settings["bits"] = 16
    stock: BertModel | XLMRobertaModel
    if isinstance(model, BertModel):
        stock = BertModel(BertConfig(**settings), add_pooling_layer=model.pooler is not None)
    else:
        stock = XLMRobertaModel(XLMRobertaConfig(**settings), add_pooling_layer=model.pooler is not None)
    state = {name: _weight(model, name) for name in stock.state_dict() if not name.startswith("encoder.layer.")}
    for number, layer in enumerate(layers):
        found = {name: _weight(layer, name) for name in stock.encoder.layer[number].state_dict()}
        if layer in layers[:number]:  # tensors in two places would be taken for tied weights when they are saved
            found = {name: tensor.clone() for name, tensor in found.items()}
        state |= {f"encoder.layer.{number}.{name}": tensor for name, tensor in found.items()}
    stock.load_state_dict(state, strict=True, assign=True)
    stock.train(model.training)
    return stock


def _weight(owner: nn.Module, name: str) -> torch.Tensor:
    """Return a tensor of a stock module from the part of a student in its place."""
    place, _, kind = name.rpartition(".")
    part = owner.get_submodule(place)
    if isinstance(part, BottleneckEmbedding):
        return part.weight.detach()
    if isinstance(part, LowRankLinear):
        if kind == "bias":
            return part.up.bias.detach()
        return (part.up.weight.detach().double() @ part.down.weight.detach().double()).to(part.up.weight.dtype)
    tensor: torch.Tensor = getattr(part, kind)
    return tensor.detach()
