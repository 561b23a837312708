"""Printed lines: find the straight lines of boxes, tables and rules in the ink, and take them away.

`detect` calls `remove_lines` before the ink is segmented. A printed line is straight and of even width, and
runs from edge to edge of the image or ends at another line (`line_search`). A digit's stroke does so only
where the digit fills the image. Strokes that cross a line or stand on it stay whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from digitscan.imaging.ink import square_kernel
from digitscan.imaging.line_search import MIN_LENGTH, Line, LineTrace, find_lines
from digitscan.imaging.types import GrayImage

MIN_SIDE = 24
"""An image whose shorter side has fewer pixels is too small for lines beside a digit."""
LOW_THRESHOLD = 0.5
"""Lines may be paler than the digit: the share of the ink's threshold from which a pixel may be a line's."""
MIN_NOISE_RATIO = 4.0
"""Such a pixel is also at least so many standard deviations of the paper's noise darker than the paper."""
MAX_END_GAP = 0.05
"""A line that ends so near to an edge or to another line ends there, as a share of the image along it."""
MIN_END_GAP = 3
"""The same in pixels, for small images."""
MIN_CONTACTS = 2
"""A stroke touches a line if it does so in at least this many columns."""
MIDDLE = (0.15, 0.85)
"""A vertical line that starts and ends at the edges may be a 1 between these shares of the width."""


class LineRemoval(NamedTuple):
    """The ink without the lines, and what shows whether they are printed."""

    ink: GrayImage
    lines: tuple[Line, ...]
    is_anchored: bool
    """Whether each line starts and ends at edges of the image or at other lines."""
    is_touched: bool
    """Whether strokes touch a line."""

    @property
    def is_frame(self) -> bool:
        """Whether the lines are at least three sides of a box."""
        has_both_directions = len({line.is_vertical for line in self.lines}) == 2
        return self.is_anchored and has_both_directions and len(self.lines) >= 3

    def may_be_a_one(self) -> bool:
        """Tell whether the only line is a vertical one that is not near an edge."""
        height, width = self.ink.shape
        if len(self.lines) > 1 or not self.lines[0].is_vertical:
            return False
        line = self.lines[0]
        middle = (line.offset + line.slope * height / 2) / width
        return bool(MIDDLE[0] < middle < MIDDLE[1])


def may_have_lines(box: Sequence[int], shape: tuple[int, ...]) -> bool:
    """Tell whether ink is so wide or so high that a printed line may be in it.

    `box` is its bounding box: left, top, width and height; `shape` is the image's.
    """
    height, width = shape
    _, _, ink_width, ink_height = box
    is_long = ink_width >= MIN_LENGTH * width or ink_height >= MIN_LENGTH * height
    return bool(is_long and min(height, width) >= MIN_SIDE)


def remove_lines(ink: GrayImage, threshold: float, noise: float) -> LineRemoval | None:
    """Return the ink without its straight lines, printed or not; None where there are none.

    `ink` is (H, W) uint8, 0 for paper; `threshold` and `noise` are of `measure_ink`.
    """
    low_threshold = max(LOW_THRESHOLD * threshold, MIN_NOISE_RATIO * noise)
    _, low_mask = cv2.threshold(ink, low_threshold, 1, cv2.THRESH_BINARY)
    _, _, ink_width, ink_height = cv2.boundingRect(low_mask)
    height, width = ink.shape
    rows = find_lines(low_mask, False) if ink_width >= MIN_LENGTH * width else []
    columns = find_lines(cv2.transpose(low_mask), True) if ink_height >= MIN_LENGTH * height else []
    rows, columns, is_anchored = _select_anchored(rows, columns, ink.shape)
    if not rows and not columns:
        return None
    is_touched = any(_is_touched(trace, columns) for trace in rows)
    is_touched = is_touched or any(_is_touched(trace, rows) for trace in columns)
    lines = tuple(trace.line for trace in (*rows, *columns))
    return LineRemoval(_erase(ink, rows, columns), lines, is_anchored, is_touched)


def _select_anchored(
    rows: list[LineTrace], columns: list[LineTrace], shape: tuple[int, ...]
) -> tuple[list[LineTrace], list[LineTrace], bool]:
    """Return the lines of which at least one end is at an edge or a line, and whether all ends are so."""
    row_ends = [_count_anchored_ends(trace.line, columns, shape[1]) for trace in rows]
    column_ends = [_count_anchored_ends(trace.line, rows, shape[0]) for trace in columns]
    return (
        [trace for trace, ends in zip(rows, row_ends, strict=True) if ends],
        [trace for trace, ends in zip(columns, column_ends, strict=True) if ends],
        all(ends != 1 for ends in row_ends + column_ends),
    )


def _count_anchored_ends(line: Line, across: list[LineTrace], length: int) -> int:
    """Return how many ends of a line are at an edge of the image or at a line across it."""
    margin = max(MIN_END_GAP, round(MAX_END_GAP * length))
    crossings = [other.line.offset + other.line.slope * line.offset for other in across]
    is_start_anchored = line.start <= margin or any(abs(line.start - x) <= margin for x in crossings)
    is_end_anchored = line.end >= length - margin or any(abs(line.end - x) <= margin for x in crossings)
    return is_start_anchored + is_end_anchored


def _is_touched(trace: LineTrace, across: list[LineTrace]) -> bool:
    """Tell whether strokes touch a line, other than the lines across it."""
    line = trace.line
    contacts = trace.contacts[line.start : line.end].copy()
    for other in across:
        middle = round(other.line.offset + other.line.slope * line.offset) - line.start
        radius = (other.line.thickness + line.thickness) // 2 + 3
        contacts[max(0, middle - radius) : max(0, middle + radius + 1)] = False
    return int(np.count_nonzero(contacts)) >= MIN_CONTACTS


def _erase(ink: GrayImage, rows: list[LineTrace], columns: list[LineTrace]) -> GrayImage:
    """Return the ink without the lines. Where two lines cross, neither is a stroke."""
    erased = ink.copy()
    for trace in (*rows, *columns):
        erased.reshape(-1)[trace.erasable] = 0
    if rows and columns:
        crossings = cv2.bitwise_and(_draw(ink.shape, rows), _draw(ink.shape, columns))
        erased[cv2.dilate(crossings, square_kernel(3)) > 0] = 0
    return erased


def _draw(shape: tuple[int, ...], traces: list[LineTrace]) -> GrayImage:
    """Return an image (shape) uint8 of 255 on the lines, 0 elsewhere."""
    image = np.zeros(shape, np.uint8)
    for trace in traces:
        image.reshape(-1)[trace.pixels] = 255
    return image
