"""The model card of a saved or exported student: what the hub and MTEB read of it, and what it tells readers."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import ModelCard
from toy_board import example_student
from toy_runs import PLUGIN, STUDENT, make_place

import xlbench
from xlbench.cli.app import app
from xlbench.exports.card import write_card
from xlbench.report.card import model_card
from xlbench.report.card_facts import CardFacts, EncoderNotes
from xlbench.runs.reproduce import without_paths

if TYPE_CHECKING:
    from xlbench import Results
    from xlbench.arguments import Where

ROOT = Path(__file__).parents[1]
SECTIONS = [
    "How to load it", "Scores", "Languages", "Size and speed", "Intended use and limits", "How it was made",
    "Training data", "Contamination", "Make it again", "Citation",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An assistant with a card of its own, and a corpus."""
    directory = make_place(tmp_path_factory.mktemp("card"))
    (directory / "assistant" / "README.md").write_text("---\nlicense: apache-2.0\n---\nA toy.\n", "utf-8")
    return directory


def where(place: Path) -> Where:
    return {"home": place / "home", "plugin": PLUGIN, "device": "cpu", "quiet": True}


@pytest.fixture(scope="module")
def results(place: Path) -> Results:
    return xlbench.run(
        student=STUDENT, assistant=str(place / "assistant"), corpus=f"tsv:{place / 'corpus'}", suite="toy",
        budget="toy", precision="float32", options={"batch_size": 16, "trim": True}, speed=False, **where(place),
    )  # fmt: skip


@pytest.fixture(scope="module")
def saved(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results.student.save(tmp_path_factory.mktemp("saved") / "student")


def test_the_front_matter_is_what_the_hub_and_mteb_read(results: Results, saved: Path) -> None:
    data = ModelCard.load(saved / "README.md").data
    assert (data.language, data.license) == (["en", "de"], "apache-2.0")  # the licence of the assistant's own card
    assert (data.library_name, data.pipeline_tag) == ("sentence-transformers", "sentence-similarity")
    assert {"sentence-transformers", "xlbench"} <= set(data.tags)
    assert "mteb" not in data.tags  # the toy suite is a worked example
    assert data.base_model is None  # a directory: the hub would refuse it as no name of a model
    found = {
        (it.task_type, it.dataset_name, it.dataset_config, it.dataset_split, it.metric_type): it.metric_value
        for it in data.eval_results
    }
    tasks = results.student.record.scores.tasks
    sts, bitext = tasks["StarterSTS"].subsets["en-de"], tasks["StarterBitext"].subsets["de-en"]
    assert sts.main is not None
    assert bitext.main is not None
    assert found == {
        ("STS", "StarterSTS (en-de)", "en-de", "test", "cosine_spearman"): round(sts.main, 4),
        ("BitextMining", "StarterBitext (de-en)", "de-en", "test", "f1"): round(bitext.main, 4),
    }


def test_scores_have_the_intervals_of_the_frame(results: Results, saved: Path) -> None:
    card = (saved / "README.md").read_text("utf-8")
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == SECTIONS
    frame = results.to_dataframe()
    for line in frame[frame.role == "student"].itertuples():
        cells = [line.task, line.subset, line.languages, str(line.items), points(line.score)]
        row = [*cells, f"{points(line.low)} to {points(line.high)}"]
        assert rf"| {' | '.join(row)} |" in re.sub(r" +", " ", card)
    assert "from 10,000 resamples" in card


def points(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")


def test_what_trimming_kept_and_lost_is_told(results: Results, saved: Path) -> None:
    card = (saved / "README.md").read_text("utf-8")
    kept = results.student.record.footprint.vocabulary
    assert "Its vocabulary was trimmed to what en, de need." in card
    assert f"{kept} of 40 tokens are kept." in card
    corpus = results.student.record.corpus
    assert corpus is not None
    assert f"dropped because a side is also a sentence of the suite: 0 of {corpus.corpora[0].read}." in card


def test_the_card_has_no_path_and_no_time_and_is_the_same_again(
    results: Results, saved: Path, place: Path, tmp_path: Path
) -> None:
    card = (saved / "README.md").read_text("utf-8")
    assert str(place) not in card
    assert str(Path.home()) not in card
    assert results.student.record.provenance.made[:10] not in card
    again = results.student.save(tmp_path / "again")
    assert (again / "README.md").read_text("utf-8") == card


def test_its_command_makes_the_same_student(
    results: Results, saved: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script,) = re.findall(r"```sh\n(xlbench run.*?)```", (saved / "README.md").read_text("utf-8"), re.DOTALL)
    words = shlex.split(script.replace("\\\n", " "))
    monkeypatch.chdir(place)
    options = ["--home", str(place / "home"), "--plugin", str(PLUGIN), "--device", "cpu", "-q"]
    done = CliRunner().invoke(app, [*options, *words[1:], "--no-speed", "--json"], catch_exceptions=False)
    assert f'"encoder_key": "{results.student.record.encoder_key}"' in done.stdout
    assert words[-4:] == ["-o", "trim=true", "-o", "batch_size=16"]


def test_without_the_scores_of_items_intervals_are_missing_and_it_says_so(
    results: Results, place: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(place / "home", home)
    shutil.rmtree(home / "records" / results.student.key)
    student = xlbench.Student(
        results.student.record, results.student.key, results.settings.model_copy(update={"home": home})
    )
    card = (student.save(tmp_path / "student") / "README.md").read_text("utf-8")
    assert "Intervals are missing" in card
    assert " to " not in card.partition("## Scores")[2].partition("Suite `toy`")[0]


@pytest.mark.parametrize("to", ["stock", "onnx"])
def test_an_export_has_the_card_of_its_student_and_what_it_lost(
    results: Results, place: Path, tmp_path: Path, to: str
) -> None:
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    made = xlbench.export(results.student, to, tmp_path / "out", **where(place))
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert re.findall(r"^## (.*)$", card.text, re.MULTILINE) == ["Export", *SECTIONS]
    assert f"| de | {made.losses['de']:.1e} |" in card.text.replace("  ", " ")
    assert "They are of the student that was exported" in card.text
    assert card.data.library_name == ("sentence-transformers" if to == "stock" else "onnx")
    assert len(card.data.eval_results) == 2


def test_a_card_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine", "utf-8")
    write_card(tmp_path, lambda: "ours")
    assert (tmp_path / "README.md").read_text("utf-8") == "mine"
    (tmp_path / "README.md").unlink()
    write_card(tmp_path, lambda: "ours")
    assert (tmp_path / "README.md").read_text("utf-8") == "ours"


def test_names_from_outside_change_neither_front_matter_nor_markdown() -> None:
    record = example_student()
    hostile = "a: [b\n---\n# <script>|`x`"
    assert record.experiment is not None
    assistant = record.experiment.assistant.model_copy(update={"name": hostile})
    experiment = record.experiment.model_copy(update={"assistant": assistant})
    shown = record.model_copy(update={"name": hostile, "experiment": experiment})
    notes = {hostile: EncoderNotes(license=hostile)}
    text = model_card(CardFacts(name=hostile, use="x", record=shown, encoders=notes, command="x"))
    card = ModelCard(text)
    assert card.data.license == hostile
    assert re.findall(r"^## (.*)$", card.text, re.MULTILINE) == SECTIONS
    assert "<script>" not in re.sub(r"`.*?`", "", card.text)


def test_starter_encoders_are_named_as_on_the_hub() -> None:
    from xlbench.plugins.registry import load_registry

    known = load_registry().encoders
    assert [(it.published, it.license) for it in (known["multilingual-e5-small"], known["all-minilm-l6-v2"])] == [
        ("intfloat/multilingual-e5-small", "mit"),
        ("sentence-transformers/all-MiniLM-L6-v2", "apache-2.0"),
    ]


def test_a_record_without_paths_names_files_alone() -> None:
    record = example_student()
    assert record.experiment is not None
    assert record.corpus is not None
    local = record.experiment.assistant.model_copy(update={"origin": "local", "name": "/home/me/models/e5"})
    corpora = tuple(
        it.model_copy(update={"reference": "tsv:/home/me/pairs?cap=9", "note": "read from /home/me/pairs"})
        for it in record.experiment.data.corpora
    )
    data = record.experiment.data.model_copy(update={"corpora": corpora})
    counts = tuple(it.model_copy(update={"reference": "tsv:/home/me/pairs?cap=9"}) for it in record.corpus.corpora)
    update = {"assistant": local, "data": data, "options": {"text": "/home/me/text.txt", "trim": True}}
    long = record.model_copy(
        update={
            "experiment": record.experiment.model_copy(update=update),
            "corpus": record.corpus.model_copy(update={"corpora": counts, "notes": ("read from /home/me/pairs",)}),
        }
    )
    short = without_paths(long)
    assert "/home/me" not in short.model_dump_json()
    assert short.experiment is not None
    assert short.experiment.assistant.name == "e5"
    assert short.experiment.data.corpora[0].reference == "tsv:pairs?cap=9"
    assert short.experiment.options == {"text": "text.txt", "trim": True}


def test_the_paper_is_cited_as_in_citation_cff() -> None:
    (paper,) = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["references"]
    text = model_card(CardFacts(name="x", use="x", record=example_student(), command="x"))
    authors = " and ".join(f"{it['family-names']}, {it['given-names']}" for it in paper["authors"])
    pages = f"{paper['start']}--{paper['end']}"
    for said in (paper["title"], authors, paper["doi"], paper["url"], pages, str(paper["year"])):
        assert f'"{said}"' in text
