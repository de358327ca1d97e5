"""The student architectures, known to transformers.

Importing this module registers them, after which ``SentenceTransformer(path)`` loads a saved student like any other
model. Their code is :mod:`xlbench.students.modeling_xlbench`, of which saved students carry a copy.
"""

from __future__ import annotations

from transformers import AutoConfig, AutoModel

from xlbench.students.modeling_xlbench import (
    BottleneckEmbedding,
    LoopedLayers,
    LoopOrder,
    StudentBertConfig,
    StudentBertModel,
    StudentConfig,
    StudentModel,
    StudentXLMRobertaConfig,
    StudentXLMRobertaModel,
)

__all__ = [
    "BottleneckEmbedding",
    "LoopOrder",
    "LoopedLayers",
    "StudentBertConfig",
    "StudentBertModel",
    "StudentConfig",
    "StudentModel",
    "StudentXLMRobertaConfig",
    "StudentXLMRobertaModel",
    "register",
]


def register() -> None:
    """Register the student architectures with transformers' Auto classes; repeated calls change nothing."""
    AutoConfig.register(StudentBertConfig.model_type, StudentBertConfig, exist_ok=True)
    AutoConfig.register(StudentXLMRobertaConfig.model_type, StudentXLMRobertaConfig, exist_ok=True)
    AutoModel.register(StudentBertConfig, StudentBertModel, exist_ok=True)
    AutoModel.register(StudentXLMRobertaConfig, StudentXLMRobertaModel, exist_ok=True)


register()
