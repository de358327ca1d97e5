"""Imports what a run imports, once, in the kit and in the server that its child processes are forked from."""

from __future__ import annotations

import gc

import datasets
import transformers.models.bert.modeling_bert
import transformers.models.xlm_roberta.modeling_xlm_roberta

import xlbench.distill.engine
import xlbench.distill.training
import xlbench.students.architecture
import xlbench.students.load
import xlbench.testing.bench
import xlbench.testing.canary
import xlbench.testing.children

# Each training asks for several full collections, which would walk through all that was imported, half a second each.
gc.collect()
gc.freeze()

__all__ = ["datasets", "transformers", "xlbench"]
