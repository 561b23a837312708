"""Digits and letters of real hands, recorded as the strokes of a pen: handwriting that differs from MNIST's.

`augment` draws digits from here and letters and signs as negatives. Nothing of it comes with digitscan: the
user names files with `digitscan train --pens`, `tools/unipen_to_pens.py` makes one from a public collection.
docs/training.md describes the format.

A file holds many characters of few writers, so writers are drawn first, and then one of their characters.
Every writer weighs the same, and one in VALIDATION_WRITER_STEP is kept for validation.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.errors import DataError
from digitscan.imaging.normalize import IMAGE_SIZE
from digitscan.imaging.types import GrayImage
from digitscan.training.data.datasets import Split
from digitscan.training.data.sources import read_arrays
from digitscan.training.data.stroke_glyphs import SUBPIXEL_BITS, WRITTEN_NON_DIGITS

ARRAY_NAMES = ("points", "stroke_ends", "segment_ends", "label", "source", "writer")
COORDINATE_RANGE = 1000
"""The longest side of a character, in the units of its points."""
MAX_CHARACTER_POINTS = 10_000
"""Limits how long it takes to draw a character of a damaged file; the longest of UNIPEN has 600."""
VALIDATION_WRITER_STEP = 6
"""Of each source's writers every sixth is kept for validation, the fourth, the tenth and so on."""
MIN_RELATIVE_WIDTH = 0.2
"""A character whose points spread less than this across its longest direction, relative to along it, is a
line. Some characters of UNIPEN have lost strokes; a line that is left of them may be a 1."""
EXPECTED_FORM = "expected an .npz file of pen strokes as docs/training.md describes it"

CANVAS_SIZE = 2 * IMAGE_SIZE
"""Pixels on each side of a drawing. On 28, no pen would be thinner than a twentieth of the digit."""
DIGIT_PEN_WIDTHS = (1, 2, 2, 3, 3, 3, 4, 4, 5, 6)
"""Stroke widths to choose from, in pixels; a digit is 40 pixels high. A 2 is a ball pen, a 6 a marker."""
LETTER_PEN_WIDTHS = (1, 2, 2, 3, 3, 4)
"""Thinner than for digits: thick strokes fill the loops of letters, and what is left may be a digit."""
MAX_TREMOR = 0.4
"""The largest standard deviation, in pixels, by which points are moved."""
STROKE_SHIFT = 0.6
"""The standard deviation, in pixels, by which the strokes of a character are moved apart or together."""
FADED_SHARE = 0.3
"""The share of drawings whose ink is of uneven strength."""

_PIXELS_PER_UNIT = CANVAS_SIZE * 20 / IMAGE_SIZE / COORDINATE_RANGE
"""MNIST's digits are 20 of 28 pixels high."""
_CENTER = (CANVAS_SIZE - 1) / 2


@dataclass(frozen=True)
class PenStrokes:
    """The characters of one split's writers.

    A character's strokes are those from the end of the character before it to its own end in
    `character_ends` (N,); a stroke's points are found alike in `stroke_ends` (S,). `points` (P, 2) are x and
    y, 0 to COORDINATE_RANGE, y down.
    """

    points: NDArray[np.int16]
    stroke_ends: NDArray[np.int64]
    character_ends: NDArray[np.int64]
    digits: tuple[tuple[NDArray[np.int64], ...], ...]
    """For each digit 0 to 9, and for each writer who wrote it, the indices of the characters."""
    non_digits: tuple[NDArray[np.int64], ...]
    """For each writer who wrote any, the indices of letters and signs that no digit looks like."""


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

    The writers of each file are counted by themselves. Straight lines are left out, unless they are upright
    and are to be a 1: see MIN_RELATIVE_WIDTH.
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
        data = path.read_bytes()
        return read_arrays(path, io.BytesIO(data), ARRAY_NAMES, EXPECTED_FORM), hashlib.sha256(
            data
        ).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _check_arrays(arrays: Mapping[str, NDArray[Any]], path: Path) -> _Characters:
    """Return the characters of a file. Raises DataError for a wrong dtype, shape or value."""
    points, labels = arrays["points"], arrays["label"]
    if points.dtype.kind not in "iu" or points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise DataError(
            f"{path}: the points are {points.dtype} {points.shape}, expected integers (P, 2), P > 0"
        )
    if points.min() < 0 or points.max() > COORDINATE_RANGE:
        raise DataError(
            f"{path}: the points range from {points.min()} to {points.max()}, "
            f"expected 0 to {COORDINATE_RANGE}"
        )
    stroke_ends = _check_ends(arrays["stroke_ends"], len(points), "stroke_ends", "points", path)
    character_ends = _check_ends(arrays["segment_ends"], len(stroke_ends), "segment_ends", "strokes", path)
    point_counts = np.diff(stroke_ends[character_ends - 1], prepend=0)
    if point_counts.max() > MAX_CHARACTER_POINTS:
        raise DataError(
            f"{path}: a character has {point_counts.max()} points, "
            f"more than the limit of {MAX_CHARACTER_POINTS}"
        )
    for name, kinds, description in (
        ("label", "U", "one character"),
        ("source", "U", "a short text"),
        ("writer", "iu", "an integer"),
    ):
        array = arrays[name]
        if array.dtype.kind not in kinds or array.shape != character_ends.shape:
            raise DataError(
                f"{path}: {name} is {array.dtype} {array.shape}, expected {description} for each of the "
                f"{len(character_ends)} characters"
            )
    if labels.dtype.itemsize != np.dtype("U1").itemsize or (labels == "").any():
        raise DataError(f"{path}: a label is not a single character")
    code_points = np.ascontiguousarray(labels, "=U1").view(np.uint32)
    writers, is_validation = _split_writers(arrays["source"], arrays["writer"])
    return _Characters(
        points.astype(np.int16), stroke_ends, character_ends, code_points, writers, is_validation
    )


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
    """Return for each character (N,) whether it is drawn: all but lines, and of lines the upright 1s."""
    ends = characters.stroke_ends[characters.character_ends - 1]
    starts = np.concatenate(([0], ends[:-1]))
    counts = (ends - starts)[:, None]
    points = characters.points.astype(np.float64)
    points -= np.repeat(np.add.reduceat(points, starts) / counts, counts[:, 0], axis=0)
    x_variance, y_variance = (np.add.reduceat(points**2, starts) / counts).T
    covariance = np.add.reduceat(points[:, 0] * points[:, 1], starts) / counts[:, 0]
    # The eigenvalues of the covariance matrix are the variances along and across the longest direction.
    mean = (x_variance + y_variance) / 2
    deviation = np.hypot((x_variance - y_variance) / 2, covariance)
    is_line = mean - deviation < MIN_RELATIVE_WIDTH**2 * (mean + deviation)
    usable: NDArray[np.bool_] = ~is_line | ((characters.labels == ord("1")) & (y_variance > x_variance))
    return usable


def _select(characters: _Characters, is_selected: NDArray[np.bool_]) -> PenStrokes:
    """Return the digits and non-digits among the selected characters, by writer."""
    non_digit_code_points = [ord(character) for character in WRITTEN_NON_DIGITS]
    is_non_digit = np.isin(characters.labels, non_digit_code_points)
    return PenStrokes(
        characters.points,
        characters.stroke_ends,
        characters.character_ends,
        tuple(
            _group_by_writer(characters, is_selected & (characters.labels == ord(str(digit))))
            for digit in range(10)
        ),
        _group_by_writer(characters, is_selected & is_non_digit),
    )


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


def draw_pen_digit(strokes: PenStrokes, label: int, rng: np.random.Generator) -> GrayImage:
    """Return a digit of a random writer, drawn with a random pen.

    It is (CANVAS_SIZE, CANVAS_SIZE) uint8, light ink on black.
    """
    return _draw_character(strokes, _choose(strokes.digits[label], rng), DIGIT_PEN_WIDTHS, rng)


def draw_pen_non_digit(strokes: PenStrokes, rng: np.random.Generator) -> GrayImage:
    """Return a letter or sign of a random writer, as `draw_pen_digit` does. There must be one."""
    return _draw_character(strokes, _choose(strokes.non_digits, rng), LETTER_PEN_WIDTHS, rng)


def _choose(characters_by_writer: Sequence[NDArray[np.int64]], rng: np.random.Generator) -> int:
    """Return the index of a random character of a random writer."""
    characters = characters_by_writer[int(rng.integers(len(characters_by_writer)))]
    return int(characters[int(rng.integers(len(characters)))])


def _draw_character(
    strokes: PenStrokes, index: int, widths: Sequence[int], rng: np.random.Generator
) -> GrayImage:
    """Return a drawing of a character with one of the pen widths."""
    points, starts, ends = _find_strokes(strokes, index)
    pixels = _vary_points(points, starts, ends, rng)
    fixed_point = np.rint(pixels * 2**SUBPIXEL_BITS).astype(np.int32)
    lines = [fixed_point[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    width = widths[int(rng.integers(len(widths)))]
    image = np.zeros((CANVAS_SIZE, CANVAS_SIZE), np.uint8)
    cv2.polylines(image, lines, False, 255, width, cv2.LINE_AA, SUBPIXEL_BITS)
    return _fade(image, rng) if rng.random() < FADED_SHARE else image


def _find_strokes(
    strokes: PenStrokes, index: int
) -> tuple[NDArray[np.int16], NDArray[np.int64], NDArray[np.int64]]:
    """Return the points (N, 2) of a character, and where in them its strokes start and end (M,) each."""
    first_stroke = int(strokes.character_ends[index - 1]) if index else 0
    last_stroke = int(strokes.character_ends[index])
    first_point = int(strokes.stroke_ends[first_stroke - 1]) if first_stroke else 0
    ends = strokes.stroke_ends[first_stroke:last_stroke] - first_point
    starts = np.concatenate(([0], ends[:-1]))
    return strokes.points[first_point : first_point + int(ends[-1])], starts, ends


def _vary_points(
    points: NDArray[np.int16],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the points in pixels, in the middle of the canvas, of a hand that trembles a little.

    Each stroke is moved by itself. Smoothing removes the steps of coarse tablets; the ends of strokes stay.
    """
    middle = (points.min(axis=0).astype(np.float64) + points.max(axis=0)) / 2
    pixels = points.astype(np.float64)
    pixels *= _PIXELS_PER_UNIT
    pixels += _CENTER - middle * _PIXELS_PER_UNIT
    pixels += rng.normal(0.0, rng.uniform(0.0, MAX_TREMOR), pixels.shape)
    if len(starts) > 1:
        pixels += np.repeat(rng.normal(0.0, STROKE_SHIFT, (len(starts), 2)), ends - starts, axis=0)
    weights = np.full((len(pixels), 1), 0.25)
    weights[starts] = weights[ends - 1] = 0.0
    for _ in range(int(rng.integers(1, 4))):
        pixels[1:-1] += weights[1:-1] * (pixels[:-2] - 2 * pixels[1:-1] + pixels[2:])
    return pixels


def _fade(image: GrayImage, rng: np.random.Generator) -> GrayImage:
    """Return the image with ink of uneven strength, as of a ball pen that is pressed unevenly or runs dry."""
    strengths = rng.uniform(rng.uniform(0.3, 0.8), 1.0, (4, 4)).astype(np.float32)
    field = cv2.resize(strengths, image.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(image, field, dtype=cv2.CV_8U), np.uint8)
