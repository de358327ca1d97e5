"""A stage's training as settings of transformers' Trainer."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import torch
from transformers import TrainingArguments

from xlbench.distill.ranks import together
from xlbench.distill.reporting import tracked
from xlbench.encoders.directories import quiet_transformers
from xlbench.encoders.runtime import COMPILER, choose_device, explain_compile
from xlbench.progress import note_once

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.distill.context import StageContext
    from xlbench.distill.plan import Stage, Training


def training_arguments(
    stage: Stage, training: Training, context: StageContext, scratch: Path, *, static: bool = False
) -> TrainingArguments:
    """Return the settings of transformers' Trainer; linear decay after warm-up, fused AdamW, best checkpoint last.

    Args:
        stage: The stage, for its name.
        training: Its training.
        context: Precision, device and trackers.
        scratch: Where checkpoints go.
        static: Whether a static encoder is trained: there is nothing in it to compile.
    """
    device = choose_device(context.settings)
    every = max(1, math.ceil(training.steps / training.evaluations))
    compiled = not static and _compiles(training, context)
    if compiled:
        # Lengths differ between batches and one graph should serve all; accelerate reads this from the environment.
        os.environ.setdefault("ACCELERATE_DYNAMO_USE_DYNAMIC", "true")
    with quiet_transformers():  # it warns about older hardware
        arguments = OneDevice(
            output_dir=str(scratch),
            max_steps=training.steps,
            per_device_train_batch_size=training.batch_size,  # of several processes all together have so many
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            warmup_steps=round(training.warmup * training.steps),
            lr_scheduler_type="linear",
            max_grad_norm=training.clip,
            optim="adamw_torch_fused",
            bf16=context.precision == "bfloat16",
            fp16=context.precision == "float16",  # scales the loss against underflow
            torch_compile=compiled,
            torch_compile_backend=COMPILER if compiled else None,  # naming a backend alone would turn compilation on
            use_cpu=device == "cpu",
            seed=training.seed,
            eval_strategy="steps",
            eval_steps=every,
            save_strategy="steps",
            save_steps=every,
            save_total_limit=2,
            load_best_model_at_end=True,
            metric_for_best_model="eval_selection_score",
            greater_is_better=False,
            **tracked(context.settings, training, context.group, stage.name)._asdict(),
            disable_tqdm=True,
            dataloader_pin_memory=device != "cpu",
            ddp_find_unused_parameters=bool(training.live_terms) or training.level == "embeddings",
        )
    if device == "cuda" and together() is None and (count := torch.cuda.device_count()) > 1:
        note_once(
            f"one of {count} GPUs is used; `torchrun --nproc-per-node {count} -m xlbench run ...` trains on all",
            quiet=context.settings.quiet,
        )
    return arguments


class OneDevice(TrainingArguments):
    """Settings of a Trainer that trains on one device in each process.

    With several GPUs in one process the Trainer wraps the model in DataParallel, which would split a batch across its
    parts. It asks this property how many there are.
    """

    @property
    def n_gpu(self) -> int:
        """The GPUs of this process: one, or none."""
        return min(int(super().n_gpu), 1)


def _compiles(training: Training, context: StageContext) -> bool:
    if training.live_terms:  # their forward hooks store what layers compute, which a compiled graph does not support
        return False
    return explain_compile(choose_device(context.settings), context.precision, context.settings).value
