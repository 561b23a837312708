"""Reading a folder with one subfolder of images for each digit.

The files may come from anybody. They are decoded as in a scan, in processes with limits on time and memory:
a file that hangs or crashes its decoder is left out, and the others are read.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import DataError, DigitscanError
from digitscan.system.file_filter import is_leftover
from digitscan.training.data.datasets import TrainTestData
from digitscan.workers.file_reader import read_files
from digitscan.workers.page_counter import list_pages
from digitscan.workers.preprocessor import PreprocessedRow
from digitscan.workers.protocol import FileLocation, WorkerSetup

DIGIT_NAMES = frozenset("0123456789")
TEST_DIVISOR = 7
"""Of a folder of images, one in seven is a test image, as in MNIST."""


def read_image_folders(folder: Path, on_unusable: Callable[[Path, str], object]) -> TrainTestData:
    """Return the digits of a folder with subfolders `0` to `9` of image files, preprocessed as in a scan.

    Every seventh, chosen at random but the same ones each time, is a test image. `on_unusable` is called with
    the path of each image that has no digit or cannot be read, and of each folder of another name, and the
    reason. Raises DataError where no image can be used, and OSError where a folder cannot be read.
    """
    for other in find_other_folders(folder):
        on_unusable(other, "its name is no digit, 0 to 9")
    labels_and_paths = list(_list_labelled_files(folder))
    try:
        pages = list_pages([FileLocation(os.fspath(path)) for _, path in labels_and_paths])
    except DigitscanError as error:
        raise DataError(str(error)) from error
    files = [(label, page) for (label, _), each in zip(labels_and_paths, pages, strict=True) for page in each]
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    rows = read_pixels([page for _, page in files])
    for (label, page), row in zip(files, rows, strict=True):
        if isinstance(row, str):
            on_unusable(Path(page.path), row)
        else:
            images.append(row)
            labels.append(label)
    if not images:
        raise DataError(f"{folder} has no usable image: every file was left out, for the reasons above")
    x, y = np.stack(images), np.array(labels, np.uint8)
    # The same test images each time, so that no teacher was trained on what its student is tested on.
    order = np.random.default_rng(0).permutation(len(x))
    test_count = len(x) // TEST_DIVISOR
    test, train = order[:test_count], order[test_count:]
    return TrainTestData(x[train], y[train], x[test], y[test])


def _list_labelled_files(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield the label and path of each file that a scan reads, in an order that is the same everywhere."""
    for digit in range(10):
        subfolder = folder / str(digit)
        if not subfolder.is_dir():
            continue
        for path in sorted(subfolder.iterdir(), key=lambda path: path.name):
            # The reader says why it leaves out what is no file, such as a pipe or a link that leads nowhere.
            if not path.is_dir() and not is_leftover(path):
                yield digit, path


def find_other_folders(folder: Path) -> list[Path]:
    """Return the subfolders whose names are no digits, but for those that a scan skips, by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.name not in DIGIT_NAMES and path.is_dir() and not is_leftover(path)
    )


def read_pixels(files: Sequence[FileLocation]) -> list[NDArray[np.uint8] | str]:
    """Return for each image file its pixels, preprocessed, (28, 28) uint8, or why it has none.

    Raises DataError where no worker can be kept alive.
    """
    try:
        return read_files(files, WorkerSetup(does="preprocess images", shared_path=None), _parse_row)
    except DigitscanError as error:
        raise DataError(str(error)) from error


def _parse_row(values: Any) -> NDArray[np.uint8] | str:
    """Return what a worker sent, a PreprocessedRow: pixels (28, 28), or the reason why there are none."""
    row = PreprocessedRow(*values)
    if row.pixels is None:
        return str(row.reason)
    return np.frombuffer(base64.b64decode(row.pixels), np.uint8).reshape(28, 28)
