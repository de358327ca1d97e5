"""Pushing to a hub: a local server that speaks its protocol; what is refused before and by the hub."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hub_server import TOKEN, Hub, commit_of, serve

import xlbench
from xlbench import XlbenchError
from xlbench.cli import main
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "acme/mini"
CARD = "---\nlicense: mit\n---\n# Mini\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = save_toy_encoder(tmp_path_factory.mktemp("push") / "mini", layers=1)
    (path / "README.md").write_text(CARD, "utf-8")
    (path / ".cache").mkdir()
    (path / ".cache" / "local").write_text("stays at home", "utf-8")
    return path


@pytest.fixture
def student(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "mini")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve(tmp_path / "hub") as running:
        running.point_client_here(monkeypatch, tmp_path / "cache")
        yield running


def sizes(directory: Path) -> dict[str, int]:
    """The bytes of the files that are not hidden."""
    files = [it for it in directory.rglob("*") if it.is_file() and ".cache" not in it.parts]
    return {it.relative_to(directory).as_posix(): it.stat().st_size for it in sorted(files)}


def push(directory: Path, tmp_path: Path, **options: object) -> xlbench.Pushed:
    given = {"private": True, **options}
    return xlbench.push(directory, NAME, home=tmp_path / "home", quiet=True, **given)  # type: ignore[arg-type]


def test_everything_arrives_in_one_private_commit_and_is_loaded_from_there(
    hub: Hub, student: Path, tmp_path: Path
) -> None:
    pushed = push(student, tmp_path)
    there = hub.root / "models" / NAME
    assert pushed == xlbench.Pushed(NAME, f"{hub.endpoint}/{NAME}", True, sizes(student), commit_of(there))
    assert hub.private == {NAME}
    assert {name: (there / name).read_bytes() for name in sizes(there)} == {
        name: (student / name).read_bytes() for name in sizes(student)
    }
    assert len([it for it in hub.requests if "/commit/" in it]) == 1
    np.testing.assert_array_equal(xlbench.load(there).encode("a cat"), xlbench.load(student).encode("a cat"))


def test_the_same_again_sends_nothing_and_other_files_are_replaced_only_by_force(
    hub: Hub, student: Path, tmp_path: Path
) -> None:
    first = push(student, tmp_path, private=False)
    assert hub.private == set()
    said: list[str] = []
    again = push(student, tmp_path, private=False, say=said.append)
    assert (again.commit, again.files) == (None, first.files)
    assert said == ["'acme/mini' has these files already; nothing was sent"]

    with pytest.raises(
        XlbenchError, match=r"^'acme/mini' is public on the hub, and this push is private\.\nGive --pub"
    ):
        push(student, tmp_path)
    (student / "README.md").write_text(f"{CARD}More.\n", "utf-8")
    (student / "notes.txt").write_text("new", "utf-8")
    (hub.root / "models" / NAME / "old.txt").write_text("old", "utf-8")
    with pytest.raises(
        XlbenchError, match=r"^'acme/mini' is on the hub already, with other files \(.*\)\.\nName another"
    ):
        push(student, tmp_path, private=False)
    assert not (hub.root / "models" / NAME / "notes.txt").exists()
    forced = push(student, tmp_path, private=False, force=True)
    assert sizes(hub.root / "models" / NAME) == sizes(student) == forced.files


def test_a_dry_run_asks_nobody_and_lists_the_bytes(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    words = ["--home", str(tmp_path / "home"), "--offline", "push", str(student), NAME, "--dry-run"]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0
    *lines, total = capsys.readouterr().out.splitlines()
    assert {name: int(size.replace(",", "")) for size, name in map(str.split, lines)} == sizes(student)
    assert total.endswith(
        f"/{NAME}: {len(lines)} files, {sum(sizes(student).values()):,} bytes, private; nothing was sent"
    )
    with pytest.raises(SystemExit):
        main([*words, "--public", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["files"], told["private"], told["commit"]) == (sizes(student), False, None)


def no_card(path: Path) -> None:
    (path / "README.md").unlink()


def empty_card(path: Path) -> None:
    (path / "README.md").write_text(" \n", "utf-8")


def pickled(path: Path) -> None:
    (path / "training_args.bin").write_bytes(b"\x80\x02.")


def linked(path: Path) -> None:
    (path / "notes.txt").symlink_to("/etc/hostname")


def cut(path: Path) -> None:
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])


def foreign(path: Path) -> None:
    (path / "modules.json").unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (no_card, r"has no model card \(README.md\), and nothing is pushed without one\.\nSave or export"),
        (empty_card, "has no model card"),
        (pickled, r"training_args.bin' may be a pickle, which can run code when it is loaded"),
        (linked, r"notes.txt' is a link"),
        (cut, r"model.safetensors"),
        (foreign, "There is no model in"),
    ],
)
def test_what_must_not_be_pushed_is_refused_before_the_hub_is_asked(
    hub: Hub, student: Path, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    change(student)
    with pytest.raises(XlbenchError, match=said):
        push(student, tmp_path)
    with pytest.raises(XlbenchError, match=said):
        push(student, tmp_path, dry_run=True)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("refusals", "said"),
    [
        ({"POST /api/repos/create": 401}, "The hub does not accept the token of this machine.\nLog in with a token"),
        ({"POST /api/repos/create": 403}, "The token of this machine may not write to 'acme/mini'.\nUse a token with"),
        ({"POST /api/repos/create": 404}, "The hub does not find 'acme/mini', or hides it from this token.\nIs 'acme'"),
        ({"POST /api/models/acme/mini/commit": 403}, "The token of this machine may not write to 'acme/mini'.\nUse"),
        ({"POST /api/models/acme/mini/commit": 500}, "The hub refuses the push to 'acme/mini' (500): "),
    ],
)
def test_what_the_hub_refuses_is_two_lines(
    hub: Hub, student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refusals: dict[str, int], said: str
) -> None:
    hub.refusals |= refusals
    with pytest.raises(SystemExit) as left:
        main(["-q", "--home", str(tmp_path / "home"), "push", str(student), NAME])
    assert left.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"xlbench: {said}")
    assert len(shown.splitlines()) == 2


def test_a_wrong_token_none_and_no_network(
    hub: Hub, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(XlbenchError, match="does not accept the token"):
        push(student, tmp_path)
    assert not (hub.root / "models").exists()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
        with pytest.raises(XlbenchError, match=r"^The hub cannot be reached to push to 'acme/mini': .*\nTry again"):
            push(student, tmp_path)
    with pytest.raises(XlbenchError, match=r"^xlbench is offline .*\nUnset it, or give --dry-run"):
        push(student, tmp_path, offline=True)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(XlbenchError, match=r"^There is no token of the hub on this machine\.\nLog in"):
        push(student, tmp_path)


def test_a_student_that_names_code_which_is_not_there_is_refused(student: Path, tmp_path: Path) -> None:
    settings = json.loads((student / "config.json").read_text("utf-8"))
    settings["auto_map"] = {"AutoModel": "modeling_xlbench.StudentBertModel"}
    (student / "config.json").write_text(json.dumps(settings), "utf-8")
    with pytest.raises(XlbenchError, match=r"config\.json' names code that is not there: modeling_xlbench\.py"):
        push(student, tmp_path, dry_run=True)
