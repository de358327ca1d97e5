"""A run: distil, score and record an experiment beside its teacher and assistant; all that is there is reused."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xlbench._version import __version__
from xlbench.corpora.folding import text_key
from xlbench.corpora.prepare import prepare
from xlbench.distill.engine import Distilled, given_sources, run_plan
from xlbench.distill.plan import Plan, stage_keys
from xlbench.encoders.sources import load_encoder
from xlbench.fingerprint import Json, fingerprint
from xlbench.leaderboard.record import FILE, ITEMS, KIND, Provenance, Record, Role, read_record
from xlbench.runs.process import prepare_process
from xlbench.runs.provenance import git_revision
from xlbench.runs.resolve import method_options, resolve
from xlbench.scoring.declared import mteb_version
from xlbench.scoring.tasks import evaluation_texts
from xlbench.store import get_or_build, read_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.corpora.sources import OpenCorpus
    from xlbench.experiment import EncoderRef, Experiment
    from xlbench.plugins import Registry
    from xlbench.runs.request import Request
    from xlbench.settings import Settings

SPEED_SAMPLE = 192  # sentences


class Row(NamedTuple):
    """A row that a run gives: which source of the plan, in which role, under which name and key."""

    source: str
    role: Role
    name: str
    key: str


def run(
    request: Request, registry: Registry, settings: Settings, say: Callable[[str], None] = lambda _: None
) -> list[Record]:
    """Run an experiment and return its records: teacher, assistant, aligned assistant and student.

    Args:
        request: What to run, by names.
        registry: What plugins brought.
        settings: Paths and switches.
        say: Told what is made and what comes from the store.

    Raises:
        XlbenchError: Anything that the user can mend.
    """
    experiment, corpora = resolve(request, registry, settings)
    method = registry.methods[experiment.method]
    plan = method.plan(experiment, method_options(method, dict(request.options)))
    keys = stage_keys(plan, given_sources(experiment), experiment.data.digest(), experiment.precision)
    rows = _rows(plan, experiment, keys, student=method.student)
    if all(read_entry(settings.home, KIND, row.key, verify=False) for row in rows):
        say(f"all {len(rows)} records come from the store")
        return [read_record(settings.home / KIND / row.key / FILE) for row in rows]
    prepare_process(settings)
    session = _Session(experiment, corpora, registry, settings)
    distilled = run_plan(plan, experiment, session.corpus, session.load_given, settings, say)
    return [_record(row, plan, distilled, session, say) for row in rows]


def _rows(plan: Plan, experiment: Experiment, keys: dict[str, str], *, student: bool) -> list[Row]:
    """Return the rows of a plan, each source once."""
    teacher, assistant = _title(experiment.teacher), _title(experiment.assistant)
    given = {"assistant": assistant, "teacher": teacher}

    def name(source: str, word: str) -> str:
        return given.get(source) or f"{teacher if word == 'centred' else assistant}, {word}"

    wanted: list[tuple[str, Role, str]] = [
        (plan.teacher, "teacher", name(plan.teacher, "centred")),
        ("assistant", "assistant", assistant),
        (plan.assistant, "aligned", name(plan.assistant, "aligned")),
    ]
    if student:
        wanted.append((plan.result, "student", experiment.student.name))
    rows: dict[str, Row] = {}
    for source, role, title in wanted:
        if keys[source] not in rows or role == "student":
            facts: Json = {
                "source": keys[source],
                "suite": experiment.suite.model_dump(mode="json"),
                "evaluation": experiment.data.excluded,
                "mteb": mteb_version(),
                "precision": experiment.precision,
                "name": title,
                "role": role,
                "experiment": experiment.model_dump(mode="json") if role == "student" else None,
            }
            rows[f"{keys[source]} {role}" if role == "student" else keys[source]] = Row(
                source, role, title, fingerprint(facts)
            )
    return list(rows.values())


def _title(encoder: EncoderRef) -> str:
    """Return what boards call an encoder: its name, without the place for one in a directory."""
    return Path(encoder.name).name if encoder.origin == "local" else encoder.name


class _Session:
    """What a run loads at most once."""

    def __init__(
        self, experiment: Experiment, corpora: list[OpenCorpus], registry: Registry, settings: Settings
    ) -> None:
        self.experiment = experiment
        self.registry = registry
        self.settings = settings
        self.corpora = corpora
        self.corpus = cache(self._corpus)
        self.sample = cache(self._sample)
        self.baseline = cache(partial(self.load_given, "assistant"))

    def _corpus(self) -> PreparedCorpus:
        def excluded() -> set[int]:
            return {text_key(text) for text in evaluation_texts(self.experiment.suite, self.settings)}

        return prepare(self.experiment.data, self.corpora, excluded, self.settings)

    def _sample(self) -> list[str]:
        """Return sentences of the suite, of mixed length, spread evenly over it."""
        texts = sorted(set(evaluation_texts(self.experiment.suite, self.settings)))
        return texts[:: max(1, len(texts) // SPEED_SAMPLE)][:SPEED_SAMPLE]

    def load_given(self, source: str) -> SentenceTransformer:
        """Load an encoder that was given, anew: who asks may change it."""
        return load_encoder(self.reference(source), self.registry.encoders, self.settings)

    def reference(self, source: str) -> EncoderRef:
        """Return which encoder a source of the plan is."""
        if source == "assistant":
            return self.experiment.assistant
        return self.experiment.teachers[int(source.partition(":")[2] or 0)]


def _record(row: Row, plan: Plan, distilled: Distilled, session: _Session, say: Callable[[str], None]) -> Record:
    def build(directory: Path) -> dict[str, Json]:
        say(f"scoring {row.name}")
        record = _score(row, plan, distilled, session, directory)
        (directory / FILE).write_text(record.model_dump_json(indent=1, by_alias=True) + "\n", "utf-8")
        return {"name": row.name, "role": row.role}

    entry = get_or_build(session.settings.home, KIND, row.key, build)
    return read_record(entry.path / FILE)


def _score(row: Row, plan: Plan, distilled: Distilled, session: _Session, directory: Path) -> Record:
    from xlbench.encoders.anatomy import saved_directory
    from xlbench.encoders.runtime import choose_device
    from xlbench.scoring.footprint import measure_footprint
    from xlbench.scoring.harness import score
    from xlbench.scoring.items import write_items
    from xlbench.scoring.machine import describe_machine
    from xlbench.scoring.speed import measure_speed
    from xlbench.students.load import load_student

    experiment, settings = session.experiment, session.settings
    made = distilled.paths.get(row.source)
    model = load_student(made).to(choose_device(settings)) if made else session.load_given(row.source)
    scored = score(model, experiment.suite, settings, precision=experiment.precision, title=f"scoring {row.name}")
    write_items(directory / ITEMS, scored.items)
    needed = _needed(plan, row.source)
    student = row.role == "student"
    return Record(
        name=row.name,
        role=row.role,
        source=distilled.keys[row.source],
        experiment=experiment if student else None,
        stages=tuple(stage for stage in distilled.stages if stage.name in needed),
        corpus=session.corpus().facts if made else None,
        scores=scored.scores,
        footprint=measure_footprint(model, made or saved_directory(model)),
        speed=measure_speed(
            model,
            session.baseline(),
            session.sample(),
            settings,
            precision=experiment.precision,
            repetitions=settings.speed_rounds,
        )
        if settings.speed_rounds
        else None,
        provenance=Provenance(
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            xlbench=__version__,
            git=git_revision(),
            machine=describe_machine(settings),
        ),
    )


def _needed(plan: Plan, source: str) -> set[str]:
    """Return the stages that a source rests on, itself included."""
    needed: set[str] = set()
    open_names = [source]
    while open_names:
        if (stage := plan.stage(open_names.pop())) and stage.name not in needed:
            needed.add(stage.name)
            open_names += stage.sources()
    return needed
