"""Strokes that MNIST's digits lack, drawn on them: the flag of a 1, the slash of a 0, the bar of a 7."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.types import GrayImage
from digitscan.training.data.stroke_glyphs import draw_stroke

STROKE_LABELS = (0, 1, 7)
"""The digits that get a stroke."""
MIN_INK = 100
"""Pixels of MNIST's digits brighter than this are ink."""


def add_stroke(digit: GrayImage, label: int, rng: np.random.Generator) -> GrayImage:
    """Return a 0, 1 or 7, (28, 28) uint8, with the stroke that it may have; itself if it has little ink."""
    ink = _find_ink(digit)
    if ink is None:
        return digit
    varied = digit.copy()
    width = min(4, max(1, round(ink.stroke_width * rng.uniform(0.7, 1.0))))
    if label == 1:
        _add_flag(varied, ink, width, rng)
    elif label == 0:
        _add_slash(varied, ink, width, rng)
    else:
        _add_bar(varied, ink, width, rng)
    return varied


class _Ink(NamedTuple):
    """The rows and columns of a digit's ink pixels, (N,) each, and its bounding box, with the last pixels."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """The distance of the last row from the first."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """The distance of the last column from the first."""
        return self.right - self.left

    @property
    def stroke_width(self) -> float:
        """The width of the strokes in pixels, if all the ink were one straight stroke."""
        return self.rows.size / max(self.height, self.width, 1)


def _find_ink(digit: GrayImage) -> _Ink | None:
    """Return the digit's ink, or None if there is too little to add a stroke to."""
    rows, columns = np.nonzero(digit > MIN_INK)
    if rows.size < 10:
        return None
    return _Ink(rows, columns, int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max()))


def _add_flag(digit: GrayImage, ink: _Ink, width: int, rng: np.random.Generator) -> None:
    """Draw the flag of a 1, from its top down to the left, and at times a base line."""
    top_x, top_y = float(ink.columns[ink.rows <= ink.top + 1].mean()), ink.top + 0.7
    length = ink.height * rng.uniform(0.2, 0.95)
    angle = np.deg2rad(rng.uniform(15.0, 75.0))
    end = (top_x - length * np.sin(angle), top_y + length * np.cos(angle))
    draw_stroke(digit, ((top_x, top_y), end), width, rng)
    if rng.random() < 0.3:
        base_x, base_y = float(ink.columns[ink.rows >= ink.bottom - 1].mean()), ink.bottom - 0.5
        half_length = ink.height * rng.uniform(0.15, 0.35)
        draw_stroke(digit, ((base_x - half_length, base_y), (base_x + half_length, base_y)), width, rng)


def _add_slash(digit: GrayImage, ink: _Ink, width: int, rng: np.random.Generator) -> None:
    """Draw the slash of a 0, from its upper right to its lower left."""
    inset = rng.uniform(-0.15, 0.3)
    start = (ink.right - inset * ink.width, ink.top + inset * ink.height)
    end = (ink.left + inset * ink.width, ink.bottom - inset * ink.height)
    draw_stroke(digit, (start, end), min(width, 2), rng)


def _add_bar(digit: GrayImage, ink: _Ink, width: int, rng: np.random.Generator) -> None:
    """Draw the bar of a 7, across its stem."""
    y = ink.top + ink.height * rng.uniform(0.4, 0.62)
    stem_columns = ink.columns[np.abs(ink.rows - y) <= 1]
    x = float(stem_columns.mean()) if stem_columns.size else (ink.left + ink.right) / 2
    half_length = rng.uniform(3.0, 7.0)
    tilt = rng.uniform(-1.5, 1.5)
    ends = ((x - half_length, y + tilt), (x + half_length * rng.uniform(0.7, 1.1), y - tilt))
    draw_stroke(digit, ends, min(width, 3), rng)
