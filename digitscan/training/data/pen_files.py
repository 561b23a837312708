"""Reading the user's files of pen strokes, and dividing their writers for validation.

docs/training.md describes the format; `tools/unipen_to_pens.py` makes such a file from a public collection.
The files may come from anywhere: nothing in them is executed, sizes are limited, and what cannot be used
raises DataError. What may be labelled wrongly is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import DataError
from digitscan.training.data.datasets import Split
from digitscan.training.data.pen_strokes import COORDINATE_RANGE, PenStrokes
from digitscan.training.data.sources import open_data_file, read_arrays
from digitscan.training.data.stroke_glyphs import WRITTEN_NON_DIGITS

ARRAY_NAMES = ("points", "stroke_ends", "segment_ends", "label", "source", "writer")
MAX_CHARACTER_POINTS = 10_000
"""Limits how long it takes to draw a character of a damaged file; the longest of UNIPEN has 600."""
VALIDATION_WRITER_STEP = 6
"""Of each source's writers every sixth is kept for validation, the fourth, the tenth and so on."""
MIN_RELATIVE_SPREAD = 0.2
"""A character whose points spread less than this across its longest direction, relative to along it, is a
line. Some characters of UNIPEN have lost strokes; a line that is left of them may be a 1. Of lines, only
upright 1s are drawn."""
MAX_DIGIT_ASPECT = 2.0
"""A digit whose width is more than this times its height is two digits, or has lost strokes."""
EXPECTED_FORM = "expected an .npz file of pen strokes as docs/training.md describes it"


@dataclass(frozen=True)
class PenStrokeData:
    """What the user's files hold: the characters of each split, and the SHA-256 of each file."""

    splits: Mapping[Split, PenStrokes]
    digests: tuple[str, ...]


class _Characters(NamedTuple):
    """The characters of a file after all checks; the first three as in PenStrokes.

    For each character (N,): the code point of its label, the index of its writer among those of the file, and
    whether the writer is kept for validation.
    """

    points: NDArray[np.int16]
    stroke_ends: NDArray[np.int64]
    character_ends: NDArray[np.int64]
    labels: NDArray[np.uint32]
    writers: NDArray[np.int64]
    is_validation: NDArray[np.bool_]


def load_pen_strokes(paths: Sequence[Path]) -> PenStrokeData:
    """Return the characters in the files, at least one. Raises DataError for a file that cannot be used.

    The writers of each file are counted by themselves. Characters that have probably lost strokes are left
    out.
    """
    files = [_read_file(path) for path in paths]
    characters = _join([_check_arrays(arrays, path) for (arrays, _), path in zip(files, paths, strict=True)])
    is_usable = _find_usable(characters)
    splits: Mapping[Split, PenStrokes] = {
        "train": _select(characters, is_usable & ~characters.is_validation),
        "val": _select(characters, is_usable & characters.is_validation),
    }
    _check_every_digit_is_there(splits, paths)
    return PenStrokeData(splits, tuple(digest for _, digest in files))


def _read_file(path: Path) -> tuple[dict[str, NDArray[Any]], str]:
    """Return the arrays of a file and its SHA-256."""
    try:
        if not path.is_file():
            raise DataError(f"{path} is not a file: {EXPECTED_FORM}")
        with open_data_file(path) as file:
            arrays = read_arrays(path, file, ARRAY_NAMES, EXPECTED_FORM)
            file.seek(0)
            return arrays, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _check_arrays(arrays: Mapping[str, NDArray[Any]], path: Path) -> _Characters:
    """Return the characters of a file. Raises DataError for a wrong dtype, shape or value."""
    points = _check_points(arrays["points"], path)
    stroke_ends = _check_ends(arrays["stroke_ends"], len(points), "stroke_ends", "points", path)
    character_ends = _check_ends(arrays["segment_ends"], len(stroke_ends), "segment_ends", "strokes", path)
    max_points = int(np.diff(stroke_ends[character_ends - 1], prepend=0).max())
    if max_points > MAX_CHARACTER_POINTS:
        raise DataError(
            f"{path}: a character has {max_points} points, more than the limit of {MAX_CHARACTER_POINTS}"
        )
    for name, kinds, expected in (
        ("label", "U", "texts"),
        ("source", "U", "texts"),
        ("writer", "iu", "integers"),
    ):
        array = arrays[name]
        if array.dtype.kind not in kinds or array.shape != character_ends.shape:
            raise DataError(
                f"{path}: {name} is {array.dtype} {array.shape}, expected {expected} {character_ends.shape}, "
                "one for each character"
            )
    labels = _check_labels(arrays["label"], path)
    writers, is_validation = _split_writers(arrays["source"], arrays["writer"])
    return _Characters(points, stroke_ends, character_ends, labels, writers, is_validation)


def _check_points(points: NDArray[Any], path: Path) -> NDArray[np.int16]:
    """Return the points (P, 2). Raises DataError unless they are integers, 0 to COORDINATE_RANGE."""
    if points.dtype.kind not in "iu" or points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise DataError(
            f"{path}: the points are {points.dtype} {points.shape}, expected integers (P, 2), P > 0"
        )
    low, high = points.min(), points.max()
    if low < 0 or high > COORDINATE_RANGE:
        raise DataError(f"{path}: the points range from {low} to {high}, expected 0 to {COORDINATE_RANGE}")
    return points.astype(np.int16)


def _check_labels(labels: NDArray[Any], path: Path) -> NDArray[np.uint32]:
    """Return the code points (N,) of labels. Raises DataError unless each is a single character.

    A damaged file may hold code points that Python has no character for.
    """
    if labels.dtype.itemsize != np.dtype("U1").itemsize or (labels == "").any():
        raise DataError(f"{path}: a label is not a single character")
    return np.ascontiguousarray(labels, "=U1").view(np.uint32)


def _check_ends(ends: NDArray[Any], count: int, name: str, counted: str, path: Path) -> NDArray[np.int64]:
    """Return the ends (N,). Raises DataError unless they rise from above 0 to `count`."""
    if ends.dtype.kind not in "iu" or ends.ndim != 1 or len(ends) == 0:
        raise DataError(f"{path}: {name} is {ends.dtype} {ends.shape}, expected integers (N,), N > 0")
    if ends[0] < 1 or (ends[1:] <= ends[:-1]).any() or ends[-1] != count:
        raise DataError(f"{path}: {name} does not rise to the number of {counted}, which is {count}")
    return ends.astype(np.int64)


def _split_writers(
    sources: NDArray[np.str_], writers: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return for each character (N,) the index of its writer, and whether that writer is for validation.

    The split does not depend on the seed of the run. Otherwise a distilled network could be validated on
    writers that its teacher was trained on.
    """
    source_indices = np.unique(sources, return_inverse=True)[1]
    names, writer_indices = np.unique(writers, return_inverse=True)
    pairs, indices = np.unique(source_indices * len(names) + writer_indices, return_inverse=True)
    # Writers are sorted by source: the position among those of the source follows from its first writer.
    pair_sources = pairs // len(names)
    positions = np.arange(len(pairs)) - np.searchsorted(pair_sources, pair_sources)
    is_validation = positions % VALIDATION_WRITER_STEP == VALIDATION_WRITER_STEP // 2
    return indices.astype(np.int64), is_validation[indices]


def _join(files: Sequence[_Characters]) -> _Characters:
    """Return the characters of all files as those of one."""
    point_starts = np.cumsum([0, *(len(file.points) for file in files)])
    stroke_starts = np.cumsum([0, *(len(file.stroke_ends) for file in files)])
    writer_starts = np.cumsum([0, *(file.writers.max() + 1 for file in files)])
    return _Characters(
        np.concatenate([file.points for file in files]),
        np.concatenate([file.stroke_ends + start for file, start in zip(files, point_starts, strict=False)]),
        np.concatenate(
            [file.character_ends + start for file, start in zip(files, stroke_starts, strict=False)]
        ),
        np.concatenate([file.labels for file in files]),
        np.concatenate([file.writers + start for file, start in zip(files, writer_starts, strict=False)]),
        np.concatenate([file.is_validation for file in files]),
    )


def _find_usable(characters: _Characters) -> NDArray[np.bool_]:
    """Return for each character (N,) whether it is drawn: see MIN_RELATIVE_SPREAD and MAX_DIGIT_ASPECT."""
    ends = characters.stroke_ends[characters.character_ends - 1]
    starts = np.concatenate(([0], ends[:-1]))
    counts = (ends - starts)[:, None]
    points = characters.points.astype(np.float64)
    width, height = (np.maximum.reduceat(points, starts) - np.minimum.reduceat(points, starts)).T
    points -= np.repeat(np.add.reduceat(points, starts) / counts, counts[:, 0], axis=0)
    x_variance, y_variance = (np.add.reduceat(points**2, starts) / counts).T
    covariance = np.add.reduceat(points[:, 0] * points[:, 1], starts) / counts[:, 0]
    # The eigenvalues of the covariance matrix are the variances along and across the longest direction.
    mean = (x_variance + y_variance) / 2
    deviation = np.hypot((x_variance - y_variance) / 2, covariance)
    is_line = mean - deviation < MIN_RELATIVE_SPREAD**2 * (mean + deviation)
    is_upright_one = (characters.labels == ord("1")) & (y_variance > x_variance)
    is_digit = (characters.labels >= ord("0")) & (characters.labels <= ord("9"))
    is_flat_digit = is_digit & (width > MAX_DIGIT_ASPECT * height)
    usable: NDArray[np.bool_] = (~is_line | is_upright_one) & ~is_flat_digit
    return usable


def _select(characters: _Characters, is_selected: NDArray[np.bool_]) -> PenStrokes:
    """Return the digits and non-digits among the selected characters, by writer."""
    non_digit_code_points = [ord(character) for character in WRITTEN_NON_DIGITS]
    is_non_digit = np.isin(characters.labels, non_digit_code_points)
    digits = tuple(
        _group_by_writer(characters, is_selected & (characters.labels == ord(str(digit))))
        for digit in range(10)
    )
    return PenStrokes(
        characters.points,
        characters.stroke_ends,
        characters.character_ends,
        digits,
        _group_by_writer(characters, is_selected & is_non_digit),
        _list_hands(characters, digits),
    )


def _list_hands(
    characters: _Characters, digits: tuple[tuple[NDArray[np.int64], ...], ...]
) -> tuple[tuple[NDArray[np.int64], ...], ...]:
    """Return for each writer who wrote all ten digits the indices of the characters of each digit."""
    by_writer = [{int(characters.writers[group[0]]): group for group in groups} for groups in digits]
    complete = set.intersection(*map(set, by_writer))
    return tuple(tuple(groups[writer] for groups in by_writer) for writer in sorted(complete))


def _group_by_writer(
    characters: _Characters, is_selected: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], ...]:
    """Return the indices of the selected characters, in one array for each writer."""
    indices = np.flatnonzero(is_selected)
    indices = indices[np.argsort(characters.writers[indices], kind="stable")]
    changes = np.flatnonzero(np.diff(characters.writers[indices])) + 1
    return tuple(np.split(indices, changes)) if len(indices) else ()


def _check_every_digit_is_there(splits: Mapping[Split, PenStrokes], paths: Sequence[Path]) -> None:
    """Raise DataError where a digit can be drawn for training or for validation only, or for neither."""
    for split, strokes in splits.items():
        missing = [digit for digit, by_writer in enumerate(strokes.digits) if not by_writer]
        if missing:
            purpose = "training" if split == "train" else "validation"
            names = ", ".join(map(str, paths))
            raise DataError(
                f"{names}: of the writers kept for {purpose}, none wrote a {missing[0]}: "
                f"give files with all digits of at least {VALIDATION_WRITER_STEP} writers of one source"
            )
