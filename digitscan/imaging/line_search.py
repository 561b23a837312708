"""Search a mask of ink for straight lines from edge to edge: `find_lines`.

Lines are found by a Radon transform for a few slopes around each axis, at a coarse resolution along the line:
the image is divided into STRIP_COUNT strips, and a line covers most of them. Each line found is then traced
at full resolution. `lines` decides which of them are printed, and takes them away.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.types import GrayImage

STRIP_COUNT = 8
"""The image is divided into this many strips along a line."""
SLOPES = np.linspace(-0.09, 0.09, 11)
"""Pixels across for each pixel along a line: up to 5 degrees, in steps of a pixel at the end of a line."""
MIN_COVERED_STRIPS = 6
"""A line covers at least so many strips: around a box there may be paper."""
MIN_STRIP_COVERAGE = 0.7
"""A strip is covered if at least this share of it has ink on the line."""
MAX_LINES = 4
"""The most lines that are taken away in either direction."""
MIN_LENGTH = 0.72
"""Length of the shortest line, as a share of the image along it.

An image whose ink is not so wide or high has no lines: MNIST's own digits take 20 of 28 pixels.
"""
MAX_THICKNESS = 0.12
"""Thickness of the thickest line, as a share of the image across it."""
MAX_SLOPE = 0.13
"""The slope of a line, when it is found exactly."""
NEAR_RADIUS = 2
"""Rows on either side of a line's estimated place in which its exact place is found."""
BAND_RADIUS = 9
"""Rows on either side of a line that are examined: more than the thickest line of a reduced image has."""
MIN_SOLID = 0.85
"""A line has ink on at least this share of its length, if it is not dashed."""
MIN_DASHED = 0.35
"""The same for a dashed or dotted line."""
MIN_DASHES = 5
"""A dashed line has at least so many dashes."""
MAX_DASH_GAP = 0.09
"""The widest gap in a dashed line, as a share of the image along it."""

_NEAR_OFFSETS = np.arange(-NEAR_RADIUS, NEAR_RADIUS + 1)
_NEAR_WEIGHTS = np.stack((np.ones_like(_NEAR_OFFSETS), _NEAR_OFFSETS)).astype(np.float32)
_COVERED = 10_000
"""The score of a covered strip, besides its coverage."""


class Line(NamedTuple):
    """A straight line. Its centre in column x is `offset + slope * x`; in row x, if it is vertical."""

    is_vertical: bool
    offset: float
    slope: float
    start: int
    """The first column (row) of the line."""
    end: int
    """The first column (row) behind it."""
    thickness: int


class _Search(NamedTuple):
    """A mask that is searched for lines along its rows: transposed, where they are vertical."""

    mask: GrayImage
    """(H, W) uint8, 1 where there is ink."""
    padded: GrayImage
    """The same with empty rows above and below: (H + 2 * padding, W)."""
    padding: int
    is_vertical: bool


class LineTrace(NamedTuple):
    """A line with what surrounds it, as flat indices of pixels of the image."""

    line: Line
    pixels: NDArray[np.intp]
    """All pixels of the line, with its soft edges."""
    erasable: NDArray[np.intp]
    """Those that are not part of a stroke that crosses the line."""
    contacts: NDArray[np.bool_]
    """For each column, whether a stroke touches the line."""


def find_lines(mask: GrayImage, is_vertical: bool) -> list[LineTrace]:
    """Return the nearly horizontal lines of a mask, (H, W) uint8, 1 where there is ink: at most MAX_LINES.

    Of a transposed mask those are the vertical ones, and `is_vertical` says that it is one.
    """
    height, width = mask.shape
    scores = _score_lines(mask)
    padding = BAND_RADIUS + NEAR_RADIUS + 2 + int(MAX_SLOPE * width / 2)
    padded = cv2.copyMakeBorder(mask, padding, padding, 0, 0, cv2.BORDER_CONSTANT, value=0)
    search = _Search(mask, padded, padding, is_vertical)
    traces: list[LineTrace] = []
    for _ in range(2 * MAX_LINES):
        slope_index, row = divmod(int(scores.argmax()), height)
        if scores[slope_index, row] < _COVERED * MIN_COVERED_STRIPS or len(traces) == MAX_LINES:
            break
        trace = _trace(search, row + 0.5, float(SLOPES[slope_index]))
        radius = 4
        if trace is not None:
            traces.append(trace)
            radius = trace.line.thickness + 2
        scores[:, max(0, row - radius) : row + radius + 1] = 0
    return traces


def _score_lines(mask: GrayImage) -> NDArray[np.int32]:
    """Return how much of the image lines of each slope cover, by their row in the middle: (slopes, H)."""
    height, width = mask.shape
    # Gaps of dashed lines are closed for the search.
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _gap_kernel(max(2, round(MAX_DASH_GAP * width)) + 1))
    strips = cv2.resize(255 * closed, (STRIP_COUNT, height), interpolation=cv2.INTER_AREA)
    strips[:-1] = cv2.add(strips[:-1], strips[1:])  # a thin line may lie on two rows
    covered = strips >= 255 * MIN_STRIP_COVERAGE
    if np.count_nonzero(covered.any(axis=0)) < MIN_COVERED_STRIPS:
        return np.zeros((len(SLOPES), height), np.int32)
    indices, padding = _line_indices(height, width)
    padded = np.zeros((height + 2 * padding, STRIP_COUNT), np.int32)
    # Each strip counts with its coverage; covered ones by far the most.
    padded[padding : padding + height] = strips + _COVERED * covered
    scores = padded.take(indices).sum(axis=0, dtype=np.int32)
    return np.asarray(scores.reshape(len(SLOPES), height))


@lru_cache(maxsize=64)
def _gap_kernel(width: int) -> GrayImage:
    return np.ones((1, width), np.uint8)


@lru_cache(maxsize=256)
def _line_indices(height: int, width: int) -> tuple[NDArray[np.intp], int]:
    """Return where each line has its strips, and the padding that this needs.

    The indices, (STRIP_COUNT, slopes * H), are into flat strips of H rows with the padding above and below.
    """
    centres = (np.arange(STRIP_COUNT) + 0.5) * width / STRIP_COUNT - width / 2
    offsets = np.rint(SLOPES * centres[:, None]).astype(np.intp)
    padding = int(np.abs(offsets).max())
    rows = np.arange(height) + offsets[:, :, None] + padding
    return (rows * STRIP_COUNT + np.arange(STRIP_COUNT)[:, None, None]).reshape(STRIP_COUNT, -1), padding


def _trace(search: _Search, row: float, slope: float) -> LineTrace | None:
    """Return the line near `row` (in the middle of the image) with about this slope, or None."""
    height, width = search.mask.shape
    # A band that is narrower than a thick line sees one side of it more: the second fit corrects the first.
    for _ in range(2):
        _, near = _cut_band(search, row, slope, NEAR_RADIUS)
        # The line's centre in each column is the mean of the inked rows near the middle of the band.
        count, offset_sum = _NEAR_WEIGHTS @ near.astype(np.float32)
        is_inked = count > 0
        if np.count_nonzero(is_inked) < MIN_LENGTH * MIN_DASHED * width:
            return None
        slope_change, row_change = _fit_line(is_inked, offset_sum / np.maximum(count, 1))
        row, slope = row + row_change, slope + slope_change
        if abs(slope) > MAX_SLOPE:
            return None
    centre_rows, band = _cut_band(search, row, slope, BAND_RADIUS)
    is_covered = band[BAND_RADIUS - 1] | band[BAND_RADIUS] | band[BAND_RADIUS + 1]
    covered = is_covered.nonzero()[0]
    if not _is_line(covered, width):
        return None
    start, end = int(covered[0]), int(covered[-1]) + 1
    ink_counts = band.astype(np.float32) @ is_covered.astype(np.float32)
    top, bottom = _grow((2 * ink_counts >= covered.size).tolist(), BAND_RADIUS)
    if bottom - top > max(2.0, MAX_THICKNESS * height) or top == 0 or bottom == len(band):
        return None
    line = Line(search.is_vertical, row - slope * width / 2, slope, start, end, bottom - top)
    return _separate_strokes(line, centre_rows, band > 0, top, bottom, search)


def _cut_band(search: _Search, row: float, slope: float, radius: int) -> tuple[NDArray[np.intp], GrayImage]:
    """Return the row of a line in each column, and the mask's rows around it, (2 * radius + 1, W)."""
    width = search.mask.shape[1]
    columns, offsets = _band_axes(width, radius)
    rows = np.rint(columns * slope + (row - slope * width / 2)).astype(np.intp)
    return rows, search.padded.take((rows + search.padding) * width + offsets)


@lru_cache(maxsize=256)
def _band_axes(width: int, radius: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the columns (W,), and the flat indices of a band's pixels, from those in its middle."""
    columns = np.arange(width)
    return columns, np.arange(-radius, radius + 1)[:, None] * width + columns


@lru_cache(maxsize=256)
def _line_moments(width: int) -> NDArray[np.float64]:
    """Return the powers 0 to 2 of each column's distance from the middle, (3, W)."""
    x = np.arange(width) - width / 2
    return np.stack((np.ones(width), x, x * x))


def _fit_line(is_inked: NDArray[np.bool_], y: NDArray[np.float32]) -> tuple[float, float]:
    """Return slope and intercept of the least squares line; `y` is 0 in columns that are not inked."""
    moments = _line_moments(y.size)
    count, x_sum, x_squares = (moments @ is_inked).tolist()
    y_sum, product_sum = (moments[:2] @ y).tolist()
    determinant = max(1e-9, count * x_squares - x_sum * x_sum)
    slope = (count * product_sum - x_sum * y_sum) / determinant
    return slope, (y_sum - slope * x_sum) / count


def _is_line(covered: NDArray[np.intp], width: int) -> bool:
    """Tell whether the columns with ink on a line make it long, and solid or dashed."""
    if covered.size == 0:
        return False
    length = int(covered[-1] - covered[0]) + 1
    if length < MIN_LENGTH * width or covered.size < MIN_DASHED * length:
        return False
    if covered.size >= MIN_SOLID * length:
        return True
    gaps = np.diff(covered) - 1
    dash_count = np.count_nonzero(gaps) + 1
    return bool(dash_count >= MIN_DASHES and gaps.max() <= max(2, MAX_DASH_GAP * width))


def _grow(is_line_row: list[bool], middle: int) -> tuple[int, int]:
    """Return the first row of the line around `middle`, and the first one behind it."""
    top, bottom = middle, middle + 1
    while top > 0 and is_line_row[top - 1]:
        top -= 1
    while bottom < len(is_line_row) and is_line_row[bottom]:
        bottom += 1
    return top, bottom


def _separate_strokes(
    line: Line,
    centre_rows: NDArray[np.intp],
    band: NDArray[np.bool_],
    top: int,
    bottom: int,
    search: _Search,
) -> LineTrace:
    """Return which pixels of a line are the line's alone, and where strokes touch it.

    The line takes the rows `top` to `bottom` of the band. A stroke that is on both sides crosses the line: it
    keeps the pixels between. The rows beside the line are its soft edges, but not where a stroke goes on.
    """
    height, width = search.mask.shape
    above, below = band[max(0, top - 2)], band[min(len(band) - 1, bottom + 1)]
    pixels = np.ones((bottom - top + 2, width), np.bool_)
    is_crossed = None
    if above.any():
        pixels[0] = ~_widen(above, 1)
        if below.any():
            # A slanted stroke enters and leaves the line in different columns.
            reach = 2 + line.thickness // 2
            is_crossed = _widen(above, reach) & _widen(below, reach) & _widen(above | below, 1)
    if below.any():
        pixels[-1] = ~_widen(below, 1)
    pixels[:, : max(0, line.start - 1)] = False
    pixels[:, line.end + 1 :] = False
    rows = centre_rows + np.arange(top - 1 - BAND_RADIUS, bottom + 1 - BAND_RADIUS)[:, None]
    pixels &= (rows >= 0) & (rows < height)
    columns = np.arange(width)
    indices = columns * height + rows if search.is_vertical else rows * width + columns
    erasable = pixels if is_crossed is None else pixels & ~is_crossed
    return LineTrace(line, indices[pixels], indices[erasable], above | below)


def _widen(values: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return where `values` (N,) has a true value within this radius."""
    if radius == 1:  # in a third of the time
        widened = values.copy()
        widened[1:] |= values[:-1]
        widened[:-1] |= values[1:]
        return widened
    return np.convolve(values, np.ones(2 * radius + 1, np.int8), "same") > 0
