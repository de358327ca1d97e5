"""Boards: five methods in one store against the sum of five separate runs, by the store's own accounting."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from benchmarks.results import Part, Table, at_most
from xlbench.boards.accounting import account
from xlbench.runs.job import make_jobs
from xlbench.runs.request import Request
from xlbench.runs.results import run_request
from xlbench.store import read_entry

if TYPE_CHECKING:
    from xlbench.fingerprint import Json
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings

METHODS = ("multistage", "single-stage", "no-contrastive", "no-bottleneck", "no-recurrent")
TARGET = 45.0


def measure_boards(settings: Settings, registry: Registry, *, budget: str) -> Part:
    """Run the five methods in one store and add up what it says that every stage, target and record took.

    Args:
        settings: Its store is empty, or holds the board that an earlier call left.
        registry: What plugins provide.
        budget: Of every run.
    """
    settings = settings.model_copy(update={"speed_rounds": 0})
    requests = {method: Request(method=method, budget=budget) for method in METHODS}
    jobs = {method: make_jobs(request, registry, settings)[0] for method, request in requests.items()}
    scored: dict[str, dict[str, float]] = {}
    for method, request in requests.items():
        stored = run_request(request, registry, settings, partial(print, flush=True)).stored
        scored[method] = {row.key: _seconds(settings, row.key) for row in stored}
    alone = {method: account([job], settings.home).shared for method, job in jobs.items()}
    both = account(jobs.values(), settings.home)
    scoring = sum({key: took for each in scored.values() for key, took in each.items()}.values())
    scoring_apart = sum(sum(each.values()) for each in scored.values())
    share = 100 * (both.shared + scoring) / (both.apart + scoring_apart)
    rows = [
        (method, f"{alone[method]:.0f}", f"{sum(scored[method].values()):.0f}", _sum(alone[method], scored[method]))
        for method in METHODS
    ]
    rows += [
        ("sum of five separate runs", f"{both.apart:.0f}", f"{scoring_apart:.0f}", f"{both.apart + scoring_apart:.0f}"),
        ("the board: each made once", f"{both.shared:.0f}", f"{scoring:.0f}", f"{both.shared + scoring:.0f}"),
    ]
    return Part(
        title="Boards",
        how=(
            f"`xlbench run` for five methods with minilm-half, budget '{budget}', starter corpus and suite, into one "
            "store, one after the other, speed not measured. Seconds are what the store's entries say that they took; "
            "preparing the corpus and unpacking the starter encoders are left out."
        ),
        tables=(
            Table(
                title="Seconds by the store's accounting",
                header=("Run", "Stages and targets", "Scoring", "Both"),
                rows=tuple(rows),
            ),
        ),
        lines=(
            at_most(
                f"boards: five methods at most {TARGET:.0f} % of the sum of five separate runs",
                share,
                TARGET,
                f"{share:.0f} % (stages and targets alone: {100 * both.shared / both.apart:.0f} %)",
            ),
        ),
        data={"alone": cast("Json", alone), "accounting": cast("Json", both._asdict()), "scored": cast("Json", scored)},
    )


def _seconds(settings: Settings, key: str) -> float:
    entry = read_entry(settings.home, "records", key, only=())
    return entry.manifest.seconds if entry else 0.0


def _sum(stages: float, scored: dict[str, float]) -> str:
    return f"{stages + sum(scored.values()):.0f}"
