"""Whole runs on toy encoders: stages shared, killed and resumed, the same for a seed, reported when reused."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from toy_runs import PLUGIN, make_place, settings_at, toy_request, toy_run
from xlbench_plugins.builtin import STARTER

from xlbench import XlbenchError
from xlbench.plugins.registry import load_registry
from xlbench.records.rows import rows_of
from xlbench.report.figures import figures
from xlbench.report.markdown import markdown
from xlbench.scoring.tasks import evaluation_texts
from xlbench.settings import Settings
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.records.record import Record
    from xlbench.runs.request import Request


@pytest.fixture(scope="session")
def toy_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an assistant, a teacher and a corpus."""
    place = make_place(tmp_path_factory.mktemp("toy"))
    save_toy_encoder(place / "teacher", seed=1)
    save_toy_encoder(place / "narrow", seed=2, hidden=8)
    return place


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def request(place: Path, **changes: object) -> Request:
    options = {} if changes.get("method") == "reference" else {"batch_size": 16}
    return toy_request(place, **{"options": options, **changes})


def go(home: Path, wanted: Request) -> tuple[list[Record], list[str]]:
    results, notes = toy_run(wanted, settings_at(home))
    return results.records, notes


def stages(notes: list[str], word: str) -> set[str]:
    return {note.split()[1].rstrip(":") for note in notes if note.startswith("stage") and word in note}


def test_a_run_gives_teacher_assistant_and_student_and_the_second_takes_all_from_the_store(
    toy_place: Path, home: Path
) -> None:
    rows, _ = go(home, request(toy_place))
    assert [row.role for row in rows] == ["teacher", "assistant", "aligned", "student"]
    student = rows[-1]
    assert student.footprint.stored_layers == 2
    assert student.footprint.executed_layers == 4
    assert [stage.name for stage in student.stages] == [
        "teacher-centred",
        "alignment",
        "aligned",
        "recurrent",
        "contrastive",
    ]
    again, notes = go(home, request(toy_place))
    # Of the 240 pairs 16 are held out; 80 of each of the two languages are trained on.
    assert notes == [
        "all 4 records come from the store",
        "pairs: 240 read; 0 duplicates, 0 in a test set, 64 over the budget or a cap; 176 kept (160 to train on, 16"
        " held out)",
    ]
    assert again == rows


def test_speed_is_measured_against_the_assistant_in_the_same_process(toy_place: Path, home: Path) -> None:
    wanted = request(toy_place, method="reference", options={"encoder": "assistant"})
    (row,) = toy_run(wanted, settings_at(home, speed_rounds=1))[0].records
    assert row.speed is not None
    assert row.speed.model.throughput.median > 0
    assert row.speed.sentences > 100


def test_a_speed_that_was_left_out_is_measured_by_a_later_run_which_scores_nothing_again(
    toy_place: Path, home: Path
) -> None:
    wanted = request(toy_place)
    rows, _ = go(home, wanted)
    assert {row.speed for row in rows} == {None}
    results, notes = toy_run(wanted, settings_at(home, speed_rounds=1))
    assert not [note for note in notes if note.startswith("scoring") or note.endswith(": running")]
    assert [note for note in notes if "speed" in note] == [f"measuring the speed of {row.name}" for row in rows]
    assert all(row.speed is not None for row in results.records)
    assert [row.model_copy(update={"speed": None}) for row in results.records] == rows
    assert set(results.statistics.rows) == {row.name for row in results.rows}  # their items came along
    again, notes = toy_run(wanted, settings_at(home, speed_rounds=1))
    assert notes[0] == "all 4 records come from the store"
    assert again.records == results.records
    assert go(home, wanted)[0] == results.records  # one without speeds takes them as they are


def test_for_a_speed_alone_nothing_is_trained(toy_place: Path, home: Path) -> None:
    rows, _ = go(home, request(toy_place))
    shutil.rmtree(home / "stages")
    results, notes = toy_run(request(toy_place), settings_at(home, speed_rounds=1))
    assert notes[0] == "all 4 records come from the store"
    assert results.records == rows


def test_training_sees_the_requested_number_of_pairs(toy_place: Path, home: Path) -> None:
    rows, _ = go(home, request(toy_place))
    seen = {stage.name: stage.pairs for stage in rows[-1].stages}
    # Budget: 64 for the assistant; 320 for the student, of which a tenth and the rest, in batches of 16.
    assert seen == {
        "teacher-centred": 0,
        "alignment": 64,
        "aligned": 0,
        "recurrent": 32,
        "contrastive": 288,
    }


def test_ablations_train_only_what_differs_and_report_the_rest_as_stored(toy_place: Path, home: Path) -> None:
    go(home, request(toy_place))
    shared = {
        "no-contrastive": {"teacher-centred", "alignment", "aligned", "recurrent"},
        "no-recurrent": {"teacher-centred", "alignment", "aligned"},
        "no-bottleneck": {"teacher-centred", "alignment", "aligned"},
        "single-stage": {"teacher-centred"},
    }
    for method, expected in shared.items():
        _, notes = go(home, request(toy_place, method=method))
        assert stages(notes, "from the store") == expected, method


def test_a_stage_that_begins_at_its_targets_keeps_its_start(toy_place: Path, home: Path) -> None:
    from safetensors.torch import load_file

    whole = {"name": "whole", "layers": 4}  # of the assistant's four: the student is the assistant
    rows, _ = go(home, request(toy_place, student=whole))
    stages = {stage.name: stage for stage in rows[-1].stages}
    losses = [it["loss"] for it in stages["recurrent"].evaluations]
    assert min(losses) == losses[0] < 1e-3  # its own vectors, stored in half precision
    # The others keep their start just where no evaluation was better; the kept one has the least loss x (2 - accuracy).
    kept = {}
    for name, start in (("alignment", "teacher-centred"), ("recurrent", "aligned"), ("contrastive", "recurrent")):
        before, after = (
            load_file(home / "stages" / stages[it].key / "model" / "model.safetensors") for it in (start, name)
        )
        kept[name] = all(before[part].equal(tensor) for part, tensor in after.items())
        first, *rest = (it["loss"] * (2 - it["accuracy"]) for it in stages[name].evaluations)
        assert kept[name] == (first <= min(rest)), name
    assert kept["recurrent"]
    assert not all(kept.values())


def test_another_seed_shares_the_assistant(toy_place: Path, home: Path) -> None:
    go(home, request(toy_place))
    _, notes = go(home, request(toy_place, seeds=(1,)))
    assert stages(notes, "from the store") == {"teacher-centred", "alignment", "aligned"}


def test_the_same_seed_gives_the_same_student(toy_place: Path, home: Path, tmp_path: Path) -> None:
    first, _ = go(home, request(toy_place))
    second, _ = go(tmp_path / "elsewhere", request(toy_place))
    assert first[-1].scores.tasks == second[-1].scores.tasks
    assert [stage.evaluations for stage in first[-1].stages] == [stage.evaluations for stage in second[-1].stages]


def test_ablations_have_their_declared_sizes(toy_place: Path, home: Path) -> None:
    sizes = {}
    for method in ("multistage", "no-bottleneck", "no-recurrent", "single-stage"):
        size = go(home, request(toy_place, method=method))[0][-1].footprint
        sizes[method] = (size.parameters, size.stored_layers, size.executed_layers)
    assert sizes["single-stage"] == sizes["multistage"]
    assert sizes["no-recurrent"] == (sizes["multistage"][0], 2, 2)
    # The full table has 40 x 16 numbers where the student has 40 x 8 and 8 x 16: 40 tokens, widths 16 and 8.
    assert sizes["no-bottleneck"][0] - sizes["multistage"][0] == 40 * 16 - (40 * 8 + 8 * 16)
    deep = go(home, request(toy_place, method="no-recurrent", options={"full_depth": True, "batch_size": 16}))[0][
        -1
    ].footprint
    assert (deep.stored_layers, deep.executed_layers) == (4, 4)


def test_a_damaged_stage_is_made_again_with_the_same_result(toy_place: Path, home: Path) -> None:
    first, _ = go(home, request(toy_place))
    key = first[-1].stages[-1].key
    weights = home / "stages" / key / "model" / "model.safetensors"
    broken = bytearray(weights.read_bytes())
    broken[-1] ^= 1
    weights.write_bytes(broken)
    shutil.rmtree(home / "records")
    second, notes = go(home, request(toy_place))
    assert stages(notes, "made in") == {"contrastive"}
    assert second[-1].scores.tasks == first[-1].scores.tasks


def test_two_teachers_are_mixed_and_a_foreign_teacher_works(toy_place: Path, home: Path) -> None:
    rows, _ = go(home, request(toy_place, teacher=("assistant", str(toy_place / "teacher"))))
    names = [stage.name for stage in rows[-1].stages]
    assert names[:2] == ["teacher-centred", "teacher:1-centred"]
    foreign, _ = go(home, request(toy_place, teacher=(str(toy_place / "teacher"),)))
    assert foreign[0].name == "teacher, mean-centred"


def test_the_reference_method_scores_without_training(toy_place: Path, home: Path) -> None:
    rows, notes = go(home, request(toy_place, method="reference"))
    assert [row.role for row in rows] == ["teacher"]
    assert stages(notes, "made") == set()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "multistge"}, "Did you mean multistage"),
        ({"student": "minilm-hlf"}, "Did you mean minilm-half"),
        ({"suite": "tyo"}, "Did you mean toy"),
        ({"budget": "exampel"}, "Did you mean example"),
        ({"languages": ("fr",)}, r"No corpus has pairs for fr"),
        ({"student": "minilm-half"}, "hidden size 384, this one has 16"),
        ({"student": {"name": "w", "bottleneck": 16, "layers": 2}}, "not narrower than the assistant"),
        ({"student": {"name": "d", "layers": 9}}, "has only 4"),
        ({"options": {"learning_rat": 1}}, "Did you mean learning_rate"),
        ({"options": {"learning_rate": "quick"}}, "cannot be 'quick'"),
        ({"options": {"batch_size": 1}}, "greater than or equal to 4"),
        ({"teacher": ("nowhere",)}, "Unknown encoder 'nowhere'"),
        ({"teacher": ("assistant", "assistant")}, "Teacher 'assistant' is given twice"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(
    toy_place: Path, home: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(XlbenchError, match=words) as caught:
        go(home, request(toy_place, **changes))
    assert str(caught.value).count("\n") <= 1
    assert not (home / "stages").exists()


def test_a_teacher_of_another_width_is_refused_before_training(toy_place: Path, home: Path) -> None:
    with pytest.raises(XlbenchError, match=r"pulls vectors of width 16 to .* whose width is 8"):
        go(home, request(toy_place, teacher=(str(toy_place / "narrow"),)))
    assert not (home / "stages").exists()


def test_suites_that_keep_out_each_others_sentences_share_stages(toy_place: Path, home: Path, tmp_path: Path) -> None:
    settings = Settings(home=home, quiet=True)
    scored = set(evaluation_texts((load_registry((PLUGIN,)).suites["toy"],), settings))
    english = next(text for text in evaluation_texts((STARTER,), settings) if text not in scored)
    shutil.copytree(toy_place / "corpus", tmp_path / "corpus")
    with (tmp_path / "corpus" / "en-de.tsv").open("a", encoding="utf-8") as stream:
        stream.write(f"{english}\tein Satz\n")
    corpus = (f"tsv:{tmp_path / 'corpus'}",)
    alone = go(home, request(toy_place, corpus=corpus))[0][-1]
    student = go(home, request(toy_place, corpus=corpus, keep_out=("starter",)))[0][-1]
    other, notes = go(home, request(toy_place, corpus=corpus, suite="starter", keep_out=("toy",)))
    assert [row.corpus.corpora[0].overlap for row in (alone, student, other[-1]) if row.corpus] == [0, 1, 1]
    assert stages(notes, "making") == set()
    assert other[-1].encoder_key == student.encoder_key != alone.encoder_key
    assert other[-1].scores.suite == "starter"
    assert student.experiment is not None
    assert [suite.name for suite in student.experiment.keep_out] == ["starter"]
    assert "also a sentence of the suite or of starter: 1 of" in markdown(figures(rows_of([student])))
    # Who keeps out nothing more is written, and so known in the store, as before there was a choice.
    assert alone.experiment is not None
    assert alone.experiment.keep_out == ()


def test_records_of_different_suites_never_share_a_table(toy_place: Path, home: Path) -> None:
    rows, _ = go(home, request(toy_place, method="reference"))
    other = rows[0].model_copy(update={"scores": rows[0].scores.model_copy(update={"suite": "paper"})})
    with pytest.raises(XlbenchError, match="cannot share a table: suites 'toy' and 'paper'"):
        markdown(figures(rows_of([rows[0], other])))
