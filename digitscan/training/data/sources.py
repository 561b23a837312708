"""Reading training data: the bundled MNIST, or the user's own in one of three forms.

The forms are an `.npz` as `keras.datasets.mnist` has it, a folder of MNIST's IDX files
(http://yann.lecun.com/exdb/mnist/), and a folder with one subfolder of images for each digit. The files may
come from anywhere: nothing in them is executed, sizes are limited, and what cannot be used raises
DataError.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import DataError, ImageError
from digitscan.evaluation.mnist import load_mnist
from digitscan.system.files import open_regular_file
from digitscan.training.data.datasets import TrainTestData
from digitscan.training.data.image_folders import read_image_folders
from digitscan.training.npz_file import NpzError, NpzFile

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
GZIP_MAGIC = b"\x1f\x8b"
MAX_UNPACKED_BYTES = 2_000_000_000
"""Limits what a small compressed file can unpack to: 36 times the size of MNIST."""
MIN_TRAINING_IMAGES = 20
"""With fewer, nothing can be learned, and validation has none of most digits."""
MAX_LISTED_NAMES = 8
EXPECTED_FORMS = (
    "expected an .npz file with x_train, y_train, x_test and y_test, a folder with the four IDX files of "
    "MNIST, or a folder with a subfolder of images for each digit (DATA/3/a.png)"
)


def load_data(
    source: Path | None = None,
    on_unusable: Callable[[Path, str], object] = lambda path, reason: None,
) -> TrainTestData:
    """Return the digits of the bundled MNIST (None), an `.npz` file, a folder of IDX files or one of images.

    The images of a folder are preprocessed as in a scan, and every seventh, chosen at random but the same
    ones each time, is a test image. `on_unusable` is called with the path of each image in which no digit
    is found, and the reason. Raises DataError for data that cannot be used.
    """
    if source is None:
        return TrainTestData(**load_mnist())
    try:
        if source.is_dir():
            return _check_count(_load_folder(source, on_unusable), source)
        if not source.is_file():
            problem = "is a pipe, socket or device" if source.exists() else "does not exist"
            raise DataError(f"{source} {problem}: {EXPECTED_FORMS}")
        with open_data_file(source) as file:
            arrays = read_arrays(source, file, ARRAY_NAMES, EXPECTED_FORMS)
            return _check_count(_check_arrays(arrays, source), source)
    except OSError as error:
        raise DataError(f"{error.filename or source} cannot be read: {error.strerror or error}") from error
    except MemoryError:
        raise DataError(f"{source} is too large: not enough memory to read it") from None


def _load_folder(folder: Path, on_unusable: Callable[[Path, str], object]) -> TrainTestData:
    if any(_find_idx_file(folder, name) for name in IDX_FILES.values()):
        return _check_arrays(_read_idx_files(folder), folder)
    if any((folder / str(digit)).is_dir() for digit in range(10)):
        return read_image_folders(folder, on_unusable)
    raise DataError(f"{folder} is a folder without digits: {EXPECTED_FORMS}")


def read_arrays(
    path: Path, file: IO[bytes], names: Sequence[str], expected_form: str
) -> dict[str, NDArray[Any]]:
    """Return the named arrays of an open `.npz`; no pickled object is loaded.

    `path` and `expected_form` are only named in errors. Raises DataError for a file that is damaged, too
    large or of another kind.
    """
    if not zipfile.is_zipfile(file):
        raise DataError(f"{path} is not an .npz file: {expected_form}")
    try:
        arrays = NpzFile(file)
        if arrays.unpacked_bytes > MAX_UNPACKED_BYTES:
            raise DataError(
                f"{path} unpacks to {arrays.unpacked_bytes} bytes, "
                f"more than the limit of {MAX_UNPACKED_BYTES}"
            )
        missing = [name for name in names if name not in arrays.names]
        if missing:
            raise DataError(
                f"{path} contains {_join_names(arrays.names)}, but not {_join_names(missing)}: "
                f"{expected_form}"
            )
        return {name: arrays.read(name) for name in names}
    except NpzError as error:
        raise DataError(f"{path} is damaged or contains something other than arrays ({error})") from error


def _find_idx_file(folder: Path, name: str) -> Path | None:
    """Return the path of an IDX file: also spelled with a dot (`train-images.idx3-ubyte`), also gzipped."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            path = folder / f"{spelling}{suffix}"
            if path.is_file():
                return path
    return None


def _read_idx_files(folder: Path) -> dict[str, NDArray[Any]]:
    paths = {name: _find_idx_file(folder, file_name) for name, file_name in IDX_FILES.items()}
    missing = [IDX_FILES[name] for name, path in paths.items() if path is None]
    if missing:
        raise DataError(f"{folder} lacks {_join_names(missing)}, plain or gzipped (.gz)")
    return {
        name: _read_idx_file(path, dimensions=3 if name.startswith("x") else 1)
        for name, path in paths.items()
        if path is not None
    }


def _read_idx_file(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes.

    The header is two zero bytes, the type (8), the number of dimensions, and each dimension in four bytes,
    big endian.
    """
    magic = bytes([0, 0, 8, dimensions])
    header_bytes = len(magic) + 4 * dimensions
    with _open_maybe_gzipped(path) as file:
        header = file.read(header_bytes)
        if not header.startswith(magic) or len(header) < header_bytes:
            raise DataError(
                f"{path} starts with {header[:4].hex(' ') or 'nothing'}, "
                f"expected {magic.hex(' ')}: a {dimensions}-dimensional IDX file of unsigned bytes"
            )
        shape = struct.unpack_from(f">{dimensions}I", header, len(magic))
        expected_bytes = math.prod(shape)
        if not 0 < expected_bytes <= MAX_UNPACKED_BYTES:
            raise DataError(
                f"{path} declares the shape {shape}, which is {expected_bytes} bytes: "
                f"expected 1 to {MAX_UNPACKED_BYTES}"
            )
        data = file.read(expected_bytes + 1)
    if len(data) != expected_bytes:
        found = "has more" if len(data) > expected_bytes else f"has {len(data)}"
        raise DataError(f"{path} declares the shape {shape}, which is {expected_bytes} bytes, but it {found}")
    return np.frombuffer(data, np.uint8).reshape(shape)


@contextlib.contextmanager
def _open_maybe_gzipped(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """Open a file, unpacked if it is gzipped. Raises DataError in the block where it is damaged."""
    with open_data_file(path) as file:
        is_gzipped = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        try:
            if is_gzipped:
                with gzip.open(file) as unpacked:
                    yield unpacked
            else:
                yield file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path} is a damaged gzip file ({error})") from error


def open_data_file(path: Path) -> io.BufferedReader:
    """Return a regular file opened for reading. Raises OSError, and DataError for a pipe or device."""
    try:
        return io.BufferedReader(open_regular_file(os.fspath(path)))
    except ImageError as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _check_arrays(arrays: dict[str, NDArray[Any]], path: Path) -> TrainTestData:
    """Return the arrays, labels as uint8. Raises DataError for a wrong dtype, shape or label."""
    for name, description in (("train", "training"), ("test", "test")):
        x, y = arrays[f"x_{name}"], arrays[f"y_{name}"]
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (28, 28) or len(x) == 0:
            raise DataError(
                f"{path}: the {description} images are {x.dtype} {x.shape}, expected uint8 (N, 28, 28), N > 0"
            )
        if y.dtype.kind not in "iu" or y.shape != (len(x),):
            raise DataError(
                f"{path}: the {description} labels are {y.dtype} {y.shape}, "
                f"expected integers ({len(x)},), one for each image"
            )
        if y.min() < 0 or y.max() > 9:
            raise DataError(
                f"{path}: the {description} labels range from {y.min()} to {y.max()}, expected 0 to 9"
            )
    return TrainTestData(
        arrays["x_train"],
        arrays["y_train"].astype(np.uint8),
        arrays["x_test"],
        arrays["y_test"].astype(np.uint8),
    )


def _check_count(data: TrainTestData, source: Path) -> TrainTestData:
    """Return the data. Raises DataError where there are too few images to train on."""
    count, test_count = len(data.x_train), len(data.x_test)
    if count < MIN_TRAINING_IMAGES:
        raise DataError(
            f"{source} has {count} usable images to train on, and {test_count} to test with (of a folder by "
            f"digit, every seventh): at least {MIN_TRAINING_IMAGES} to train on are needed"
        )
    return data


def _join_names(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_LISTED_NAMES]) or "nothing"
