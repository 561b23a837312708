"""What is printed round a number in a picture: long lines, the sides of boxes, rows of cells.

`line_writing` leaves them out where it looks for the writing; `line_image` says how many cells there are.
Masks are (height, width) uint8, 255 for ink, in the size of the reduced picture.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from digitscan.imaging.types import GrayImage

MIN_FAINT_SHARE = 0.5
"""Printed lines, and ink at the ends of the writing, may be fainter: above this share of the threshold."""
MAX_LINE_THICKNESS = 0.12
"""The thickness of a printed line, as a share of the reduced picture's height, at most."""
LINE_END_GAP = 3
"""Pixels of the reduced picture between the end of a box's side and its corner, at most."""
MAX_PITCH_ERROR = 0.2
"""The widths of cells in a row differ from their median by at most this share of it."""
MIN_CELL_WIDTH, MAX_CELL_WIDTH = 0.4, 1.8
"""The width of a cell for one digit, as shares of the height of its sides."""


def count_cells(darkness: GrayImage, threshold: float) -> int:
    """Return how many printed cells there are in a row, all of about one width; 0 if they are fewer than two.

    `darkness` is (height, width) uint8, that of the ink above the paper; `threshold` tells ink from paper.
    """
    # Printed lines are often paler than the pen.
    _, mask = cv2.threshold(darkness, MIN_FAINT_SHARE * threshold, 255, cv2.THRESH_BINARY)
    _, sides = _find_rows_and_sides(mask)
    if not cv2.countNonZero(sides):
        return 0
    _, _, stats, _ = find_components(sides)
    middles = np.sort(stats[1:, 0] + stats[1:, 2] / 2)
    if len(middles) < 3:
        return 0
    gaps = np.diff(middles)
    # The two lines of a double side, or of boxes that stand beside each other, are one.
    wide = gaps[gaps >= 0.4 * gaps.max()]
    pitch = float(np.median(wide))
    is_even = np.abs(wide - pitch) <= MAX_PITCH_ERROR * pitch
    height = float(np.median(stats[1:, 3]))
    if len(wide) < 2 or not is_even.all() or not MIN_CELL_WIDTH * height <= pitch <= MAX_CELL_WIDTH * height:
        return 0
    return len(wide)


def find_long_lines(mask: GrayImage) -> GrayImage:
    """Return the printed lines in a mask.

    They only do not count for where the writing is: a stroke loses there what it shares with a line.
    """
    height = mask.shape[0]
    lines = cv2.max(*_find_rows_and_sides(mask))
    if not cv2.countNonZero(lines):
        return np.asarray(lines, np.uint8)
    thick = max(3, int(MAX_LINE_THICKNESS * height)) | 1
    solid = cv2.morphologyEx(lines, cv2.MORPH_OPEN, np.ones((thick, thick), np.uint8))
    return np.asarray(cv2.dilate(cv2.subtract(lines, solid), np.ones((3, 3), np.uint8)), np.uint8)


def _find_rows_and_sides(mask: GrayImage) -> tuple[GrayImage, GrayImage]:
    """Return the level lines in a mask that are longer than any stroke, and the sides of boxes."""
    height, width = mask.shape
    long_row = max(9, min(width // 2, height))
    rows = _open(mask, (1, long_row))
    tall_column = max(9, height // 2)
    columns = _open(mask, (tall_column, 1))
    return rows, _select_box_sides(columns, rows)


def _open(mask: GrayImage, shape: tuple[int, int]) -> GrayImage:
    """Return where a kernel of ones fits into the mask: its morphological opening."""
    kernel = np.ones(shape, np.uint8)
    eroded = cv2.erode(mask, kernel)
    # Most masks have no such line, and then the other half of the work is saved.
    return np.asarray(cv2.dilate(eroded, kernel) if cv2.countNonZero(eroded) else eroded, np.uint8)


def _select_box_sides(columns: GrayImage, rows: GrayImage) -> GrayImage:
    """Return those of the upright lines that end at a level line or the picture's edge at both ends.

    A 1 does so at most at one, where it stands on a line, unless the picture is cropped to it.
    """
    if not cv2.countNonZero(columns):
        return columns
    count, labels, stats, _ = find_components(columns)
    framed = cv2.copyMakeBorder(rows, 1, 1, 0, 0, cv2.BORDER_CONSTANT, value=255)
    is_side = np.zeros(count, np.uint8)
    for label, (left, top, width, height, _) in enumerate(stats.tolist()[1:], 1):
        ends = (top + 1, top + height)  # rows of `framed`
        is_side[label] = 255 * all(
            framed[
                max(0, end - LINE_END_GAP) : end + LINE_END_GAP + 1,
                max(0, left - LINE_END_GAP) : left + width + LINE_END_GAP,
            ].any()
            for end in ends
        )
    return is_side[labels] if is_side.any() else np.zeros_like(columns)


def find_components(mask: GrayImage) -> Any:
    """Return what `cv2.connectedComponentsWithStats` does, of masks of any size."""
    # The smaller type is faster, and too small where more isolated pixels fit into the mask.
    ltype = cv2.CV_16U if mask.size < 4 * 60_000 else cv2.CV_32S
    return cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=ltype)
