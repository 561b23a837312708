"""What stands beside a digit: neighbours that the edge cuts, points, signs and second digits.

`segment` leaves them out, and says so.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from digitscan.imaging.components import Component, compute_gap, is_cut
from digitscan.imaging.ink import square_kernel
from digitscan.imaging.types import GrayImage

SLANTS = (0.25, 0.5)
"""Columns to the right per row up, of lines that may separate neighbours: handwriting leans to the right."""
MIN_LIKE_SIZE = 0.6
"""Height and width of a second digit, as shares of the main one's."""
MIN_LIKE_AREA = 0.3
"""The same for the area."""
MIN_MARK_GAP = 0.06
"""Paper between a digit and a mark beside it, as a share of the digit's height. Parts of a broken stroke are
nearer.
"""
MAX_MARK_HEIGHT = 0.5
"""Height of the highest mark beside a digit, as a share of the digit's; a higher one is a second digit."""
MAX_MARK_AREA = 0.35
"""The same for the area."""
MAX_POINT_SIZE = 0.25
"""Size of the largest point, as a share of the digit's height."""
MIN_POINT_WIDTH = 0.75
"""Width and height of a decimal point, as shares of the digit's stroke width: dust is smaller."""
MIN_POINT_FILL = 0.6
"""A point fills at least this share of its bounding box."""
MIN_POINT_DEPTH = 0.6
"""A decimal point ends below this share of the digit's height."""
MIN_MINUS_ASPECT = 1.6
"""A minus is at least so much wider than high."""
POINT_LEFT_OUT = "point left out"
NEIGHBOUR_LEFT_OUT = "neighbour left out"


class Neighbours(NamedTuple):
    """Which components are not the digit's, and what the row says of them."""

    components: list[Component]
    note: str | None
    needs_review: bool
    """Whether a mark may belong to the answer: a minus, a point or a second digit."""


def find_neighbours(
    strokes: list[Component], main: Component, labels: GrayImage, shape: tuple[int, ...]
) -> Neighbours:
    """Return the components beside the main one that belong to something else."""
    cut = [
        stroke for stroke in strokes if stroke is not main and _is_cut_neighbour(stroke, main, labels, shape)
    ]
    marks = [
        stroke for stroke in strokes if stroke is not main and stroke not in cut and _is_mark(stroke, main)
    ]
    note = _describe_mark(marks[0], main) if marks else NEIGHBOUR_LEFT_OUT if cut else None
    return Neighbours(cut + marks, note, bool(marks))


def _is_cut_neighbour(stroke: Component, main: Component, labels: GrayImage, shape: tuple[int, ...]) -> bool:
    """Tell whether a component is beside the main one, at an edge of the image that the main one leaves.

    A whole digit of like size that only touches the edge is no neighbour: it may be the answer as well.
    """
    if _has_like_size(stroke, main) and not is_cut(stroke, labels):
        return False
    height, width = shape
    is_at_side = (stroke.left == 0 < main.left) or (stroke.right == width > main.right)
    if is_at_side and _is_beside(stroke, main, labels):
        return True
    is_above = stroke.top == 0 and 0 < stroke.bottom <= main.top
    is_below = stroke.bottom == height and stroke.top >= main.bottom
    return is_above or is_below


def _has_like_size(component: Component, main: Component) -> bool:
    """Tell whether a component may be a second digit, by its size."""
    return (
        component.height >= MIN_LIKE_SIZE * main.height
        and component.width >= MIN_LIKE_SIZE * main.width
        and component.area >= MIN_LIKE_AREA * main.area
    )


def _is_beside(stroke: Component, main: Component, labels: GrayImage) -> bool:
    """Tell whether an upright or slanted line separates two components."""
    if stroke.right <= main.left or stroke.left >= main.right:
        return True
    rows, columns = np.nonzero(labels == stroke.label)
    main_rows, main_columns = np.nonzero(labels == main.label)
    for slant in SLANTS:
        positions, main_positions = columns + slant * rows, main_columns + slant * main_rows
        if positions.max() <= main_positions.min() or positions.min() >= main_positions.max():
            return True
    return False


def _is_mark(stroke: Component, main: Component) -> bool:
    """Tell whether a component is small and beside the main one: a point, a minus or a small digit.

    A small digit that is an exponent may be more than half as high.
    """
    is_raised = stroke.top < main.top and stroke.bottom <= main.top + MAX_MARK_HEIGHT * main.height
    is_high = stroke.height > MAX_MARK_HEIGHT * main.height and not is_raised
    if is_high or stroke.area > MAX_MARK_AREA * main.area:
        return False
    is_beside = stroke.left >= main.right or stroke.right <= main.left
    return is_beside and compute_gap(stroke, main) >= MIN_MARK_GAP * main.height


def has_point(specks: list[Component], main: Component, labels: GrayImage) -> bool:
    """Tell whether one of the components too small for strokes is a decimal point beside the main one.

    A point is as wide as the pen. Several specks are dust.
    """
    beside = [speck for speck in specks if _may_be_point(speck, main)]
    if len(beside) != 1:
        return False
    part = labels[main.top : main.bottom, main.left : main.right] == main.label
    inner = cv2.erode(part.view(np.uint8), square_kernel(3), borderValue=0)
    # A long stroke of width w has two pixels of outline for each w pixels.
    stroke_width = 2 * main.area / max(1, main.area - cv2.countNonZero(inner))
    return min(beside[0].width, beside[0].height) >= MIN_POINT_WIDTH * stroke_width


def _may_be_point(speck: Component, main: Component) -> bool:
    """Tell whether a component is compact and beside the lower part of the main one."""
    gap = max(speck.left - main.right, main.left - speck.right)
    return (
        MIN_MARK_GAP * main.height <= gap <= main.height
        and main.top + MIN_POINT_DEPTH * main.height <= speck.bottom <= main.bottom + gap
        and speck.area >= MIN_POINT_FILL * speck.width * speck.height
        and 2 * speck.width >= speck.height
        and 2 * speck.height >= speck.width
    )


def _describe_mark(mark: Component, main: Component) -> str:
    if mark.right <= main.left and mark.width >= MIN_MINUS_ASPECT * mark.height:
        return "minus left out"
    if max(mark.width, mark.height) <= MAX_POINT_SIZE * main.height:
        return POINT_LEFT_OUT
    return "second digit left out"
