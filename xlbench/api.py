"""The public names for plugin authors: all that xlbench's own plugins are written with."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from xlbench.corpora.corpus import Corpus, CorpusReader, Pair
from xlbench.corpora.files import open_parquet, open_tsv
from xlbench.corpora.hub import open_hub
from xlbench.corpora.starter import open_starter
from xlbench.corpora.untranslated import open_text
from xlbench.distill.blend import Blend
from xlbench.distill.edits import Average, Bottleneck, Centre, FrequencyAdaptiveEmbedding, Loop
from xlbench.distill.live import Layer, LayerStates, LiveObjective, MatchHidden, MatchRelations
from xlbench.distill.low_rank import LowRank
from xlbench.distill.method import Method, Options
from xlbench.distill.objectives import MatchNeighbours, MatchSimilarities, Objective, PairVectors, PullToTarget, Target
from xlbench.distill.options import (
    AlignOptions,
    BlendOptions,
    BottleneckOptions,
    CentreOptions,
    CutOptions,
    EmbeddingOptions,
    LayerOptions,
    LoopOptions,
    MatrixOptions,
    NeighbourOptions,
    StepOptions,
    StudentOptions,
    StudentTrainingOptions,
    TrainingOptions,
    TrimOptions,
    paper_values,
)
from xlbench.distill.plan import Edit, Plan, Stage, Training
from xlbench.distill.stages import (
    align_stages,
    blends,
    bottleneck_edits,
    bottleneck_stage,
    centre_stages,
    contrastive_stage,
    cut_edits,
    embedding_edits,
    english_target,
    layer_edit,
    make_training,
    matrix_teachers,
    neighbour_terms,
    own_target,
    recurrent_stage,
    relation_stage,
    shown_teacher,
    similarity_terms,
    teacher_names,
    trim_edits,
)
from xlbench.distill.static import TokenVectors
from xlbench.distill.trim import TrimVocabulary
from xlbench.encoders.find import RegisteredEncoder
from xlbench.encoders.starter import further_teachers, starter_encoders
from xlbench.engines.engine import Engine, EngineOptions, Resources, Task, drive
from xlbench.engines.on_ray import RayOptions, run_on_ray
from xlbench.engines.on_slurm import SlurmOptions, run_on_slurm
from xlbench.errors import XlbenchError
from xlbench.experiment import Budget, Experiment, StudentSpec, Suite, TaskRef
from xlbench.fingerprint import Frozen
from xlbench.plugins.hooks import hookimpl
from xlbench.settings import Settings
from xlbench.students.shape import Shape

if TYPE_CHECKING:
    from xlbench.distill.context import StageContext
    from xlbench.encoders.encode import encode
    from xlbench.students.surgery import build_student, stock_encoder

__all__ = [
    "AlignOptions",
    "Average",
    "Blend",
    "BlendOptions",
    "Bottleneck",
    "BottleneckOptions",
    "Budget",
    "Centre",
    "CentreOptions",
    "Corpus",
    "CorpusReader",
    "CutOptions",
    "Edit",
    "EmbeddingOptions",
    "Engine",
    "EngineOptions",
    "Experiment",
    "FrequencyAdaptiveEmbedding",
    "Frozen",
    "Layer",
    "LayerOptions",
    "LayerStates",
    "LiveObjective",
    "Loop",
    "LoopOptions",
    "LowRank",
    "MatchHidden",
    "MatchNeighbours",
    "MatchRelations",
    "MatchSimilarities",
    "MatrixOptions",
    "Method",
    "NeighbourOptions",
    "Objective",
    "Options",
    "Pair",
    "PairVectors",
    "Plan",
    "PullToTarget",
    "RayOptions",
    "RegisteredEncoder",
    "Resources",
    "Settings",
    "Shape",
    "SlurmOptions",
    "Stage",
    "StageContext",
    "StepOptions",
    "StudentOptions",
    "StudentSpec",
    "StudentTrainingOptions",
    "Suite",
    "Target",
    "Task",
    "TaskRef",
    "TokenVectors",
    "Training",
    "TrainingOptions",
    "TrimOptions",
    "TrimVocabulary",
    "XlbenchError",
    "align_stages",
    "blends",
    "bottleneck_edits",
    "bottleneck_stage",
    "build_student",
    "centre_stages",
    "contrastive_stage",
    "cut_edits",
    "drive",
    "embedding_edits",
    "encode",
    "english_target",
    "further_teachers",
    "hookimpl",
    "layer_edit",
    "make_training",
    "matrix_teachers",
    "neighbour_terms",
    "open_hub",
    "open_parquet",
    "open_starter",
    "open_text",
    "open_tsv",
    "own_target",
    "paper_values",
    "recurrent_stage",
    "relation_stage",
    "run_on_ray",
    "run_on_slurm",
    "shown_teacher",
    "similarity_terms",
    "starter_encoders",
    "stock_encoder",
    "teacher_names",
    "trim_edits",
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
