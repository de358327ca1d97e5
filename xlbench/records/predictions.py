"""The predictions of a board's rows, kept beside its records, so that rows added on another machine can be paired.

``NAME/predictions/*.parquet``, each with the name of its record. Gold scores and sentences are test data and
are not kept: they are read from the data sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from xlbench.errors import XlbenchError
from xlbench.scoring.item_files import by_subset, subset_columns, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from xlbench.scoring.items import Items

FOLDER = "predictions"
KEY, DIGEST = b"xlbench.record", b"xlbench.digest"  # in a file's metadata

Predictions: TypeAlias = "dict[tuple[str, str], NDArray[np.float32]]"  # by (task, subset), in table order


class Predicted(NamedTuple):
    """What the encoder of a record predicted.

    Attributes:
        key: Of the record's entry in the store.
        predictions: Those of :class:`xlbench.scoring.items.ItemScores`.
        digest: Of the record (:func:`xlbench.records.record.record_digest`); None where the file does not say.
    """

    key: str
    predictions: Predictions
    digest: str | None = None


def predictions_of(items: Items) -> Predictions:
    """Return the predictions of items, without gold scores and item numbers."""
    return {name: it.prediction for name, it in items.items()}


def write_predictions(folder: Path, predicted: Mapping[str, Predicted]) -> None:
    """Write the predictions of rows, and delete those of all other rows.

    Args:
        folder: Of the board.
        predicted: By the names of the records' files, without their ending.

    Raises:
        XlbenchError: The disk is full or read-only.
    """
    for old in set(folder.joinpath(FOLDER).glob("*.parquet")) - {_path(folder, stem) for stem in predicted}:
        old.unlink()
    for stem, it in predicted.items():
        _write(_path(folder, stem), it)


def read_predictions(record: Path) -> Predicted | None:
    """Return the predictions of the record at this path; None if the board has none.

    Raises:
        XlbenchError: The file is damaged.
    """
    path = _path(record.parent.parent, record.stem)
    if not path.is_file():
        return None
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, columns=["task", "subset", "prediction"])
        metadata = table.schema.metadata or {}
        key, digest = metadata[KEY].decode(), metadata.get(DIGEST, b"").decode() or None
    except (OSError, KeyError, UnicodeDecodeError, pa.ArrowException) as error:
        raise XlbenchError(
            f"The predictions '{path}' cannot be read: {error}", "Delete it: the row is then computed again."
        ) from error
    values = table["prediction"].to_numpy()
    return Predicted(key, {name: values[rows] for name, rows in by_subset(table).items()}, digest)


def read_key(record: Path) -> str | None:
    """Return the key of the store's entry that the row of the record at this path has; None where nothing says it."""
    from pyarrow import ArrowException, parquet

    try:
        metadata = parquet.read_schema(_path(record.parent.parent, record.stem)).metadata or {}
    except (OSError, ArrowException):
        return None
    key = metadata.get(KEY)
    return key.decode("utf-8", "replace") if key else None


def _path(folder: Path, stem: str) -> Path:
    return folder / FOLDER / f"{stem}.parquet"


def _write(path: Path, predicted: Predicted) -> None:
    import pyarrow as pa

    table = pa.table(
        {
            **subset_columns({name: len(values) for name, values in predicted.predictions.items()}),
            "prediction": np.concatenate(list(predicted.predictions.values())),
        }
    )
    # The file is committed, and these settings halve its size.
    write_table(
        path,
        table.replace_schema_metadata({KEY: predicted.key} | ({DIGEST: predicted.digest} if predicted.digest else {})),
        compression="zstd",
        compression_level=19,
        use_dictionary=["task", "subset"],
        use_byte_stream_split=["prediction"],
    )
