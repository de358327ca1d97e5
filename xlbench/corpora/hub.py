"""Corpora in datasets of the Hugging Face hub, at one pinned commit."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.corpora.corpus import LANGUAGE
from xlbench.corpora.files import FileCorpus, parquet_files, read_parquet, unread_parquet
from xlbench.corpora.names import unread_folders
from xlbench.errors import XlbenchError, first_line
from xlbench.fingerprint import Frozen, file_digest, fingerprint
from xlbench.store import read_sealed, write_sealed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xlbench.corpora.corpus import Pair
    from xlbench.settings import Settings

_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")
_TRAIN = re.compile(rf"en-(?P<language>{LANGUAGE.pattern})/train(/[^/]+|[^/]*)\.parquet")


class Listing(Frozen):
    """What the hub says of a dataset; a copy in the store answers when the hub cannot be asked.

    Attributes:
        name: 'org/name'.
        commit: The full hash.
        files: Paths in the dataset, by language.
        notices: What in the dataset looks like a corpus and is not read.
    """

    name: str
    commit: str
    files: dict[str, tuple[str, ...]]
    notices: tuple[str, ...] = ()


class CarriedDataset(Frozen):
    """What a bundle says of its copy of a hub dataset, so that the copy is the same corpus as on the hub.

    Attributes:
        listing: The dataset's commit, and those of its files that the bundle holds.
        revision: What the reference named; None if it named none.
        digests: SHA-256 of each file of the listing.
    """

    listing: Listing
    revision: str | None
    digests: dict[str, str]


CARRIED = ".xlbench-dataset.json"  # in the copy; hidden files are no part of what identifies a dataset


@dataclass(frozen=True)
class HubCorpus:
    """The train split of a dataset laid out like sentence-transformers/parallel-sentences-*.

    Each language is a configuration ``en-xx`` in a directory of that name, with columns ``english`` and
    ``non_english``. A file is fetched when its language is read, and kept in the hub client's cache.

    Attributes:
        listing: The dataset's commit and files.
        offline: Use only what the client's cache holds.
        copy: The directory of a bundle that holds the files.
        digests: SHA-256 of each file in ``copy``.
    """

    listing: Listing
    offline: bool = False
    copy: Path | None = None
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """What identifies the content: a hash of name and commit."""
        return fingerprint({"dataset": self.listing.name, "commit": self.listing.commit})

    @property
    def note(self) -> str:
        """What readers of scores must know."""
        return f"hub dataset at commit {self.listing.commit[:12]}"

    @property
    def notices(self) -> tuple[str, ...]:
        """What in the dataset looks like a corpus and is not read."""
        return self.listing.notices

    def languages(self) -> tuple[str, ...]:
        """Return the codes of the non-English sides, sorted."""
        return tuple(sorted(self.listing.files))

    def pairs(self, language: str) -> Iterator[Pair]:
        """Yield the pairs of one of :meth:`languages`, file by file.

        Raises:
            XlbenchError: A file cannot be fetched or is malformed.
        """
        for name in self.listing.files[language]:
            yield from read_parquet(self._fetch(name), language)

    def _fetch(self, file: str) -> Path:
        from huggingface_hub import hf_hub_download

        name, commit = self.listing.name, self.listing.commit
        if self.copy is not None:
            return self._checked(self.copy / file, self.digests.get(file))
        try:
            return Path(
                hf_hub_download(name, file, repo_type="dataset", revision=commit, local_files_only=self.offline)
            )
        except Exception as error:
            raise XlbenchError(
                f"'{file}' of hub dataset '{name}' cannot be fetched: {first_line(error)}",
                f"Try again with a network. {_remedy(name)}",
            ) from error

    def _checked(self, path: Path, digest: str | None) -> Path:
        """Return the path of a bundle's file, after comparing it with the digest that was noted when it was fetched."""
        if not path.is_file() or file_digest(path) != digest:
            raise XlbenchError(
                f"'{path}' is missing or not what the bundle was made with: hub dataset '{self.listing.name}' at "
                f"commit {self.listing.commit[:12]}.",
                "Copy the bundle again; `xlbench bundle --check` names every file that differs.",
            )
        return path


def open_hub(argument: str, settings: Settings) -> HubCorpus | FileCorpus:
    """Open 'org/name' or 'org/name@revision', from the data root if there is a copy, else from the hub.

    A copy in a bundle says which commit it is, and so is the same corpus as on the hub. Of any other copy the commit is
    unknown, so that a reference with a revision means the hub.

    Raises:
        XlbenchError: There is no such dataset, it has no pairs in the expected layout, or the hub cannot be asked and
            never was asked before.
    """
    name, revision = split_name(argument)
    copy = settings.local("datasets", name)
    if copy and (carried := read_carried(copy)) and revision in {None, carried.revision, carried.listing.commit}:
        return HubCorpus(carried.listing, settings.offline, copy, carried.digests)
    if revision is None and copy:
        files = parquet_files(copy)
        if not files:
            raise XlbenchError(f"'{copy}' holds no parallel pairs.", "It needs files en-xx/train*.parquet.")
        return FileCorpus(files, read_parquet, notices=unread_parquet(copy, files))
    return HubCorpus(_read_listing(name, revision, settings), settings.offline)


def read_carried(copy: Path) -> CarriedDataset | None:
    """Return what a bundle says of a copy; None if it is no copy of a bundle's."""
    return read_sealed(copy / CARRIED, CarriedDataset)


def split_name(argument: str) -> tuple[str, str | None]:
    """Split 'org/name@revision'; the revision is None if there is none.

    Raises:
        XlbenchError: It is not of this form.
    """
    match = _NAME.fullmatch(argument)
    if match is None:
        raise XlbenchError(
            f"'{argument}' is not the name of a hub dataset.", "Write hub:ORG/NAME, or hub:ORG/NAME@REVISION."
        )
    return match["name"], match["revision"]


def _read_listing(name: str, revision: str | None, settings: Settings) -> Listing:
    """Ask the hub for a listing; offline, take the one that was stored when it was last asked."""
    stored = settings.home / "hub" / f"{name.replace('/', '--')}@{revision or 'main'}.json"
    problem = f"Hub dataset '{name}' is not on this machine, and xlbench is offline."
    if not settings.offline:
        try:
            listing = _ask_hub(name, revision)
        except XlbenchError:
            raise
        except Exception as error:  # noqa: BLE001 - the client's network errors share no base class
            problem = f"The hub cannot be reached for dataset '{name}': {first_line(error)}"
        else:
            write_sealed(stored, listing)
            return listing
    known = read_sealed(stored, Listing)
    if known is None or known.name != name:
        raise XlbenchError(problem, _remedy(name))
    return known


def _ask_hub(name: str, revision: str | None) -> Listing:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi().dataset_info(name, revision=revision)
    except GatedRepoError as error:
        raise XlbenchError(
            f"Dataset '{name}' on the hub is gated: its terms must be accepted first.",
            "Accept them on its page and log in (hf auth login).",
        ) from error
    except RepositoryNotFoundError as error:
        raise XlbenchError(
            f"The hub has no dataset '{name}', or it is private.",
            f"Check the name; for files write tsv:{name} or parquet:{name}.",
        ) from error
    except RevisionNotFoundError as error:
        raise XlbenchError(
            f"Hub dataset '{name}' has no revision '{revision}'.", "Give a branch, tag or commit of it."
        ) from error
    files: dict[str, tuple[str, ...]] = {}
    paths = sorted(file.rfilename for file in info.siblings or ())
    for path in paths:
        if match := _TRAIN.fullmatch(path):
            files[match["language"]] = (*files.get(match["language"], ()), path)
    if not files:
        raise XlbenchError(
            f"Hub dataset '{name}' has no files en-xx/train*.parquet.",
            "Choose one laid out like sentence-transformers/parallel-sentences-talks, or give files.",
        )
    assert info.sha is not None
    read = {path.partition("/")[0] for of in files.values() for path in of}
    return Listing(name=name, commit=info.sha, files=files, notices=unread_folders(name, paths, read))


def _remedy(name: str) -> str:
    return (
        f"To put it under the data root: hf download {name} --repo-type dataset --local-dir DATA_ROOT/datasets/{name}"
    )
