"""Which models this user's `train` made: a record of each, in the user's data folder.

A model's own metadata may claim anything, so `registry` believes that of a model with a record. The records
are not in the cache, so that clearing the cache forgets no model. Each is one file, `DIGEST.json`, where
DIGEST is the SHA-256 of the `.h5`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from digitscan.errors import ModelError
from digitscan.model.metadata import ModelMetadata
from digitscan.model.private_files import (
    check_writable,
    explain_os_errors,
    read_private_file,
    user_data_folder,
    write_private_file,
)

if TYPE_CHECKING:
    from pathlib import Path


class TrainedModel(NamedTuple):
    """What is recorded of a model."""

    metadata: ModelMetadata
    """The same as inside the `.h5`."""
    is_tested_on_mnist: bool
    """Whether its test accuracy is that on MNIST's test images, which can be compared with other models'."""
    bundled_accuracy: float | None = None
    """The accuracy, 0 to 1, of the bundled model on the same test images; None where it was not measured."""


def records_folder() -> Path:
    """Return the folder of the records, which need not exist yet. Raises ModelError without a home folder."""
    return user_data_folder() / "models"


def record_trained_model(digest: str, trained: TrainedModel) -> None:
    """Record that `train` made the `.h5` with this SHA-256. Raises ModelError where that cannot be stored."""
    record = {  # the keys are stored names, which never change
        "facts": trained.metadata.to_stored(),
        "tested_on_mnist": trained.is_tested_on_mnist,
        "bundled_accuracy": trained.bundled_accuracy,
    }
    text = json.dumps(record, sort_keys=True, indent=1) + "\n"
    folder = records_folder()
    with explain_os_errors("the record of the model", folder, "XDG_DATA_HOME"):
        write_private_file(folder / f"{digest}.json", text.encode("ascii"))


def check_records_writable() -> None:
    """Raise ModelError where `record_trained_model` could not store a record."""
    folder = records_folder()
    with explain_os_errors("the record of the model", folder, "XDG_DATA_HOME"):
        check_writable(folder)


def find_trained_model(digest: str) -> TrainedModel | None:
    """Return the record of the `.h5` with this SHA-256, None if there is none that only this user wrote."""
    try:
        record = json.loads(read_private_file(records_folder() / f"{digest}.json"))
        metadata = ModelMetadata.from_stored(record["facts"])
        bundled_accuracy = record.get("bundled_accuracy")  # records of earlier versions have none
        if not isinstance(bundled_accuracy, float):
            bundled_accuracy = None
        return TrainedModel(metadata, record["tested_on_mnist"] is True, bundled_accuracy)
    except (OSError, ValueError, KeyError, TypeError, ModelError):
        return None
