"""Entries between machines that share no disk: whole, verified on both sides, or not at all."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING
from uuid import uuid4

import fsspec
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem

import xlbench
from xlbench import XlbenchError, sync_store
from xlbench.cli.app import app
from xlbench.store import Manifest, get_or_build, read_entry, write_sealed
from xlbench.store import sync as module
from xlbench.store.entry import MANIFEST
from xlbench.store.owner import HOST_VARIABLE
from xlbench.store.remote import Listing, list_uploads, open_remote
from xlbench.store.seal import sealed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xlbench.fingerprint import Json

NAMES = ("stages/0123aaaa", "stages/4567bbbb", "targets/0123cccc")


def build(directory: Path) -> dict[str, Json]:
    (directory / "model").mkdir()
    (directory / "model" / "weights").write_bytes(bytes(range(256)) * 40)
    (directory / "empty").write_bytes(b"")
    return {"stage": "x"}


def make(home: Path, *names: str) -> None:
    for name in names:
        get_or_build(home, *name.split("/"), build, quiet=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make(tmp_path / "home", *NAMES)
    return tmp_path / "home"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The store of another machine."""
    return tmp_path / "there"


@pytest.fixture(params=["memory", "directory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{uuid4().hex}/deep" if request.param == "memory" else str(tmp_path / "shared")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """An address that is a directory; with all entries."""
    return tmp_path / "shared"


def files(home: Path) -> dict[str, bytes]:
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for kind in ("stages", "targets")
        for path in sorted((home / kind).rglob("*"))
        if path.is_file()
    }


def sync(home: Path, url: str | Path, *names: str, **how: object) -> xlbench.Synced:
    done = sync_store(url, names, home=home, quiet=True, **how)  # type: ignore[arg-type]
    assert all(not list((home / folder).iterdir()) for folder in ("partial", "locks") if (home / folder).is_dir())
    return done


def uploaded(url: str) -> set[str]:
    fs, root = fsspec.core.url_to_fs(url)
    return {name.removeprefix(root).lstrip("/") for name in fs.find(root)}


def test_what_one_machine_pushes_another_pulls(home: Path, there: Path, url: str) -> None:
    make(there, "tokens/89abdddd")
    size = sum(map(len, files(home).values()))
    planned = sync(home, url, dry_run=True)
    assert (planned.pushed, planned.bytes_pushed, planned.pulled) == (NAMES, size, ())
    assert uploaded(url) == set()
    assert sync(home, url) == planned
    both = sync(there, url)
    assert (both.pushed, both.pulled, both.bytes_pulled) == (("tokens/89abdddd",), NAMES, size)
    assert files(there) == files(home)
    assert sync(there, url) == xlbench.Synced()
    assert sync(home, url, push=False).pulled == ("tokens/89abdddd",)


def test_only_what_is_named_is_shared(home: Path, there: Path, url: str) -> None:
    assert sync(home, url, kind="stages", pull=False).pushed == NAMES[:2]
    assert sync(home, url, "targets/0123").pushed == NAMES[2:]
    assert sync(there, url, "4567", push=False, dry_run=True).pulled == NAMES[1:2]
    assert sync(there, url, "4567").pulled == NAMES[1:2]
    for names, how, words in (
        (("ffff",), {}, "The store in .*, with '.*', has no entry 'ffff'"),
        (("0123",), {}, "2 entries .*called '0123'"),
        ((), {"kind": "stagse"}, "stagse.*\n.*stages"),
        ((), {"push": False, "pull": False}, "Neither 'push' nor 'pull'"),
        ((), {"push": 3}, "push"),
    ):
        with pytest.raises(XlbenchError, match=words):
            sync(there, url, *names, **how)


def test_what_is_damaged_or_being_built_here_is_not_pushed(home: Path, url: str) -> None:
    (home / "stages" / "0123aaaa" / "model" / "weights").write_bytes(b"x")
    (home / "stages" / "4567bbbb" / MANIFEST).write_text("{}")
    done = sync(home, url)
    assert done.pushed == ("targets/0123cccc",)
    assert done.refused == {"stages/0123aaaa": "it is damaged here: model/weights has changed"}

    def push(directory: Path) -> dict[str, Json]:
        left = sync_store(url, home=home, quiet=True)
        assert (left.pushed, left.refused) == ((), {"stages/0123aaaa": "a process is building it"})
        return build(directory)

    get_or_build(home, "stages", "0123aaaa", push, quiet=True)
    assert sync(home, url).pushed == ("stages/0123aaaa",)


def damage(change: str) -> Callable[[Path], None]:
    def weights(place: Path) -> None:
        path = place / "model" / "weights"
        content = path.read_bytes()
        match change:
            case "a bit":
                path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
            case "half":
                path.write_bytes(content[:5000])
            case "gone":
                path.unlink()
            case "a link":
                path.rename(place.parents[3] / "weights")
                path.symlink_to(place.parents[3] / "weights")
            case "manifest":
                (place / MANIFEST).write_text((place / MANIFEST).read_text().replace('"x"', '"y"'))
            case "swapped":
                shutil.copy(next((place.parents[1] / "4567bbbb").rglob(MANIFEST)), place / MANIFEST)

    return weights


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("a bit", "model/weights has changed"),
        ("half", "model/weights has changed"),
        ("gone", "model/weights is missing"),
        ("a link", "model/weights is a link"),
        ("manifest", "entry.json has changed, or is that of another entry"),
        ("swapped", "entry.json has changed, or is that of another entry"),
    ],
)
def test_a_damaged_upload_is_named_and_not_taken(
    home: Path, there: Path, shared: Path, change: str, reason: str
) -> None:
    sync(home, shared)
    damage(change)(next((shared / "stages" / "0123aaaa").iterdir()))
    done = sync(there, shared)
    assert (done.pulled, done.refused) == (NAMES[1:], {NAMES[0]: f"it is damaged there: {reason}"})
    assert read_entry(there, "stages", "0123aaaa") is None
    command = CliRunner().invoke(app, ["--home", str(there), "store", "sync", str(shared)])
    assert command.exception is not None
    assert command.exception.args[0].startswith(
        f"1 entries were left out: {NAMES[0]}: it is damaged there: {reason}.\n"
    )


def test_a_second_upload_stands_in_for_a_damaged_one(home: Path, there: Path, shared: Path) -> None:
    """As of two machines that pushed at once: both uploads are there, and either does."""
    other = shared.with_name("other")
    sync(home, shared)
    shutil.copytree(home, other)
    shutil.move(shared, aside := shared.with_name("aside"))
    sync(other, shared)
    shutil.copytree(aside, shared, dirs_exist_ok=True)
    places = sorted((shared / "stages" / "0123aaaa").iterdir())
    assert len(places) == 2
    damage("a bit")(places[0])
    assert sync(there, shared).pulled == NAMES


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let a file system in memory fail from its n-th write on."""
    open_file = MemoryFileSystem._open

    def fail_after(count: int) -> None:
        left = [count]

        def limited(self: MemoryFileSystem, path: str, mode: str = "rb", **how: object) -> object:
            if mode == "wb":
                left[0] -= 1
                if left[0] < 0:
                    open_file(self, path, mode, **how).close()  # an empty file remains
                    raise ConnectionResetError("the network is gone")
            return open_file(self, path, mode, **how)

        monkeypatch.setattr(MemoryFileSystem, "_open", limited)

    return fail_after


@pytest.mark.parametrize("count", range(9))
def test_an_upload_that_is_cut_at_any_file_is_never_taken(
    home: Path, there: Path, cut: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    url = f"memory://{uuid4().hex}"
    cut(count)
    with pytest.raises(XlbenchError, match=r"^'memory://.*' failed: the network is gone\.\n.*goes on where"):
        sync(home, url)
    monkeypatch.undo()
    taken = sync(there, url, push=False)
    assert taken.pulled == NAMES[: count // 3]  # of three files each
    assert taken.refused == {}
    assert sync(home, url).pushed == NAMES[count // 3 :]
    assert sync(there, url).pulled == NAMES[count // 3 :]
    assert files(there) == files(home)
    assert len(uploaded(url)) == 9  # what was cut was written over


def test_a_download_that_is_cut_leaves_nothing(
    home: Path, there: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(home, url)
    fs, _ = fsspec.core.url_to_fs(url)
    opened = type(fs)._open

    def broken(self: object, path: str, mode: str = "rb", **how: object) -> object:
        if path.endswith("weights") and "4567" in path:
            raise TimeoutError("no answer")
        return opened(self, path, mode, **how)

    with monkeypatch.context() as patch:
        patch.setattr(type(fs), "_open", broken)
        with pytest.raises(XlbenchError, match="failed: no answer"):
            sync(there, url)
    assert list((there / "partial").iterdir()) == []
    assert (len(files(there)), files(there).items() <= files(home).items()) == (3, True)
    assert sync(there, url).pulled == NAMES[1:]


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "stages/../../evil/entry.json",
        "stages/0123aaaa/../../../evil/entry.json",
        "partial/k/0123456789abcdef0123/entry.json",
        "stages/.hidden/0123456789abcdef0123/entry.json",
        "stages/k/nowhere/entry.json",
        "stages/k/0123456789abcdef0123/../../../../evil",
        "stages/k/0123456789abcdef0123//etc/entry.json",
        "stages/k/0123456789abcdef0123",
        "stages",
    ],
)
def test_names_that_lead_elsewhere_are_left_out(there: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    url = f"memory://{uuid4().hex}"
    remote = open_remote(url, there)
    remote.files.makedirs(remote.root)
    harmless = "stages/k/0123456789abcdef0123/entry.json"
    listed = {f"{remote.root}/{it}": {"name": it, "type": "file", "size": 3} for it in (harmless, name)}
    manifest = sealed(Manifest(kind="stages", key="k", made=0, seconds=0, facts={}, files={})).encode()
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: listed)
    monkeypatch.setattr(MemoryFileSystem, "cat", lambda _, paths, **__: dict.fromkeys(paths, manifest))
    ((found,),) = list_uploads(remote).uploads.values()
    assert (found.name, found.sizes) == (harmless.removesuffix("/entry.json"), {"entry.json": 3})
    assert sync(there, url).pulled == ("stages/k",)
    assert [path.name for path in there.parent.iterdir()] == ["there"]


@pytest.mark.parametrize("file", ["../../../evil", "/tmp/evil", "entry.json", "empty/x", "nothing"])
def test_a_manifest_that_names_other_files_is_refused(home: Path, there: Path, shared: Path, file: str) -> None:
    """Also one that is sealed as it should be, by somebody who means harm."""
    sync(home, shared, "4567")
    manifest = next(shared.rglob(MANIFEST))
    fields = json.loads(manifest.read_text())
    del fields["digest"]
    write_sealed(manifest, Manifest.model_validate({**fields, "files": {**fields["files"], file: "0" * 64}}))
    done = sync(there, shared)
    assert done.pulled == ()
    assert list(done.refused) == ["stages/4567bbbb"]
    assert {path.name for path in there.parent.iterdir()} == {"home", "shared", "there"}
    assert not list(there.rglob("weights"))


def test_a_folder_that_is_a_link_is_not_written_through(home: Path, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    shared.mkdir()
    (shared / "stages").symlink_to(tmp_path / "outside")
    done = sync(home, shared)
    assert done.pushed == NAMES[2:]
    assert done.refused == dict.fromkeys(NAMES[:2], "'stages' is a link there")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s4://bucket", r"'s4://bucket': there is no protocol 's4'\.\nValid names"),
        ("oss://me:secret@bucket", r"'oss://me:…@bucket' needs the package 'ossfs', .*\nRun: .*pip install ossfs"),
        ("home/inside", "lies in the store itself"),
        ("home", "lies in the store itself"),
        (".", r"The store lies in '.*'\.\nName another directory"),
        ("no/where/shared", r"no/where/shared' is no directory, and none can be made there\.\nIs its disk mounted"),
        ("file", "is no directory"),
        ("", "'url' cannot be '': it is empty"),
        ("a\0b", "null character"),
    ],
)
def test_an_address_that_cannot_be_is_refused_in_two_lines(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(XlbenchError, match=words) as caught:
        sync(home, url)
    assert str(caught.value).count("\n") == 1
    assert "secret" not in str(caught.value)


def test_nothing_is_pulled_from_where_nothing_is(home: Path, tmp_path: Path) -> None:
    for url in (str(tmp_path / "mistyped"), "memory://mistyped"):
        with pytest.raises(XlbenchError, match=r"There is nothing at '.*mistyped'\.\nCheck the address"):
            sync_store(url, home=home, push=False)
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.parametrize("error", [PermissionError("Access Denied"), RuntimeError("Unable to locate credentials")])
def test_what_an_address_refuses_is_said(home: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
    with pytest.raises(XlbenchError, match=rf"'memory://x' (may not be used|failed): {error}\.\nCheck .*credentials"):
        sync(home, "memory://x")


def test_an_upload_that_came_out_shorter_is_not_finished(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"memory://{uuid4().hex}"
    monkeypatch.setattr(MemoryFileSystem, "size", lambda *_: 7)
    with pytest.raises(XlbenchError, match=r"has 7 bytes of .*\nCheck the network, the space there"):
        sync(home, url)
    assert not any(name.endswith(MANIFEST) for name in uploaded(url))


def test_a_store_that_may_only_be_read_can_be_pushed(home: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module, "entry_lock", refuse)
    assert sync(home, url).pushed == NAMES


def test_the_same_entry_of_two_hosts_lies_in_two_places(home: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("a", "b"):
        monkeypatch.setenv(HOST_VARIABLE, host)
        with monkeypatch.context() as patch:
            patch.setattr(module, "list_uploads", lambda _: Listing({}, frozenset()))  # it looked before
            assert module.push_entries(home, open_remote(url, home), None, dry_run=False, quiet=True).pushed == NAMES
    assert [len(it) for it in list_uploads(open_remote(url, home)).uploads.values()] == [2, 2, 2]


def test_the_command_says_what_it_did(home: Path, there: Path, shared: Path) -> None:
    def command(home: Path, *words: str) -> str:
        done = CliRunner().invoke(app, ["--home", str(home), "store", "sync", str(shared), *words])
        assert done.exit_code == 0, done.output
        return done.output

    assert "would be pushed stages/0123aaaa\n" in command(home, "--dry-run")
    assert command(home, "--push", "targets/0123").endswith("pushed targets/0123cccc\n1 entries pushed, 0.0 MB\n")
    assert "0 entries pushed, 0.0 MB\npulled targets/0123cccc\n1 entries pulled" in command(there)
    assert json.loads(command(there, "--json"))["pulled"] == []


def test_an_address_that_is_a_store_itself_is_refused_and_stays_as_it_is(home: Path, there: Path) -> None:
    make(there, "stages/0123aaaa")
    before = files(there)
    for how in ({}, {"push": False}, {"pull": False}, {"dry_run": True}):
        with pytest.raises(XlbenchError, match=r"there' is a store itself, with the entry stages/0123aaaa"):
            sync(home, there, **how)
    assert files(there) == before
