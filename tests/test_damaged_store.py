"""A damaged store changes no number: what is damaged is left out or made again, said, and nothing needed is pruned."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet
from toy_board import EXAMPLE
from toy_runs import PLUGIN, make_place, settings_at, toy_request, toy_run

from xlbench import XlbenchError, open_store
from xlbench.cli.app import app
from xlbench.fingerprint import file_digest
from xlbench.functions import run_request_in
from xlbench.inventory import Store
from xlbench.records.stored import items_of, stored_records
from xlbench.store import Manifest, lease, read_sealed, remove, write_sealed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xlbench.fingerprint import Json
    from xlbench.runs.request import Request
    from xlbench.runs.results import Results


def request(place: Path, **changes: object) -> Request:
    return toy_request(place, method="single-stage", options={"batch_size": 32}, **changes)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = make_place(tmp_path_factory.mktemp("damaged"))
    toy_run(request(place), settings_at(place / "home"))
    return place


@pytest.fixture
def home(place: Path, tmp_path: Path) -> Path:
    shutil.copytree(place / "home", tmp_path / "home")
    return tmp_path / "home"


def go(place: Path, home: Path) -> tuple[Results, list[str]]:
    return toy_run(request(place), settings_at(home).model_copy(update={"quiet": False}))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def command(home: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["--home", str(home), "--plugin", str(PLUGIN), *words])
    return done.exit_code, done.output if done.exception is None else f"{done.output}{done.exception}"


def student(home: Path) -> str:
    (stored,) = (it for it in stored_records(settings_at(home)) if it.record.role == "student")
    return stored.key


@pytest.mark.parametrize("name", ["record.json", "items.parquet", "entry.json"])
def test_a_record_that_has_changed_is_made_again_with_its_numbers(
    place: Path, home: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = go(place, home)[0]
    capsys.readouterr()
    path = home / "records" / student(home) / name
    if name == "items.parquet":
        flip(path)
    else:  # another number, in sound JSON
        path.write_text(re.sub(r'("sts"|"made"): (\d)', r"\1: 8\2", path.read_text("utf-8")), "utf-8")
    after, notes = go(place, home)
    assert "scoring toy-half" in notes
    assert after.table().equals(before.table())
    said = [line for line in capsys.readouterr().err.splitlines() if "is damaged" in line]
    assert len(said) == 1
    assert said[0].startswith(f"xlbench: records {path.parent.name} is damaged ({name} ")
    assert "all 3 records come from the store" in go(place, home)[1]


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("prediction", "nan", "StarterSTS en-de has a score in the record, and an item that is not a number"),
        ("gold", "nan", "StarterSTS en-de has a score in the record, and an item that is not a number"),
        ("prediction", "inf", "'prediction' is infinite in places"),
        ("gold", "-inf", "'gold' is infinite in places"),
        ("rows", "fewer", "StarterSTS en-de has 65 items, and 66 in the record"),
        ("subset", "other", "is in one of the two alone"),
    ],
)
def test_items_that_are_not_those_of_their_record_are_named_and_scored_again(
    place: Path, home: Path, capsys: pytest.CaptureFixture[str], column: str, value: str, problem: str
) -> None:
    before = go(place, home)[0]
    path = home / "records" / student(home) / "items.parquet"
    table = parquet.read_table(path)
    if column == "rows":
        table = table.slice(1)
    else:
        values = table[column].to_pylist()
        values[0] = value if column == "subset" else float(value)
        new = pa.array(values) if column == "subset" else pa.array(values, pa.float32())
        table = table.set_column(table.schema.get_field_index(column), column, new)
    parquet.write_table(table, path)
    files = json.loads((path.parent / "entry.json").read_text("utf-8"))["files"]
    forge(path.parent / "entry.json", files={**files, "items.parquet": file_digest(path)})
    with pytest.raises(XlbenchError, match=problem):
        items_of(before.stored[-1], settings_at(home))
    capsys.readouterr()
    after, notes = go(place, home)
    assert "scoring toy-half" in notes
    assert problem in capsys.readouterr().err
    assert after.table().equals(before.table())


def test_of_records_in_a_directory_a_damaged_one_is_named_and_left_out(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "records")
    first, *others = sorted(tmp_path.glob("records/*.json"))
    left = [json.loads(path.read_text("utf-8"))["name"] for path in others]
    first.write_text(first.read_text("utf-8")[:100], "utf-8")
    os.mkfifo(tmp_path / "records" / "pipe.json")
    words = ["leaderboard", "show", str(tmp_path / "records")]
    table = CliRunner().invoke(app, words, catch_exceptions=False)
    named = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert sorted(row["name"] for row in json.loads(named.stdout)) == sorted(left)
    assert all(name in table.stdout for name in left)
    cut, pipe = table.stderr.splitlines()
    assert cut.startswith(f"xlbench: Record '{first}' cannot be read: ")
    assert cut.endswith(": left out")
    assert pipe == f"xlbench: Record '{tmp_path}/records/pipe.json' is no file: left out"
    for path in others:
        path.unlink()
    with pytest.raises(XlbenchError, match=f"'{first}' cannot be read"):
        CliRunner().invoke(app, words, catch_exceptions=False)


def test_near_duplicates_that_have_changed_are_counted_again(place: Path, home: Path) -> None:
    (path,) = home.glob("near-duplicates/*/entry.json")
    fields = json.loads(path.read_text("utf-8"))
    fields["facts"]["shares"] = dict.fromkeys(fields["facts"]["shares"], 0.75)
    path.write_text(json.dumps(fields), "utf-8")
    shutil.rmtree(home / "records")
    corpus = go(place, home)[0].student.record.corpus
    assert corpus is not None
    assert corpus.near_duplicates
    assert 0.75 not in corpus.near_duplicates.values()


def forge(path: Path, **values: object) -> None:
    """Change a manifest and seal it again."""
    manifest = read_sealed(path, Manifest)
    assert manifest is not None
    write_sealed(path, manifest.model_copy(update=values))


def numbers(results: Results) -> str:
    """Return the scores of a run's student, without the time that they took."""
    return results.student.record.scores.model_copy(update={"encode_seconds": 0.0}).model_dump_json()


def emptied(path: Path) -> None:
    """Take all files from an entry, and say in its manifest that it has none."""
    for it in path.iterdir():
        if it.name != "entry.json":
            it.unlink() if it.is_file() else shutil.rmtree(it)
    forge(path / "entry.json", files={})


@pytest.mark.parametrize("kinds", [("stages",), ("corpora", "near-duplicates"), ("targets", "tokens")])
def test_forged_entries_without_what_their_kind_has_are_made_again(
    place: Path, home: Path, kinds: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = go(place, home)[0]
    shutil.rmtree(home / "records")
    if "tokens" in kinds:  # which only a stage reads
        shutil.rmtree(home / "stages")
    paths = [path.parent for kind in kinds for path in home.glob(f"{kind}/*/entry.json")]
    for path in paths:
        forge(path / "entry.json", facts={})
        emptied(path)
    capsys.readouterr()
    after = go(place, home)[0]
    assert numbers(after) == numbers(before)
    assert capsys.readouterr().err.count("is damaged (") == len(paths) >= len(kinds)
    assert go(place, home)[0].student.model is not None


@pytest.mark.parametrize("facts", [{}, {"peak_memory": "much", "pairs": 1}])
def test_a_stage_with_forged_facts_runs_again(place: Path, home: Path, facts: dict[str, Json]) -> None:
    go(place, home)
    shutil.rmtree(home / "records")
    for path in home.glob("stages/*/entry.json"):
        forge(path, facts=facts)
    assert go(place, home)[0].student.record.stages[0].peak_memory > 0


def test_a_student_that_was_emptied_is_refused_and_made_again_to_be_saved(
    place: Path, home: Path, tmp_path: Path
) -> None:
    results = go(place, home)[0]
    emptied(results.student.path.parent)
    with pytest.raises(XlbenchError, match=r"is damaged \(model/modules\.json is missing\)"):
        results.student.save(tmp_path / "copy")
    where = {"home": home, "plugin": PLUGIN, "quiet": True, "device": "cpu"}
    run_request_in(request(place), where, save=tmp_path / "copy", speed=False)  # type: ignore[arg-type]
    assert (tmp_path / "copy" / "modules.json").is_file()


def test_forged_items_are_refused_and_scored_again(place: Path, home: Path) -> None:
    (run,) = (it for it in stored_records(settings_at(home)) if it.record.role == "student")
    path = home / "records" / run.key
    table = parquet.read_table(path / "items.parquet")
    empty = pa.nulls(len(table), table.schema.field("prediction").type)
    at = table.schema.get_field_index("prediction")
    parquet.write_table(table.set_column(at, "prediction", empty), path / "items.parquet")
    manifest = read_sealed(path / "entry.json", Manifest)
    assert manifest is not None
    forge(path / "entry.json", files={**manifest.files, "items.parquet": file_digest(path / "items.parquet")})
    with pytest.raises(XlbenchError, match=r"items\.parquet' cannot be read: 'prediction' is empty in places"):
        items_of(run, settings_at(home))
    assert "scoring toy-half" in go(place, home)[1]
    assert items_of(run, settings_at(home))


def test_a_directory_in_the_place_of_a_lease_is_left_out(home: Path) -> None:
    (home / "running" / "host-1-x.lock").mkdir(parents=True)
    (home / "running" / "x.lock").mkdir()
    code, text = command(home, "status")
    assert (code, text.count("host-1-x.lock' is no file and so no lease")) == (0, 1)
    code, text = command(home, "store", "prune", "--yes")
    assert code == 0
    assert "deleted" in text


def test_what_a_build_deletes_while_the_store_is_pruned_is_no_error(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = home / "partial" / "stages-k"
    (build / "scratch" / "training").mkdir(parents=True)
    (build / "attempt.json").write_text("{}")
    walk = os.walk

    def late(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        for found in walk(path):
            shutil.rmtree(build / "scratch", ignore_errors=True)  # when its names are known
            yield found

    monkeypatch.setattr(remove.os, "walk", late)
    assert [it.path for it in remove.unfinished(home)] == [build]
    monkeypatch.undo()
    shutil.rmtree(build)
    assert remove.remove_unfinished(home, build.name) is None


def test_a_bad_record_is_left_out_of_tables_and_said(home: Path) -> None:
    (home / "records" / student(home) / "record.json").write_text("no JSON")
    code, text = command(home, "leaderboard", "show", "--suite", "toy")
    assert code == 0
    assert "toy-half" not in text.partition("|")[2]
    assert "is damaged (record.json has changed): left out; to run or score it again makes it anew" in text


def test_items_that_have_changed_are_not_compared(home: Path) -> None:
    (run,) = (it for it in stored_records(settings_at(home)) if it.record.role == "student")
    flip(home / "records" / run.key / "items.parquet")
    with pytest.raises(XlbenchError, match=r"is damaged \(items.parquet has changed\)") as caught:
        items_of(run, settings_at(home))
    assert caught.value.remedy == "Run or score it again: what is damaged or missing is made anew."


def test_a_student_that_has_changed_is_not_loaded_and_is_made_again_to_be_saved(
    place: Path, home: Path, tmp_path: Path
) -> None:
    results = go(place, home)[0]
    weights = results.student.path / "model.safetensors"
    before = weights.read_bytes()
    flip(weights)
    for use in (lambda: results.student.model, lambda: results.student.save(tmp_path / "copy")):
        with pytest.raises(XlbenchError, match=r"is damaged .*model\.safetensors has changed"):
            use()
    where = {"home": home, "plugin": PLUGIN, "quiet": True, "device": "cpu"}
    run_request_in(request(place), where, save=tmp_path / "copy", speed=False)  # type: ignore[arg-type]
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == before


def test_pruning_keeps_what_records_need_and_what_runs_need(home: Path) -> None:
    kinds = {it.kind for it in Store(settings_at(home)).entries()}
    assert kinds == {"corpora", "near-duplicates", "records", "stages", "targets", "tokens"}
    code, text = command(home, "store", "prune", "--yes")
    assert code == 0
    assert re.search(r"kept stages/\w+: record \w{8} \(toy-half\) needs it", text)
    assert {it.kind for it in Store(settings_at(home)).entries()} == {"corpora", "records", "stages"}
    stage = next((home / "stages").iterdir()).name
    with lease(home, [("stages", stage)]):
        assert f"kept stages/{stage}: a run needs it" in command(home, "store", "prune", "--force", "--yes")[1]
    assert {it.kind for it in Store(settings_at(home)).entries()} == {"records", "stages"}
    command(home, "store", "prune", "--force", "--yes")
    assert {it.kind for it in Store(settings_at(home)).entries()} == {"records"}
    command(home, "store", "prune", student(home)[:6], "--force", "--yes")
    assert len(Store(settings_at(home)).entries()) == 2


def test_a_forged_manifest_deletes_nothing_outside_of_the_store(home: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (home / "stages" / "a").mkdir()
    for kind, key in (("stages", str(precious)), ("../..", "precious")):
        forged = {"kind": kind, "key": key, "made": 0, "seconds": 0, "facts": {}, "files": {}}
        (home / "stages" / "a" / "entry.json").write_text(json.dumps(forged))
        assert "deleted stages/a\n" in command(home, "store", "prune", "--yes")[1]
        (home / "stages" / "a").mkdir()
    assert precious.is_dir()


def test_the_store_is_listed_shown_and_verified(home: Path) -> None:
    key = student(home)
    listed = json.loads(command(home, "store", "ls", "--json")[1])
    (row,) = (it for it in listed if it["key"] == key)
    size = sum(path.stat().st_size for path in (home / "records" / key).iterdir())
    assert (row["kind"], row["what"], row["bytes"], row["damage"]) == ("records", "toy-half", size, None)
    stages = [it for it in listed if it["kind"] == "stages"]
    assert all(f"record {key[:8]} (toy-half)" in it["needed_by"] for it in stages)
    code, text = command(home, "store", "verify")
    assert (code, text.count("damaged")) == (0, 1)
    assert f"{len(listed)} entries verified" in text
    assert '"items.parquet"' in command(home, "store", "show", key[:8])[1]
    flip(home / "records" / key / "items.parquet")
    code, text = command(home, "store", "verify", "--json")
    assert "1 of" in text
    assert code != 0
    assert "damaged: items.parquet has changed" in command(home, "store", "show", key[:8])[1]
    assert f"deleted records/{key}" in command(home, "store", "prune", "--damaged", "--yes")[1]
    assert f"has no entry '{key}'" in command(home, "store", "show", key)[1]


def test_a_run_that_was_exported_is_there_on_another_machine(place: Path, home: Path, tmp_path: Path) -> None:
    key = student(home)
    assert command(home, "store", "export", str(tmp_path / "run.tar"), key)[0] == 0
    there = tmp_path / "there"
    code, text = command(there, "store", "import", str(tmp_path / "run.tar"))
    assert code == 0
    # The record, its two stages (the centred teacher and the student), and its training data.
    assert text.endswith("4 entries added, 0 were there already\n")
    assert "scoring toy-half" not in go(place, there)[1]
    assert open_store(home=there).verify() == []


def test_a_run_that_was_pushed_is_there_on_a_machine_that_pulls_it(place: Path, home: Path, tmp_path: Path) -> None:
    key, there, shared = student(home), tmp_path / "there", str(tmp_path / "shared")
    code, text = command(home, "store", "sync", "--push", shared, key)
    assert (code, "4 entries pushed" in text) == (0, True)
    code, text = command(there, "store", "sync", "--pull", shared, key)  # which it has never heard of
    assert (code, "4 entries pulled" in text) == (0, True)
    assert "scoring toy-half" not in go(place, there)[1]
    assert open_store(home=there).verify() == []
