"""The built-in student specs and budgets."""

from __future__ import annotations

from xlbench.api import Budget, StudentSpec, hookimpl


@hookimpl
def xlbench_students() -> list[StudentSpec]:
    """Register the paper's sizes, for MiniLM (hidden size 384) and XLM-R (768)."""
    return [
        StudentSpec(name="minilm-half", bottleneck=128, layers=6, repeats=2, hidden=384, summary="43.0 M, -63 %"),
        StudentSpec(name="minilm-half-deep", bottleneck=128, layers=12, hidden=384, summary="53.7 M, -54 %"),
        StudentSpec(name="minilm-third", bottleneck=128, layers=3, repeats=4, hidden=384, summary="37.7 M, -68 %"),
        StudentSpec(name="xlmr-half", bottleneck=128, layers=12, hidden=768, summary="118.1 M, -58 %"),
        StudentSpec(name="xlmr-fifth", bottleneck=128, layers=3, repeats=4, hidden=768, summary="54.4 M, -80 %"),
    ]


@hookimpl
def xlbench_budgets() -> list[Budget]:
    """Register budgets from a smoke run to a night on a GPU."""
    return [
        Budget(name="smoke", pairs_per_language=40, dev_pairs=70, assistant_pairs=128, student_pairs=256),
        Budget(name="example", dev_pairs=210, assistant_pairs=1_536, student_pairs=6_144),
        Budget(
            name="minutes",
            pairs_per_language=8_000,
            dev_pairs=700,
            assistant_pairs=24_000,
            student_pairs=48_000,
        ),
        Budget(
            name="hours",
            pairs_per_language=80_000,
            dev_pairs=2_100,
            assistant_pairs=300_000,
            student_pairs=300_000,
        ),
        Budget(name="night", dev_pairs=2_100, assistant_pairs=2_000_000, student_pairs=8_000_000),
    ]
