"""Rows of a table: the records of one experiment under all of its seeds, and which rows may share a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError
from xlbench.experiment import is_main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from xlbench.experiment import Experiment, Family
    from xlbench.records.record import Record, Role
    from xlbench.scoring.speed import Speed

ROLE_ORDER = {"teacher": 0, "assistant": 1, "aligned": 2, "encoder": 3, "student": 3}


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: Its name in the table, which no other row of the table has.
        role: Teacher, assistant, student or other encoder.
        runs: Its records, by ascending seed; one for an encoder that was only scored.
    """

    name: str
    role: Role
    runs: tuple[Record, ...]

    @property
    def record(self) -> Record:
        """The first run; size, method and data are the same for all runs."""
        return self.runs[0]


def rows_of(records: Sequence[Record]) -> tuple[Row, ...]:
    """Group records whose experiments differ only in the seed, in order of first appearance.

    Of two records with the same seed, or of the same given encoder, the later in ``records`` counts. Rows that
    would have the same name get their method in front of it, else a number behind it.
    """
    groups: dict[tuple[str, ...], dict[int, Record]] = {}
    for record in records:
        experiment, suite = record.experiment, record.scores.suite
        if experiment is None:
            groups.setdefault((suite, record.role, record.encoder_key, record.name), {})[0] = record
        else:
            rest = experiment.model_copy(update={"seed": 0}).model_dump_json()
            groups.setdefault((suite, record.role, rest, record.name), {})[experiment.seed] = record
    runs = [tuple(group[seed] for seed in sorted(group)) for group in groups.values()]
    names = _unique_names([records[0] for records in runs])
    return tuple(Row(name, found[0].role, found) for name, found in zip(names, runs, strict=True))


def _unique_names(firsts: Sequence[Record]) -> list[str]:
    shared = Counter(record.name for record in firsts)
    qualified = [
        f"{record.experiment.method}/{record.name}" if shared[record.name] > 1 and record.experiment else record.name
        for record in firsts
    ]
    names: list[str] = []
    for wanted in qualified:
        name, number = wanted, 1
        while name in names:
            number += 1
            name = f"{wanted} #{number}"
        names.append(name)
    return names


def collapsed_seeds(row: Row) -> tuple[int, ...]:
    """Return the seeds whose encoder gives all sentences nearly the same embedding; 0 for an encoder without seeds."""
    return tuple(_seed(run) for run in row.runs if run.scores.collapsed)


def seeds(row: Row) -> tuple[int, ...]:
    """Return the seeds of the runs, ascending; none for an encoder that was only scored."""
    return tuple(run.experiment.seed for run in row.runs if run.experiment)


def _seed(record: Record) -> int:
    return record.experiment.seed if record.experiment else 0


def valid_runs(row: Row) -> tuple[Record, ...]:
    """Return the runs that scores are the mean of: those that have not collapsed, or all where all have.

    Seeds that gave one and the same encoder are one run: nothing in them was drawn at random.
    """
    return distinct_runs([run for run in row.runs if not run.scores.collapsed] or row.runs)


def distinct_runs(runs: Sequence[Record]) -> tuple[Record, ...]:
    """Return the first run of every encoder among runs that differ in nothing but the seed."""
    first: dict[tuple[str, str], Record] = {}
    for run in runs:
        first.setdefault((run.encoder_key, repr(run.scores.families)), run)
    return tuple(first.values())


def repeated_seeds(row: Row) -> tuple[int, ...]:
    """Return the seeds of a row that gave the encoder of an earlier seed once more; none in most rows."""
    found = distinct_runs(row.runs)
    return tuple(_seed(run) for run in row.runs if not any(run is it for it in found))


def has_collapsed(row: Row) -> bool:
    """Return whether every run has collapsed, so that the row's scores mean nothing."""
    return all(run.scores.collapsed for run in row.runs)


def family_mean(row: Row, family: Family) -> float | None:
    """Return the mean over the valid runs of a family's score, times 100; None where it is undefined."""
    return _mean(score_by_seed(row, family).values())


def score_by_seed(row: Row, family: Family) -> dict[int, float]:
    """Return a family's score of each valid run, times 100; that of an encoder without a seed under 0.

    Runs whose score is undefined are left out.
    """
    scores = {_seed(run): run.scores.families[family] for run in valid_runs(row)}
    return {seed: score for seed, score in scores.items() if score is not None}


def undefined_scores(row: Row, family: Family) -> dict[tuple[str, str], str]:
    """Return the subsets of a family, by task and name, whose score is undefined in a valid run, with the reason."""
    return {
        (task, subset): reason
        for run in valid_runs(row)
        for task, scores in run.scores.tasks.items()
        if scores.family == family
        for subset, reason in scores.undefined().items()
    }


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return fmean(defined) if defined else None


def family_deviation(row: Row, family: Family) -> float | None:
    """Return the sample standard deviation over the valid runs of a family's score; None with one run."""
    scores = score_by_seed(row, family).values()
    return stdev(scores) if len(scores) > 1 else None


def task_mean(row: Row, task: str) -> float | None:
    """Return the mean over the valid runs of a task's score, times 100; None where it is undefined."""
    return _mean(run.scores.tasks[task].mean() for run in valid_runs(row))


def subset_mean(row: Row, task: str, subset: str) -> float | None:
    """Return the mean over the valid runs of a subset's score, times 100; None where it is undefined."""
    return _mean(run.scores.tasks[task].subsets[subset].main for run in valid_runs(row))


def baseline(rows: Sequence[Row]) -> Row | None:
    """Return the row that drops are measured against: the aligned assistant, else the given one."""
    return next((row for role in ("aligned", "assistant") for row in rows if row.role == role), None)


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Return teacher and assistants first, then the others by their mean over the families, best first.

    Families of languages that students need not keep do not count: most students give those up on purpose.

    Rows that are undefined in a family come after those that are not.
    """

    def order(row: Row) -> tuple[int, int, float, str]:
        contends = row.role in {"student", "encoder"}
        means = [family_mean(row, family) for family in row.record.scores.families if is_main(family)]
        mean = _mean(means) or 0.0
        place = ROLE_ORDER[row.role] + (contends and has_collapsed(row))
        return place, means.count(None) if contends else 0, -mean if contends else 0.0, row.name

    return sorted(rows, key=order)


def stored_parameters(row: Row) -> int:
    """Return how many parameters are stored."""
    return row.record.footprint.parameters


def kept_languages(row: Row, base: Row | None) -> tuple[str, ...]:
    """Return the languages that a row with fewer tokens than ``base`` kept, English too; none when it kept all."""
    experiment = row.record.experiment
    own, all_of = row.record.footprint.vocabulary, base.record.footprint.vocabulary if base else None
    if experiment is None or own is None or all_of is None or own >= all_of:
        return ()
    return tuple(sorted({"en", *experiment.data.languages}))


def weight_bytes(row: Row) -> int | None:
    """Return the bytes of the weight files; None for an encoder without files."""
    return row.record.footprint.weight_bytes


def latency(row: Row) -> float | None:
    """Return milliseconds for a sentence given alone, the median over runs; None when not measured."""
    return _typical(row, lambda speed: speed.model.latency.median)


def latency_difference(row: Row, beside: Row) -> float | None:
    """Return the milliseconds that a sentence given alone takes longer than in another row.

    Each is taken as a share of what the assistant took in the same rounds, the median over runs, so that a machine that
    was slower for a while, or on another day, does not count. The difference of the shares is given in milliseconds of
    the assistant's median. None when one was not measured, or on another machine.
    """
    speeds = [run.speed for it in (row, beside) for run in it.runs if run.speed is not None]
    machines = {(it.machine.cpu, it.machine.cores, it.machine.threads, it.machine.device) for it in speeds}
    if len(machines) != 1 or len({it.precision for it in speeds}) != 1 or not all(map(_ratio, speeds)):
        return None
    own, other = (_typical(it, _share_of_baseline) for it in (row, beside))
    if own is None or other is None:
        return None
    return (own - other) * median(it.baseline.latency.median for it in speeds)


def throughput(row: Row) -> float | None:
    """Return sentences per second, the median over runs; None when not measured."""
    return _typical(row, lambda speed: speed.model.throughput.median)


def throughput_ratio(row: Row) -> float | None:
    """Return the throughput as a multiple of the given assistant's, the median over runs; None when not measured."""
    return _typical(row, lambda speed: speed.throughput_ratio.median)


def _ratio(speed: Speed) -> float:
    return speed.latency_ratio.median  # the assistant's time over the encoder's, round by round


def _share_of_baseline(speed: Speed) -> float:
    return 1 / _ratio(speed)


def _typical(row: Row, figure: Callable[[Speed], float]) -> float | None:
    found = [figure(run.speed) for run in row.runs if run.speed is not None]
    return median(found) if found else None


def train_minutes(row: Row) -> float | None:
    """Return the minutes of all stages of a run, the mean over runs; None for an encoder that was only scored."""
    found = [sum(stage.seconds for stage in run.stages) / 60 for run in row.runs if run.stages]
    return fmean(found) if found else None


def check_comparable(rows: Sequence[Row]) -> None:
    """Refuse to put scores into one table that do not belong together.

    Raises:
        XlbenchError: Suites, subsets, test data, harness versions, budgets or training data differ; says which.
    """
    records = [run for row in rows for run in row.runs]
    trained = [record for record in records if record.experiment]
    for compared, differing in ((records, differing_scores), (trained, _differing_training)):
        for record in compared[1:]:
            first = compared[0]
            if difference := differing(first, record):
                raise XlbenchError(
                    f"'{first.name}' and '{record.name}' cannot share a table: {difference}.",
                    "Make one of them again as the other was, or show only records that belong together.",
                )


def differing_scores(first: Record, other: Record) -> str | None:
    """Return what keeps the scores of two records from being compared; None where nothing does."""
    one, two = first.scores, other.scores
    if one.suite != two.suite:
        return f"suites '{one.suite}' and '{two.suite}'"
    if one.mteb_version.partition(".")[0] != two.mteb_version.partition(".")[0]:
        return f"mteb {one.mteb_version} and {two.mteb_version}"
    if one.tasks.keys() != two.tasks.keys():
        return f"tasks {', '.join(one.tasks)} and {', '.join(two.tasks)}"
    for task, scores in one.tasks.items():
        if scores.data != two.tasks[task].data:
            return f"other data of {task} ('{scores.data}' and '{two.tasks[task].data}')"
        if scores.split != two.tasks[task].split or set(scores.subsets) != set(two.tasks[task].subsets):
            return f"other subsets of {task}"
    return None


def _differing_training(first: Record, other: Record) -> str | None:
    one, two = first.experiment, other.experiment
    assert one is not None
    assert two is not None
    if one.budget != two.budget:
        return f"budgets '{one.budget.name}' and '{two.budget.name}'"
    if one.data.digest() != two.data.digest():
        return f"training data {_data(one)} and {_data(two)}"
    return None


def _data(experiment: Experiment) -> str:
    data = experiment.data
    corpora = ", ".join(f"{corpus.reference}@{corpus.digest[:8]}" for corpus in data.corpora)
    return f"{corpora} in {' '.join(data.languages)} (without {data.excluded[:8]})"
