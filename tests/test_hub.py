"""Encoders from the hub, fetched by a new process from a local server that speaks the hub's protocol."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from fixtures_encoders import toy_encoder
from hub_server import Hub, commit_of, serve

if TYPE_CHECKING:
    from pathlib import Path

# Each step finds an encoder, loads it if asked to, and prints the result as a line of JSON.
CLIENT = """
import json, sys
from pathlib import Path
from xlbench.encoders.find import find_encoder, load_encoder
from xlbench.errors import XlbenchError
from xlbench.experiment import EncoderRef
from xlbench.settings import Settings

inputs = json.loads(sys.argv[1])
settings = Settings(home=Path(inputs["home"]), offline=inputs["offline"], device="cpu", quiet=True)
for step in inputs["steps"]:
    try:
        found = EncoderRef(**step) if isinstance(step, dict) else find_encoder(step, {}, settings)
        answer = {"ref": found.model_dump()}
        if inputs["load"]:
            answer["vector"] = load_encoder(found, {}, settings).encode("a b c").tolist()
    except XlbenchError as error:
        answer = {"problem": error.problem, "remedy": error.remedy}
    print(json.dumps(answer))
"""


class Client:
    """Runs steps in a new process, which gets the address of the hub only."""

    def __init__(self, hub: Hub, home: Path) -> None:
        self.hub = hub
        self.home = home

    def __call__(self, *steps: object, load: bool = False, offline: bool = False) -> list[dict]:
        inputs = {"home": str(self.home / "store"), "steps": steps, "load": load, "offline": offline}
        done = subprocess.run(
            [sys.executable, "-W", "error::FutureWarning", "-c", CLIENT, json.dumps(inputs)],
            env={**os.environ, **self.hub.environment(self.home / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root" / "models" / "acme" / "mini"
    path.parent.mkdir(parents=True)
    toy_encoder(tmp_path / "toy")
    shutil.copytree(tmp_path / "toy", path)
    (path / "pytorch_model.bin").write_bytes(b"never fetched")
    (path / "modeling.py").write_text("raise SystemExit('never fetched')")
    (path / "onnx").mkdir()
    (path / "onnx" / "config.json").write_text("{}")
    return tmp_path / "root"


def test_a_commit_is_pinned_and_stays_loadable(root: Path, tmp_path: Path) -> None:
    repository = root / "models" / "acme" / "mini"
    with serve(root) as hub:
        client = Client(hub, tmp_path)
        (first,) = client("acme/mini", load=True)
        assert first["ref"]["origin"] == "hub"
        assert first["ref"]["revision"] == commit_of(repository)
        fetched = {line.rpartition("/")[2] for line in hub.requests if "/resolve/" in line}
        assert {"model.safetensors", "tokenizer.json", "modules.json"} <= fetched
        assert not {"pytorch_model.bin", "modeling.py"} & fetched
        assert not [line for line in hub.requests if "onnx" in line]

        # After a new commit the name means the new weights, and the pinned reference still means the old ones.
        toy_encoder(tmp_path / "other", seed=1)
        shutil.copyfile(tmp_path / "other" / "model.safetensors", repository / "model.safetensors")
        moved, pinned = client("acme/mini", first["ref"], load=True)
        assert moved["ref"]["revision"] == commit_of(repository) != first["ref"]["revision"]
        assert moved["ref"]["fingerprint"] != first["ref"]["fingerprint"]
        assert moved["vector"] != first["vector"]
        assert pinned["vector"] == first["vector"]

        asked = len(hub.requests)
        (offline,) = client("acme/mini", load=True, offline=True)
        assert offline == moved
        assert len(hub.requests) == asked

    # Without the server, fetched encoders are still found and others are refused with the cause.
    again, unknown = client("acme/mini", "acme/never-fetched")
    assert again["ref"] == moved["ref"]
    assert unknown["problem"].startswith("The hub cannot be reached for encoder 'acme/never-fetched': ")
    assert "hf download acme/never-fetched --local-dir DATA_ROOT/models/acme/never-fetched" in unknown["remedy"]


def test_refusals_of_the_hub_and_of_xlbench(root: Path, tmp_path: Path) -> None:
    repository = root / "models" / "acme" / "mini"
    with serve(root) as hub:
        client = Client(hub, tmp_path)
        (unknown,) = client("acme/absent")
        assert unknown["problem"] == "The hub has no model 'acme/absent', or it is private."

        # An encoder that was found but not fetched is refused offline.
        (found,) = client("acme/mini")
        (offline,) = client("acme/mini", offline=True)
        assert "is not on this machine, and xlbench is offline" in offline["problem"]
        (unfetched,) = client(found["ref"], load=True, offline=True)
        assert f"at commit {found['ref']['revision'][:12]} cannot be fetched" in unfetched["problem"]

        (repository / "model.safetensors").unlink()
        (pickled,) = client("acme/mini")
        assert pickled["problem"] == "Hub model 'acme/mini' has no safetensors weights, and xlbench reads no pickles."
        assert not [line for line in hub.requests if "/resolve/" in line]


def test_the_server_serves_datasets_too(tmp_path: Path) -> None:
    folder = tmp_path / "root" / "datasets" / "acme" / "pairs"
    (folder / "en-de").mkdir(parents=True)
    (folder / "en-de" / "train.jsonl").write_text('{"english": "a", "non_english": "b"}\n')
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: en-de\n  data_files:\n  - split: train\n    path: en-de/train.jsonl\n---\n"
    )
    code = (
        "import datasets, sys\n"
        "rows = datasets.load_dataset('acme/pairs', 'en-de', split='train', revision=sys.argv[1])\n"
        "print(datasets.get_dataset_config_names('acme/pairs', revision=sys.argv[1]), rows[0])"
    )
    with serve(tmp_path / "root") as hub:
        done = subprocess.run(
            [sys.executable, "-c", code, commit_of(folder)],
            env={**os.environ, **hub.environment(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['en-de'] {'english': 'a', 'non_english': 'b'}"
