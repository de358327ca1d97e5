"""What a run imports, imported once by the server that the kit's processes are forked from; nothing is run here."""

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
