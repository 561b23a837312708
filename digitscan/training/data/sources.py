"""Training data: the shipped MNIST, or the user's own in one of three forms."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.errors import DataError, ImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BUNDLED = Path(__file__).resolve().parents[2] / "data" / "mnist.npz"
BUNDLED_SHA256 = "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
MAX_UNPACKED_BYTES = 2_000_000_000
TEST_PART = 7
EXPECTED = (
    "expected is an .npz with x_train, y_train, x_test and y_test, a folder with the four IDX files "
    "of MNIST, or a folder with a folder of images for each digit (DATA/3/a.png)"
)


@dataclass(frozen=True)
class TrainTestData:
    """Digits to learn from and to be tested with.

    `x_train` and `x_test` are (N, 28, 28) uint8, ink bright on black; `y_train` and `y_test` are (N,)
    uint8, 0 to 9.
    """

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.uint8]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.uint8]


def load_data(
    source: Path | None = None,
    unusable: Callable[[Path, str], object] = lambda path, why: None,
) -> TrainTestData:
    """Load the shipped MNIST (None), another `.npz`, a folder of IDX files or one of images by label.

    Of images by label, each is preprocessed as a scan does it, and a seventh, the same every time, is the
    test part; `unusable` is told of each image in which there is no digit to learn from. Raises DataError.
    """
    if source is None:
        try:
            data = BUNDLED.read_bytes()
        except OSError as error:
            raise DataError(f"the shipped {BUNDLED} cannot be read: {error.strerror or error}") from error
        if hashlib.sha256(data).hexdigest() != BUNDLED_SHA256:
            raise DataError(f"the shipped {BUNDLED} is damaged: install digitscan again")
        return _checked(_read_npz(BUNDLED, io.BytesIO(data)), BUNDLED)
    try:
        if source.is_dir():
            if any(_find_idx(source, name) for name in IDX_FILES.values()):
                return _checked(_read_idx_files(source), source)
            if any((source / str(digit)).is_dir() for digit in range(10)):
                return _read_images(source, unusable)
            raise DataError(f"{source} is a folder without digits: {EXPECTED}")
        if not source.is_file():
            raise DataError(f"{source} does not exist: {EXPECTED}")
        with source.open("rb") as file:
            return _checked(_read_npz(source, file), source)
    except OSError as error:
        raise DataError(f"{error.filename or source} cannot be read: {error.strerror or error}") from error


def _read_npz(path: Path, file: Any) -> dict[str, NDArray[Any]]:
    import numpy as np

    if not zipfile.is_zipfile(file):
        raise DataError(f"{path} is no .npz file: {EXPECTED}")
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise DataError(f"{path} unpacks to {unpacked} bytes: at most {MAX_UNPACKED_BYTES} are read")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            missing = [name for name in ARRAYS if name not in arrays]
            if missing:
                raise DataError(f"{path} holds {_listed(list(arrays))}, not {_listed(missing)}: {EXPECTED}")
            return {name: np.asarray(arrays[name]) for name in ARRAYS}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DataError(f"{path} is damaged or holds something else than arrays ({error})") from error


def _find_idx(folder: Path, name: str) -> Path | None:
    for spelled in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (folder / f"{spelled}{suffix}").is_file():
                return folder / f"{spelled}{suffix}"
    return None


def _read_idx_files(folder: Path) -> dict[str, NDArray[Any]]:
    found = {name: _find_idx(folder, file) for name, file in IDX_FILES.items()}
    missing = [IDX_FILES[name] for name, path in found.items() if path is None]
    if missing:
        raise DataError(f"{folder} lacks {_listed(missing)}, plain or gzipped (.gz)")
    return {name: _read_idx(path, 3 if name[0] == "x" else 1) for name, path in found.items() if path}


def _read_idx(path: Path, dimensions: int) -> NDArray[Any]:
    import numpy as np

    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if zipped else path.open("rb") as file:
            data = file.read(MAX_UNPACKED_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is a damaged gzip file ({error})") from error
    start = 4 + 4 * dimensions
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(data) < start:
        raise DataError(
            f"{path} starts with {data[:4].hex(' ') or 'nothing'}, "
            f"expected is 00 00 08 {dimensions:02x}: {dimensions}-dimensional IDX of unsigned bytes"
        )
    shape = tuple(int.from_bytes(data[4 * k : 4 * k + 4], "big") for k in range(1, dimensions + 1))
    wanted = start
    size = 1
    for length in shape:
        size *= length
    wanted += size
    if len(data) != wanted:
        raise DataError(f"{path} says it holds {shape}, that is {wanted} bytes, but it has {len(data)}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _read_images(folder: Path, unusable: Callable[[Path, str], object]) -> TrainTestData:
    import numpy as np

    from digitscan.imaging.decode import decode_image
    from digitscan.imaging.preprocess import preprocess

    pictures: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for digit in range(10):
        # Sorted, because the order of a folder differs from computer to computer.
        inside = folder / str(digit)
        for path in sorted(inside.iterdir(), key=lambda each: each.name) if inside.is_dir() else ():
            if path.name.startswith(".") or not path.is_file():
                continue
            try:
                seen = preprocess(decode_image(path).pixels)
            except ImageError as error:
                unusable(path, str(error))
                continue
            if seen.pixels is None:
                unusable(path, seen.rejection or "no digit")
                continue
            pictures.append(seen.pixels)
            labels.append(digit)
    if len(pictures) < 2 * TEST_PART:
        raise DataError(f"{folder} has {len(pictures)} usable images: expected are {2 * TEST_PART} at least")
    x, y = np.stack(pictures), np.array(labels, np.uint8)
    order = np.random.default_rng(0).permutation(len(x))
    test, train = order[: len(x) // TEST_PART], order[len(x) // TEST_PART :]
    return TrainTestData(x[train], y[train], x[test], y[test])


def _checked(arrays: dict[str, NDArray[Any]], path: Path) -> TrainTestData:
    import numpy as np

    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (28, 28) or len(x) == 0:
            raise DataError(
                f"{path}: the images of {part} are {x.dtype} {x.shape}, expected is uint8 (N, 28, 28), N > 0"
            )
        if y.dtype.kind not in "iu" or y.shape != (len(x),):
            raise DataError(
                f"{path}: the labels of {part} are {y.dtype} {y.shape}, "
                f"expected are integers ({len(x)},), one for each image"
            )
        if y.min() < 0 or y.max() > 9:
            raise DataError(
                f"{path}: the labels of {part} go from {y.min()} to {y.max()}, expected is 0 to 9"
            )
    return TrainTestData(
        arrays["x_train"],
        arrays["y_train"].astype(np.uint8),
        arrays["x_test"],
        arrays["y_test"].astype(np.uint8),
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) or "nothing"
