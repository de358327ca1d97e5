"""The public names for plugin authors: all that xlbench's own plugins are written with."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from xlbench.corpora.corpus import Corpus, CorpusReader, Pair
from xlbench.corpora.files import open_parquet, open_tsv
from xlbench.corpora.hub import open_hub
from xlbench.corpora.starter import open_starter
from xlbench.distill.edits import Average, Bottleneck, Centre, FrequencyAdaptiveEmbedding, Loop
from xlbench.distill.live import Layer, LayerStates, LiveObjective, MatchHidden, MatchRelations
from xlbench.distill.low_rank import LowRank
from xlbench.distill.method import Method, Options
from xlbench.distill.objectives import MatchNeighbours, MatchSimilarities, Objective, PairVectors, PullToTarget, Target
from xlbench.distill.plan import Edit, Plan, Stage, Training
from xlbench.distill.recipes import (
    AlignOptions,
    StageOptions,
    aligned,
    bottleneck,
    centred,
    contrastive,
    embedding_edits,
    english,
    loop_edit,
    neighbours,
    presets,
    recurrent,
    relations,
    similarities,
    teacher_names,
    training,
)
from xlbench.distill.static import TokenVectors
from xlbench.distill.trim import TrimVocabulary
from xlbench.encoders.find import RegisteredEncoder
from xlbench.encoders.starter import starter_encoders
from xlbench.errors import XlbenchError
from xlbench.experiment import Budget, Experiment, StudentSpec, Suite, TaskRef
from xlbench.fingerprint import Frozen
from xlbench.plugins.hooks import hookimpl
from xlbench.students.shape import Shape

if TYPE_CHECKING:
    from xlbench.distill.context import StageContext
    from xlbench.encoders.encode import encode
    from xlbench.students.surgery import build_student, stock_encoder

__all__ = [
    "AlignOptions",
    "Average",
    "Bottleneck",
    "Budget",
    "Centre",
    "Corpus",
    "CorpusReader",
    "Edit",
    "Experiment",
    "FrequencyAdaptiveEmbedding",
    "Frozen",
    "Layer",
    "LayerStates",
    "LiveObjective",
    "Loop",
    "LowRank",
    "MatchHidden",
    "MatchNeighbours",
    "MatchRelations",
    "MatchSimilarities",
    "Method",
    "Objective",
    "Options",
    "Pair",
    "PairVectors",
    "Plan",
    "PullToTarget",
    "RegisteredEncoder",
    "Shape",
    "Stage",
    "StageContext",
    "StageOptions",
    "StudentSpec",
    "Suite",
    "Target",
    "TaskRef",
    "TokenVectors",
    "Training",
    "TrimVocabulary",
    "XlbenchError",
    "aligned",
    "bottleneck",
    "build_student",
    "centred",
    "contrastive",
    "embedding_edits",
    "encode",
    "english",
    "hookimpl",
    "loop_edit",
    "neighbours",
    "open_hub",
    "open_parquet",
    "open_starter",
    "open_tsv",
    "presets",
    "recurrent",
    "relations",
    "similarities",
    "starter_encoders",
    "stock_encoder",
    "teacher_names",
    "training",
]

# What edits are written with; imported when asked for, as it brings torch, and listings must not wait for that.
_LATER = {
    "StageContext": "xlbench.distill.context",
    "encode": "xlbench.encoders.encode",
    "stock_encoder": "xlbench.students.surgery",
    "build_student": "xlbench.students.surgery",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_LATER[name]), name)
