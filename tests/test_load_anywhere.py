"""A saved student loads where xlbench cannot be imported, by the code beside it; xlbench never runs that code."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from test_export import toy_student
from toy_runs import make_place, settings_at, toy_request, toy_run

import xlbench
from xlbench import XlbenchError
from xlbench.encoders.directories import directory_fingerprint
from xlbench.settings import Settings
from xlbench.students import modeling_xlbench, shape
from xlbench.students.carried_code import CODE, carry_code, code
from xlbench.students.load import save_student
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from xlbench import Student

TEXTS = ["cat sees dog", "old house near green tree", "ein kleines haus"]

# Where xlbench is not installed: nothing finds it, whatever hooks an editable installation left.
ELSEWHERE = """
import json
import sys

class Nowhere:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {"xlbench", "xlbench_plugins"}:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Nowhere)
texts, *directories = json.loads(sys.argv[1])
from sentence_transformers import SentenceTransformer

def encode(directory):
    model = SentenceTransformer(directory, device="cpu", trust_remote_code=True, local_files_only=True)
    return model, model.encode(texts, show_progress_bar=False).tolist()

found = []
for directory in directories:
    model, vectors = encode(directory)
    model.save_pretrained(f"{directory}-again", create_model_card=False)
    found.append([vectors, encode(f"{directory}-again")[1]])
assert not [name for name in sys.modules if name.startswith("xlbench")]
print(json.dumps(found))
"""


def encode_elsewhere(directories: list[Path], cache: Path) -> list[list[list[float]]]:
    """The vectors of each directory as it is, and after it was saved there and loaded again."""
    given = json.dumps([TEXTS, *map(str, directories)])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, given], env={**environment, "HF_HOME": str(cache)}, cwd=cache,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found: list[list[list[float]]] = json.loads(ran.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Student:
    """A student with a bottleneck and looped layers, in 8 bits, of a whole run."""
    place = make_place(tmp_path_factory.mktemp("anywhere"))
    return toy_run(toy_request(place, bits=8), settings_at(place / "home"))[0].student


def test_students_of_every_kind_give_the_same_vectors_without_xlbench(trained: Student, tmp_path: Path) -> None:
    directories = [trained.save(tmp_path / "trained")]
    kinds = [
        ("bottleneck", 32, "xlm-roberta"),
        ("looped", 16, "bert"),
        ("low-rank", 8, "xlm-roberta"),
        ("bottleneck", 8, "bert"),
    ]
    for number, (part, bits, architecture) in enumerate(kinds):
        path = toy_student(tmp_path / str(number), part, bits=bits, architecture=architecture)  # type: ignore[arg-type]
        carry_code(path)
        directories.append(path)
    expected = [xlbench.load(path).encode(TEXTS) for path in directories]
    found = encode_elsewhere(directories, tmp_path)
    for path, vectors, (first, again) in zip(directories, expected, found, strict=True):
        np.testing.assert_allclose(first, vectors, atol=1e-6, err_msg=str(path))
        np.testing.assert_allclose(again, vectors, atol=1e-6, err_msg=str(path))


def test_the_code_beside_a_student_is_xlbenchs_own_and_needs_torch_and_transformers_only(
    trained: Student, tmp_path: Path
) -> None:
    saved = trained.save(tmp_path / "saved")
    assert (saved / CODE).read_bytes() == code() == Path(modeling_xlbench.__file__).read_bytes()
    assert modeling_xlbench.StudentBertModel is type(xlbench.load(saved)[0].model)
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(code()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([it.name for it in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    }
    assert imported - sys.stdlib_module_names == {"torch", "transformers"}
    assert json.loads((saved / "config.json").read_text("utf-8"))["auto_map"] == {
        "AutoConfig": "modeling_xlbench.StudentBertConfig",
        "AutoModel": "modeling_xlbench.StudentBertModel",
    }
    assert "trust_remote_code=True" in (saved / "README.md").read_text("utf-8")


def test_what_lies_in_the_store_stays_as_its_stage_left_it(trained: Student, tmp_path: Path) -> None:
    saved = trained.save(tmp_path / "saved")
    stored = {it.name: it.read_bytes() for it in trained.path.iterdir() if it.is_file()}
    assert CODE not in stored
    assert "auto_map" not in json.loads(stored["config.json"])
    assert {it.name for it in saved.iterdir() if it.is_file()} == {*stored, CODE, "README.md"}
    assert {name for name, content in stored.items() if (saved / name).read_bytes() != content} == {"config.json"}
    # Nothing in the configuration but the map is new, and it is written as transformers writes it.
    lines = (saved / "config.json").read_text("utf-8").splitlines()
    before = stored["config.json"].decode().splitlines()
    assert [line for line in lines if line not in before] == [
        '  "auto_map": {',
        '    "AutoConfig": "modeling_xlbench.StudentBertConfig",',
        '    "AutoModel": "modeling_xlbench.StudentBertModel"',
        "  },",
    ]


def test_xlbench_never_runs_the_code_of_a_directory(trained: Student, tmp_path: Path) -> None:
    saved, settings = trained.save(tmp_path / "saved"), Settings(home=tmp_path / "home", offline=True)
    before, vectors = directory_fingerprint(saved, settings), xlbench.load(saved).encode(TEXTS)
    (saved / CODE).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit('it was run')\n", "utf-8")
    np.testing.assert_array_equal(xlbench.load(saved).encode(TEXTS), vectors)
    # What is never read decides no result.
    assert directory_fingerprint(saved, settings) == before
    (saved / CODE).unlink()
    np.testing.assert_array_equal(xlbench.load(saved).encode(TEXTS), vectors)
    assert not (tmp_path / "ran").exists()


def test_changed_code_is_not_pushed(trained: Student, tmp_path: Path) -> None:
    saved = trained.save(tmp_path / "saved")
    assert CODE in xlbench.push(saved, "org/name", dry_run=True, home=tmp_path / "home").files
    (saved / CODE).write_bytes(code() + b"# changed\n")
    with pytest.raises(XlbenchError, match=rf"{CODE}' is not the code that this xlbench writes"):
        xlbench.push(saved, "org/name", dry_run=True, home=tmp_path / "home")


def test_what_is_made_of_a_saved_student_names_no_code_that_is_not_there(trained: Student, tmp_path: Path) -> None:
    saved = trained.save(tmp_path / "saved")
    save_student(xlbench.load(saved), tmp_path / "again")
    xlbench.export(saved, "stock", tmp_path / "stock", home=tmp_path / "home", quiet=True)
    for name in ("again", "stock"):
        assert "auto_map" not in json.loads((tmp_path / name / "config.json").read_text("utf-8"))
        assert not (tmp_path / name / CODE).exists()


def test_a_stock_encoder_carries_no_code(tmp_path: Path) -> None:
    path = save_toy_encoder(tmp_path / "toy")
    before = (path / "config.json").read_bytes()
    carry_code(path)
    assert not (path / CODE).exists()
    assert (path / "config.json").read_bytes() == before


def test_the_ranks_of_plans_are_those_of_the_code() -> None:
    for inputs, outputs, share in product((4, 16, 384, 768, 1536), (4, 16, 384, 1536), (0.05, 0.1, 0.5, 0.9)):
        expected = shape.rank_for_share(inputs, outputs, share)
        assert modeling_xlbench.rank_for_share(inputs, outputs, share) == expected
