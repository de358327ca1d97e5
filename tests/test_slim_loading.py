"""Loading and using a student where only the packages that this needs are installed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from xlbench import load
from xlbench.encoders.modules import transformer_of
from xlbench.students.load import save_student
from xlbench.students.surgery import as_student, cut_bottleneck, keep_layers, quantise
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["cat sees dog", "old house near green tree", "bread"]

# Everything that xlbench depends on and that neither torch, transformers nor sentence-transformers does.
ABSENT = [
    "accelerate", "click", "datasets", "markdown_it", "matplotlib", "mteb", "pandas", "pluggy", "psutil", "pyarrow",
    "tabulate", "tomli_w",
]  # fmt: skip

# The finder answers as where the packages are not installed: `find_spec` and `importlib.metadata` see none either.
SCRIPT = """
import json
import sys
from importlib.machinery import PathFinder

absent = set(json.loads(sys.argv[1]))

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in absent else super().find_spec(fullname, path, target)

    @classmethod
    def find_distributions(cls, context):
        return () if context.name in absent else super().find_distributions(context)

sys.meta_path = [Finder if it is PathFinder else it for it in sys.meta_path]
import xlbench

if sys.argv[2] == "load":
    model = xlbench.load(sys.argv[3])
else:
    xlbench.register()
    from sentence_transformers import SentenceTransformer
    model = SentenceTransformer(sys.argv[3], device="cpu")
vectors = model.encode(json.loads(sys.argv[4]), show_progress_bar=False)
print(json.dumps([vectors.tolist(), sorted(absent & {name.partition(".")[0] for name in sys.modules})]))
"""


def encode_elsewhere(directory: Path, how: str) -> np.ndarray:
    """Encode the texts in a process in which the packages are absent."""
    given = [json.dumps(ABSENT), how, str(directory), json.dumps(TEXTS)]
    ran = subprocess.run([sys.executable, "-c", SCRIPT, *given], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    vectors, imported = json.loads(ran.stdout.splitlines()[-1])
    assert imported == []
    return np.array(vectors, np.float32)


@pytest.mark.parametrize("how", ["load", "register"])
def test_a_student_loads_and_encodes_without_what_only_training_and_scoring_need(tmp_path: Path, how: str) -> None:
    model = load(save_toy_encoder(tmp_path / "toy"))
    student = as_student(transformer_of(model))
    cut_bottleneck(student, 6, np.ones(student.config.vocab_size), frequent=np.array([4, 11]))
    keep_layers(student, 2, 2, "spaced")
    model[0].model = student
    quantise(model, 8)
    save_student(model, tmp_path / "student")
    np.testing.assert_allclose(encode_elsewhere(tmp_path / "student", how), model.encode(TEXTS), atol=1e-6)


def test_a_stock_encoder_loads_there_too_and_no_code_of_its_directory_is_run(tmp_path: Path) -> None:
    path = save_toy_encoder(tmp_path / "stock")
    expected = load(path).encode(TEXTS)
    (path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom transformers import BertModel as Own\n")
    config = json.loads((path / "config.json").read_text("utf-8"))
    config["auto_map"] = {"AutoModel": "own.Own"}
    (path / "config.json").write_text(json.dumps(config), "utf-8")
    np.testing.assert_allclose(encode_elsewhere(path, "load"), expected, atol=1e-6)
    assert not (tmp_path / "ran").exists()
