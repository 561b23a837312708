"""Calibrations of models by this user's labelled pictures: a record of each, in the user's data folder.

They are not in the model's file, which may be somebody else's, and not in the cache, so that clearing the
cache forgets nothing. Each is one file, named by the SHA-256 of the model file and the input range, since
another range gives other answers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digitscan.errors import ModelError
from digitscan.imaging.version import PREPROCESS_VERSION
from digitscan.model.input_range import InputRange
from digitscan.model.private_files import (
    check_writable,
    explain_os_errors,
    read_private_file,
    user_data_folder,
    write_private_file,
)

if TYPE_CHECKING:
    from pathlib import Path

    from digitscan.model.metadata import ModelMetadata

_WHAT = "the calibration of the model"
_VARIABLE = "XDG_DATA_HOME"


@dataclass(frozen=True)
class Calibration:
    """What was fitted to the user's pictures."""

    model: str
    """The model's name or path when it was calibrated; for people."""
    temperature: float
    """As in `ModelMetadata`."""
    ok_confidence: float
    """The confidence, 0 to 1, from which a row is `ok`."""
    pictures: int
    """The number of labelled pictures."""
    date: str
    """The day on which it was made, such as 2026-11-27."""
    preprocess_version: int = PREPROCESS_VERSION
    """The `PREPROCESS_VERSION` with which the pictures were read."""

    def describe(self) -> str:
        """Return what the summary says of it."""
        return f"calibrated here on {self.pictures:,} pictures, {self.date}"

    def describe_parameters(self) -> str:
        """Return what the rows of a scan depend on."""
        return f"temperature {self.temperature:g}, ok from {self.ok_confidence:g}"

    def apply(self, metadata: ModelMetadata) -> ModelMetadata:
        """Return a model's metadata with this calibration; it holds for images of all conditions."""
        return dataclasses.replace(
            metadata,
            temperature=self.temperature,
            ok_confidence=self.ok_confidence,
            field_ok_confidence=None,
            unclear_ok_confidence=None,
        )


def calibrations_folder() -> Path:
    """Return the folder of the calibrations, which need not exist. Raises ModelError without a home."""
    return user_data_folder() / "calibrations"


def store_calibration(digest: str, input_range: InputRange, calibration: Calibration) -> Path:
    """Store the calibration of the model file with this SHA-256, and return the file that holds it.

    Raises ModelError where it cannot be stored.
    """
    path = _find_path(digest, input_range)
    text = json.dumps(dataclasses.asdict(calibration), sort_keys=True, indent=1) + "\n"
    with explain_os_errors(_WHAT, path.parent, _VARIABLE):
        write_private_file(path, text.encode("ascii"))
    return path


def check_calibrations_writable() -> None:
    """Raise ModelError where `store_calibration` could not store a calibration."""
    folder = calibrations_folder()
    with explain_os_errors(_WHAT, folder, _VARIABLE):
        check_writable(folder)


def find_calibration(digest: str, input_range: InputRange) -> Calibration | None:
    """Return the calibration of the model file with this SHA-256 in an input range, None if there is none.

    Raises ModelError for one that cannot be used, with the reason: it is damaged, others can write to it, or
    preprocessing has changed since.
    """
    try:
        path = _find_path(digest, input_range)
    except ModelError:  # without a home folder there is none
        return None
    try:
        data = read_private_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    calibration = _parse(data)
    if calibration is None:
        raise ModelError(f"{path} is damaged")
    if calibration.preprocess_version != PREPROCESS_VERSION:
        raise ModelError(
            f"it was made with preprocessing version {calibration.preprocess_version}, this digitscan has "
            f"version {PREPROCESS_VERSION}"
        )
    return calibration


def list_calibrations() -> list[Calibration]:
    """Return all calibrations that can be read, by the models' names."""
    calibrations = []
    with contextlib.suppress(ModelError, OSError):  # without a home folder, or the folder, there are none
        for path in calibrations_folder().glob("*.json"):
            with contextlib.suppress(OSError):
                calibrations.append(_parse(read_private_file(path)))
    return sorted((each for each in calibrations if each), key=lambda each: (each.model, each.date))


def forget_calibrations(digest: str) -> int:
    """Remove the calibrations of the model file with this SHA-256; return how many there were.

    Raises ModelError where that is not possible.
    """
    count = 0
    for input_range in InputRange:
        path = _find_path(digest, input_range)
        with explain_os_errors(_WHAT, path.parent, _VARIABLE):
            if path.is_file():
                path.unlink()
                count += 1
    return count


def _find_path(digest: str, input_range: InputRange) -> Path:
    return calibrations_folder() / f"{digest}{input_range.file_suffix}.json"


def _parse(data: bytes) -> Calibration | None:
    """Return the calibration that `store_calibration` wrote, None for anything else."""
    try:
        calibration = Calibration(**json.loads(data))
        is_valid = (
            0.01 <= calibration.temperature <= 100.0
            and 0.0 <= calibration.ok_confidence <= 1.0
            and type(calibration.pictures) is int
            and type(calibration.preprocess_version) is int
            and re.fullmatch(r"\d{4}-\d\d-\d\d", calibration.date) is not None
        )
    except (ValueError, TypeError, RecursionError):
        return None
    return calibration if is_valid else None
