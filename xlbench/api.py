"""The public names for plugin authors: all that xlbench's own plugins are written with."""

from __future__ import annotations

from xlbench.corpora.files import open_parquet, open_tsv
from xlbench.corpora.hub import open_hub
from xlbench.corpora.starter import open_starter
from xlbench.distill.edits import Bottleneck, Centre, Loop
from xlbench.distill.objectives import MatchSimilarities, Objective, PairVectors, PullToTarget, Target
from xlbench.distill.plan import Edit, Plan, Stage, Training
from xlbench.distill.recipes import (
    AlignOptions,
    StageOptions,
    aligned,
    bottleneck,
    bottleneck_edit,
    centred,
    contrastive,
    english,
    loop_edit,
    recurrent,
    similarities,
    teacher_names,
    training,
)
from xlbench.encoders.starter import starter_encoders
from xlbench.errors import XlbenchError
from xlbench.experiment import Budget, Experiment, StudentSpec, Suite, TaskRef
from xlbench.fingerprint import Frozen
from xlbench.hookspecs import hookimpl
from xlbench.kinds import Corpus, CorpusSource, EncoderSource, Method, Options, Pair

__all__ = [
    "AlignOptions",
    "Bottleneck",
    "Budget",
    "Centre",
    "Corpus",
    "CorpusSource",
    "Edit",
    "EncoderSource",
    "Experiment",
    "Frozen",
    "Loop",
    "MatchSimilarities",
    "Method",
    "Objective",
    "Options",
    "Pair",
    "PairVectors",
    "Plan",
    "PullToTarget",
    "Stage",
    "StageOptions",
    "StudentSpec",
    "Suite",
    "Target",
    "TaskRef",
    "Training",
    "XlbenchError",
    "aligned",
    "bottleneck",
    "bottleneck_edit",
    "centred",
    "contrastive",
    "english",
    "hookimpl",
    "loop_edit",
    "open_hub",
    "open_parquet",
    "open_starter",
    "open_tsv",
    "recurrent",
    "similarities",
    "starter_encoders",
    "teacher_names",
    "training",
]
