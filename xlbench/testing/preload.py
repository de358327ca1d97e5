"""Imports what a run imports, once, in the server that the kit's child processes are forked from; runs nothing."""

from __future__ import annotations

import datasets
import transformers.models.bert.modeling_bert
import transformers.models.xlm_roberta.modeling_xlm_roberta

import xlbench.distill.engine
import xlbench.distill.training
import xlbench.students.architecture
import xlbench.students.load
import xlbench.testing.bench
import xlbench.testing.children

__all__ = ["datasets", "transformers", "xlbench"]
