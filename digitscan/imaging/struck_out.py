"""A digit that a straight stroke goes through is not meant to be read.

A model may be sure of another digit there: a 5 under a slash has the two loops of an 8. A stroke that is
steep cannot be told from the slash of a 0 here; of those the model has learned what is no digit.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.ink import square_kernel
from digitscan.imaging.types import GrayImage

MIN_STRUCK_OUT_ASPECT = 1.2
"""Width to height of a digit with such a stroke: it ends on the left and on the right of the digit."""
MIN_WIDTH = 12
"""Pixels; a narrower digit is too small to tell."""
MIN_SLOPE = 0.2
"""Height to width of the stroke. A level one may be a base line, or the crossbar of a 4."""
MIN_INK_SHARE = 0.95
"""The share of the line from the leftmost to the rightmost ink that has ink on it."""
MIN_OVERHANG = 0.08
"""How far the stroke goes beyond the rest of the ink on each side, as a share of its length."""
FIRST_COLUMNS = 8
"""So many columns of the line must have ink, before all are looked at."""
MAX_HALF_WIDTH = 0.09
"""Half the stroke's width, as a share of its length; ink that is thicker has no plain ends."""
OUTLIERS = 0.02
"""The share of the rest's pixels that may be of the stroke's own ends."""
MIN_REST = 0.2
"""Ink beside the stroke, as a share of all; a dash or a 1 that lies has less."""
MIN_SIDE = 0.15
"""The share of that ink that is above the stroke, and that is below."""

_UPRIGHT_KERNEL = np.ones((3, 1), np.uint8)


def is_struck_out(mask: GrayImage) -> bool:
    """Tell whether a straight, slanted stroke goes through a digit and ends beside it.

    `mask` is (H, W) uint8, cut out along the digit's bounding box; not 0 where there is ink.
    """
    height, width = mask.shape
    if width < MIN_STRUCK_OUT_ASPECT * height or width < MIN_WIDTH:
        return False
    left_row, right_row = _find_middle(mask[:, :2]), _find_middle(mask[:, -2:])
    slope = (right_row - left_row) / (width - 1)
    if abs(slope) < MIN_SLOPE:
        return False
    # The few columns that are looked at first end the search in most digits.
    for column in range(0, width, width // FIRST_COLUMNS):
        row = round(left_row + slope * column)
        if not np.count_nonzero(mask[max(0, row - 1) : row + 2, column]):
            return False
    line_rows = np.rint(left_row + slope * np.arange(width)).astype(np.intp)
    near_line = cv2.dilate(mask, _UPRIGHT_KERNEL)
    if np.count_nonzero(near_line[line_rows, np.arange(width)]) < MIN_INK_SHARE * width:
        return False
    return _goes_beyond_rest(mask, left_row, slope, line_rows)


def _find_middle(columns: GrayImage) -> float:
    """Return the mean row of the ink in some columns."""
    rows = columns.nonzero()[0]
    return float(rows.sum()) / rows.size


def _goes_beyond_rest(mask: GrayImage, left_row: float, slope: float, line_rows: NDArray[np.intp]) -> bool:
    """Tell whether there is ink on both sides of the stroke, and the stroke is longer on both ends."""
    width = mask.shape[1]
    half_widths = cv2.dilate(cv2.distanceTransform(mask, cv2.DIST_L2, 3), square_kernel(3))
    half_width = float(np.sort(half_widths[line_rows, np.arange(width)])[width // 2])
    if half_width > MAX_HALF_WIDTH * width:
        return False
    rows, columns = np.nonzero(mask)
    length = float(np.hypot(1.0, slope))
    distances = (rows - left_row - slope * columns) / length
    is_rest = np.abs(distances) > half_width + 1.0
    rest = np.count_nonzero(is_rest)
    if rest < MIN_REST * rows.size:
        return False
    above = np.count_nonzero(distances[is_rest] < 0) / rest
    if not MIN_SIDE <= above <= 1 - MIN_SIDE:
        return False
    along = (columns + slope * (rows - left_row)) / (length * length * (width - 1))
    ordered = np.sort(along[is_rest])
    outliers = int(OUTLIERS * rest)
    return bool(ordered[outliers] >= MIN_OVERHANG and ordered[-1 - outliers] <= 1 - MIN_OVERHANG)
