"""Trials of methods and options, decided on dev data and never on a test set.

A trial is a line of teachers and options of one method. After each of its stages the encoder is scored on the dev
splits of STSb, per language and across languages (English first sentence, translated second sentence), and with
``--bitext`` on finding translations in corpora that it is not trained on, beside the trainer's evaluations on pairs
held out of its own. The stages stay in the store: a run with the same corpora, budget and options takes them from
there.

    python -m benchmarks.trials --data-root ROOT [--corpus tsv:NAME ...] [--method NAME] [--until STAGE] TRIAL ...

with, for example, these trials of stage 1 (``--until aligned``):

    'assistant'
    'assistant assistant_learning_rate=1e-4 assistant_matrix_weight=10'
    'assistant,all-minilm-l6-v2 assistant_matrix_weight=10 teacher_share=0.35'

or these of a student before training (``--method svd-bottleneck``):

    'assistant full_depth=false loop_order=cycle'
    'assistant full_depth=false loop_order=adjacent'
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import disable_progress_bars

from benchmarks.dev_scores import dev_bitext, dev_scores
from xlbench.distill.engine import encoder_keys, run_plan
from xlbench.distill.plan import Plan
from xlbench.plugins.registry import load_registry
from xlbench.runs.job import make_plan
from xlbench.runs.request import make_request
from xlbench.runs.resolve import resolve
from xlbench.runs.session import Session, prepare_process
from xlbench.settings import read_settings
from xlbench.students.load import load_student

if TYPE_CHECKING:
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings

CORPORA = ("multi30k", "wmt_newstest", "anki_tatoeba", "europarl_v7_sample", "stsb_mt_train", "xnli_devtest")
STSB = ("de", "es", "fr", "it", "nl")  # what STSb's dev split has of the seven languages


def run_trial(
    trial: str,
    arguments: argparse.Namespace,
    registry: Registry,
    settings: Settings,
    scored: dict[str, dict[str, float]],
) -> None:
    """Run a trial's stages and print their dev figures; ``scored`` keeps them by stage, for trials that share some."""
    teachers, *options = trial.split()
    request = make_request(
        {
            "method": arguments.method,
            "student": arguments.student,
            "bits": arguments.bits,
            "teacher": tuple(teachers.split(",")),
            "corpus": tuple(arguments.corpus),
            "languages": tuple(arguments.languages),
            "suite": arguments.suite,
            "budget": arguments.budget,
            "assistant_pairs": arguments.assistant_pairs,
            "student_pairs": arguments.student_pairs,
            "pairs_per_language": arguments.pairs_per_language,
            "options": dict(option.split("=", 1) for option in options),
        }
    )
    (experiment,), corpora = resolve(request, registry, settings)
    session = Session(experiment, corpora, registry, settings)
    plan = make_plan(experiment, registry.methods[experiment.method])
    if arguments.until is not None:
        names = [stage.name for stage in plan.stages]
        stages = plan.stages[: names.index(arguments.until) + 1]
        plan = Plan(stages, arguments.until, blends=plan.blends)
    keys = encoder_keys(plan, experiment)
    made = run_plan(plan, keys, experiment, session.corpus, session.load_input, settings, lambda _: None)
    for stage in made.stages:
        if arguments.score and stage.name not in arguments.score:
            continue
        if stage.key not in scored:
            student = load_student(made.paths[stage.name])
            scored[stage.key] = dev_scores(student, settings, experiment.precision, STSB, arguments.rows)
            if arguments.bitext:
                bitext = dev_bitext(
                    student,
                    registry,
                    settings,
                    experiment.precision,
                    arguments.bitext,
                    arguments.languages,
                    arguments.rows,
                )
                scored[stage.key]["bitext"] = bitext
        figures = "   ".join(f"{part} {value:5.2f}" for part, value in scored[stage.key].items())
        print(f"{trial} | {stage.name:16} dev: {figures}; {stage.seconds:.0f} s", flush=True)
        evaluations = [f"{it['step']:.0f}: {it['loss']:.4f}, {100 * it['accuracy']:.1f} %" for it in stage.evaluations]
        if evaluations:
            print(f"{trial} | {stage.name:16} held-out pairs: {'; '.join(evaluations)}", flush=True)


def main() -> None:
    """Run the trials one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("trials", nargs="+")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--plugin", type=Path, nargs="+", default=[], help="Files with methods of one's own.")
    parser.add_argument("--method", default="multistage")
    parser.add_argument("--student", default="minilm-half")
    parser.add_argument("--bits", type=int, choices=(8, 16, 32), help="Of a stored weight.")
    parser.add_argument("--until", help="The last stage to run.")
    parser.add_argument("--score", nargs="+", default=[], help="The stages to score; all without it.")
    parser.add_argument("--corpus", nargs="+", default=[f"tsv:{name}" for name in CORPORA])
    parser.add_argument("--bitext", nargs="+", default=[], help="Corpora to find translations in, of --languages.")
    parser.add_argument("--languages", nargs="+", default=list(STSB))
    parser.add_argument("--suite", default="paper", help="Whose sentences are kept out of the corpus.")
    parser.add_argument("--budget", default="minutes")
    parser.add_argument("--assistant-pairs", type=int, default=16_000)
    parser.add_argument("--student-pairs", type=int, default=16_000)
    parser.add_argument("--pairs-per-language", type=int)
    parser.add_argument("--rows", type=int, default=1500)
    arguments = parser.parse_args()
    settings = read_settings(arguments.home, arguments.data_root)
    prepare_process(settings)
    disable_progress_bars()
    registry = load_registry(tuple(arguments.plugin))
    scored: dict[str, dict[str, float]] = {}
    for trial in arguments.trials:
        run_trial(trial, arguments, registry, settings, scored)


if __name__ == "__main__":
    main()
