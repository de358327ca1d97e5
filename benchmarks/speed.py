"""One command for every figure of speed: ``python -m benchmarks.speed --help``.

Prints each figure beside those of other implementations, writes ``speed.json`` and the pictures, and puts the tables
between the marks of ``README.md``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import click
from pydantic import ValidationError

from benchmarks.results import Results, markdown
from xlbench.plugins.registry import load_registry
from xlbench.runs.session import prepare_process
from xlbench.scoring.machine import describe_machine
from xlbench.settings import read_settings
from xlbench.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.material import Material
    from benchmarks.results import Part
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings

PARTS = ("training", "encoding", "scoring", "intervals", "boards", "growth", "start")
FIRST, LAST = "<!-- figures -->", "<!-- /figures -->"
JSON = "speed.json"


def parts(
    material: Callable[[], Material],
    settings: Settings,
    registry: Registry,
    out: Path,
    *,
    quick: bool,
    repetitions: int,
    suite: str,
    encoder: str,
) -> dict[str, Callable[[], Part]]:
    """Return every part by name; modules are imported by the parts that need them."""

    def training() -> Part:
        from benchmarks.training import measure_training

        return measure_training(material(), out, repetitions=repetitions, batches=4 if quick else 8)

    def encoding() -> Part:
        from benchmarks.encoding import measure_encoding

        return measure_encoding(material(), repetitions=repetitions, sentences=64 if quick else 1024)

    def scoring() -> Part:
        from benchmarks.scoring import measure_scoring

        return measure_scoring(material(), suite=suite, encoder=encoder)

    def intervals() -> Part:
        from benchmarks.intervals import measure_intervals

        return measure_intervals(settings.home.parent, quick=quick)

    board = settings.model_copy(update={"home": settings.home.parent / "board"})

    def boards() -> Part:
        from benchmarks.boards import measure_boards

        return measure_boards(board, registry, budget="smoke")

    def growth() -> Part:
        from benchmarks.growth import measure_growth

        return measure_growth(material(), out, (500, 1000, 2000) if quick else (10_000, 100_000, 1_000_000))

    def start() -> Part:
        from benchmarks.start import measure_start

        return measure_start(board.home, repetitions=2 if quick else 5)

    def learning() -> Part:
        from benchmarks.learning import measure_learning

        return measure_learning(material(), batches=2 if quick else 24)

    return {
        "training": training,
        "encoding": encoding,
        "scoring": scoring,
        "intervals": intervals,
        "boards": boards,
        "growth": growth,
        "start": start,
        "learning": learning,
    }


@click.command()
@click.option("--data-root", type=click.Path(path_type=Path), help="Pairs and test sets; without it the starter's.")
@click.option("--only", help=f"Parts, with commas between: {','.join(PARTS)} [all]. The others keep their figures.")
@click.option("--learning", is_flag=True, help="Compare dev losses instead: slow, and no timing.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the JSON, README and pictures go [benchmarks].")
@click.option("--work", type=click.Path(path_type=Path), help="Keep the stores here [a temporary directory].")
@click.option("--repetitions", type=click.IntRange(min=1), help="Turns of the contenders [3; 1 with --quick].")
@click.option("--suite", help="What 'scoring' scores [paper with a data root that has datasets, else starter].")
@click.option("--encoder", default="all-minilm-l6-v2", show_default=True, help="What 'scoring' scores it with.")
@click.option("--device", help="torch device.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads for torch.")
@click.option("--quick", is_flag=True, help="Tiny sizes, to see that everything works; writes into the work directory.")
def main(
    data_root: Path | None,
    only: str | None,
    learning: bool,
    out: Path | None,
    work: Path | None,
    repetitions: int | None,
    suite: str | None,
    encoder: str,
    device: str | None,
    threads: int | None,
    quick: bool,
) -> None:
    """Measure training, encoding, scoring, boards, growth and start against their peers and the machine's limit."""
    names = ("learning",) if learning else tuple(only.split(",")) if only else PARTS
    if unknown := [name for name in names if name not in {*PARTS, "learning"}]:
        raise click.BadParameter(f"no part is called {unknown[0]!r}; there are {', '.join(PARTS)}", param_hint="--only")
    place = (work or Path(mkdtemp(prefix="xlbench-speed-"))).absolute()
    place.mkdir(parents=True, exist_ok=True)
    out = out or (place if quick else Path(__file__).parent)
    settings = read_settings(place / "store", data_root, offline=True, device=device, threads=threads, quiet=True)
    prepare_process(settings)
    registry = load_registry()
    made: list[Material] = []

    def material() -> Material:
        from benchmarks.material import gather

        if not made:
            made.append(gather(settings, registry, place, quick=quick))
        return made[0]

    has_tasks = settings.data_root is not None and (settings.data_root / "datasets").is_dir()
    all_parts = parts(
        material,
        settings,
        registry,
        out,
        quick=quick,
        repetitions=repetitions or (1 if quick else 3),
        suite=suite or ("paper" if has_tasks and not quick else "starter"),
        encoder=encoder,
    )
    try:
        for name in names:
            print(f"== {name}", flush=True)
            add(name, all_parts[name], out, settings, quick=quick)
    finally:
        if work is None and not (quick and out == place):
            shutil.rmtree(place, ignore_errors=True)
    print(markdown(read(out)))
    print(f"\nwritten: {out / JSON}, {out / 'README.md'}")


def add(name: str, measure: Callable[[], Part], out: Path, settings: Settings, *, quick: bool) -> None:
    """Measure a part and write it beside those that are there, unless they are of another machine or size."""
    from benchmarks.measure import clock
    from xlbench.encoders.runtime import choose_device, choose_precision

    with clock() as taken:
        part = measure()
    part = part.model_copy(update={"minutes": round(taken.seconds / 60, 2)})
    machine = describe_machine(settings)
    before = read(out) if (out / JSON).is_file() else None
    kept = before.parts if before and before.machine == machine and before.quick == quick else {}
    order = {each: place for place, each in enumerate((*PARTS, "learning"))}
    together = dict(sorted({**kept, name: part}.items(), key=lambda item: order[item[0]]))
    precision = choose_precision(choose_device(settings))
    results = Results(machine=machine, precision=precision, quick=quick, parts=together)
    write_atomically(out / JSON, results.model_dump_json(indent=1) + "\n")
    write_readme(out / "README.md", results)


def read(out: Path) -> Results:
    """Return the results that were written before."""
    try:
        return Results.model_validate_json((out / JSON).read_text("utf-8"))
    except (ValidationError, json.JSONDecodeError) as error:
        raise click.ClickException(f"{out / JSON} is no result of this command: delete it.") from error


def write_readme(path: Path, results: Results) -> None:
    """Put the figures between the marks; where there is no README, write one that has nothing else."""
    text = path.read_text("utf-8") if path.is_file() else f"# Speed\n\n{FIRST}\n{LAST}\n"
    before, _, rest = text.partition(FIRST)
    _, _, after = rest.partition(LAST)
    write_atomically(path, f"{before}{FIRST}\n\n{markdown(results)}\n\n{LAST}{after}")


if __name__ == "__main__":
    main()
