"""Corrections: images of the user, with what they show, from which a trained model is to learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from digitscan.errors import DataError
from digitscan.evaluation.labels import (
    CORRECTED_COLUMN,
    PATH_COLUMN,
    LabelledFile,
    collect_labelled_files,
    list_labelled_folder,
    list_labelled_pages,
    read_table,
)
from digitscan.evaluation.metrics import NO_DIGIT
from digitscan.evaluation.picture_paths import create_picture_finder
from digitscan.prediction import NOT_UTF8
from digitscan.system.files import describe_os_error
from digitscan.training.data.datasets import Dataset
from digitscan.training.data.image_folders import read_pixels

MIN_CORRECTIONS = 5
"""With fewer there is nothing to measure on, and hardly anything to learn."""


def read_corrections(
    source: Path, images: Path | None, class_count: int, on_unusable: Callable[[Path, str], object]
) -> Dataset:
    """Return the corrected images of a CSV, or of a folder by label, preprocessed as in a scan.

    `images` is the folder in which the paths of the CSV begin, if the pictures have moved. `on_unusable` is
    called with the path of each image that has no digit or cannot be read, and the reason; with a
    `class_count` of 10, also of each that is said to show no digit. An image that is said to show none, and
    in which preprocessing finds none, is only left out. Raises DataError for a source that cannot be used,
    and for fewer than MIN_CORRECTIONS usable images.
    """
    files = list_corrected_files(source, images)
    pixels, labels = [], []
    for file, row in zip(files, read_pixels([file.location for file in files]), strict=True):
        if not isinstance(row, str) and file.label < class_count:
            pixels.append(row)
            labels.append(file.label)
        elif not isinstance(row, str):
            on_unusable(file.path, "the model knows digits only, and this is said to be none")
        elif file.label != NO_DIGIT or file.path.is_dir() or not file.path.exists():
            on_unusable(file.path, row)
    if len(pixels) < MIN_CORRECTIONS:
        raise DataError(
            f"{source} has {len(pixels)} corrected images that can be read, {MIN_CORRECTIONS} are needed; "
            "if the pictures have moved, say with --images where they are now"
        )
    return Dataset(np.stack(pixels), np.array(labels, np.uint8))


def list_corrected_files(source: Path, images: Path | None) -> list[LabelledFile]:
    """Return the files of a folder by label, or of a CSV with corrections, with their labels.

    `images` is as for `read_corrections`. Raises DataError.
    """
    try:
        if source.is_dir():
            return list_labelled_pages(list_labelled_folder(source))
    except OSError as error:
        raise DataError(f"{error.filename or source} cannot be read: {describe_os_error(error)}") from error
    table = read_table(source)
    missing = [name for name in (PATH_COLUMN, CORRECTED_COLUMN) if name not in table.columns]
    if missing:
        raise DataError(
            f"{source} has no column named {' or '.join(missing)}: correct the rows of a scan first, see "
            "digitscan review"
        )
    find_picture = create_picture_finder(source, images)
    return collect_labelled_files(
        table,
        source,
        CORRECTED_COLUMN,
        lambda row: find_picture(row[PATH_COLUMN], NOT_UTF8 not in row.get("note", "")),
    )
