"""The code of a student's architecture that lies beside its weights, for who loads it without xlbench.

xlbench never runs it: its own code of the same file is what loads a student here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.encoders.directories import settings_in

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


CODE = "modeling_xlbench.py"
CONFIG = "config.json"
AUTO_MAP = "auto_map"  # in the configuration: where transformers finds the classes, if it may run a directory's code
CLASSES = {  # by `model_type`
    "xlbench-bert": ("StudentBertConfig", "StudentBertModel"),
    "xlbench-xlm-roberta": ("StudentXLMRobertaConfig", "StudentXLMRobertaModel"),
}


def code() -> bytes:
    """Return the file that lies beside the weights: a copy of the module that xlbench itself runs."""
    return Path(__file__).with_name(CODE).read_bytes()


def carried_files(directory: Path) -> dict[str, bytes]:
    """Return the files, by name, that a saved student with parts of its own is to have when it leaves the store.

    The architecture's code, and a ``config.json`` that names it by an ``auto_map``; nothing for other encoders.
    """
    config = settings_in(directory / CONFIG)
    if (classes := CLASSES.get(str(config.get("model_type")))) is None:
        return {}
    module = Path(CODE).stem
    config[AUTO_MAP] = {"AutoConfig": f"{module}.{classes[0]}", "AutoModel": f"{module}.{classes[1]}"}
    # As transformers writes it.
    return {CODE: code(), CONFIG: (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()}


def carry_code(directory: Path) -> None:
    """Put :func:`carried_files` into the directory of a saved student."""
    for name, content in carried_files(directory).items():
        (directory / name).write_bytes(content)


def has_own_architecture(directory: Path) -> bool:
    """Return whether a directory holds a student with parts that stock BERT and XLM-R lack."""
    return str(settings_in(directory / CONFIG).get("model_type")) in CLASSES


def drop_code(model: SentenceTransformer) -> None:
    """Forget where code of a directory lay, so that what is saved of its model does not name a file that is not there.

    Args:
        model: Its configuration is changed.
    """
    from xlbench.encoders.modules import inner_model

    config = getattr(inner_model(model), "config", None)
    known = getattr(config, AUTO_MAP, None)
    if isinstance(known, dict) and all(str(place).startswith(Path(CODE).stem) for place in known.values()):
        delattr(config, AUTO_MAP)
