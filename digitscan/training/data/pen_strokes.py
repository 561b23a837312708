"""Digits and letters drawn from the strokes of real hands' pens: handwriting that differs from MNIST's.

`augment` draws digits from here, and letters and signs as negatives. Nothing of it comes with digitscan:
`pen_files` reads it from the user's files. Writers are drawn first, and then one of their characters, so that
every writer weighs the same: a few of them have written a third of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.normalize import IMAGE_SIZE
from digitscan.imaging.types import GrayImage
from digitscan.training.data.stroke_glyphs import SUBPIXEL_BITS

COORDINATE_RANGE = 1000
"""The longest side of a character, in the units of its points."""
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
    hands: tuple[tuple[NDArray[np.int64], ...], ...] = ()
    """For each writer who wrote all ten digits, the indices of the characters of each digit 0 to 9."""


def draw_pen_digit(strokes: PenStrokes, label: int, rng: np.random.Generator) -> GrayImage:
    """Return a digit of a random writer, drawn with a random pen.

    It is (CANVAS_SIZE, CANVAS_SIZE) uint8, light ink on black.
    """
    return draw_character(strokes, _choose(strokes.digits[label], rng), DIGIT_PEN_WIDTHS, rng)


def draw_pen_non_digit(strokes: PenStrokes, rng: np.random.Generator) -> GrayImage:
    """Return a letter or sign of a random writer, as `draw_pen_digit` does. There must be one."""
    return draw_character(strokes, _choose(strokes.non_digits, rng), LETTER_PEN_WIDTHS, rng)


def _choose(characters_by_writer: Sequence[NDArray[np.int64]], rng: np.random.Generator) -> int:
    """Return the index of a random character of a random writer."""
    characters = characters_by_writer[int(rng.integers(len(characters_by_writer)))]
    return int(characters[int(rng.integers(len(characters)))])


def draw_character(
    strokes: PenStrokes, index: int, widths: Sequence[int], rng: np.random.Generator
) -> GrayImage:
    """Return a drawing of the character `index` with one of the pen widths, as `draw_pen_digit` does."""
    points, starts, ends = _find_strokes(strokes, index)
    pixels = _vary_points(points, starts, ends, rng)
    fixed_point = np.rint(pixels * 2**SUBPIXEL_BITS).astype(np.int32)
    # OpenCV draws a line of one point only if it is given twice.
    lines = [
        fixed_point[start:end] if end - start > 1 else fixed_point[[start, start]]
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
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
