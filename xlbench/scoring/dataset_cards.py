"""What a dataset's card changes about which files are read, and how: part of what identifies a local copy."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from xlbench.fingerprint import Json, fingerprint

if TYPE_CHECKING:
    from pathlib import Path

CARD, STANDALONE = "README.md", ".huggingface.yaml"  # both are read by the datasets library
PLAIN_KEYS = {"config_name", "default", "data_files"}
ENDING = r"(\.[a-z]+){0,2}"  # .jsonl.gz, .parquet
DEFAULT = "default"


def card_digest(local: Path) -> str:
    """Return what identifies how the card of a local copy has its files read; empty if that is the plain way.

    It is plain where each split of each subset is read from the files that are named after both (``test/en-de.jsonl``,
    ``test/*.jsonl.gz`` and ``data/test-*`` for the only subset), whose names are in the digest of the files already.
    """
    facts: dict[str, Json] = {}
    if (standalone := local / STANDALONE).is_file():
        facts["standalone"] = hashlib.sha256(standalone.read_bytes()).hexdigest()
    if (card := local / CARD).is_file():
        facts |= _card_facts(card, card.read_bytes())
    return fingerprint(facts) if facts else ""


@lru_cache(maxsize=64)  # YAML is slow, and identities are asked for often
def _card_facts(card: Path, content: bytes) -> dict[str, Json]:
    from huggingface_hub import metadata_load

    try:
        metadata = metadata_load(card) or {}
    except Exception:  # noqa: BLE001 - of the YAML library, whatever is wrong; the datasets library refuses the card
        return {"unreadable": hashlib.sha256(content).hexdigest()}
    configs, infos = metadata.get("configs"), metadata.get("dataset_info")
    facts: dict[str, Json] = {}
    if configs and not (isinstance(configs, list) and all(_is_plain(config) for config in configs)):
        facts["configs"] = _as_json(configs)
    features = [
        [info.get("config_name"), info["features"]]
        for info in (infos if isinstance(infos, list) else [infos])
        if isinstance(info, dict) and info.get("features")
    ]
    if features:  # columns are converted to their types
        facts["features"] = _as_json(features)
    return facts


def _is_plain(config: object) -> bool:
    if not isinstance(config, dict) or not PLAIN_KEYS.issuperset(config):
        return False
    name, files = str(config.get("config_name", DEFAULT)), config.get("data_files")
    if config.get("default") not in (None, name == DEFAULT) or not isinstance(files, list) or not files:
        return False
    splits = [it.get("split") if isinstance(it, dict) else None for it in files]
    return len(set(splits)) == len(splits) and all(_is_plain_split(it, name) for it in files)


def _is_plain_split(files: object, name: str) -> bool:
    if not isinstance(files, dict) or set(files) != {"split", "path"}:
        return False
    path = files["path"][0] if isinstance(files["path"], list) and len(files["path"]) == 1 else files["path"]
    split, subset = re.escape(str(files["split"])), re.escape(name)
    if name == DEFAULT:
        plain = rf"(data/)?({split}/\*|{split}(-\*)?){ENDING}"
    else:
        plain = rf"(data/)?({split}/{subset}|{subset}/{split}(-\*)?){ENDING}"
    return isinstance(path, str) and re.fullmatch(plain, path) is not None


def _as_json(value: object) -> Json:
    """Return what YAML gives as JSON has it: numbers with a point, dates and the like as text."""
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)
